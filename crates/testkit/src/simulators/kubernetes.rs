//! A Kubernetes watch, after kubernetes.io/docs/reference/using-api/api-concepts and apiserver/pkg/endpoints/handlers/watch.go.

use serde_json::json;

use super::{EARLY, HALF};
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, seconds,
};

const PATH: &str = "/api/v1/namespaces/default/events";
const TOKEN: &str = "kubernetes-token-4e1d";

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "kubernetes",
    hosts: &[],
    right: &[
        ("websocket.url", "{ws}/api/v1/namespaces/default/events?watch=1&allowWatchBookmarks=true"),
        ("websocket.auth.token", TOKEN),
    ],
    beats: &[],
    wrong: &[
        Wrong {
            what: "a token that is not known",
            set: &[("websocket.auth.token", "kubernetes-token-0000")],
            words: "Unauthorized",
        },
        Wrong {
            what: "a resource that does not exist",
            set: &[("websocket.url", "{ws}/api/v1/namespaces/default/nothing?watch=1")],
            words: "the server could not find the requested resource",
        },
    ],
    record,
    http: Simulator::no_http,
    connect,
};

fn record(n: u64) -> Expected {
    let kind = ["ADDED", "MODIFIED", "DELETED"][(n % 3) as usize];
    let (uid, version) = (format!("uid-{}", n / 3), 4000 + n * 7);
    let value = format!(
        r#"{{"type":"{kind}","object":{{"kind":"Event","apiVersion":"v1","metadata":{{"name":"e.{}","namespace":"default","uid":"{uid}","resourceVersion":"{version}"}},"message":"number {n}"}}}}"#,
        n / 3
    );
    Expected { timestamp: None, ..Expected::new(value, uid, 0) }
}

fn connect(request: &HttpRequest, _: &mut World) -> Result<Accepted, Answer> {
    if !request.is_of_bearer(TOKEN) {
        return Err(status(401, "Unauthorized", "Unauthorized"));
    }
    if request.path() != PATH {
        return Err(status(404, "the server could not find the requested resource", "NotFound"));
    }
    if request.header("Origin").is_none() {
        return Err(Answer::text(403, "null origin"));
    }
    Accepted::by(Kubernetes { bookmarks: request.query("allowWatchBookmarks").as_deref() == Some("true") })
}

fn status(code: u16, message: &str, reason: &str) -> Answer {
    Answer::json(
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason, "code": code}),
    )
}

struct Kubernetes {
    bookmarks: bool,
}

impl Kubernetes {
    fn send(&self, end: u64, turn: &mut Turn<'_>) {
        for n in turn.numbers_to(end) {
            turn.send(record(n).value);
        }
    }
}

impl Peer for Kubernetes {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        self.send(EARLY, turn);
        self.send(HALF, turn);
        turn.after_quick(seconds(60), "bookmark");
    }

    /// What a client says is thrown away.
    fn text(&mut self, _: &str, turn: &mut Turn<'_>) {
        turn.fault("a message of the client");
    }

    fn time(&mut self, _: &'static str, turn: &mut Turn<'_>) {
        if self.bookmarks {
            let object = json!({"kind": "Event", "apiVersion": "v1", "metadata": {"resourceVersion": "4100"}});
            turn.send(json!({"type": "BOOKMARK", "object": object}));
        }
        self.send(RECORDS, turn);
        turn.after_quick(seconds(60), "bookmark");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::rehearsal::Rehearsal;

    #[test]
    fn a_watch_wants_a_token_and_an_origin_and_has_bookmarks() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let bearer = format!("Bearer {TOKEN}");
        let target = format!("{PATH}?watch=1&allowWatchBookmarks=true");
        let status = |answer: Option<Answer>| answer.map(|answer| answer.status);
        assert_eq!(status(stage.connect_with(&target, &[]).err()), Some(401));
        let headers = [("Authorization", bearer.as_str()), ("Origin", "https://kubernetes.default.svc")];
        assert_eq!(status(stage.connect_with(&target, &headers[..1]).err()), Some(403));
        assert_eq!(status(stage.connect_with("/api/v1/nothing", &headers).err()), Some(404));
        let mut line = stage.connect_with(&target, &headers).ok().unwrap();
        line.texts();
        stage.pass(&mut line, seconds(60));
        assert_eq!(line.json()[0]["type"], "BOOKMARK");
        stage.is_over();
    }
}
