//! RingCentral notifications over WebSocket, after developers.ringcentral.com/guide/notifications/websockets.

use serde_json::{Value, json};

use super::{EARLY, HALF, time_iso, time_ms};
use crate::simulator::history::Held;
use crate::simulator::signature::base64;
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, json, seconds, strings,
};

const FILTER: &str = "/restapi/v1.0/account/~/extension/~/message-store";
const CLIENT_ID: &str = "rc-client-51";
const CLIENT_SECRET: &str = "rc-client-secret-9d0f";
const JWT: &str = "rc-jwt.eyJzdWIiOiIxIn0.c2ln";
const ACCESS: &str = "access";
const REFRESH: &str = "refresh";
const TICKET: &str = "ticket";

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "ringcentral",
    hosts: &["platform.ringcentral.com"],
    right: &[
        ("websocket.subscription.topics", FILTER),
        ("websocket.secret.client_id", CLIENT_ID),
        ("websocket.secret.client_secret", CLIENT_SECRET),
        ("websocket.secret.jwt", JWT),
    ],
    beats: &["websocket.session.beat.every.ms"],
    wrong: &[
        Wrong {
            what: "a client secret that is not the client's",
            set: &[("websocket.secret.client_secret", "rc-client-secret-0000")],
            words: "Invalid client",
        },
        Wrong {
            what: "an event filter that does not exist",
            set: &[("websocket.subscription.topics", "/restapi/v1.0/nothing")],
            words: "Event filter is not found",
        },
    ],
    record,
    http,
    connect,
};

fn record(n: u64) -> Expected {
    let time = time_iso(n);
    let value = format!(
        r#"{{"uuid":"u-{n}","event":"{FILTER}","timestamp":"{time}","subscriptionId":"s-1","body":{{"newCount":{n}}}}}"#
    );
    Expected::new(value, FILTER, time_ms(n))
}

fn http(request: &HttpRequest, world: &mut World) -> Answer {
    match (request.method(), request.path()) {
        ("POST", "/restapi/oauth/token") => {
            let basic = format!("Basic {}", base64(format!("{CLIENT_ID}:{CLIENT_SECRET}").as_bytes()));
            if request.header("Authorization") != Some(&basic) {
                return Answer::json(401, json!({"error": "invalid_client", "error_description": "Invalid client"}));
            }
            log_in(&String::from_utf8_lossy(&request.body), world)
        }
        ("POST", "/restapi/oauth/wstoken") => {
            let session = request.bearer().and_then(|token| session_of(token, ACCESS, world));
            let Some(session) = session else {
                return Answer::json(401, json!({"errorCode": "TokenInvalid", "message": "Access token is not valid"}));
            };
            let ticket = world.issue(&format!("{TICKET}.{session}"));
            let uri = format!("ws://{}/ws", world.host);
            Answer::json(200, json!({"uri": uri, "ws_access_token": ticket, "expires_in": 30}))
        }
        _ => Answer::json(404, json!({"errorCode": "CMN-101", "message": "Resource is not found"})),
    }
}

/// A JWT begins an OAuth session, a refresh token goes on with one; it is good once.
fn log_in(body: &str, world: &mut World) -> Answer {
    let parameter = |name: &str| body.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let refused = |words: &str| Answer::json(400, json!({"error": "invalid_grant", "error_description": words}));
    let session = match parameter("refresh_token") {
        Some(token) => {
            let session = session_of(token, REFRESH, world);
            session.filter(|session| world.redeem(token, &format!("{REFRESH}.{session}")))
        }
        None if parameter("assertion") == Some(JWT) => Some(world.given_out.len().to_string()),
        None => return refused("Invalid assertion"),
    };
    let Some(session) = session else { return refused("Token not found") };
    let (access, refresh) = (world.issue(&format!("{ACCESS}.{session}")), world.issue(&format!("{REFRESH}.{session}")));
    Answer::json(
        200,
        json!({
            "access_token": access, "token_type": "bearer", "expires_in": 3600,
            "refresh_token": refresh, "refresh_token_expires_in": 604_800,
        }),
    )
}

/// The OAuth session that a token of this kind belongs to.
fn session_of(token: &str, kind: &str, world: &World) -> Option<String> {
    world.issued.get(token)?.strip_prefix(kind)?.strip_prefix('.').map(str::to_owned)
}

fn connect(request: &HttpRequest, world: &mut World) -> Result<Accepted, Answer> {
    let ticket = request.query("access_token").unwrap_or_default();
    let session = session_of(&ticket, TICKET, world).filter(|_| request.path() == "/ws");
    let Some(session) = session.filter(|session| world.redeem(&ticket, &format!("{TICKET}.{session}"))) else {
        return Err(Answer::text(401, "the token has been used or is not known"));
    };
    let recovery = request.query("wsc").map(|token| recovered(&token, &session, world));
    Accepted::by(RingCentral { session, recovery, subscribed: false })
}

/// The first record that a connection gets that comes with the token of one before, in the same OAuth session; `None`: its
/// session cannot be recovered.
fn recovered(wsc: &str, session: &str, world: &World) -> Option<u64> {
    let history = world.history.as_ref()?;
    let next = wsc.strip_prefix(&format!("{}-", wsc_prefix(session, world)))?.parse().ok()?;
    (history.held(next) == Held::All).then_some(next)
}

/// What the tokens of a session begin with.
fn wsc_prefix(session: &str, world: &World) -> String {
    world.history.as_ref().map_or_else(|| "w".to_owned(), |history| history.named(&format!("w{session}g")))
}

struct RingCentral {
    /// The OAuth session.
    session: String,
    /// The client has asked for recovery: the first record that it gets, if that is possible.
    recovery: Option<Option<u64>>,
    subscribed: bool,
}

impl RingCentral {
    /// The session's token at the record before this one, and a number that grows.
    fn wsc(&self, next: u64, turn: &Turn<'_>) -> Value {
        json!({"token": format!("{}-{next}", wsc_prefix(&self.session, turn.world)), "sequence": next + 1})
    }

    /// The token after all that was sent on this connection.
    fn wsc_now(&self, turn: &Turn<'_>) -> Value {
        let published = turn.world.history.as_ref().map_or(turn.world.sent(), |history| history.published());
        self.wsc(turn.place.unwrap_or(published), turn)
    }

    fn request(&mut self, id: &str, filters: &[&str], turn: &mut Turn<'_>) {
        let known = !filters.is_empty() && filters.iter().all(|filter| *filter == FILTER);
        let status = if known { 200 } else { 400 };
        let head = json!({"type": "ClientRequest", "messageId": id, "status": status, "wsc": self.wsc_now(turn)});
        if !known {
            return turn.send(json!([head, {"errorCode": "SUB-505", "message": "Event filter is not found"}]));
        }
        if std::mem::replace(&mut self.subscribed, true) {
            turn.fault("subscribed twice in one session");
        }
        self.send(EARLY, turn);
        turn.send(json!([head, {"id": "s-1", "eventFilters": filters, "status": "Active"}]));
        self.send(HALF, turn);
    }

    fn send(&self, end: u64, turn: &mut Turn<'_>) {
        for n in turn.numbers_to(end) {
            let (wsc, value) = (self.wsc(n + 1, turn), record(n).value);
            turn.send(format!(
                r#"[{{"type":"ServerNotification","messageId":"u-{n}","status":200,"wsc":{wsc}}},{value}]"#
            ));
        }
    }
}

impl Peer for RingCentral {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        if let Some(Some(next)) = self.recovery {
            turn.start_at(next);
        }
        let head = json!({"type": "ConnectionDetails", "messageId": "m-0", "status": 200, "wsc": self.wsc_now(turn)});
        let mut details = json!({"creationTime": time_iso(0), "maxConnectionsPerSession": 5,
            "recoveryBufferSize": 100, "recoveryTimeout": 180, "idleTimeout": 600, "absoluteTimeout": 86400});
        if let Some(recovery) = self.recovery {
            details["recoveryState"] = if recovery.is_some() { "Successful" } else { "Failed" }.into();
        }
        turn.send(json!([head, details]));
        // The subscriptions are those of the session.
        if let Some(Some(_)) = self.recovery {
            self.subscribed = true;
            self.send(RECORDS, turn);
        }
        turn.after_quick(seconds(600), "idle");
    }

    fn published(&mut self, turn: &mut Turn<'_>) {
        if self.subscribed {
            self.send(RECORDS, turn);
        }
    }

    fn text(&mut self, text: &str, turn: &mut Turn<'_>) {
        turn.after_quick(seconds(600), "idle");
        let message = json(text);
        let id = message[0]["messageId"].as_str().unwrap_or_default();
        match message[0]["type"].as_str() {
            _ if id.is_empty() => {
                turn.send(json!([{"type": "Error", "status": 400}, {"message": "messageId is missing"}]))
            }
            Some("ClientRequest") => self.request(id, &strings(&message[1]["eventFilters"]), turn),
            Some("Heartbeat") => {
                let wsc = self.wsc_now(turn);
                turn.send(json!([{"type": "Heartbeat", "messageId": id, "status": 200, "wsc": wsc}]));
                if self.subscribed {
                    self.send(RECORDS, turn);
                }
            }
            _ => turn.send(json!([{"type": "Error", "messageId": id, "status": 400}, {"message": "unknown type"}])),
        }
    }

    fn time(&mut self, _: &'static str, turn: &mut Turn<'_>) {
        turn.refuse(1008, "idle for ten minutes");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::history::History;
    use crate::simulator::rehearsal::Rehearsal;

    #[test]
    fn two_tokens_then_a_ticket_that_is_good_once() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let basic = |secret: &str| format!("Basic {}", base64(format!("{CLIENT_ID}:{secret}").as_bytes()));
        let body = format!("grant_type=jwt&assertion={JWT}");
        let oauth = "POST /restapi/oauth/token HTTP/1.1";
        let refused = stage.http(oauth, &[("Authorization", &basic("other"))], &body);
        assert!(refused.status == 401 && refused.body.contains(SIMULATOR.wrong[0].words));
        let access =
            json(&stage.http(oauth, &[("Authorization", &basic(CLIENT_SECRET))], &body).body)["access_token"].clone();
        let bearer = format!("Bearer {}", access.as_str().unwrap());
        let answer = json(&stage.http("POST /restapi/oauth/wstoken HTTP/1.1", &[("Authorization", &bearer)], "").body);
        let target = format!("/ws?access_token={}", answer["ws_access_token"].as_str().unwrap());
        let mut line = stage.connect(&target);
        assert!(stage.connect_with(&target, &[]).is_err());
        stage.say(
            &mut line,
            json!([{"type": "ClientRequest", "messageId": "1"}, {"eventFilters": ["/restapi/nothing"]}]),
        );
        assert_eq!(line.json()[1][1]["message"], SIMULATOR.wrong[1].words);
        stage.say(&mut line, json!([{"type": "ClientRequest", "messageId": "2"}, {"eventFilters": [FILTER]}]));
        stage.say(&mut line, json!([{"type": "Heartbeat", "messageId": "3"}]));
        stage.is_over();
    }
    #[test]
    fn a_session_is_recovered_by_its_token_in_the_same_oauth_session_alone() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut history = History::new(100);
        history.publish(5, 0);
        stage.world.history = Some(history);
        let basic = format!("Basic {}", base64(format!("{CLIENT_ID}:{CLIENT_SECRET}").as_bytes()));
        let mut log_in = |body: &str| {
            let answer = stage.http("POST /restapi/oauth/token HTTP/1.1", &[("Authorization", &basic)], body);
            (answer.status, json(&answer.body))
        };
        let (_, own) = log_in(&format!("assertion={JWT}"));
        let refresh = format!("grant_type=refresh_token&refresh_token={}", own["refresh_token"].as_str().unwrap());
        let ((_, renewed), (used, _)) = (log_in(&refresh), log_in(&refresh));
        assert_eq!(used, 400);
        let (_, other) = log_in(&format!("assertion={JWT}"));
        let mut details = |tokens: &Value, wsc: &str| {
            let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
            let answer = stage.http("POST /restapi/oauth/wstoken HTTP/1.1", &[("Authorization", &bearer)], "");
            let ticket = json(&answer.body)["ws_access_token"].clone();
            stage.connect(&format!("/ws?access_token={}{wsc}", ticket.as_str().unwrap())).json()
        };
        let wsc = details(&own, "")[0][0]["wsc"]["token"].as_str().unwrap().to_owned();
        let wsc = format!("&wsc={}3", wsc.strip_suffix('5').unwrap());
        let again = details(&renewed, &wsc);
        assert_eq!((&again[0][1]["recoveryState"], again.len()), (&json!("Successful"), 3));
        assert_eq!(details(&other, &wsc)[0][1]["recoveryState"], "Failed");
    }
}
