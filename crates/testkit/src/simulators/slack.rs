//! Slack's Socket Mode, after docs.slack.dev/apis/events-api/using-socket-mode.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde_json::json;

use super::{EARLY, HALF, turns};
use crate::simulator::{Accepted, Answer, Expected, HttpRequest, Peer, Simulator, Turn, World, Wrong, json, seconds};

const CHANNELS: [&str; 2] = ["C0GENERAL", "C0RANDOM"];
const TOKEN: &str = "xapp-1-A0-slack-token-77ab";
const TICKET: &str = "ticket";
/// Connections of an app.
const MOST_CONNECTIONS: u64 = 10;
const EPOCH_S: i64 = 1_767_225_600;
/// An envelope that is not acknowledged for so long is sent again.
const PATIENCE: Duration = seconds(3);

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "slack",
    hosts: &["slack.com"],
    right: &[("websocket.secret.app", TOKEN)],
    beats: &[],
    wrong: &[Wrong {
        what: "a token that is not known",
        set: &[("websocket.secret.app", "xapp-1-A0-slack-token-0000")],
        words: "invalid_auth",
    }],
    record,
    http,
    connect,
};

fn record(n: u64) -> Expected {
    let (channel, time) = (turns(n, CHANNELS), EPOCH_S + n as i64);
    let value = format!(
        r#"{{"team_id":"T01","event":{{"type":"message","channel":"{channel}","text":"number {n}"}},"type":"event_callback","event_id":"Ev{n:03}","event_time":{time}}}"#
    );
    Expected::new(value, channel, time * 1000)
}

fn http(request: &HttpRequest, world: &mut World) -> Answer {
    if (request.method(), request.path()) != ("POST", "/api/apps.connections.open") {
        return Answer::json(200, json!({"ok": false, "error": "unknown_method"}));
    }
    if !request.is_of_bearer(TOKEN) {
        return Answer::json(200, json!({"ok": false, "error": "invalid_auth"}));
    }
    let ticket = world.issue(TICKET);
    Answer::json(200, json!({"ok": true, "url": format!("ws://{}/link/?ticket={ticket}&app_id=A0", world.host)}))
}

fn connect(request: &HttpRequest, world: &mut World) -> Result<Accepted, Answer> {
    if request.path() != "/link/" || !world.redeem_from(request, "ticket", TICKET) {
        return Err(Answer::text(403, "the ticket has been used or is not known"));
    }
    Accepted::by(Slack::default())
}

#[derive(Default)]
struct Slack {
    /// The envelopes of this connection, and whose event is in each.
    envelopes: HashMap<String, u64>,
    /// Events that are not acknowledged, and how long they may be.
    waiting: BTreeMap<u64, Duration>,
    acknowledged: u64,
}

impl Slack {
    fn send(&mut self, end: u64, turn: &mut Turn<'_>) {
        for n in turn.deliver(end, usize::MAX) {
            let attempt = self.envelopes.values().filter(|event| **event == n).count();
            let id = if attempt == 0 { format!("envelope-{n}") } else { format!("envelope-{n}-{attempt}") };
            let reason = if attempt == 0 { "" } else { "timeout" };
            turn.send(format!(
                r#"{{"envelope_id":"{id}","payload":{},"type":"events_api","accepts_response_payload":false,"retry_attempt":{attempt},"retry_reason":"{reason}"}}"#,
                record(n).value
            ));
            self.envelopes.insert(id, n);
            self.waiting.insert(n, turn.now + PATIENCE);
        }
        self.watch(turn);
    }

    fn watch(&self, turn: &mut Turn<'_>) {
        match self.waiting.values().min() {
            Some(due) => turn.after(due.saturating_sub(turn.now), "acknowledgements"),
            None => turn.cancel("acknowledgements"),
        }
    }

    /// What was not acknowledged in time comes again.
    fn send_overdue(&mut self, turn: &mut Turn<'_>) {
        let overdue: Vec<u64> = self.waiting.extract_if(.., |_, due| *due <= turn.now).map(|(n, _)| n).collect();
        turn.world.deliveries.give_back(overdue);
        self.send(EARLY, turn);
    }
}

impl Peer for Slack {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        if turn.world.open > MOST_CONNECTIONS {
            turn.fault("more than ten connections");
            return turn.send(json!({"type": "disconnect", "reason": "too_many_websockets"}));
        }
        let info = json!({"app_id": "A0"});
        turn.send(json!({"type": "hello", "connection_info": info, "num_connections": turn.world.open}));
        self.send(EARLY, turn);
        self.send(HALF, turn);
        if turn.world.history.is_some() {
            turn.after(seconds(1), "news");
        }
    }

    /// The first connection is to be refreshed when its envelopes are acknowledged.
    fn text(&mut self, text: &str, turn: &mut Turn<'_>) {
        let message = json(text);
        let Some(n) = self.envelopes.get(message["envelope_id"].as_str().unwrap_or_default()) else {
            return turn.fault("an acknowledgement of no envelope");
        };
        if self.waiting.remove(n).is_none() {
            return;
        }
        turn.world.acknowledge(*n);
        self.acknowledged += 1;
        self.watch(turn);
        if self.acknowledged == HALF && turn.world.notices == 0 && turn.world.history.is_none() {
            turn.world.notices += 1;
            self.planned_end(turn);
        }
    }

    fn published(&mut self, turn: &mut Turn<'_>) {
        self.send(EARLY, turn);
    }

    fn planned_end(&mut self, turn: &mut Turn<'_>) {
        let info = json!({"host": "applink-1"});
        turn.send(json!({"type": "disconnect", "reason": "refresh_requested", "debug_info": info}));
        turn.after(seconds(30), "refresh");
    }

    fn time(&mut self, timer: &'static str, turn: &mut Turn<'_>) {
        match timer {
            "refresh" => turn.cut("the connection was still open after disconnect"),
            "news" => {
                self.send(EARLY, turn);
                turn.after(seconds(1), "news");
            }
            _ => self.send_overdue(turn),
        }
    }

    fn gone(&mut self, world: &mut World) {
        world.deliveries.give_back(self.waiting.keys().copied());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::RECORDS;
    use crate::simulator::rehearsal::{Line, Rehearsal};

    fn open(stage: &mut Rehearsal) -> Line {
        let bearer = format!("Bearer {TOKEN}");
        let answer = stage.http("POST /api/apps.connections.open HTTP/1.1", &[("Authorization", &bearer)], "");
        let url = json(&answer.body)["url"].as_str().unwrap().to_owned();
        let target = format!("/link/{}", url.split_once("/link/").unwrap().1);
        let line = stage.connect(&target);
        assert_eq!(stage.connect_with(&target, &[]).err().unwrap().status, 403);
        line
    }

    #[test]
    fn envelopes_are_acknowledged_and_connections_refreshed() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let refused = stage.http("POST /api/apps.connections.open HTTP/1.1", &[("Authorization", "Bearer other")], "");
        assert!(refused.status == 200 && refused.body.contains(SIMULATOR.wrong[0].words));
        let mut line = open(&mut stage);
        for n in 0..HALF {
            stage.say(&mut line, json!({"envelope_id": format!("envelope-{n}")}));
        }
        assert_eq!(line.json().last().unwrap()["reason"], "refresh_requested");
        stage.hang_up(line);
        let mut line = open(&mut stage);
        stage.is_over();
        line.texts();
        stage.pass(&mut line, seconds(3));
        let again = line.json();
        assert_eq!((again[0]["retry_attempt"].as_u64(), &again[0]["payload"]["event_id"]), (Some(1), &json!("Ev006")));
        assert_eq!(stage.world.deliveries.sent_again(), RECORDS - HALF);
    }
}
