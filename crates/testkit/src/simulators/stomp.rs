//! A STOMP 1.2 broker, after stomp.github.io/stomp-specification-1.2.html.

use super::{EARLY, HALF, turns};
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, seconds,
};

const DESTINATIONS: [&str; 2] = ["/topic/news", "/topic/sports"];
const SUBPROTOCOL: &str = "v12.stomp";
const USER: &str = "stomp-user-1";
const PASSWORD: &str = "stomp-password-8e2b";

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "stomp",
    hosts: &[],
    right: &[
        ("websocket.url", "{ws}/ws"),
        ("websocket.var.host", "broker"),
        ("websocket.secret.user", USER),
        ("websocket.secret.password", PASSWORD),
        ("websocket.subscription.topics", "/topic/news,/topic/sports"),
    ],
    beats: &[],
    wrong: &[
        Wrong {
            what: "a password that is not the user's",
            set: &[("websocket.secret.password", "stomp-password-0000")],
            words: "Bad CONNECT",
        },
        Wrong {
            what: "a destination that may not be read",
            set: &[("websocket.subscription.topics", "/topic/secret")],
            words: "access refused",
        },
    ],
    record,
    http: Simulator::no_http,
    connect,
};

/// The second destination is the second subscription.
fn record(n: u64) -> Expected {
    let destination = turns(n, DESTINATIONS);
    let frame = format!("MESSAGE\nsubscription:1\nmessage-id:m-{n}\ndestination:{destination}\n\nnumber {n}\0");
    Expected { timestamp: None, ..Expected::new(frame, destination, 0) }
}

fn connect(request: &HttpRequest, _: &mut World) -> Result<Accepted, Answer> {
    if request.path() != "/ws" || !request.offers(SUBPROTOCOL) {
        return Err(Answer::text(400, "the subprotocol is v12.stomp"));
    }
    let accepted = Accepted::by(Stomp { connected: false, subscriptions: Vec::new() })?;
    Ok(Accepted { subprotocol: Some(SUBPROTOCOL), ..accepted })
}

struct Stomp {
    connected: bool,
    /// The ids of subscriptions.
    subscriptions: Vec<String>,
}

/// A frame of a client, taken apart.
struct Frame<'a> {
    command: &'a str,
    headers: Vec<(&'a str, &'a str)>,
}

impl<'a> Frame<'a> {
    /// Reads a frame without a body, which ends with NUL.
    fn parse(text: &'a str) -> Option<Frame<'a>> {
        let head = text.strip_suffix("\n\n\0")?;
        let mut lines = head.lines();
        let command = lines.next()?;
        Some(Frame { command, headers: lines.map(|line| line.split_once(':')).collect::<Option<_>>()? })
    }

    fn header(&self, name: &str) -> &'a str {
        self.headers.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }
}

impl Stomp {
    fn log_in(&mut self, frame: &Frame<'_>, turn: &mut Turn<'_>) {
        if frame.header("accept-version") != "1.2" || frame.header("host").is_empty() {
            turn.fault("a CONNECT without accept-version and host");
        }
        if frame.header("login") != USER || frame.header("passcode") != PASSWORD {
            return error("Bad CONNECT", turn);
        }
        self.connected = true;
        turn.send("CONNECTED\nversion:1.2\nheart-beat:0,0\nserver:broker/1\n\n\0");
    }

    fn subscribe(&mut self, frame: &Frame<'_>, turn: &mut Turn<'_>) {
        let id = frame.header("id");
        if id.is_empty() || self.subscriptions.iter().any(|known| known == id) {
            turn.fault("a SUBSCRIBE without an id of its own");
        }
        if !DESTINATIONS.contains(&frame.header("destination")) {
            return error("access refused", turn);
        }
        self.subscriptions.push(id.to_owned());
        receipt(frame, turn);
        self.send(if self.subscriptions.len() == 1 { EARLY } else { HALF }, turn);
        turn.after(seconds(1), "more");
    }

    fn send(&self, end: u64, turn: &mut Turn<'_>) {
        for n in turn.numbers_to(end) {
            turn.send(record(n).value);
        }
    }
}

/// What is asked for with the header receipt is confirmed.
fn receipt(frame: &Frame<'_>, turn: &mut Turn<'_>) {
    let id = frame.header("receipt");
    if !id.is_empty() {
        turn.send(format!("RECEIPT\nreceipt-id:{id}\n\n\0"));
    }
}

/// An error ends the connection.
fn error(words: &str, turn: &mut Turn<'_>) {
    turn.send(format!("ERROR\nmessage:{words}\ncontent-type:text/plain\n\n{words}\0"));
    turn.close(1002, words);
}

impl Peer for Stomp {
    fn text(&mut self, text: &str, turn: &mut Turn<'_>) {
        let Some(frame) = Frame::parse(text) else {
            turn.fault("no frame");
            return error("no frame", turn);
        };
        match frame.command {
            "CONNECT" | "STOMP" => self.log_in(&frame, turn),
            "SUBSCRIBE" if self.connected => self.subscribe(&frame, turn),
            "UNSUBSCRIBE" if self.connected => {
                self.subscriptions.retain(|id| id != frame.header("id"));
                receipt(&frame, turn);
            }
            "DISCONNECT" => receipt(&frame, turn),
            _ => error("unexpected command", turn),
        }
    }

    fn time(&mut self, _: &'static str, turn: &mut Turn<'_>) {
        if self.subscriptions.len() > 1 {
            self.send(RECORDS, turn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::Action;
    use crate::simulator::rehearsal::Rehearsal;

    fn log_in(password: &str) -> String {
        format!("CONNECT\naccept-version:1.2\nhost:broker\nlogin:{USER}\npasscode:{password}\n\n\0")
    }

    #[test]
    fn subscriptions_have_receipts_and_errors_end_the_connection() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        assert!(stage.connect_with("/ws", &[]).is_err());
        let offer = [("Sec-WebSocket-Protocol", SUBPROTOCOL)];
        let mut line = stage.connect_with("/ws", &offer).ok().unwrap();
        stage.say(&mut line, log_in(PASSWORD));
        for (id, destination) in ["1", "2"].into_iter().zip(DESTINATIONS) {
            stage.say(&mut line, format!("SUBSCRIBE\nid:{id}\ndestination:{destination}\nreceipt:{id}\n\n\0"));
        }
        assert_eq!(line.texts()[1], "RECEIPT\nreceipt-id:1\n\n\0");
        stage.pass(&mut line, seconds(1));
        stage.is_over();
        line.texts();
        stage.say(&mut line, "SUBSCRIBE\nid:3\ndestination:/topic/secret\n\n\0");
        assert!(matches!(line.end().1, Action::Close(1002, _)));
        let mut other = stage.connect_with("/ws", &offer).ok().unwrap();
        stage.say(&mut other, log_in("other"));
        assert!(matches!(other.end().1, Action::Close(1002, reason) if reason == SIMULATOR.wrong[0].words));
    }
}
