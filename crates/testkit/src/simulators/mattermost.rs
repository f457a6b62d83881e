//! Mattermost, after api.mattermost.com (WebSocket) and webapp/platform/client/src/websocket.ts of mattermost/mattermost.

use serde_json::json;

use super::{EARLY, HALF, turns};
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, json, seconds,
};

const CHANNELS: [&str; 2] = ["ch-town-square", "ch-off-topic"];
const TOKEN: &str = "mattermost-token-b1c9";

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "mattermost",
    hosts: &[],
    right: &[("websocket.url", "{ws}/api/v4/websocket"), ("websocket.secret.token", TOKEN)],
    beats: &["websocket.session.beat.every.ms"],
    wrong: &[Wrong {
        what: "a token that is not known",
        set: &[("websocket.secret.token", "mattermost-token-0000")],
        words: "Invalid or expired session",
    }],
    record,
    http: Simulator::no_http,
    connect,
};

fn record(n: u64) -> Expected {
    let channel = turns(n, CHANNELS);
    // The greeting is event 0.
    let sequence = n + 1;
    let value = format!(
        r#"{{"event":"posted","data":{{"post":"{{\"id\":\"p{n}\"}}"}},"broadcast":{{"omit_users":null,"user_id":"","channel_id":"{channel}","team_id":""}},"seq":{sequence}}}"#
    );
    Expected { timestamp: None, ..Expected::new(value, channel, 0) }
}

fn connect(request: &HttpRequest, _: &mut World) -> Result<Accepted, Answer> {
    if request.path() != "/api/v4/websocket" {
        return Err(Answer::text(404, "not found"));
    }
    Accepted::by(Mattermost { logged_in: false })
}

struct Mattermost {
    logged_in: bool,
}

impl Mattermost {
    fn send(&self, end: u64, turn: &mut Turn<'_>) {
        for n in turn.numbers_to(end) {
            turn.send(record(n).value);
        }
    }
}

impl Peer for Mattermost {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        turn.after(seconds(5), "log-in");
    }

    fn text(&mut self, text: &str, turn: &mut Turn<'_>) {
        let message = json(text);
        let reply = &message["seq"];
        match message["action"].as_str() {
            Some("authentication_challenge") if message["data"]["token"] == TOKEN && !self.logged_in => {
                turn.cancel("log-in");
                self.logged_in = true;
                turn.send(json!({"status": "OK", "seq_reply": reply}));
                let hello = json!({"connection_id": "cn-1", "server_version": "10.5.0"});
                turn.send(json!({"event": "hello", "data": hello, "broadcast": {"user_id": "u1"}, "seq": 0}));
                self.send(EARLY, turn);
                self.send(HALF, turn);
                turn.after_quick(seconds(90), "no ping");
            }
            Some("authentication_challenge") => {
                let words = "Invalid or expired session, please login again.";
                turn.send(
                    json!({"status": "FAIL", "error": {"id": "api.context.session_expired.app_error", "message": words},
                    "seq_reply": reply}),
                );
            }
            _ if !self.logged_in => {
                turn.send(json!({"status": "FAIL", "error": {"message": "not logged in"}, "seq_reply": reply}))
            }
            Some("ping") => {
                turn.after_quick(seconds(90), "no ping");
                turn.send(json!({"status": "OK", "data": {"text": "pong", "version": "10.5.0"}, "seq_reply": reply}));
                self.send(RECORDS, turn);
            }
            _ => turn.send(json!({"status": "FAIL", "error": {"message": "unknown action"}, "seq_reply": reply})),
        }
    }

    fn time(&mut self, timer: &'static str, turn: &mut Turn<'_>) {
        match timer {
            "log-in" => turn.cut("no log-in within five seconds"),
            _ => turn.cut("no ping for ninety seconds"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::Action;
    use crate::simulator::rehearsal::Rehearsal;

    fn log_in(token: &str) -> serde_json::Value {
        json!({"seq": 1, "action": "authentication_challenge", "data": {"token": token}})
    }

    #[test]
    fn a_challenge_a_greeting_and_pings() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut line = stage.connect("/api/v4/websocket");
        stage.say(&mut line, log_in("other"));
        assert!(line.texts()[0].contains(SIMULATOR.wrong[0].words));
        stage.say(&mut line, log_in(TOKEN));
        assert_eq!(line.json()[1]["event"], "hello");
        stage.say(&mut line, json!({"action": "ping", "seq": 2}));
        assert_eq!(line.json()[0]["data"]["text"], "pong");
        stage.is_over();
        stage.pass(&mut line, seconds(90));
        assert!(line.heard().contains(&Action::Cut));
    }
}
