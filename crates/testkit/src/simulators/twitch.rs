//! Twitch's EventSub over WebSocket, after dev.twitch.tv/docs/eventsub/handling-websocket-events.

use std::time::Duration;

use serde_json::{Value, json};

use super::{EARLY, HALF, time_iso, time_ms, turns};
use crate::simulator::{Accepted, Answer, Expected, HttpRequest, Peer, Simulator, Turn, World, Wrong, seconds};

const TYPES: [&str; 2] = ["stream.online", "stream.offline"];
const TOKEN: &str = "twitch-token-c30a";
const CLIENT: &str = "twitch-client-1";
const SESSION: &str = "session";

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "twitch",
    hosts: &["eventsub.wss.twitch.tv", "api.twitch.tv"],
    right: &[
        ("websocket.subscription.topics", "stream.online:1:12826,stream.offline:1:12826"),
        ("websocket.var.client_id", CLIENT),
        ("websocket.secret.user", TOKEN),
    ],
    beats: &[],
    wrong: &[
        Wrong {
            what: "a token that is not known",
            set: &[("websocket.secret.user", "twitch-token-0000")],
            words: "Invalid OAuth token",
        },
        Wrong {
            what: "a type that does not exist",
            set: &[("websocket.subscription.topics", "stream.nothing:1:12826")],
            words: "invalid subscription type",
        },
    ],
    record,
    http,
    connect,
};

fn record(n: u64) -> Expected {
    let kind = turns(n, TYPES);
    let value = format!(
        r#"{{"subscription":{{"id":"s-{kind}","status":"enabled","type":"{kind}","version":"1","condition":{{"broadcaster_user_id":"12826"}}}},"event":{{"id":"{n}","broadcaster_user_id":"12826"}}}}"#
    );
    Expected::new(value, "12826", time_ms(n))
}

/// The condition, the session and the type of a subscription are looked at; a session has each once.
fn http(request: &HttpRequest, world: &mut World) -> Answer {
    if (request.method(), request.path()) != ("POST", "/helix/eventsub/subscriptions") {
        return answer(404, "Not Found", "");
    }
    if !request.is_of_bearer(TOKEN) {
        return answer(401, "Unauthorized", "Invalid OAuth token");
    }
    if request.header("Client-Id") != Some(CLIENT) {
        return answer(401, "Unauthorized", "Client ID and OAuth token do not match");
    }
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let session = body["transport"]["session_id"].as_str().unwrap_or_default();
    if body["transport"]["method"] != "websocket" || !world.issued.contains_key(session) {
        return answer(400, "Bad Request", "websocket transport session does not exist or has already disconnected");
    }
    let kind = body["type"].as_str().filter(|kind| TYPES.contains(kind));
    let Some(kind) = kind.filter(|_| body["version"] == "1" && body["condition"] == condition()) else {
        return answer(400, "Bad Request", "invalid subscription type and version");
    };
    let subscription = format!("{session} {kind}");
    if world.users.contains(&subscription) {
        world.faults.push(format!("a second subscription of {kind}"));
        return answer(409, "Conflict", "subscription already exists");
    }
    world.users.push(subscription);
    let data = json!([{"id": format!("s-{kind}"), "status": "enabled", "type": kind, "version": "1"}]);
    Answer::json(202, json!({"data": data, "total": 1, "total_cost": 0, "max_total_cost": 10}))
}

fn answer(status: u16, error: &str, message: &str) -> Answer {
    Answer::json(status, json!({"error": error, "status": status, "message": message}))
}

fn condition() -> Value {
    json!({"broadcaster_user_id": "12826"})
}

fn connect(request: &HttpRequest, world: &mut World) -> Result<Accepted, Answer> {
    if request.path() != "/ws" {
        return Err(Answer::text(404, "not found"));
    }
    let known = request.query("reconnect").filter(|session| world.issued.contains_key(session));
    // The id of a session is no secret.
    let session = known.unwrap_or_else(|| format!("{SESSION}-{}", world.opened));
    world.issued.insert(session.clone(), SESSION.to_owned());
    Accepted::by(Twitch { session })
}

struct Twitch {
    session: String,
}

impl Twitch {
    fn subscriptions(&self, world: &World) -> usize {
        TYPES.iter().filter(|kind| world.users.contains(&format!("{} {kind}", self.session))).count()
    }

    fn send(&self, end: u64, turn: &mut Turn<'_>) {
        for n in turn.numbers_to(end) {
            let (kind, time) = (turns(n, TYPES), time_iso(n));
            turn.send(format!(
                r#"{{"metadata":{{"message_id":"m-{n}","message_type":"notification","message_timestamp":"{time}","subscription_type":"{kind}","subscription_version":"1"}},"payload":{}}}"#,
                record(n).value
            ));
        }
    }

    fn say(&self, kind: &str, payload: Value, turn: &mut Turn<'_>) {
        let id = format!("{kind}-{}", turn.world.opened);
        let metadata = json!({"message_id": id, "message_type": kind, "message_timestamp": time_iso(0)});
        turn.send(json!({"metadata": metadata, "payload": payload}));
    }
}

impl Peer for Twitch {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        let session = json!({"id": self.session, "status": "connected", "keepalive_timeout_seconds": 30,
            "reconnect_url": null, "connected_at": time_iso(0)});
        self.say("session_welcome", json!({"session": session}), turn);
        turn.after(seconds(10), "unused");
        turn.after(Duration::from_millis(50), "look");
    }

    fn text(&mut self, _: &str, turn: &mut Turn<'_>) {
        turn.refuse(4001, "client sent inbound traffic");
    }

    fn pinged(&mut self, turn: &mut Turn<'_>) {
        turn.refuse(4001, "client sent inbound traffic");
    }

    fn time(&mut self, timer: &'static str, turn: &mut Turn<'_>) {
        match (timer, self.subscriptions(turn.world)) {
            ("unused", 0) => turn.refuse(4003, "connection unused"),
            ("unused", _) => {}
            ("move", _) => turn.refuse(4004, "reconnect grace time expired"),
            ("keepalive", _) => {
                self.say("session_keepalive", json!({}), turn);
                if turn.world.notices > 0 {
                    return turn.after_quick(seconds(30), "keepalive");
                }
                turn.world.notices += 1;
                let url = format!("ws://{}/ws?reconnect={}", turn.world.host, self.session);
                let session = json!({"id": self.session, "status": "reconnecting", "reconnect_url": url});
                self.say("session_reconnect", json!({"session": session}), turn);
                turn.after(seconds(30), "move");
            }
            (_, 2) => {
                self.send(HALF, turn);
                turn.after_quick(seconds(30), "keepalive");
            }
            (_, subscriptions) => {
                if subscriptions == 1 {
                    self.send(EARLY, turn);
                }
                turn.after(Duration::from_millis(50), "look");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::Action;
    use crate::simulator::rehearsal::Rehearsal;

    fn subscribe(stage: &mut Rehearsal, token: &str, kind: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        let headers = [("Authorization", bearer.as_str()), ("Client-Id", CLIENT)];
        let transport = json!({"method": "websocket", "session_id": "session-0"});
        let body = json!({"type": kind, "version": "1", "condition": condition(), "transport": transport});
        stage.http("POST /helix/eventsub/subscriptions HTTP/1.1", &headers, &body.to_string())
    }

    #[test]
    fn subscriptions_are_made_by_http_and_move_with_the_session() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut line = stage.connect("/ws?keepalive_timeout_seconds=30");
        assert_eq!(line.json()[0]["payload"]["session"]["id"], "session-0");
        assert!(subscribe(&mut stage, "other", TYPES[0]).body.contains(SIMULATOR.wrong[0].words));
        assert!(subscribe(&mut stage, TOKEN, "stream.nothing").body.contains(SIMULATOR.wrong[1].words));
        for kind in TYPES {
            assert_eq!(subscribe(&mut stage, TOKEN, kind).status, 202);
        }
        stage.pass(&mut line, seconds(31));
        let url = line.json().last().unwrap()["payload"]["session"]["reconnect_url"].as_str().unwrap().to_owned();
        let mut moved = stage.connect(url.split_once(":1").unwrap().1);
        stage.pass(&mut moved, seconds(1));
        stage.is_over();
        assert_eq!(subscribe(&mut stage, TOKEN, TYPES[0]).status, 409);
    }

    #[test]
    fn a_client_that_speaks_or_subscribes_to_nothing_is_cut() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut loud = stage.connect("/ws");
        stage.ping(&mut loud);
        assert!(matches!(loud.end().1, Action::Close(4001, _)));
        let mut idle = stage.connect("/ws");
        stage.pass(&mut idle, seconds(10));
        assert!(idle.heard().iter().any(|action| matches!(action, Action::Close(4003, _))));
    }
}
