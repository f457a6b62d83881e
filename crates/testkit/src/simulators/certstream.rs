//! CertStream's Go server, after github.com/d-Rickyy-b/certstream-server-go.

use serde_json::json;

use super::{EARLY, HALF, time_ms, turns};
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, seconds,
};

const LOGS: [&str; 2] = ["https://ct.example.com/2026h1/", "https://ct.example.org/2026h1/"];

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "certstream",
    hosts: &[],
    right: &[("websocket.url", "{ws}/full-stream")],
    beats: &["websocket.ping.interval.ms"],
    wrong: &[Wrong {
        what: "a path that does not exist",
        set: &[("websocket.url", "{ws}/nothing")],
        words: "404 page not found",
    }],
    record,
    http: Simulator::no_http,
    connect,
};

/// Seen is in seconds with a fraction.
fn record(n: u64) -> Expected {
    let (log, fingerprint) = (turns(n, LOGS), format!("AB:CD:{n:02}"));
    let seen = format!("{}.{:03}", time_ms(n) / 1000, time_ms(n) % 1000);
    let value = format!(
        r#"{{"cert_index":{},"cert_link":"{log}ct/v1/get-entries?start={n}&end={n}","leaf_cert":{{"all_domains":["n{n}.example.com"],"fingerprint":"{fingerprint}"}},"seen":{seen},"source":{{"name":"Example","url":"{log}"}},"update_type":"X509LogEntry"}}"#,
        102_000_000 + n
    );
    Expected::new(value, fingerprint, time_ms(n))
}

fn connect(request: &HttpRequest, _: &mut World) -> Result<Accepted, Answer> {
    if !["/", "/full-stream", "/domains-only"].contains(&request.path()) {
        return Err(Answer::text(404, "404 page not found"));
    }
    Accepted::by(CertStream)
}

struct CertStream;

impl CertStream {
    fn send(&self, end: u64, turn: &mut Turn<'_>) {
        for n in turn.numbers_to(end) {
            turn.send(format!(r#"{{"message_type":"certificate_update","data":{}}}"#, record(n).value));
        }
    }
}

impl Peer for CertStream {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        self.send(EARLY, turn);
        turn.send(json!({"message_type": "heartbeat", "timestamp": 1_767_225_600.5}));
        self.send(HALF, turn);
        turn.after_quick(seconds(65), "no ping");
    }

    fn text(&mut self, _: &str, turn: &mut Turn<'_>) {
        turn.fault("a message of the client");
    }

    fn pinged(&mut self, turn: &mut Turn<'_>) {
        turn.after_quick(seconds(65), "no ping");
        self.send(RECORDS, turn);
    }

    fn time(&mut self, _: &'static str, turn: &mut Turn<'_>) {
        turn.cut("no ping for 65 seconds");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::Action;
    use crate::simulator::rehearsal::Rehearsal;

    #[test]
    fn pings_keep_the_connection_open() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        assert_eq!(stage.connect_with("/nothing", &[]).err().unwrap().body, SIMULATOR.wrong[0].words);
        let mut line = stage.connect("/full-stream");
        stage.pass(&mut line, seconds(60));
        stage.ping(&mut line);
        stage.is_over();
        line.texts();
        stage.pass(&mut line, seconds(65));
        assert_eq!(line.end().1, Action::Cut);
    }
}
