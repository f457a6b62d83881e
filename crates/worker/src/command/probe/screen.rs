//! Prints the lines of `probe`: for people, cut to the terminal's width and in colours, or as JSON.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use serde_json::Value;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::certificate::Certificate;
use super::count;
use super::figures::Summary;
use super::line::{AddressState, Kind, Line, Sample, StepState, Timed, harmless};
use crate::learn::{Certainty, Finding};

/// The width of a terminal that does not report it.
const USUAL_WIDTH: usize = 80;
/// The most lines of a sample that are shown.
const MAX_SAMPLE_LINES: usize = 24;
/// The indentation of a sample's lines.
const MARGIN: &str = "           ";

/// The form of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Screen {
    Json,
    /// `width`: the terminal's width. Without it, nothing is cut.
    People {
        width: Option<usize>,
        colours: bool,
    },
}

/// Colours of a terminal (ECMA-48 SGR).
#[derive(Clone, Copy)]
enum Colour {
    Bold,
    Dim,
    Red,
    Green,
    Cyan,
}

impl Screen {
    /// Returns standard output, a terminal or not. `NO_COLOR` (no-color.org), if it is not empty, and TERM=dumb turn
    /// colours off.
    pub(super) fn of_standard_output(json: bool) -> Screen {
        if json {
            return Screen::Json;
        }
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        let forbids = |name: &str, when: fn(&str) -> bool| std::env::var(name).is_ok_and(|value| when(&value));
        let forbidden = forbids("NO_COLOR", |value| !value.is_empty()) || forbids("TERM", |value| value == "dumb");
        let size = rustix::termios::tcgetwinsize(&stdout).ok();
        let width = size.map(|size| usize::from(size.ws_col)).filter(|&width| width > 0).unwrap_or(USUAL_WIDTH);
        Screen::People { width: is_terminal.then_some(width), colours: is_terminal && !forbidden }
    }

    /// Writes a line.
    ///
    /// # Errors
    /// The line cannot be written, for example because nobody reads it.
    pub(super) fn show(self, line: &Timed<'_>) -> io::Result<()> {
        let mut text = match self {
            Screen::Json => line.json(),
            Screen::People { .. } => self.text(line),
        };
        if text.is_empty() {
            return Ok(());
        }
        text.push('\n');
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()
    }

    /// Returns the line for people. It can have several lines on the screen.
    fn text(self, Timed { seconds, line }: &Timed<'_>) -> String {
        match line {
            Line::Summary(summary) => self.summary(summary),
            Line::Finding(finding) => self.finding(finding),
            Line::Result { reason, exit_code } => {
                let colour = if *exit_code == 0 { Colour::Green } else { Colour::Red };
                format!("\n{}", self.paint(colour, &harmless(reason)))
            }
            Line::Start { url, feed } => {
                self.cut(&match feed {
                    // A step of the session finds the address.
                    Some(feed) if url.starts_with("{{") => format!("probing the feed {feed}"),
                    Some(feed) => format!("probing {url} (feed {feed})"),
                    None => format!("probing {url}"),
                })
            }
            Line::Sample(sample) => self.sample(*seconds, sample),
            other => {
                let (what, says, colour) = event(other);
                let text = format!("{seconds:>8.3} s  {what:<11} {says}");
                let text = self.cut(&text);
                colour.map_or(text.clone(), |colour| self.paint(colour, &text))
            }
        }
    }

    fn sample(self, seconds: f64, sample: &Sample) -> String {
        let Sample { number, kind, bytes, key, topic, timestamp, headers, .. } = sample;
        let mut head = format!("{seconds:>8.3} s  message {number}, {}, {bytes} bytes", name_of(*kind));
        if let Some(key) = key {
            let _ = write!(head, ", key {key}");
        }
        if let Some(topic) = topic {
            let _ = write!(head, ", topic {topic}");
        }
        let _ = write!(head, ", timestamp {timestamp}");
        for (name, value) in headers {
            let _ = write!(head, ", {name}: {value}");
        }
        let mut shown = self.paint(Colour::Bold, &self.cut(&harmless(&head)));
        let lines = pretty(sample);
        for line in lines.iter().take(MAX_SAMPLE_LINES) {
            let line = self.cut(&format!("{MARGIN}{}", harmless(line)));
            let _ = write!(shown, "\n{}", self.name_painted(&line));
        }
        if lines.len() > MAX_SAMPLE_LINES {
            let more = lines.len() - MAX_SAMPLE_LINES;
            let _ = write!(shown, "\n{MARGIN}{}", self.paint(Colour::Dim, &format!("… and {more} lines more")));
        }
        shown
    }

    /// Returns the name of a JSON member in colour.
    fn name_painted(self, line: &str) -> String {
        let text = line.trim_start();
        let name = text.strip_prefix('"').and_then(|rest| rest.find("\": ").map(|end| &text[..end + 2]));
        match name {
            Some(name) => line.replacen(name, &self.paint(Colour::Cyan, name), 1),
            None => line.to_owned(),
        }
    }

    fn summary(self, summary: &Summary) -> String {
        let Summary { connected_seconds, connections, messages, text_messages, binary_messages, records, .. } = summary;
        let Summary { messages_per_second, bytes_per_second, size_p50, size_p99, size_max, server_pings, .. } = summary;
        let connections = if *connections > 1 { format!(", over {connections} connections") } else { String::new() };
        let compression = match summary.compression_saved_percent {
            Some(saved) => format!("saves {saved} % of the bytes"),
            None => "none".to_owned(),
        };
        let pings = match summary.server_ping_every_seconds {
            Some(every) => format!("{server_pings}, one every {every} s"),
            None => server_pings.to_string(),
        };
        let kinds = format!("({text_messages} text, {binary_messages} binary)");
        let rows = [
            ("connected", format!("{connected_seconds} s{connections}")),
            ("messages", format!("{messages} {kinds}, {messages_per_second} messages/s")),
            ("records", format!("{records}, as they would be in Kafka")),
            ("bytes", format!("{}, {bytes_per_second} bytes/s", summary.message_bytes)),
            ("size of a message", format!("p50 {size_p50}, p99 {size_p99}, max {size_max} bytes")),
            ("compression", compression),
            ("pings of server", pings),
            ("longest silence", format!("{} s", summary.longest_silence_seconds)),
        ];
        let rows = rows.iter().map(|(name, value)| self.cut(&format!("  {name:<17} {value}")));
        let title = format!("\n{}", self.paint(Colour::Bold, "summary"));
        // An error is worth more than one line of a terminal.
        let error = summary.first_error.as_ref().map(|first| {
            let look = if summary.errors == 1 { "looks like an error" } else { "look like errors, first" };
            let text = format!("  {:<17} {} {look}: {first}", "errors", count(summary.errors as u64));
            self.paint(Colour::Red, &harmless(&text))
        });
        std::iter::once(title).chain(rows).chain(error).collect::<Vec<_>>().join("\n")
    }

    /// Returns a finding as a part of a properties file. Everything except options is a comment.
    fn finding(self, finding: &Finding) -> String {
        let Finding { says, lines, certainty, others, caveat, .. } = finding;
        let word = match certainty {
            Certainty::Certain => "certain",
            Certainty::Likely => "likely",
            Certainty::Possible => "possible",
        };
        let mut shown = format!("\n{}", self.paint(Colour::Dim, &harmless(&format!("# {word}: {says}"))));
        for other in others {
            let _ = write!(shown, "\n{}", self.paint(Colour::Dim, &harmless(&format!("# also fits: {other}"))));
        }
        if let Some(caveat) = caveat {
            let _ = write!(shown, "\n{}", self.paint(Colour::Dim, &harmless(&format!("# check: {caveat}"))));
        }
        for line in lines {
            // Options that the messages alone cannot decide are comments too.
            let (begin, colour) =
                if *certainty == Certainty::Possible { ("#", Colour::Dim) } else { ("", Colour::Green) };
            let _ = write!(shown, "\n{}", self.paint(colour, &format!("{begin}{line}")));
        }
        shown
    }

    /// Cuts text to the terminal's width in columns. Some characters, such as 世, have two columns.
    fn cut(self, line: &str) -> String {
        let Screen::People { width: Some(width), .. } = self else { return line.to_owned() };
        if line.width() <= width {
            return line.to_owned();
        }
        let mut left = width.saturating_sub(1);
        let fits = |char: &char| {
            let columns = char.width().unwrap_or(0);
            let fits = columns <= left;
            left = left.saturating_sub(columns);
            fits
        };
        line.chars().take_while(fits).chain(['…']).collect()
    }

    fn paint(self, colour: Colour, text: &str) -> String {
        if !matches!(self, Screen::People { colours: true, .. }) {
            return text.to_owned();
        }
        let code = match colour {
            Colour::Bold => 1,
            Colour::Dim => 2,
            Colour::Red => 31,
            Colour::Green => 32,
            Colour::Cyan => 36,
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// Returns what happened as a word and a sentence, with its colour.
fn event(line: &Line) -> (&'static str, String, Option<Colour>) {
    let (what, says, colour) = match line {
        Line::Address { host, address, state, reason } => {
            let state = match (state, reason) {
                (AddressState::Trying, _) => format!("of {}: trying", host.as_deref().unwrap_or_default()),
                (AddressState::Connected, _) => "connected".to_owned(),
                (AddressState::Failed, reason) => format!("failed: {}", reason.as_deref().unwrap_or_default()),
            };
            ("address", format!("{address} {state}"), None)
        }
        Line::Certificate(Certificate { subject, issuer, valid_until, days_left }) => {
            let is_over = *days_left < 0;
            let (days, ago) = (days_left.unsigned_abs(), if is_over { " ago" } else { "" });
            let says = format!("of {subject}, issued by {issuer}, valid until {valid_until} ({days} days{ago})");
            ("certificate", says, is_over.then_some(Colour::Red))
        }
        Line::Tls { version, cipher } => ("TLS", format!("{version}, {cipher}"), None),
        Line::Redirect { url } => ("redirect", format!("to {url}"), None),
        Line::Handshake { status, subprotocol, compression } => {
            let subprotocol = subprotocol.as_deref().unwrap_or("none");
            let compression = if *compression { "permessage-deflate" } else { "none" };
            let colour = (*status != 101).then_some(Colour::Red);
            ("handshake", format!("status {status}, subprotocol {subprotocol}, compression {compression}"), colour)
        }
        Line::Step { step, state: StepState::Begun, .. } => ("step", format!("{step} begins"), None),
        Line::Step { step, state: StepState::Done, milliseconds } => {
            let after = milliseconds.map_or_else(String::new, |ms| format!(" after {ms} ms"));
            ("step", format!("{step} is done{after}"), None)
        }
        Line::Sent { step, kind, bytes, text } => {
            let text = text.as_ref().map_or_else(String::new, |text| format!(": {text}"));
            ("sent", format!("{step}, {}, {bytes} bytes{text}", name_of(*kind)), None)
        }
        Line::Request { step, method, url } => ("request", format!("{step}: {method} {url}"), None),
        Line::Answer { step, status, bytes } => {
            ("answer", format!("{step}: status {status}, {bytes} bytes"), (*status >= 400).then_some(Colour::Red))
        }
        Line::Heard { step, text, .. } => {
            ("heard", format!("{step}: {}", text.as_deref().unwrap_or("a binary message")), None)
        }
        Line::Close { code, reason } => {
            let code = code.map_or_else(|| "without a code".to_owned(), |code| code.to_string());
            ("close", format!("of the server: {code} {reason}"), Some(Colour::Red))
        }
        Line::Gap { cause, missed, key, from, to } => {
            let missed =
                missed.map_or_else(|| "messages may be missing".to_owned(), |n| format!("{n} messages are missing"));
            let which = match (key, from, to) {
                (Some(key), Some(from), Some(to)) => format!(", {from} to {to} of {key}"),
                _ => String::new(),
            };
            ("gap", format!("{missed}: {cause}{which}"), Some(Colour::Red))
        }
        Line::Ended { reason, planned, retry_milliseconds, .. } => {
            let retry = match retry_milliseconds {
                Some(ms) => format!("; next attempt in {ms} ms"),
                None => String::new(),
            };
            ("ended", format!("{reason}{retry}"), (!planned).then_some(Colour::Red))
        }
        Line::Tape { path, messages, bytes, full } => {
            let full = if *full { "; it is full (--max-bytes)" } else { "" };
            ("tape", format!("{path}: {}, {bytes} bytes{full}", count(*messages)), None)
        }
        Line::Start { .. } | Line::Sample(_) | Line::Summary(_) | Line::Finding(_) | Line::Result { .. } => {
            ("", String::new(), None)
        }
    };
    (what, harmless(&says), colour)
}

fn name_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Binary => "binary",
    }
}

/// Returns the lines of a sample: indented JSON, or the text as it is.
fn pretty(sample: &Sample) -> Vec<String> {
    let Some(text) = sample.text.as_ref().or(sample.base64.as_ref()) else { return Vec::new() };
    let json = serde_json::from_str::<Value>(text).ok().filter(|json| json.is_object() || json.is_array());
    let indented = json.and_then(|json| serde_json::to_string_pretty(&json).ok());
    indented.as_ref().unwrap_or(text).lines().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Screen = Screen::People { width: None, colours: false };

    fn sample(text: &str) -> Line {
        Line::Sample(Sample {
            number: 1,
            kind: Kind::Text,
            bytes: text.len(),
            text: Some(text.to_owned()),
            base64: None,
            cut: false,
            key: None,
            topic: None,
            timestamp: 17,
            headers: Vec::new(),
        })
    }

    fn shown(screen: Screen, line: &Line) -> String {
        screen.text(&Timed { seconds: 0.5, line })
    }

    #[test]
    fn a_certificate_that_has_ended_says_how_long_ago() {
        let certificate = |days_left| {
            let (subject, issuer) = ("feed.example".to_owned(), "CA".to_owned());
            Line::Certificate(Certificate {
                subject,
                issuer,
                valid_until: "2026-01-01T00:00:00Z".to_owned(),
                days_left,
            })
        };
        assert!(shown(PLAIN, &certificate(30)).contains("2026-01-01T00:00:00Z (30 days)"));
        assert!(shown(PLAIN, &certificate(-30)).contains("2026-01-01T00:00:00Z (30 days ago)"));
    }

    #[test]
    fn json_is_indented_and_exact() {
        let text = shown(PLAIN, &sample(r#"{"b":123456789012345678901234567890,"a":[1.10,{"c":null}]}"#));
        assert!(text.contains("\n             \"b\": 123456789012345678901234567890,\n"), "{text}");
        assert!(text.contains("1.10,\n"), "{text}");
        assert!(text.find("\"b\"") < text.find("\"a\""), "{text}");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let screen = Screen::People { width: Some(40), colours: false };
        let long = format!(r#"{{"a":"{}","世":"世{}"}}"#, "é".repeat(500), "世".repeat(30));
        let close = Line::Close { code: Some(1000), reason: "x".repeat(500) };
        for line in [sample(&long), sample(&"y".repeat(500)), close] {
            let text = shown(screen, &line);
            assert!(text.lines().all(|line| line.width() <= 40), "{text}");
            assert!(text.contains('…'), "{text}");
        }
    }

    #[test]
    fn a_long_sample_is_cut_and_says_so() {
        let array = format!("[{}]", (0..1000).map(|n| n.to_string()).collect::<Vec<_>>().join(","));
        let text = shown(PLAIN, &sample(&array));
        assert_eq!(text.lines().count(), 1 + MAX_SAMPLE_LINES + 1);
        assert!(text.contains("… and 978 lines more"), "{text}");
    }

    #[test]
    fn a_server_cannot_write_to_the_terminal() {
        let evil = "\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}";
        for line in [
            sample(evil),
            sample(&format!(r#"{{"{evil}":"{evil}"}}"#)),
            Line::Close { code: Some(1000), reason: evil.to_owned() },
            Line::Heard { step: "a".to_owned(), record: false, text: Some(evil.to_owned()) },
        ] {
            let text = shown(PLAIN, &line);
            assert!(!text.chars().any(|c| c != '\n' && (c.is_control() || c == '\u{202e}')), "{text:?}");
        }
    }

    #[test]
    fn what_is_only_possible_is_a_comment() {
        let finding = |certainty| {
            Line::Finding(Finding {
                about: crate::learn::About::Cursor,
                says: "it may be".to_owned(),
                lines: vec![crate::learn::Line { key: "websocket.cursor", value: "{{/n}}".to_owned() }],
                certainty,
                others: vec!["/m".to_owned()],
                caveat: Some("the documentation".to_owned()),
            })
        };
        let text = shown(PLAIN, &finding(Certainty::Possible));
        assert_eq!(
            text,
            "\n# possible: it may be\n# also fits: /m\n# check: the documentation\n#websocket.cursor={{/n}}"
        );
        assert!(shown(PLAIN, &finding(Certainty::Likely)).ends_with("\nwebsocket.cursor={{/n}}"));
    }

    #[test]
    fn colours_are_there_if_they_are_wanted() {
        let line = sample(r#"{"price":"1"}"#);
        let coloured = shown(Screen::People { width: Some(80), colours: true }, &line);
        assert!(coloured.contains("\u{1b}[36m\"price\"\u{1b}[0m: \"1\""), "{coloured:?}");
        assert!(!shown(PLAIN, &line).contains('\u{1b}'));
    }
}
