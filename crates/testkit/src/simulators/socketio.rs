//! Socket.IO 5 over Engine.IO 4, after socketio/socket.io, docs/{engine.io-protocol,socket.io-protocol}.

use serde_json::json;

use super::{EARLY, HALF};
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, json, seconds,
};

const TOKEN: &str = "socketio-token-90fe";
const ROOMS: [&str; 2] = ["news", "sports"];

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "socketio",
    hosts: &["{{host}}"],
    right: &[
        ("websocket.var.host", "example.com"),
        ("websocket.secret.token", TOKEN),
        ("websocket.subscription.topics", "news,sports"),
    ],
    beats: &[],
    wrong: &[Wrong {
        what: "a token that is not known",
        set: &[("websocket.secret.token", "socketio-token-0000")],
        words: "invalid credentials",
    }],
    record,
    http: Simulator::no_http,
    connect,
};

fn record(n: u64) -> Expected {
    Expected { timestamp: None, ..Expected::new(format!(r#"{{"headline":"number {n}"}}"#), "headline", 0) }
}

fn connect(request: &HttpRequest, _: &mut World) -> Result<Accepted, Answer> {
    let version = (request.query("EIO"), request.query("transport"));
    if request.path() != "/socket.io/" || version != (Some("4".to_owned()), Some("websocket".to_owned())) {
        return Err(Answer::json(400, json!({"code": 5, "message": "Unsupported protocol version"})));
    }
    Accepted::by(SocketIo { joined: false, rooms: 0, pinged: false })
}

struct SocketIo {
    joined: bool,
    rooms: u64,
    pinged: bool,
}

impl SocketIo {
    fn send(&self, end: u64, turn: &mut Turn<'_>) {
        for n in turn.numbers_to(end) {
            turn.send(format!(r#"42["headline",{}]"#, record(n).value));
        }
    }

    fn join(&mut self, credentials: &str, turn: &mut Turn<'_>) {
        if self.joined {
            return turn.refuse(1003, "connected to the namespace already");
        }
        if json(credentials)["token"] != TOKEN {
            return turn.send(r#"44{"message":"invalid credentials"}"#);
        }
        self.joined = true;
        turn.cancel("join");
        turn.send(r#"40{"sid":"wZX3oN0bSVIhsaknAAAI","pid":"p-1"}"#);
    }

    fn event(&mut self, event: &str, turn: &mut Turn<'_>) {
        let event = json(event);
        let known = event[1].as_str().is_some_and(|room| ROOMS.contains(&room));
        if !self.joined || event[0] != "join" || !known {
            return turn.send(r#"42["exception","no such event or room"]"#);
        }
        self.rooms += 1;
        self.send(if self.rooms == 1 { EARLY } else { HALF }, turn);
    }
}

impl Peer for SocketIo {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        let interval = turn.world.quick(seconds(25)).as_millis() as u64;
        let open = json!({
            "sid": "lv_VI97HAXpY6yYWAAAB", "upgrades": [], "pingInterval": interval, "pingTimeout": 20_000,
            "maxPayload": 1_000_000,
        });
        turn.send(format!("0{open}"));
        turn.after(seconds(45), "join");
        turn.after_quick(seconds(25), "ping");
    }

    fn text(&mut self, text: &str, turn: &mut Turn<'_>) {
        match (text, text.get(..2), text.get(2..)) {
            ("3", ..) => {
                self.pinged = false;
                turn.cancel("no pong");
                if self.rooms > 1 {
                    self.send(RECORDS, turn);
                }
            }
            (_, Some("40"), Some(credentials)) => self.join(credentials, turn),
            (_, Some("42"), Some(event)) => self.event(event, turn),
            _ => turn.refuse(1003, "a packet that is not understood"),
        }
    }

    fn time(&mut self, timer: &'static str, turn: &mut Turn<'_>) {
        match timer {
            "join" => turn.refuse(1000, "no namespace was joined"),
            "no pong" => turn.cut("a ping was not answered"),
            _ => {
                turn.send("2");
                if !std::mem::replace(&mut self.pinged, true) {
                    turn.after(seconds(20), "no pong");
                }
                turn.after_quick(seconds(25), "ping");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::Action;
    use crate::simulator::rehearsal::Rehearsal;

    #[test]
    fn packets_begin_with_digits_and_pings_are_answered() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut line = stage.connect("/socket.io/?EIO=4&transport=websocket");
        stage.say(&mut line, r#"40{"token":"other"}"#);
        assert!(line.texts()[1].contains(SIMULATOR.wrong[0].words));
        stage.say(&mut line, format!(r#"40{{"token":"{TOKEN}"}}"#));
        stage.say(&mut line, r#"42["join","news"]"#);
        stage.say(&mut line, r#"42["join","sports"]"#);
        assert_eq!(line.texts()[1], r#"42["headline",{"headline":"number 0"}]"#);
        stage.pass(&mut line, seconds(25));
        assert_eq!(line.texts(), ["2"]);
        stage.say(&mut line, "3");
        stage.is_over();
        line.texts();
        stage.pass(&mut line, seconds(45));
        assert!(line.heard().contains(&Action::Cut));
    }
}
