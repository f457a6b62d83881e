//! `connect-websocket replay`: serves a tape as a WebSocket server, for bug reports and tests. It listens on loopback
//! only.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use connect_websocket_testkit::{Accept, Close, Handshake, Play, Script, Server, Step};
use tokio::runtime::Builder;

use crate::command::interrupt::Interrupt;
use crate::command::probe::{count, harmless};
use crate::command::say::say;
use crate::tape::{self, Entry, Said, Tape, What};

/// The command line or the tape is wrong, or the output cannot be written.
pub const USAGE: u8 = 2;
/// The largest tape. It is kept in memory while it is replayed.
const MAX_TAPE_BYTES: u64 = 1 << 30;
/// How long to wait for a message from the client where the tape has one. Its content does not matter.
const PATIENCE_MS: u64 = 2000;
/// The longest reason of a Close (RFC 6455 §5.5). On the tape it can be longer, because parts are hidden or escaped.
const MAX_REASON: usize = 123;

#[derive(Args)]
pub struct Options {
    /// The tape of `record` or `probe --save`.
    #[arg(value_name = "tape.jsonl")]
    tape: PathBuf,
    /// How many times faster than recorded.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = speed)]
    speed: f64,
    /// Repeats the tape on each connection, without an end.
    #[arg(long = "loop")]
    again: bool,
    /// The port to listen on. 0 means any free port.
    #[arg(long, default_value_t = 0)]
    port: u16,
}

fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse::<f64>().ok().filter(|speed| (0.001..=1_000_000.0).contains(speed));
    speed.ok_or_else(|| "give a factor from 0.001 to 1000000, such as 10".to_owned())
}

/// Serves the tape until a signal ends it.
pub fn run(options: &Options) -> ExitCode {
    match serve(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{}", harmless(&why));
            ExitCode::from(USAGE)
        }
    }
}

fn serve(options: &Options) -> Result<(), String> {
    let tape = tape::read(&options.tape, MAX_TAPE_BYTES)?;
    let shown = harmless(&options.tape.display().to_string());
    let messages = tape.entries.iter().filter(|entry| matches!(entry.what, What::Received(_))).count() as u64;
    let left_out = tape.entries.iter().filter(|entry| is_left_out(entry)).count();
    // The tape may come from somebody else, so its texts are made safe to print.
    let (url, recorded, cut) = (harmless(&tape.head.url), harmless(&tape.head.recorded), tape.cut);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
    let server = Server::bind(address, script(tape, options.speed, options.again))
        .map_err(|error| format!("port {} of 127.0.0.1 cannot be listened on: {error}", options.port))?;
    let mut said = format!("{shown}: {} of {url}, recorded {recorded}\n", count(messages));
    if cut {
        said.push_str("the tape was cut off: its last line is not whole, and is left out\n");
    }
    if left_out > 0 {
        said.push_str(&format!(
            "left out are binary messages in which a secret was, because the tape does not have them: {left_out}\n"
        ));
    }
    said.push_str(&format!("serving it at {}\nCtrl-C ends it.", server.url()));
    // The program that has started it may not read its output.
    say(said)?;
    wait_for_signal()?;
    server.stop();
    Ok(())
}

fn wait_for_signal() -> Result<(), String> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot listen for signals: {error}"))?;
    runtime.block_on(async {
        Interrupt::listen()?.came().await;
        Ok(())
    })
}

fn is_left_out(entry: &Entry) -> bool {
    matches!(&entry.what, What::Received(Said { text: None, binary: None, .. }))
}

/// Returns what the server does. Each connection to it gets one connection of the tape, and after the last one the
/// first again. With `again`, every connection gets the whole tape, repeated without an end.
fn script(tape: Tape, speed: f64, again: bool) -> Script {
    let mut connections: Vec<Recorded> = Vec::new();
    for Entry { ms, what } in tape.entries {
        if let What::Open { subprotocol, .. } = what {
            connections.push(Recorded { chooses: subprotocol.is_some(), began: ms, ..Recorded::default() });
            continue;
        }
        // A tape whose beginning was cut off has no `open`, but its messages belong to a connection.
        if connections.is_empty() {
            connections.push(Recorded { began: ms, ..Recorded::default() });
        }
        if let Some(connection) = connections.last_mut() {
            connection.add(ms, what, speed);
        }
    }
    if again {
        let chooses = connections.iter().any(|connection| connection.chooses);
        let mut steps: Vec<Step> = connections.into_iter().flat_map(|connection| connection.steps).collect();
        steps.retain(|step| !matches!(step, Step::Close(_)));
        // Repeating an empty tape must not keep a processor busy.
        steps.push(Step::Wait { ms: 1 });
        return Script::plays([play(chooses, vec![Step::Loop { count: None, steps }])]);
    }
    let plays: Vec<Play> = connections.into_iter().map(Recorded::play).collect();
    Script { plays, repeat_from: Some(0) }
}

/// One connection of a tape.
#[derive(Default)]
struct Recorded {
    /// Whether the server chose a subprotocol.
    chooses: bool,
    /// When it was opened, in milliseconds of the tape.
    began: f64,
    /// The time of the steps so far, in milliseconds of the replay.
    waited: u64,
    steps: Vec<Step>,
}

impl Recorded {
    fn add(&mut self, ms: f64, what: What, speed: f64) {
        let due = ((ms - self.began).max(0.0) / speed) as u64;
        if due > self.waited {
            self.steps.push(Step::Wait { ms: due - self.waited });
            self.waited = due;
        }
        match what {
            What::Received(Said { text: Some(text), .. }) => {
                self.steps.push(Step::SendText { text, fragments: 1, ping_between: false });
            }
            What::Received(Said { binary: Some(base64), .. }) => self.steps.push(Step::SendBinary { base64 }),
            What::Sent(Said { text: Some(_), .. }) => self.steps.push(Step::Hear { timeout_ms: PATIENCE_MS }),
            What::Close { code, mut reason } => {
                reason.truncate(reason.floor_char_boundary(MAX_REASON));
                self.steps.push(Step::Close(Close { code, reason, ..Close::default() }));
            }
            What::Received(_) | What::Sent(_) | What::Open { .. } => {}
        }
    }

    fn play(mut self) -> Play {
        if !matches!(self.steps.last(), Some(Step::Close(_))) {
            let reason = "the end of the tape is reached".to_owned();
            self.steps.push(Step::Close(Close { code: Some(1000), reason, ..Close::default() }));
        }
        play(self.chooses, self.steps)
    }
}

fn play(chooses: bool, steps: Vec<Step>) -> Play {
    // The first one that the client offers.
    let subprotocol = chooses.then(|| "*".to_owned());
    let accept = Accept { subprotocol, no_pages: true, ..Accept::default() };
    Play { handshake: Handshake::Accept(accept), steps, ..Play::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tape::Head;

    fn tape(entries: Vec<(f64, What)>) -> Tape {
        let head = Head { tape: 1, recorded: String::new(), url: String::new(), by: String::new() };
        Tape { head, entries: entries.into_iter().map(|(ms, what)| Entry { ms, what }).collect(), cut: false }
    }

    fn open() -> What {
        What::Open { subprotocol: None, compression: false }
    }

    fn text(text: &str) -> What {
        What::Received(Said { text: Some(text.to_owned()), ..Said::default() })
    }

    fn kinds(play: &Play) -> Vec<String> {
        play.steps
            .iter()
            .map(|step| match step {
                Step::Wait { ms } => format!("wait {ms}"),
                Step::SendText { text, .. } => text.clone(),
                Step::Hear { .. } => "hear".to_owned(),
                Step::Close(close) => format!("close {}", close.code.unwrap_or_default()),
                other => format!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn times_are_those_of_each_connection_divided_by_the_speed() {
        let close = What::Close { code: Some(1001), reason: String::new() };
        let said = What::Sent(Said { text: Some("hello".to_owned()), ..Said::default() });
        let entries = vec![
            (100.0, open()),
            (100.0, said),
            (300.0, text("a")),
            (350.0, close),
            (9000.0, open()),
            (9020.0, text("b")),
        ];
        let Script { plays, repeat_from } = script(tape(entries), 10.0, false);
        assert_eq!(repeat_from, Some(0));
        assert_eq!(kinds(&plays[0]), ["hear", "wait 20", "a", "wait 5", "close 1001"]);
        assert_eq!(kinds(&plays[1]), ["wait 2", "b", "close 1000"]);
    }

    #[test]
    fn a_reason_fits_into_its_frame() {
        let close = What::Close { code: Some(1000), reason: "é".repeat(100) };
        let script = script(tape(vec![(0.0, close)]), 1.0, false);
        let [Step::Close(close)] = &script.plays[0].steps[..] else { panic!("{script:?}") };
        assert_eq!(close.reason, "é".repeat(61));
    }

    #[test]
    fn a_loop_is_one_connection_without_an_end() {
        let close = What::Close { code: Some(1001), reason: String::new() };
        let script = script(
            tape(vec![(0.0, open()), (0.0, text("a")), (0.0, close), (5.0, open()), (5.0, text("b"))]),
            1.0,
            true,
        );
        let [Step::Loop { count: None, steps }] = &script.plays[0].steps[..] else { panic!("{script:?}") };
        assert_eq!(steps.iter().filter(|step| matches!(step, Step::SendText { .. })).count(), 2);
        assert!(!steps.iter().any(|step| matches!(step, Step::Close(_))));
    }
}
