//! A tape: the messages of a WebSocket with times and directions, one JSON object per line. docs/reference/probe.md has
//! the format.
//!
//! Lines are only added. So a tape that was cut off can be used up to its last complete line.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use connect_websocket_engine::calendar::DateTime;
use connect_websocket_engine::observer::Message;
use connect_websocket_engine::record::epoch_ms;
use connect_websocket_engine::redact::Redactor;
use serde::{Deserialize, Serialize};

use crate::new_file;

/// The version of the format, so far the only one.
const FORM: u32 = 1;
/// The longest line. In base64, a message of 64 MiB needs a third more.
const MAX_LINE_BYTES: u64 = 128 << 20;
/// How often written lines are flushed to the file.
const FLUSH_INTERVAL: Duration = Duration::from_millis(200);

/// The first line.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The version of the format.
    pub tape: u32,
    /// When the tape begins, in UTC.
    pub recorded: String,
    /// The URL without secrets.
    pub url: String,
    /// The program that has written it.
    pub by: String,
}

/// Every other line: when, and what happened.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub struct Entry {
    /// Milliseconds since the tape began.
    pub ms: f64,
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// The opening handshake succeeded.
    Open {
        subprotocol: Option<String>,
        /// Whether permessage-deflate was agreed on.
        compression: bool,
    },
    /// The server sent a message.
    Received(Said),
    /// The client sent a message.
    Sent(Said),
    /// The server sent a Close.
    Close { code: Option<u16>, reason: String },
}

/// A message.
#[derive(Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The content in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binary: Option<String>,
    /// Whether a secret in it is hidden. A binary message is left out as a whole.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub redacted: bool,
}

/// Writes a tape.
pub struct Writer {
    file: BufWriter<File>,
    path: PathBuf,
    max_bytes: u64,
    bytes: u64,
    messages: u64,
    /// It has only its first line.
    is_blank: bool,
    full: bool,
    flushed: Instant,
    failure: Option<io::Error>,
}

/// A finished tape.
pub struct Written {
    pub path: String,
    pub messages: u64,
    pub bytes: u64,
    /// Whether it has reached its limit.
    pub full: bool,
}

impl Writer {
    /// Begins a tape of at most `max_bytes`. An existing file is not overwritten.
    ///
    /// # Errors
    /// A sentence: the file cannot be created.
    pub fn create(path: &Path, url: &str, max_bytes: u64) -> Result<Writer, String> {
        if path == Path::new("-") {
            return Err(
                "a tape cannot be written to standard output; name a file, or ./- for a file of that name".to_owned()
            );
        }
        let by = concat!("connect-websocket ", env!("CARGO_PKG_VERSION")).to_owned();
        let head = Head { tape: FORM, recorded: utc(SystemTime::now()), url: url.to_owned(), by };
        let least = serde_json::to_vec(&head).map_or(0, |line| line.len() as u64 + 1);
        if max_bytes < least {
            return Err(format!("a tape of {max_bytes} bytes has no room for its first line, which takes {least}"));
        }
        let file = new_file::create(path, format_args!("the tape {}", path.display()))?;
        let mut writer = Writer {
            file: BufWriter::new(file),
            path: path.to_owned(),
            max_bytes,
            bytes: 0,
            messages: 0,
            is_blank: true,
            full: false,
            flushed: Instant::now(),
            failure: None,
        };
        writer.line(&head);
        Ok(writer)
    }

    pub fn opened(&mut self, at: Duration, subprotocol: Option<&str>, compression: bool) {
        self.entry(at, What::Open { subprotocol: subprotocol.map(str::to_owned), compression });
    }

    /// Adds a message of the client, whose secrets are hidden already. The content of a binary message is not kept.
    pub fn sent(&mut self, at: Duration, text: Option<&str>) {
        let text = text.map(str::to_owned);
        let redacted = text.is_none();
        self.entry(at, What::Sent(Said { text, redacted, ..Said::default() }));
    }

    /// Adds a message of the server, and hides its secrets.
    pub fn received(&mut self, at: Duration, message: Message<'_>, redactor: &Redactor) {
        let said = said(message, redactor);
        if self.entry(at, What::Received(said)) {
            self.messages += 1;
        }
    }

    pub fn closed(&mut self, at: Duration, code: Option<u16>, reason: &str) {
        self.entry(at, What::Close { code, reason: reason.to_owned() });
    }

    /// Whether nothing more can be written.
    pub fn is_over(&self) -> bool {
        self.full || self.failure.is_some()
    }

    /// Ends the tape. A tape with only its first line is removed, because it would prevent the next attempt.
    ///
    /// # Errors
    /// A sentence: a line could not be written.
    pub fn end(mut self) -> Result<Option<Written>, String> {
        let path = self.path.display().to_string();
        let written = self.failure.take().map_or_else(|| self.file.flush(), Err);
        written.map_err(|error| {
            let bytes = self.file.get_ref().metadata().map_or(self.bytes, |file| file.len());
            format!("the tape {path} cannot be written: {error}; it ends after {bytes} bytes")
        })?;
        if self.is_blank && !self.full {
            let _ = fs::remove_file(&self.path);
            return Ok(None);
        }
        Ok(Some(Written { path, messages: self.messages, bytes: self.bytes, full: self.full }))
    }

    fn entry(&mut self, at: Duration, what: What) -> bool {
        let ms = (at.as_secs_f64() * 1e6).round() / 1e3;
        let is_written = self.line(&Entry { ms, what });
        self.is_blank &= !is_written;
        is_written
    }

    /// Returns whether the line was written.
    fn line(&mut self, line: &impl Serialize) -> bool {
        if self.is_over() {
            return false;
        }
        let mut bytes = match serde_json::to_vec(line) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.failure = Some(error.into());
                return false;
            }
        };
        bytes.push(b'\n');
        if self.bytes + bytes.len() as u64 > self.max_bytes {
            self.full = true;
            return false;
        }
        self.bytes += bytes.len() as u64;
        let mut written = self.file.write_all(&bytes);
        if self.flushed.elapsed() >= FLUSH_INTERVAL {
            self.flushed = Instant::now();
            written = written.and_then(|()| self.file.flush());
        }
        self.failure = written.err();
        self.failure.is_none()
    }
}

fn said(message: Message<'_>, redactor: &Redactor) -> Said {
    match message {
        Message::Text(text) => {
            let text = String::from_utf8_lossy(text);
            let hidden = redactor.hide_in_message(&text);
            Said { redacted: hidden != text, text: Some(hidden), binary: None }
        }
        Message::Binary(bytes) => {
            let text = String::from_utf8_lossy(bytes);
            if redactor.hide_in_message(&text) != text {
                return Said { redacted: true, ..Said::default() };
            }
            Said { binary: Some(BASE64.encode(bytes)), ..Said::default() }
        }
    }
}

/// Returns a time such as `2026-11-27T00:12:34.567Z`.
fn utc(time: SystemTime) -> String {
    let ms = epoch_ms(time);
    format!("{}.{:03}Z", DateTime::from_epoch_seconds(ms.div_euclid(1000)), ms.rem_euclid(1000))
}

/// The content of a tape.
#[derive(Debug)]
pub struct Tape {
    pub head: Head,
    pub entries: Vec<Entry>,
    /// Whether it was cut off in the middle of a line. That line is left out.
    pub cut: bool,
}

/// Returns whether a file begins as a tape of [`Writer`] does.
pub fn is_tape(begin: &[u8]) -> bool {
    without_mark(begin).starts_with(br#"{"tape":"#)
}

/// Returns the text without the byte order mark that some editors put before UTF-8. RFC 8259 §8.1 allows to ignore it.
fn without_mark(begin: &[u8]) -> &[u8] {
    begin.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(begin)
}

/// Reads a tape of at most `max_bytes`.
///
/// # Errors
/// A sentence: the file cannot be read, is too large, or is not a tape.
pub fn read(path: &Path, max_bytes: u64) -> Result<Tape, String> {
    let shown = path.display();
    let fails = |error: io::Error| format!("the tape {shown} cannot be read: {error}");
    let file = File::open(path).map_err(fails)?;
    let mut lines = BufReader::new(file.take(max_bytes + 1));
    let (mut head, mut entries, mut cut) = (None, Vec::new(), false);
    let (mut line, mut number, mut bytes) = (Vec::new(), 0u64, 0u64);
    loop {
        line.clear();
        let read = (&mut lines).take(MAX_LINE_BYTES).read_until(b'\n', &mut line).map_err(fails)?;
        bytes += read as u64;
        number += 1;
        if bytes > max_bytes {
            return Err(format!(
                "the tape {shown} has more than {max_bytes} bytes, which is the most that is replayed"
            ));
        }
        if read == 0 {
            break;
        }
        let whole = line.ends_with(b"\n");
        if !whole && read as u64 == MAX_LINE_BYTES {
            return Err(format!("line {number} of the tape {shown} has more than {MAX_LINE_BYTES} bytes"));
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let problem = match &head {
            None => head_of(without_mark(&line)).map(|found| head = Some(found)),
            Some(_) => entry(&line).map(|entry| entries.push(entry)),
        };
        match problem {
            Ok(()) => {}
            // The last line is not complete.
            Err(_) if !whole && head.is_some() => cut = true,
            Err(why) => {
                return Err(format!(
                    "line {number} of {shown} is not a line of a tape: {why}; `connect-websocket record` writes tapes"
                ));
            }
        }
    }
    let head: Head = head.ok_or_else(|| format!("{shown} is empty, so it is not a tape"))?;
    if head.tape != FORM {
        return Err(format!("the tape {shown} has the form {}; this program reads the form {FORM}", head.tape));
    }
    Ok(Tape { head, entries, cut })
}

/// Reads the first line.
fn head_of(line: &[u8]) -> Result<Head, String> {
    serde_json::from_slice(line).map_err(|error| why(&error))
}

/// Returns what is wrong with a line. The number of the line is that of the tape, and said already.
fn why(error: &serde_json::Error) -> String {
    error.to_string().replace("line 1 ", "")
}

/// Reads a line after the first.
fn entry(line: &[u8]) -> Result<Entry, String> {
    let entry: Entry = serde_json::from_slice(line).map_err(|error| match why(&error) {
        why if why.contains("enum What") => "it has none of open, received, sent and close".to_owned(),
        why => why,
    })?;
    if let What::Received(Said { binary: Some(binary), .. }) = &entry.what {
        BASE64.decode(binary).map_err(|error| format!("its binary is not base64: {error}"))?;
    }
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MUCH: u64 = 1 << 20;

    fn path(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("connect-websocket-tape-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        path
    }

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A tape of a text and a binary message.
    fn write(path: &Path, max_bytes: u64) -> Written {
        let redactor = Redactor::default();
        redactor.add("swordfish");
        let mut writer = Writer::create(path, "wss://feed.example/", max_bytes).unwrap();
        writer.opened(at(1), Some("v1"), true);
        writer.sent(at(2), Some("hello"));
        writer.received(at(3), Message::Text(r#"{"a":"swordfish"}"#.as_bytes()), &redactor);
        writer.received(at(4), Message::Binary(&[0, 255]), &redactor);
        writer.received(at(5), Message::Binary(b"\x00swordfish"), &redactor);
        writer.closed(at(6), Some(1000), "bye");
        writer.end().unwrap().unwrap()
    }

    #[test]
    fn a_tape_on_which_nothing_happened_is_removed() {
        let path = path("blank");
        let writer = Writer::create(&path, "ws://x", MUCH).unwrap();
        assert!(writer.end().unwrap().is_none());
        assert!(!path.exists(), "the next attempt can have its name");
        let mut writer = Writer::create(&path, "ws://x", MUCH).unwrap();
        writer.opened(at(1), None, false);
        assert_eq!(writer.end().unwrap().unwrap().messages, 0);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn what_is_written_is_read() {
        let path = path("whole");
        let written = write(&path, MUCH);
        assert_eq!((written.messages, written.full), (3, false));
        assert_eq!(written.bytes, std::fs::metadata(&path).unwrap().len());
        let tape = read(&path, MUCH).unwrap();
        assert_eq!((tape.head.tape, tape.head.url.as_str(), tape.cut), (1, "wss://feed.example/", false));
        let whats: Vec<What> = tape.entries.into_iter().map(|entry| entry.what).collect();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            whats,
            [
                What::Open { subprotocol: text("v1"), compression: true },
                What::Sent(Said { text: text("hello"), ..Said::default() }),
                What::Received(Said { text: text(r#"{"a":"***"}"#), redacted: true, binary: None }),
                What::Received(Said { binary: text("AP8="), ..Said::default() }),
                What::Received(Said { redacted: true, ..Said::default() }),
                What::Close { code: Some(1000), reason: "bye".to_owned() },
            ]
        );
        assert!(is_tape(&std::fs::read(&path).unwrap()) && !is_tape(b"{\"name\":\"tape\"}"));
        assert!(Writer::create(&path, "ws://x", MUCH).is_err_and(|why| why.contains("is there already")));
        assert!(Writer::create(Path::new("-"), "ws://x", MUCH).is_err_and(|why| why.contains("standard output")));
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_tape_that_an_editor_has_saved_with_a_byte_order_mark_and_crlf_is_read() {
        let path = path("mark");
        write(&path, MUCH);
        let whole = std::fs::read_to_string(&path).unwrap();
        let entries = read(&path, MUCH).unwrap().entries;
        std::fs::write(&path, format!("\u{feff}{}", whole.replace('\n', "\r\n"))).unwrap();
        let saved = read(&path, MUCH).unwrap();
        assert!(saved.entries == entries && !saved.cut && is_tape(&std::fs::read(&path).unwrap()));
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn an_error_has_one_number_of_a_line() {
        let path = path("wrong");
        write(&path, MUCH);
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, whole.replace(r#"{"ms":3.0"#, r#"{"ms":"3""#)).unwrap();
        let why = read(&path, MUCH).unwrap_err();
        assert!(why.starts_with("line 4 of ") && why.contains("expected f64 at column 9;"), "{why}");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_tape_that_was_cut_off_anywhere_is_good_up_to_there() {
        let path = path("cut");
        write(&path, MUCH);
        let whole = std::fs::read(&path).unwrap();
        let head = whole.iter().position(|&byte| byte == b'\n').unwrap();
        for len in head + 1..whole.len() {
            std::fs::write(&path, &whole[..len]).unwrap();
            let tape = read(&path, MUCH).unwrap_or_else(|why| panic!("{len}: {why}"));
            let lines = whole[..len].iter().filter(|&&byte| byte == b'\n').count() - 1;
            // A line without its end may be whole all the same.
            assert!(tape.entries.len() == lines || tape.entries.len() == lines + 1, "{len}");
            assert_eq!(tape.cut, tape.entries.len() == lines && whole[len - 1] != b'\n', "{len}");
        }
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_tape_does_not_grow_beyond_its_bound() {
        let path = path("full");
        let written = write(&path, 250);
        assert!(written.full && written.bytes <= 250 && written.messages < 3);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), written.bytes);
        assert!(!read(&path, MUCH).unwrap().cut);
        assert!(read(&path, 100).unwrap_err().contains("more than 100 bytes"));
        std::fs::remove_file(&path).unwrap();
        assert!(Writer::create(&path, "ws://x", 50).is_err_and(|why| why.contains("no room for its first line")));
        assert!(!path.exists(), "nothing is left behind");
    }

    #[test]
    fn what_is_no_tape_is_refused_with_its_line() {
        let path = path("none");
        let head = r#"{"tape":1,"recorded":"","url":"","by":""}"#;
        for (text, words) in [
            ("", "is empty"),
            ("{\"a\":1}\n", "line 1 of"),
            (&head.replace("1", "2"), "has the form 2"),
            (&format!("{head}\nnonsense\n{{\"ms\":1.0,\"close\":{{\"code\":null,\"reason\":\"\"}}}}\n"), "line 2 of"),
            (&format!("{head}\n{{\"ms\":1.0,\"sideways\":{{}}}}\n"), "none of open, received, sent and close"),
            (&format!("{head}\n{{\"ms\":1.0,\"received\":{{\"binary\":\"@\"}}}}\n"), "is not base64"),
        ] {
            std::fs::write(&path, text).unwrap();
            let why = read(&path, MUCH).unwrap_err();
            assert!(why.contains(words), "{text}: {why}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(read(&path, MUCH).unwrap_err().contains("cannot be read"));
    }
}
