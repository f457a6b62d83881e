//! The firehose of the AT Protocol, after atproto.com/specs/event-stream.

use serde_json::json;

use super::{EARLY, HALF};
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, seconds,
};

const PATH: &str = "/xrpc/com.atproto.sync.subscribeRepos";

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "atproto-firehose",
    hosts: &["bsky.network"],
    right: &[],
    beats: &[],
    wrong: &[Wrong {
        what: "a stream that does not exist",
        set: &[("websocket.url", "{ws}/xrpc/com.atproto.sync.nothing")],
        words: "Not Found",
    }],
    record,
    http: Simulator::no_http,
    connect,
};

/// A header, `{"op": 1, "t": "#commit"}`, and a body, `{"seq": n}`, both in CBOR (RFC 8949).
fn frame(n: u64) -> Vec<u8> {
    let mut frame = b"\xa2\x62op\x01\x61t\x67#commit\xa1\x63seq\x19".to_vec();
    frame.extend((256 + n as u16).to_be_bytes());
    frame
}

fn record(n: u64) -> Expected {
    Expected { value: String::from_utf8_lossy(&frame(n)).into_owned(), key: None, topic: None, timestamp: None }
}

fn connect(request: &HttpRequest, _: &mut World) -> Result<Accepted, Answer> {
    if request.path() != PATH {
        return Err(Answer::json(404, json!({"message": "Not Found"})));
    }
    Accepted::by(Firehose)
}

struct Firehose;

impl Firehose {
    fn send(&self, end: u64, turn: &mut Turn<'_>) {
        for n in turn.numbers_to(end) {
            turn.send_binary(frame(n));
        }
    }
}

impl Peer for Firehose {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        self.send(EARLY, turn);
        self.send(HALF, turn);
        turn.after(seconds(1), "more");
    }

    fn text(&mut self, _: &str, turn: &mut Turn<'_>) {
        turn.refuse(1008, "the client sent a message");
    }

    fn time(&mut self, _: &'static str, turn: &mut Turn<'_>) {
        self.send(RECORDS, turn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::Action;
    use crate::simulator::rehearsal::Rehearsal;

    #[test]
    fn frames_are_two_objects_and_the_client_is_silent() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        assert!(stage.connect_with("/xrpc/nothing", &[]).err().unwrap().body.contains(SIMULATOR.wrong[0].words));
        let mut line = stage.connect(PATH);
        assert_eq!(line.heard()[0], Action::Binary(frame(0)));
        stage.pass(&mut line, seconds(1));
        stage.is_over();
        line.heard();
        stage.say(&mut line, "{}");
        assert!(matches!(line.end().1, Action::Close(1008, _)));
    }
}
