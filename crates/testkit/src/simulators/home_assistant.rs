//! Home Assistant, after developers.home-assistant.io/docs/api/websocket.

use serde_json::{Value, json};

use super::{EARLY, HALF, time_iso, time_ms, turns};
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, json, seconds,
};

const TYPES: [&str; 2] = ["state_changed", "automation_triggered"];
const TOKEN: &str = "home-assistant-token-61fe";

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "home-assistant",
    hosts: &[],
    right: &[
        ("websocket.url", "{ws}/api/websocket"),
        ("websocket.secret.token", TOKEN),
        ("websocket.subscription.topics", "state_changed,automation_triggered"),
    ],
    beats: &["websocket.session.beat.every.ms"],
    wrong: &[
        Wrong {
            what: "a token that is not known",
            set: &[("websocket.secret.token", "home-assistant-token-0000")],
            words: "Invalid access token or password",
        },
        Wrong {
            what: "a type of events that is for administrators",
            set: &[("websocket.subscription.topics", "call_service")],
            words: "Unauthorized",
        },
    ],
    record,
    http: Simulator::no_http,
    connect,
};

fn record(n: u64) -> Expected {
    let (event, entity, time) = (turns(n, TYPES), turns(n, ["light.bed", "automation.night"]), time_iso(n));
    let value = format!(
        r#"{{"event_type":"{event}","data":{{"entity_id":"{entity}","new_state":{{"state":"{n}"}}}},"origin":"LOCAL","time_fired":"{time}","context":{{"id":"c{n}"}}}}"#
    );
    Expected::new(value, entity, time_ms(n))
}

fn connect(request: &HttpRequest, _: &mut World) -> Result<Accepted, Answer> {
    if request.path() != "/api/websocket" {
        return Err(Answer::text(404, "404: Not Found"));
    }
    Accepted::by(HomeAssistant { logged_in: false, last: 0, subscriptions: Vec::new() })
}

struct HomeAssistant {
    logged_in: bool,
    /// The newest id of the client; they grow.
    last: u64,
    subscriptions: Vec<(String, u64)>,
}

impl HomeAssistant {
    fn log_in(&mut self, message: &Value, turn: &mut Turn<'_>) {
        if message["type"] != "auth" {
            turn.send(json!({"type": "auth_invalid", "message": "Auth message incorrectly formatted"}));
            return turn.refuse(1000, "no log-in");
        }
        if message["access_token"] != TOKEN {
            turn.send(json!({"type": "auth_invalid", "message": "Invalid access token or password"}));
            return turn.close(1000, "");
        }
        turn.cancel("log-in");
        self.logged_in = true;
        turn.send(json!({"type": "auth_ok", "ha_version": "2026.1.0"}));
    }

    fn subscribe(&mut self, id: u64, event: &str, turn: &mut Turn<'_>) {
        if !TYPES.contains(&event) {
            let error = json!({"code": "unauthorized", "message": "Unauthorized"});
            return turn.send(json!({"id": id, "type": "result", "success": false, "error": error}));
        }
        turn.send(json!({"id": id, "type": "result", "success": true, "result": null}));
        self.subscriptions.push((event.to_owned(), id));
        self.send(if self.subscriptions.len() == 1 { EARLY } else { HALF }, turn);
    }

    /// Each event carries the id of its subscription.
    fn send(&self, end: u64, turn: &mut Turn<'_>) {
        for n in turn.numbers_to(end) {
            let id = self.subscriptions.iter().find(|(event, _)| event == turns(n, TYPES)).map_or(0, |(_, id)| *id);
            turn.send(format!(r#"{{"id":{id},"type":"event","event":{}}}"#, record(n).value));
        }
    }
}

impl Peer for HomeAssistant {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        turn.send(json!({"type": "auth_required", "ha_version": "2026.1.0"}));
        turn.after(seconds(10), "log-in");
    }

    fn text(&mut self, text: &str, turn: &mut Turn<'_>) {
        let message = json(text);
        if !self.logged_in {
            return self.log_in(&message, turn);
        }
        let id = message["id"].as_u64().unwrap_or_default();
        if id <= self.last {
            turn.fault("an id that does not grow");
            let error = json!({"code": "id_reuse", "message": "Identifier values have to increase."});
            return turn.send(json!({"id": id, "type": "result", "success": false, "error": error}));
        }
        self.last = id;
        match message["type"].as_str() {
            Some("subscribe_events") => {
                self.subscribe(id, message["event_type"].as_str().unwrap_or_default(), turn);
            }
            Some("unsubscribe_events") => {
                self.subscriptions.retain(|(_, known)| message["subscription"] != *known);
                turn.send(json!({"id": id, "type": "result", "success": true, "result": null}));
            }
            Some("ping") => {
                turn.send(json!({"id": id, "type": "pong"}));
                if self.subscriptions.len() > 1 {
                    self.send(RECORDS, turn);
                }
            }
            _ => {
                let error = json!({"code": "unknown_command", "message": "Unknown command."});
                turn.send(json!({"id": id, "type": "result", "success": false, "error": error}));
            }
        }
    }

    fn time(&mut self, _: &'static str, turn: &mut Turn<'_>) {
        turn.cut("no log-in within ten seconds");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::Action;
    use crate::simulator::rehearsal::Rehearsal;

    #[test]
    fn ids_grow_and_events_carry_that_of_their_subscription() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut line = stage.connect("/api/websocket");
        stage.say(&mut line, json!({"type": "auth", "access_token": TOKEN}));
        for (id, event) in [(1, "call_service"), (2, TYPES[0]), (3, TYPES[1])] {
            stage.say(&mut line, json!({"id": id, "type": "subscribe_events", "event_type": event}));
        }
        let heard = line.json();
        assert_eq!(heard[2]["error"]["message"], SIMULATOR.wrong[1].words);
        assert_eq!((&heard[4]["id"], &heard[4]["type"]), (&json!(2), &json!("event")));
        stage.say(&mut line, json!({"id": 4, "type": "ping"}));
        stage.is_over();
        line.texts();
        stage.say(&mut line, json!({"id": 4, "type": "ping"}));
        assert_eq!(line.json()[0]["error"]["code"], "id_reuse");
    }

    #[test]
    fn a_wrong_token_and_a_late_one_end_the_connection() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut line = stage.connect("/api/websocket");
        stage.say(&mut line, json!({"type": "auth", "access_token": "other"}));
        assert!(matches!(line.end().1, Action::Close(1000, _)));
        let mut late = stage.connect("/api/websocket");
        stage.pass(&mut late, seconds(10));
        assert_eq!(late.end().1, Action::Cut);
    }
}
