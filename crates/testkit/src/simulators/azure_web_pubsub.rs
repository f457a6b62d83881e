//! Azure Web PubSub with the subprotocol json.reliable.webpubsub.azure.v1, after learn.microsoft.com/azure/azure-web-pubsub
//! (howto-develop-reliable-clients, reference-client-feature-spec).

use serde_json::json;

use super::{EARLY, HALF, turns};
use crate::simulator::session::RecoverableSession;
use crate::simulator::signature::hs256_claims;
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, json, seconds,
};

const GROUPS: [&str; 2] = ["news", "sports"];
const KEY: &str = "azure-access-key-71ce";
const PATH: &str = "/client/hubs/hub1";
/// What a reconnection token is given out for.
const RECONNECTION: &str = "reconnection";
const SUBPROTOCOL: &str = "json.reliable.webpubsub.azure.v1";

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
    if request.path() != PATH || !request.offers(SUBPROTOCOL) {
        return Err(Answer::text(400, "the hub or the subprotocol is not known"));
    }
    let accepted = |peer| Ok(Accepted { peer: Box::new(peer), subprotocol: Some(SUBPROTOCOL), deflate: false });
    if let Some(id) = request.query("awps_connection_id") {
        let is_known = world.redeem_from(request, "awps_reconnection_token", RECONNECTION)
            && world.sessions.get(&id).is_some_and(|session| session.generation == generation(world));
        return accepted(WebPubSub {
            id,
            may_join: true,
            state: if is_known { State::Recovered } else { State::Gone },
        });
    }
    let token = request.query("access_token").unwrap_or_default();
    let claims = hs256_claims(&token, KEY).unwrap_or_default();
    let now_s = world.unix_ms / 1000;
    let is_ours = claims["aud"].as_str().is_some_and(|aud| aud.ends_with(PATH));
    if !is_ours || claims["exp"].as_u64().is_none_or(|end| end <= now_s) {
        return Err(Answer::text(401, "the access token is not valid"));
    }
    let may_join = claims["role"].as_array().is_some_and(|roles| roles.contains(&json!("webpubsub.joinLeaveGroup")));
    let id = format!("az-{}", world.opened);
    world
        .sessions
        .insert(id.clone(), RecoverableSession { generation: generation(world), ..RecoverableSession::default() });
    accepted(WebPubSub { id, may_join, state: State::New })
}

fn generation(world: &World) -> String {
    world.history.as_ref().map(|history| history.named("")).unwrap_or_default()
}

struct WebPubSub {
    id: String,
    may_join: bool,
    state: State,
}

enum State {
    New,
    Recovered,
    /// There is no such session any more.
    Gone,
}

impl WebPubSub {
    fn session<'w>(&self, world: &'w mut World) -> &'w mut RecoverableSession {
        world.sessions.entry(self.id.clone()).or_default()
    }

    fn join(&mut self, message: &serde_json::Value, turn: &mut Turn<'_>) {
        let group = message["group"].as_str().unwrap_or_default();
        let success = self.may_join && GROUPS.contains(&group);
        let mut ack = json!({"type": "ack", "ackId": message["ackId"], "success": success});
        if !success {
            ack["error"] = json!({"name": "Forbidden", "message": format!("The client may not join {group}.")});
            return turn.send(ack);
        }
        turn.send(ack);
        let session = self.session(turn.world);
        let is_new = session.groups.insert(group.to_owned());
        match session.groups.len() {
            1 if is_new && turn.world.history.is_none() => self.send(EARLY, turn),
            2 if is_new => {
                self.send(HALF, turn);
                turn.after_quick(seconds(10), "more");
            }
            _ => {}
        }
    }

    fn send(&self, end: u64, turn: &mut Turn<'_>) {
        let numbers = turn.numbers_to(end);
        self.session(turn.world).next = Some(numbers.end);
        for n in numbers {
            let session = self.session(turn.world);
            session.sent.push(n);
            let sequence = session.sent.len();
            turn.send(message(n, sequence));
        }
    }

    /// Everything that is not acknowledged comes again, and what came meanwhile.
    fn recover(&self, turn: &mut Turn<'_>) {
        let session = self.session(turn.world);
        let (first, again) = (session.acknowledged, session.sent[session.acknowledged..].to_vec());
        turn.world.deliveries.note_sent_again(again.len() as u64);
        for (at, n) in again.into_iter().enumerate() {
            turn.send(message(n, first + at + 1));
        }
        if let Some(next) = self.session(turn.world).next {
            turn.start_at(next);
            self.send(HALF, turn);
        }
    }

    /// All up to this sequence id is acknowledged.
    fn acknowledge(&self, sequence: usize, turn: &mut Turn<'_>) {
        let session = self.session(turn.world);
        if sequence > session.sent.len() {
            return turn.fault("an acknowledgement of a message that was not sent");
        }
        let first = session.acknowledged.min(sequence);
        session.acknowledged = session.acknowledged.max(sequence);
        let acknowledged: Vec<u64> = session.sent[first..sequence].to_vec();
        acknowledged.into_iter().for_each(|n| turn.world.acknowledge(n));
    }

    fn say_connected(&self, turn: &mut Turn<'_>) {
        let token = turn.world.issue(RECONNECTION);
        let (kind, event) = ("system", "connected");
        turn.send(
            json!({"type": kind, "event": event, "userId": null, "connectionId": self.id, "reconnectionToken": token}),
        );
    }
}

fn message(n: u64, sequence: usize) -> String {
    let (group, data) = (turns(n, GROUPS), record(n).value);
    format!(
        r#"{{"sequenceId":{sequence},"type":"message","from":"group","fromUserId":"u1","group":"{group}","dataType":"json","data":{data}}}"#
    )
}

impl Peer for WebPubSub {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        match self.state {
            State::New => self.say_connected(turn),
            State::Recovered => {
                self.say_connected(turn);
                self.recover(turn);
            }
            State::Gone => turn.close(1008, "the connection cannot be recovered"),
        }
    }

    fn published(&mut self, turn: &mut Turn<'_>) {
        if self.session(turn.world).groups.len() == 2 {
            self.send(RECORDS, turn);
        }
    }

    fn planned_end(&mut self, turn: &mut Turn<'_>) {
        turn.send(json!({"type": "system", "event": "disconnected", "message": "the service is being updated"}));
        turn.after(seconds(30), "bye");
    }

    fn text(&mut self, text: &str, turn: &mut Turn<'_>) {
        let message = json(text);
        match message["type"].as_str() {
            Some("joinGroup") => self.join(&message, turn),
            Some("sequenceAck") => {
                let sequence = message["sequenceId"].as_u64().unwrap_or_default();
                self.acknowledge(sequence as usize, turn);
            }
            Some("leaveGroup") => turn.send(json!({"type": "ack", "ackId": message["ackId"], "success": true})),
            _ => turn.refuse(1003, "Invalid message"),
        }
    }

    fn time(&mut self, timer: &'static str, turn: &mut Turn<'_>) {
        if timer == "bye" {
            return turn.cut("the connection was still open after it was told to end");
        }
        if turn.world.notices > 0 || turn.world.history.is_some() {
            return self.send(RECORDS, turn);
        }
        self.send(HALF + 2, turn);
        turn.world.notices += 1;
        self.planned_end(turn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::Action;
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
        stage.say(&mut line, json!({"type": "sequenceAck", "sequenceId": 2}));
        stage.pass(&mut line, seconds(10));
        assert_eq!(line.json().last().unwrap()["event"], "disconnected");
        stage.hang_up(line);
        let token = heard[0]["reconnectionToken"].as_str().unwrap();
        let again = format!("{PATH}?awps_connection_id=az-0&awps_reconnection_token={token}");
        let mut line = stage.connect_with(&again, &offer).ok().unwrap();
        assert_eq!(line.json()[1]["sequenceId"], 3);
        stage.is_over();
        assert_eq!(stage.world.deliveries.acknowledged().len(), 2);
        let mut stale = stage.connect_with(&again, &offer).ok().unwrap();
        assert!(matches!(stale.end().1, Action::Close(1008, _)));
    }
}
