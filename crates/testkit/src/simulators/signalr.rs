//! SignalR Core, after dotnet/aspnetcore, src/SignalR/docs/specs (HubProtocol.md, TransportProtocols.md).

use serde_json::{Value, json};

use super::{EARLY, HALF, turns};
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, json, seconds,
};

const TOPICS: [&str; 2] = ["news", "sports"];
const TOKEN: &str = "signalr-token-e210";
const CONNECTION: &str = "connection";
/// Each message ends with it.
const END: char = '\u{1e}';

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "signalr",
    hosts: &["{{host}}"],
    right: &[
        ("websocket.var.host", "example.com"),
        ("websocket.var.hub", "chat"),
        ("websocket.secret.token", TOKEN),
        ("websocket.subscription.topics", "news,sports"),
    ],
    beats: &["websocket.session.beat.every.ms"],
    wrong: &[
        Wrong {
            what: "a token that is not known",
            set: &[("websocket.secret.token", "signalr-token-0000")],
            words: "401",
        },
        Wrong {
            what: "a topic that the hub refuses",
            set: &[("websocket.subscription.topics", "secret")],
            words: "HubException: no such topic",
        },
    ],
    record,
    http,
    connect,
};

fn record(n: u64) -> Expected {
    let value = format!(r#"{{"type":1,"target":"Headline","arguments":["{}","number {n}"]}}"#, turns(n, TOPICS));
    Expected { timestamp: None, ..Expected::new(value, "Headline", 0) }
}

fn is_known(request: &HttpRequest) -> bool {
    request.is_of_bearer(TOKEN)
}

fn http(request: &HttpRequest, world: &mut World) -> Answer {
    if request.path() != "/chat/negotiate" || request.query("negotiateVersion").as_deref() != Some("1") {
        return Answer::text(404, "not found");
    }
    if request.method() != "POST" || !is_known(request) {
        return Answer::text(401, "Unauthorized");
    }
    let transport = json!({"transport": "WebSockets", "transferFormats": ["Text", "Binary"]});
    Answer::json(
        200,
        json!({
            "negotiateVersion": 1, "connectionId": "c-1", "connectionToken": world.issue(CONNECTION),
            "availableTransports": [transport],
        }),
    )
}

fn connect(request: &HttpRequest, world: &mut World) -> Result<Accepted, Answer> {
    if !is_known(request) {
        return Err(Answer::text(401, "Unauthorized"));
    }
    if request.path() != "/chat" || !world.redeem_from(request, "id", CONNECTION) {
        return Err(Answer::text(404, "No Connection with that ID"));
    }
    Accepted::by(SignalR { shaken: false, topics: 0, buffer: String::new() })
}

struct SignalR {
    shaken: bool,
    topics: u64,
    /// What came of a message that is not ended yet.
    buffer: String,
}

impl SignalR {
    fn message(&mut self, message: &Value, turn: &mut Turn<'_>) {
        if !self.shaken {
            if message["protocol"] != "json" || message["version"] != 1 {
                say(r#"{"error":"The protocol is not supported."}"#, turn);
                return turn.close(1000, "");
            }
            self.shaken = true;
            turn.cancel("handshake");
            turn.after_quick(seconds(15), "ping");
            turn.after_quick(seconds(30), "silence");
            return say("{}", turn);
        }
        turn.after_quick(seconds(30), "silence");
        match message["type"].as_u64() {
            Some(1) if message["target"] == "Subscribe" => self.subscribe(message, turn),
            Some(6) => {
                if self.topics > 1 {
                    self.go_on(turn);
                }
            }
            _ => turn.refuse(1003, "the hub has no such method"),
        }
    }

    fn subscribe(&mut self, message: &Value, turn: &mut Turn<'_>) {
        let id = &message["invocationId"];
        if !message["arguments"][0].as_str().is_some_and(|topic| TOPICS.contains(&topic)) {
            let error = "HubException: no such topic";
            return say(&json!({"type": 3, "invocationId": id, "error": error}).to_string(), turn);
        }
        self.topics += 1;
        let mut messages = vec![json!({"type": 3, "invocationId": id, "result": null}).to_string()];
        let end = if self.topics == 1 { EARLY } else { HALF };
        messages.extend(turn.numbers_to(end).map(|n| record(n).value));
        // Several share a frame.
        say(&messages.join(&END.to_string()), turn);
    }

    /// The rest of the records; the end of the connection is told first.
    fn go_on(&mut self, turn: &mut Turn<'_>) {
        let end = if turn.world.notices > 0 { RECORDS } else { HALF + 2 };
        for n in turn.numbers_to(end) {
            say(&record(n).value, turn);
        }
        if turn.world.notices == 0 {
            turn.world.notices += 1;
            say(r#"{"type":7,"allowReconnect":true}"#, turn);
            turn.after(seconds(30), "bye");
        }
    }
}

fn say(message: &str, turn: &mut Turn<'_>) {
    turn.send(format!("{message}{END}"));
}

impl Peer for SignalR {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        turn.after(seconds(15), "handshake");
    }

    fn text(&mut self, text: &str, turn: &mut Turn<'_>) {
        self.buffer.push_str(text);
        while let Some((message, rest)) = self.buffer.split_once(END) {
            let (message, rest) = (json(message), rest.to_owned());
            self.buffer = rest;
            self.message(&message, turn);
        }
    }

    fn time(&mut self, timer: &'static str, turn: &mut Turn<'_>) {
        match timer {
            "handshake" => turn.refuse(1000, "no handshake within fifteen seconds"),
            "silence" => turn.cut("nothing was heard for thirty seconds"),
            "bye" => turn.cut("the connection was still open after it was told to end"),
            _ => {
                say(r#"{"type":6}"#, turn);
                turn.after_quick(seconds(15), "ping");
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
    fn a_connection_is_negotiated_shaken_and_kept_alive() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let bearer = format!("Bearer {TOKEN}");
        let headers = [("Authorization", bearer.as_str())];
        let negotiate = "POST /chat/negotiate?negotiateVersion=1 HTTP/1.1";
        assert_eq!(stage.http(negotiate, &[], "").status, 401);
        let id = json(&stage.http(negotiate, &headers, "").body)["connectionToken"].clone();
        let target = format!("/chat?id={}", id.as_str().unwrap());
        let mut line = stage.connect_with(&target, &headers).ok().unwrap();
        assert!(stage.connect_with(&target, &headers).is_err());
        stage.say(&mut line, "{\"protocol\":\"json\",\"version\":1}\u{1e}");
        assert_eq!(line.texts(), ["{}\u{1e}"]);
        for (id, topic) in [("1", "secret"), ("2", "news"), ("3", "sports")] {
            let invocation = json!({"type": 1, "invocationId": id, "target": "Subscribe", "arguments": [topic]});
            stage.say(&mut line, format!("{invocation}{END}"));
        }
        let heard = line.texts();
        assert!(heard[0].contains(SIMULATOR.wrong[1].words) && heard[1].matches(END).count() == 3, "{heard:?}");
        stage.say(&mut line, "{\"type\":6}\u{1e}");
        assert!(line.texts().last().unwrap().contains("allowReconnect"));
        stage.pass(&mut line, seconds(31));
        assert!(line.heard().contains(&Action::Cut));
    }
}
