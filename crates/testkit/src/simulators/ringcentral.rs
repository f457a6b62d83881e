//! RingCentral notifications over WebSocket, after developers.ringcentral.com/guide/notifications/websockets.

use serde_json::json;

use super::{EARLY, HALF, time_iso, time_ms};
use crate::simulator::signature::base64;
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, json, seconds, strings,
};

const FILTER: &str = "/restapi/v1.0/account/~/extension/~/message-store";
const CLIENT_ID: &str = "rc-client-51";
const CLIENT_SECRET: &str = "rc-client-secret-9d0f";
const JWT: &str = "rc-jwt.eyJzdWIiOiIxIn0.c2ln";
const ACCESS: &str = "access";
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
            let body = String::from_utf8_lossy(&request.body).into_owned();
            if !body.contains(&format!("assertion={JWT}")) {
                let error = json!({"error": "invalid_grant", "error_description": "Invalid assertion"});
                return Answer::json(400, error);
            }
            Answer::json(200, json!({"access_token": world.issue(ACCESS), "token_type": "bearer", "expires_in": 3600}))
        }
        ("POST", "/restapi/oauth/wstoken") => {
            let token = request.bearer().unwrap_or_default();
            if world.issued.get(token).is_none_or(|what| what != ACCESS) {
                return Answer::json(401, json!({"errorCode": "TokenInvalid", "message": "Access token is not valid"}));
            }
            let ticket = world.issue(TICKET);
            let uri = format!("ws://{}/ws", world.host);
            Answer::json(200, json!({"uri": uri, "ws_access_token": ticket, "expires_in": 30}))
        }
        _ => Answer::json(404, json!({"errorCode": "CMN-101", "message": "Resource is not found"})),
    }
}

fn connect(request: &HttpRequest, world: &mut World) -> Result<Accepted, Answer> {
    if request.path() != "/ws" || !world.redeem_from(request, "access_token", TICKET) {
        return Err(Answer::text(401, "the token has been used or is not known"));
    }
    Accepted::by(RingCentral { subscribed: false })
}

struct RingCentral {
    subscribed: bool,
}

impl RingCentral {
    fn request(&mut self, id: &str, filters: &[&str], turn: &mut Turn<'_>) {
        let known = !filters.is_empty() && filters.iter().all(|filter| *filter == FILTER);
        let status = if known { 200 } else { 400 };
        let head = json!({"type": "ClientRequest", "messageId": id, "status": status, "wsc": {"token": "w-2"}});
        if !known {
            return turn.send(json!([head, {"errorCode": "SUB-505", "message": "Event filter is not found"}]));
        }
        self.subscribed = true;
        self.send(EARLY, turn);
        turn.send(json!([head, {"id": "s-1", "eventFilters": filters, "status": "Active"}]));
        self.send(HALF, turn);
    }

    fn send(&self, end: u64, turn: &mut Turn<'_>) {
        for n in turn.numbers_to(end) {
            let value = record(n).value;
            turn.send(format!(
                r#"[{{"type":"ServerNotification","messageId":"u-{n}","status":200,"wsc":{{"token":"w-{n}"}}}},{value}]"#
            ));
        }
    }
}

impl Peer for RingCentral {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        let head = json!({"type": "ConnectionDetails", "messageId": "m-0", "status": 200, "wsc": {"token": "w-1"}});
        turn.send(json!([head, {"creationTime": time_iso(0), "maxConnectionsPerSession": 5, "recoveryBufferSize": 100,
            "recoveryTimeout": 180, "idleTimeout": 600, "absoluteTimeout": 86400}]));
        turn.after_quick(seconds(600), "idle");
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
                turn.send(json!([{"type": "Heartbeat", "messageId": id, "status": 200, "wsc": {"token": "w-3"}}]));
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
}
