//! Bot Framework Direct Line 3.0, after learn.microsoft.com/azure/bot-service/rest-api (Direct Line API 3.0).

use serde_json::json;

use super::{EARLY, HALF, time_iso, time_ms};
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, seconds,
};

const SECRET: &str = "direct-line-secret-6f";
const CONVERSATION: &str = "c-1f2e";
const STREAM: &str = "stream";

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "direct-line",
    hosts: &["directline.botframework.com"],
    right: &[("websocket.secret.secret", SECRET)],
    beats: &[],
    wrong: &[Wrong {
        what: "a secret that is not known",
        set: &[("websocket.secret.secret", "direct-line-secret-00")],
        words: "Invalid token or secret",
    }],
    record,
    http,
    connect,
};

fn record(n: u64) -> Expected {
    let time = time_iso(n);
    let value = format!(
        r#"{{"type":"message","id":"{CONVERSATION}|{n:07}","timestamp":"{time}","conversation":{{"id":"{CONVERSATION}"}},"from":{{"id":"bot"}},"text":"hello {n}"}}"#
    );
    Expected::new(value, CONVERSATION, time_ms(n))
}

/// A conversation is another one after the service has forgotten it.
fn conversation(world: &World) -> String {
    world.history.as_ref().map_or_else(|| CONVERSATION.to_owned(), |history| history.named(CONVERSATION))
}

fn http(request: &HttpRequest, world: &mut World) -> Answer {
    if !request.is_of_bearer(SECRET) {
        let error = json!({"error": {"code": "BadArgument", "message": "Invalid token or secret"}});
        return Answer::json(403, error);
    }
    let id = conversation(world);
    match (request.method(), request.path().strip_prefix("/v3/directline/conversations")) {
        ("POST", Some("")) => stream_of(&id, "-", 201, world),
        ("GET", Some(path)) if path.strip_prefix('/') == Some(&id) => {
            // Without a watermark, only what happens from now on is sent.
            let watermark = request.query("watermark").unwrap_or_else(|| "-".to_owned());
            stream_of(&id, &watermark, 200, world)
        }
        _ => Answer::json(404, json!({"error": {"code": "BadArgument", "message": "Unknown conversation"}})),
    }
}

fn stream_of(id: &str, watermark: &str, status: u16, world: &mut World) -> Answer {
    let ticket = world.issue(STREAM);
    let url = format!("ws://{}/v3/directline/conversations/{id}/stream?watermark={watermark}&t={ticket}", world.host);
    let token = world.issue("token");
    Answer::json(status, json!({"conversationId": id, "token": token, "expires_in": 1800, "streamUrl": url}))
}

fn connect(request: &HttpRequest, world: &mut World) -> Result<Accepted, Answer> {
    if !request.path().ends_with("/stream") || !world.redeem_from(request, "t", STREAM) {
        return Err(Answer::text(403, "the stream URL has been used or is not known"));
    }
    Accepted::by(DirectLine { seen: request.query("watermark").and_then(|watermark| watermark.parse().ok()) })
}

struct DirectLine {
    /// The watermark: how many records the client has seen; `None`: only what happens from now on is sent.
    seen: Option<u64>,
}

impl DirectLine {
    fn send(&self, end: u64, turn: &mut Turn<'_>) {
        for pair in turn.pairs_to(end) {
            let watermark = pair.end;
            let activities: Vec<String> = pair.map(|n| record(n).value).collect();
            turn.send(format!(r#"{{"activities":[{}],"watermark":"{watermark}"}}"#, activities.join(",")));
        }
    }
}

impl Peer for DirectLine {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        if let Some(seen) = self.seen {
            turn.start_at(seen);
        }
        self.send(EARLY, turn);
        self.send(HALF, turn);
        turn.after_quick(seconds(15), "alive");
    }

    fn published(&mut self, turn: &mut Turn<'_>) {
        self.send(RECORDS, turn);
    }

    fn text(&mut self, _: &str, turn: &mut Turn<'_>) {
        turn.refuse(1008, "a client sends activities by HTTP");
    }

    fn time(&mut self, _: &'static str, turn: &mut Turn<'_>) {
        // An empty message says that the connection lives.
        turn.send("");
        self.send(RECORDS, turn);
        turn.after_quick(seconds(15), "alive");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::history::History;
    use crate::simulator::json;
    use crate::simulator::rehearsal::Rehearsal;

    #[test]
    fn a_stream_url_is_given_for_the_secret_and_good_once() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let line = "POST /v3/directline/conversations HTTP/1.1";
        let refused = stage.http(line, &[("Authorization", "Bearer other")], "");
        assert!(refused.status == 403 && refused.body.contains(SIMULATOR.wrong[0].words));
        let answer = stage.http(line, &[("Authorization", &format!("Bearer {SECRET}"))], "");
        let url = json(&answer.body)["streamUrl"].as_str().unwrap().to_owned();
        let target = url.strip_prefix("ws://127.0.0.1:1").unwrap();
        let mut open = stage.connect(target);
        assert!(stage.connect_with(target, &[]).is_err());
        assert_eq!(open.json()[0]["activities"].as_array().unwrap().len(), 2);
        stage.pass(&mut open, seconds(15));
        assert_eq!(open.texts()[0], "");
        stage.is_over();
    }

    #[test]
    fn a_conversation_is_taken_up_at_a_watermark_and_can_be_forgotten() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut history = History::new(100);
        history.publish(5, 0);
        stage.world.history = Some(history);
        let bearer = format!("Bearer {SECRET}");
        let again = format!("GET /v3/directline/conversations/{}?watermark=3 HTTP/1.1", conversation(&stage.world));
        let answer = stage.http(&again, &[("Authorization", &bearer)], "");
        let url = json(&answer.body)["streamUrl"].as_str().unwrap().to_owned();
        let mut open = stage.connect(url.strip_prefix("ws://127.0.0.1:1").unwrap());
        let heard = open.json();
        assert_eq!((&heard[0]["watermark"], &heard[0]["activities"][0]["text"]), (&json!("5"), &json!("hello 3")));
        stage.world.history.as_mut().unwrap().forget_sessions();
        assert_eq!(stage.http(&again, &[("Authorization", &bearer)], "").status, 404);
    }
}
