//! Bluesky Jetstream, both versions, after github.com/bluesky-social/jetstream (README, docs/README.md, there 5.1 and 5.2 for cursors).

use serde_json::json;

use super::{EARLY, HALF, time_iso, time_ms, turns};
use crate::simulator::history::Held;
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, seconds,
};

const COLLECTIONS: [&str; 2] = ["app.bsky.feed.post", "app.bsky.feed.like"];
const DIDS: [&str; 2] = ["did:plc:mcc5yghbk7tixqryac2yxku7", "did:plc:q235v55g5unth4zjjdpacfdr"];

pub(super) static V1: Simulator = Simulator {
    feed: "jetstream-v1",
    hosts: &[],
    right: &[(
        "websocket.url",
        "{ws}/subscribe?wantedCollections=app.bsky.feed.post&wantedCollections=app.bsky.feed.like&cursor={{cursor}}",
    )],
    beats: &[],
    wrong: &[Wrong {
        what: "a collection that is none",
        set: &[("websocket.url", "{ws}/subscribe?wantedCollections=posts")],
        words: "invalid subscriber options: invalid collection",
    }],
    record: record_v1,
    http: Simulator::no_http,
    connect: connect_v1,
};

pub(super) static V2: Simulator = Simulator {
    feed: "jetstream-v2",
    hosts: &[],
    right: &[(
        "websocket.url",
        "{ws}/xrpc/network.bsky.jetstream.subscribeEvents?collections=app.bsky.feed.post&collections=app.bsky.feed.like&cursor={{cursor}}",
    )],
    beats: &[],
    wrong: &[Wrong {
        what: "a collection that is none",
        set: &[("websocket.url", "{ws}/xrpc/network.bsky.jetstream.subscribeEvents?collections=posts")],
        words: "invalid collection",
    }],
    record: record_v2,
    http: Simulator::no_http,
    connect: connect_v2,
};

/// What both versions say of a commit.
fn commit(n: u64) -> String {
    format!(
        r#"{{"rev":"3mmoojp7vg{n}","operation":"create","collection":"{}","rkey":"3mmoojp7et{n}","cid":"bafy{n}"}}"#,
        turns(n, COLLECTIONS)
    )
}

fn record_v1(n: u64) -> Expected {
    let (did, time, seq, commit) = (turns(n, DIDS), time_us(n), seq(n), commit(n));
    let value = format!(r#"{{"did":"{did}","time_us":{time},"cursor":{seq},"kind":"commit","commit":{commit}}}"#);
    Expected::new(value, did, time_ms(n))
}

fn time_us(n: u64) -> u64 {
    time_ms(n) as u64 * 1000 + 431
}

/// Sequence numbers have holes.
fn seq(n: u64) -> u64 {
    24_647_190_112 + n * 3
}

/// The first record at or behind a cursor: below 10^15 it is a sequence number, from there on a time.
fn first_at(cursor: u64) -> u64 {
    match cursor {
        0..1_000_000_000_000_000 => cursor.saturating_sub(seq(0)).div_ceil(3),
        _ => cursor.saturating_sub(time_us(0)).div_ceil(1000),
    }
}

/// What the request's cursor gets; `None`: there is no cursor, or no history.
fn asked_for(request: &HttpRequest, world: &World) -> Option<(u64, Held)> {
    let first = first_at(request.query("cursor")?.parse().ok()?);
    Some((first, world.history.as_ref()?.held(first + 1)))
}

fn record_v2(n: u64) -> Expected {
    let (did, time, seq, commit) = (turns(n, DIDS), time_iso(n), seq(n), commit(n));
    let value = format!(
        r#"{{"$type":"network.bsky.jetstream.subscribeEvents#commit","seq":{seq},"did":"{did}","time":"{time}","commit":{commit}}}"#
    );
    Expected::new(value, did, time_ms(n))
}

/// Whether it is a name of the form `app.bsky.feed.post` or `app.bsky.feed.*`.
fn is_collection(name: &str) -> bool {
    name.matches('.').count() >= 2
}

fn connect_v1(request: &HttpRequest, world: &mut World) -> Result<Accepted, Answer> {
    if request.path() != "/subscribe" {
        return Err(Answer::json(404, json!({"message": "Not Found"})));
    }
    if let Some(name) = request.query("wantedCollections").filter(|name| !is_collection(name)) {
        return Err(Answer::text(400, format!("invalid subscriber options: invalid collection: {name}")));
    }
    // One that is too old is silently another one, and one in the future is none.
    let from = asked_for(request, world).and_then(|(first, held)| match held {
        Held::All => Some(first),
        Held::From(oldest) => Some(oldest),
        Held::Future => None,
    });
    Ok(Accepted { peer: Box::new(V1Peer { from }), subprotocol: None, deflate: true })
}

struct V1Peer {
    /// The first record that the client gets; `None`: those from now on.
    from: Option<u64>,
}

impl V1Peer {
    fn send(&self, end: u64, turn: &mut Turn<'_>) {
        for n in turn.numbers_to(end) {
            turn.send(record_v1(n).value);
        }
    }
}

impl Peer for V1Peer {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        if let Some(first) = self.from {
            turn.start_at(first);
        }
        self.send(EARLY, turn);
        self.send(HALF, turn);
        turn.after_quick(seconds(30), "ping");
    }

    /// The only message that a client may send changes the filters, which this one has in its address.
    fn text(&mut self, _: &str, turn: &mut Turn<'_>) {
        turn.refuse(1000, "failed to unmarshal subscriber sourced message");
    }

    fn published(&mut self, turn: &mut Turn<'_>) {
        self.send(RECORDS, turn);
    }

    fn time(&mut self, _: &'static str, turn: &mut Turn<'_>) {
        turn.ping();
        turn.after_quick(seconds(30), "ping");
        self.send(RECORDS, turn);
    }
}

fn connect_v2(request: &HttpRequest, world: &mut World) -> Result<Accepted, Answer> {
    if request.path() != "/xrpc/network.bsky.jetstream.subscribeEvents" {
        return Err(Answer::json(404, json!({"error": "MethodNotImplemented", "message": "Method Not Implemented"})));
    }
    if request.query("collections").is_some_and(|name| !is_collection(&name)) {
        return Err(Answer::json(400, json!({"error": "InvalidRequest", "message": "invalid collection"})));
    }
    match asked_for(request, world) {
        Some((_, Held::From(oldest))) => {
            let message = format!("cursor is too old; oldest is {}", seq(oldest));
            Err(Answer::json(400, json!({"error": "CursorTooOld", "message": message})))
        }
        Some((_, Held::Future)) => Accepted::by(V2Peer { from: None, info: Some("FutureCursor") }),
        Some((first, Held::All)) => Accepted::by(V2Peer { from: Some(first), info: None }),
        None => Accepted::by(V2Peer { from: None, info: None }),
    }
}

struct V2Peer {
    /// The first record that the client gets; `None`: those from now on.
    from: Option<u64>,
    /// What the client is told of its cursor.
    info: Option<&'static str>,
}

impl V2Peer {
    fn send(&self, end: u64, turn: &mut Turn<'_>) {
        for n in turn.numbers_to(end) {
            turn.send(format!(r#"{{"$type":"message","payload":{}}}"#, record_v2(n).value));
        }
    }
}

impl Peer for V2Peer {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        if let Some(first) = self.from {
            turn.start_at(first);
        }
        self.send(EARLY, turn);
        if let Some(name) = self.info {
            turn.send(json!({"$type": "message", "payload": {
                "$type": "network.bsky.jetstream.subscribeEvents#info", "name": name, "message": "from the live tip",
            }}));
        }
        self.send(HALF, turn);
        turn.after_quick(seconds(30), "slow");
    }

    fn published(&mut self, turn: &mut Turn<'_>) {
        self.send(RECORDS, turn);
    }

    fn planned_end(&mut self, turn: &mut Turn<'_>) {
        turn.send(json!({"$type": "error", "error": "ConsumerTooSlow", "message": "reader below floor rate"}));
        turn.close(1008, "ConsumerTooSlow");
    }

    fn text(&mut self, _: &str, turn: &mut Turn<'_>) {
        turn.refuse(1008, "the client sent a message");
    }

    /// The first connection is ended as that of a slow client is.
    fn time(&mut self, _: &'static str, turn: &mut Turn<'_>) {
        if turn.world.notices > 0 {
            return self.send(RECORDS, turn);
        }
        turn.world.notices += 1;
        self.planned_end(turn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::Action;
    use crate::simulator::rehearsal::Rehearsal;

    #[test]
    fn the_first_version_pings_and_wants_collections() {
        let mut stage = Rehearsal::of(&V1);
        let refused = stage.connect_with("/subscribe?wantedCollections=posts", &[]).err().unwrap();
        assert!(refused.status == 400 && refused.body.contains(V1.wrong[0].words));
        let mut line = stage.connect("/subscribe?wantedCollections=app.bsky.feed.post");
        assert_eq!(line.texts().len() as u64, HALF);
        stage.pass(&mut line, seconds(30));
        stage.is_over();
        assert_eq!(line.heard()[0], Action::Ping);
        stage.say(&mut line, "hello");
        assert!(matches!(line.end().1, Action::Close(1000, _)));
    }

    #[test]
    fn the_second_version_wants_silence() {
        let mut stage = Rehearsal::of(&V2);
        let target = "/xrpc/network.bsky.jetstream.subscribeEvents?collections=";
        assert_eq!(stage.connect_with(&format!("{target}posts"), &[]).err().unwrap().status, 400);
        let mut line = stage.connect(&format!("{target}app.bsky.feed.post"));
        stage.pass(&mut line, seconds(30));
        assert!(matches!(line.end().1, Action::Close(1008, _)));
        stage.connect(&format!("{target}app.bsky.feed.post")).texts();
        stage.is_over();
        let mut loud = stage.connect(&format!("{target}app.bsky.feed.post"));
        stage.say(&mut loud, "{}");
        assert!(matches!(loud.end().1, Action::Close(1008, _)));
    }
}
