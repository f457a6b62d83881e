//! Azure Web PubSub with the subprotocol json.webpubsub.azure.v1, after learn.microsoft.com/azure/azure-web-pubsub.

use serde_json::json;

use super::{EARLY, HALF, turns};
use crate::simulator::signature::hs256_claims;
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, json, seconds,
};

const GROUPS: [&str; 2] = ["news", "sports"];
const KEY: &str = "azure-access-key-71ce";
const PATH: &str = "/client/hubs/hub1";
const SUBPROTOCOL: &str = "json.webpubsub.azure.v1";

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "azure-web-pubsub",
    hosts: &["{{host}}"],
    right: &[
        ("websocket.var.host", "contoso.webpubsub.azure.com"),
        ("websocket.var.hub", "hub1"),
        ("websocket.secret.key", KEY),
        ("websocket.subscription.topics", "news,sports"),
    ],
    beats: &[],
    wrong: &[
        Wrong {
            what: "an access key that is not the service's",
            set: &[("websocket.secret.key", "azure-access-key-0000")],
            words: "401",
        },
        Wrong {
            what: "a group that may not be joined",
            set: &[("websocket.subscription.topics", "secret")],
            words: "Forbidden",
        },
    ],
    record,
    http: Simulator::no_http,
    connect,
};

fn record(n: u64) -> Expected {
    Expected { timestamp: None, ..Expected::new(format!(r#"{{"headline":"number {n}"}}"#), turns(n, GROUPS), 0) }
}

fn connect(request: &HttpRequest, world: &mut World) -> Result<Accepted, Answer> {
    let token = request.query("access_token").unwrap_or_default();
    let claims = hs256_claims(&token, KEY).unwrap_or_default();
    let now_s = world.unix_ms / 1000;
    let is_ours = claims["aud"].as_str().is_some_and(|aud| aud.ends_with(PATH));
    if !is_ours || claims["exp"].as_u64().is_none_or(|end| end <= now_s) {
        return Err(Answer::text(401, "the access token is not valid"));
    }
    let may_join = claims["role"].as_array().is_some_and(|roles| roles.contains(&json!("webpubsub.joinLeaveGroup")));
    if request.path() != PATH || !request.offers(SUBPROTOCOL) {
        return Err(Answer::text(400, "the hub or the subprotocol is not known"));
    }
    let peer = WebPubSub { may_join, groups: 0 };
    Ok(Accepted { peer: Box::new(peer), subprotocol: Some(SUBPROTOCOL), deflate: false })
}

struct WebPubSub {
    may_join: bool,
    groups: u64,
}

impl WebPubSub {
    fn join(&mut self, message: &serde_json::Value, turn: &mut Turn<'_>) {
        let group = message["group"].as_str().unwrap_or_default();
        let success = self.may_join && GROUPS.contains(&group);
        let mut ack = json!({"type": "ack", "ackId": message["ackId"], "success": success});
        if !success {
            ack["error"] = json!({"name": "Forbidden", "message": format!("The client may not join {group}.")});
            return turn.send(ack);
        }
        turn.send(ack);
        self.groups += 1;
        self.send(if self.groups == 1 { EARLY } else { HALF }, turn);
        if self.groups == 2 {
            turn.after_quick(seconds(10), "more");
        }
    }

    fn send(&self, end: u64, turn: &mut Turn<'_>) {
        for n in turn.numbers_to(end) {
            let (group, data) = (turns(n, GROUPS), record(n).value);
            turn.send(format!(
                r#"{{"type":"message","from":"group","fromUserId":"u1","group":"{group}","dataType":"json","data":{data}}}"#
            ));
        }
    }
}

impl Peer for WebPubSub {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        turn.send(json!({"type": "system", "event": "connected", "userId": null, "connectionId": "az-1"}));
    }

    fn text(&mut self, text: &str, turn: &mut Turn<'_>) {
        let message = json(text);
        match message["type"].as_str() {
            Some("joinGroup") => self.join(&message, turn),
            Some("leaveGroup") => turn.send(json!({"type": "ack", "ackId": message["ackId"], "success": true})),
            _ => turn.refuse(1003, "Invalid message"),
        }
    }

    fn time(&mut self, timer: &'static str, turn: &mut Turn<'_>) {
        if timer == "bye" {
            return turn.cut("the connection was still open after it was told to end");
        }
        if turn.world.notices > 0 {
            return self.send(RECORDS, turn);
        }
        self.send(HALF + 2, turn);
        turn.world.notices += 1;
        turn.send(json!({"type": "system", "event": "disconnected", "message": "the service is being updated"}));
        turn.after(seconds(30), "bye");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::rehearsal::Rehearsal;
    use crate::simulator::signature::hs256_jwt;

    #[test]
    fn a_token_joins_groups_and_another_key_does_not() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let claims = json!({"aud": format!("https://contoso{PATH}"), "exp": stage.world.unix_ms / 1000 + 60,
            "role": ["webpubsub.joinLeaveGroup"]});
        let target = |key: &str| format!("{PATH}?access_token={}", hs256_jwt(key, &claims));
        let offer = [("Sec-WebSocket-Protocol", SUBPROTOCOL)];
        assert_eq!(stage.connect_with(&target("other"), &offer).err().unwrap().status, 401);
        assert_eq!(stage.connect_with(&target(KEY), &[]).err().unwrap().status, 400);
        let mut line = stage.connect_with(&target(KEY), &offer).ok().unwrap();
        for group in ["secret", "news", "sports"] {
            stage.say(&mut line, json!({"type": "joinGroup", "group": group, "ackId": 1}));
        }
        let heard = line.json();
        assert_eq!((&heard[0]["event"], &heard[1]["error"]["name"]), (&json!("connected"), &json!("Forbidden")));
        stage.pass(&mut line, seconds(10));
        assert_eq!(line.json().last().unwrap()["event"], "disconnected");
    }
}
