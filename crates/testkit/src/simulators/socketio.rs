//! Socket.IO 5 over Engine.IO 4, after socketio/socket.io, docs/{engine.io-protocol,socket.io-protocol}.

use serde_json::{Value, json};

use super::{EARLY, HALF};
use crate::simulator::history::Held;
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, json, seconds,
};

const TOKEN: &str = "socketio-token-90fe";
const SESSION: &str = "session";
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

/// What a server that keeps the state of connections adds to each event: a client says it when it comes back.
fn offset(n: u64) -> String {
    format!("o-{n}")
}

/// The record behind an offset, if the server still has the session and all that came since.
fn restored(auth: &Value, world: &World) -> Option<u64> {
    let history = world.history.as_ref()?;
    let (pid, offset) = (auth["pid"].as_str()?, auth["offset"].as_str()?);
    let next = offset.strip_prefix("o-")?.parse::<u64>().ok()? + 1;
    let is_known = world.issued.get(pid) == Some(&history.named(SESSION));
    (is_known && history.held(next) == Held::All).then_some(next)
}

impl SocketIo {
    fn send(&self, end: u64, turn: &mut Turn<'_>) {
        let has_offset = turn.world.history.is_some();
        for n in turn.numbers_to(end) {
            let offset = if has_offset { format!(r#","{}""#, offset(n)) } else { String::new() };
            turn.send(format!(r#"42["headline",{}{offset}]"#, record(n).value));
        }
    }

    fn join(&mut self, credentials: &str, turn: &mut Turn<'_>) {
        if self.joined {
            return turn.refuse(1003, "connected to the namespace already");
        }
        let auth = json(credentials);
        if auth["token"] != TOKEN {
            return turn.send(r#"44{"message":"invalid credentials"}"#);
        }
        self.joined = true;
        turn.cancel("join");
        let session = turn.world.history.as_ref().map(|history| history.named(SESSION));
        let next = restored(&auth, turn.world);
        let pid = match (session, next) {
            (None, _) => "p-1".to_owned(),
            (Some(_), Some(_)) => auth["pid"].as_str().unwrap_or_default().to_owned(),
            (Some(session), None) => turn.world.issue_id(&session),
        };
        turn.send(format!("40{}", json!({"sid": "wZX3oN0bSVIhsaknAAAI", "pid": pid})));
        // Its rooms are those that it had, and what it missed comes at once.
        if let Some(next) = next {
            turn.start_at(next);
            self.rooms = ROOMS.len() as u64;
            self.send(RECORDS, turn);
        }
    }

    fn event(&mut self, event: &str, turn: &mut Turn<'_>) {
        let event = json(event);
        let known = event[1].as_str().is_some_and(|room| ROOMS.contains(&room));
        if !self.joined || event[0] != "join" || !known {
            return turn.send(r#"42["exception","no such event or room"]"#);
        }
        self.rooms += 1;
        if turn.world.history.is_some() && self.rooms < ROOMS.len() as u64 {
            return;
        }
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

    fn published(&mut self, turn: &mut Turn<'_>) {
        if self.rooms == ROOMS.len() as u64 {
            self.send(RECORDS, turn);
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
    use crate::simulator::history::History;
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

    #[test]
    fn a_session_is_restored_with_its_rooms_or_another_one_begins() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut history = History::new(100);
        history.publish(5, 0);
        stage.world.history = Some(history);
        let mut join = |auth: Value| {
            let mut line = stage.connect("/socket.io/?EIO=4&transport=websocket");
            stage.say(&mut line, format!("40{auth}"));
            line.texts().split_off(1)
        };
        let first = join(json!({"token": TOKEN}));
        let pid = json(&first[0][2..])["pid"].clone();
        let again = join(json!({"token": TOKEN, "pid": pid, "offset": "o-2"}));
        assert_eq!((again[0] == first[0], again.len()), (true, 3));
        assert_eq!(again[1], r#"42["headline",{"headline":"number 3"},"o-3"]"#);
        assert_ne!(join(json!({"token": TOKEN, "pid": pid, "offset": "o-9"})), first);
    }
}
