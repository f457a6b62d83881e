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

fn http(request: &HttpRequest, world: &mut World) -> Answer {
    if !request.is_of_bearer(SECRET) {
        let error = json!({"error": {"code": "BadArgument", "message": "Invalid token or secret"}});
        return Answer::json(403, error);
    }
    if request.method() != "POST" || request.path() != "/v3/directline/conversations" {
        return Answer::json(404, json!({"error": {"code": "NotFound", "message": "no such path"}}));
    }
    let ticket = world.issue(STREAM);
    let url = format!("ws://{}/v3/directline/conversations/{CONVERSATION}/stream?watermark=-&t={ticket}", world.host);
    Answer::json(
        201,
        json!({
            "conversationId": CONVERSATION, "token": world.issue("token"), "expires_in": 1800, "streamUrl": url,
        }),
    )
}

fn connect(request: &HttpRequest, world: &mut World) -> Result<Accepted, Answer> {
    if !request.path().ends_with("/stream") || !world.redeem_from(request, "t", STREAM) {
        return Err(Answer::text(403, "the stream URL has been used or is not known"));
    }
    Accepted::by(DirectLine)
}

struct DirectLine;

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
        self.send(EARLY, turn);
        self.send(HALF, turn);
        turn.after_quick(seconds(15), "alive");
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
}
