//! A Kubernetes watch, after kubernetes.io/docs/reference/using-api/api-concepts and apiserver/pkg/endpoints/handlers/watch.go.

use serde_json::{Value, json};

use super::{EARLY, HALF};
use crate::simulator::history::Held;
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, seconds,
};

const PATH: &str = "/api/v1/namespaces/default/events";
const TOKEN: &str = "kubernetes-token-4e1d";

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "kubernetes",
    hosts: &[],
    right: &[
        (
            "websocket.url",
            "{ws}/api/v1/namespaces/default/events?watch=1&allowWatchBookmarks=true&resourceVersion={{cursor}}",
        ),
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
    let (uid, version) = (format!("uid-{}", n / 3), version(n));
    let value = format!(
        r#"{{"type":"{kind}","object":{{"kind":"Event","apiVersion":"v1","metadata":{{"name":"e.{}","namespace":"default","uid":"{uid}","resourceVersion":"{version}"}},"message":"number {n}"}}}}"#,
        n / 3
    );
    Expected { timestamp: None, ..Expected::new(value, uid, 0) }
}

fn version(n: u64) -> u64 {
    4000 + n * 7
}

fn connect(request: &HttpRequest, world: &mut World) -> Result<Accepted, Answer> {
    if !request.is_of_bearer(TOKEN) {
        return Err(status(401, "Unauthorized", "Unauthorized"));
    }
    if request.path() != PATH {
        return Err(status(404, "the server could not find the requested resource", "NotFound"));
    }
    if request.header("Origin").is_none() {
        return Err(Answer::text(403, "null origin"));
    }
    let version = request.query("resourceVersion").and_then(|text| text.parse::<u64>().ok());
    let from = version.map(|version| version.saturating_sub(4000) / 7 + 1);
    let is_gone = |next| world.history.as_ref().is_some_and(|history| matches!(history.held(next), Held::From(_)));
    Accepted::by(Kubernetes {
        bookmarks: request.query("allowWatchBookmarks").as_deref() == Some("true"),
        is_gone: from.is_some_and(is_gone),
        from,
    })
}

fn status(code: u16, message: &str, reason: &str) -> Answer {
    Answer::json(code, status_object(code, message, reason))
}

fn status_object(code: u16, message: &str, reason: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason, "code": code})
}

struct Kubernetes {
    bookmarks: bool,
    /// The first change that the watch asks for; `None`: what exists, and all changes from now on.
    from: Option<u64>,
    /// The server does not have it any more.
    is_gone: bool,
}

impl Kubernetes {
    fn send(&self, end: u64, turn: &mut Turn<'_>) {
        for n in turn.numbers_to(end) {
            turn.send(record(n).value);
        }
    }

    fn bookmark(&self, version: u64, turn: &mut Turn<'_>) {
        if self.bookmarks {
            let metadata = json!({"resourceVersion": version.to_string()});
            turn.send(
                json!({"type": "BOOKMARK", "object": {"kind": "Event", "apiVersion": "v1", "metadata": metadata}}),
            );
        }
    }
}

impl Peer for Kubernetes {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        if self.is_gone {
            let gone = status_object(410, "too old resource version", "Expired");
            turn.send(json!({"type": "ERROR", "object": gone}));
            return turn.close(1000, "");
        }
        // In a history every object is deleted again before anybody asks what exists.
        if let Some(first) = self.from.filter(|_| turn.world.history.is_some()) {
            turn.start_at(first);
        }
        self.send(EARLY, turn);
        self.send(HALF, turn);
        turn.after_quick(seconds(60), "bookmark");
    }

    /// What a client says is thrown away.
    fn text(&mut self, _: &str, turn: &mut Turn<'_>) {
        turn.fault("a message of the client");
    }

    fn published(&mut self, turn: &mut Turn<'_>) {
        self.send(RECORDS, turn);
        if let Some(last) = turn.place.and_then(|next| next.checked_sub(1)) {
            self.bookmark(version(last), turn);
        }
    }

    fn planned_end(&mut self, turn: &mut Turn<'_>) {
        turn.close(1000, "");
    }

    fn time(&mut self, _: &'static str, turn: &mut Turn<'_>) {
        if turn.world.history.is_none() {
            self.bookmark(4100, turn);
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
