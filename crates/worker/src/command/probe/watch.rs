//! What `probe` sees of a session, and what it says of it. Every text passes the redactor here.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use connect_websocket_engine::config_def::Properties;
use connect_websocket_engine::gap::{Cause, Gap};
use connect_websocket_engine::observer::{Message, Observer, Sight};
use connect_websocket_engine::record::{Batch, Key, Record, ValueKind};
use connect_websocket_engine::redact::Redactor;

use super::certificate::Certificate;
use super::figures::{Figures, Summary, rounded};
use super::line::{AddressState, Kind, Line, Sample, StepState, Timed};
use super::screen::Screen;
use crate::convert;
use crate::learn::{self, Errors, Learner};
use crate::tape::Writer;

/// The most bytes of a message that are shown.
const MAX_SHOWN_BYTES: usize = 64 << 10;
/// The most characters of a step's messages that are shown.
const MAX_WORDS: usize = 1000;
/// The most characters of an error message that the summary shows.
const MAX_ERROR: usize = 300;
/// How often a repeated step is shown.
const MAX_REPEATS: u32 = 3;

/// The observer of a session. The session and the command use it, on one thread.
pub(super) struct Watch(Mutex<State>);

/// A message that is not on the tape yet.
enum Untaped {
    ReceivedText(Vec<u8>),
    ReceivedBinary(Vec<u8>),
    SentText(String),
    SentBinary,
}

struct State {
    began: Instant,
    screen: Screen,
    redactor: Arc<Redactor>,
    /// How many samples are shown.
    samples: u64,
    figures: Figures,
    learner: Learner,
    tape: Option<Writer>,
    /// Messages for the tape. They are written when all secrets in them are known.
    untaped: Vec<(Duration, Untaped)>,
    /// How many records the session has made.
    made: u64,
    /// How many of them were polled.
    records: u64,
    /// The beginning of the last message.
    last: Vec<u8>,
    /// When each step began.
    steps: HashMap<String, Instant>,
    /// How often each kind of line about a step was shown.
    repeats: HashMap<(&'static str, String), u32>,
    /// Why the first connection has failed.
    failure: Option<String>,
    /// On some connection, all steps were done.
    was_ready: bool,
    /// A step failed before that, perhaps after some messages.
    is_refused: bool,
    /// What the connection is waiting for.
    stage: Option<String>,
    /// Why the output could not be written.
    unread: Option<ErrorKind>,
    /// When the probe ended. What happens later is a consequence of the connector's Close.
    end: Option<Duration>,
}

impl Watch {
    /// `options`: the given options, with which findings are compared.
    pub(super) fn new(
        screen: Screen,
        redactor: Arc<Redactor>,
        options: Properties,
        samples: u64,
        tape: Option<Writer>,
    ) -> Watch {
        Watch(Mutex::new(State {
            began: Instant::now(),
            screen,
            redactor,
            samples,
            figures: Figures::default(),
            learner: Learner::started_at(SystemTime::now()).under(options),
            tape,
            untaped: Vec::new(),
            made: 0,
            records: 0,
            last: Vec::new(),
            steps: HashMap::new(),
            repeats: HashMap::new(),
            failure: None,
            was_ready: false,
            is_refused: false,
            stage: None,
            unread: None,
            end: None,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn say(&self, line: &Line) {
        self.state().say(line);
    }

    /// Takes polled records.
    pub(super) fn records_of(&self, batch: &Batch) {
        let mut state = self.state();
        batch.iter().for_each(|record| state.record(&record));
    }

    /// Returns the reason, if a step failed before all were done, or the feed has refused or could not be reached before the
    /// first message.
    pub(super) fn refused(&self) -> Option<String> {
        let state = self.state();
        state.failure.clone().filter(|_| state.is_refused || state.records == 0)
    }

    /// Returns whether an opening handshake has succeeded.
    pub(super) fn is_opened(&self) -> bool {
        self.state().figures.is_opened()
    }

    pub(super) fn messages(&self) -> u64 {
        self.state().figures.messages()
    }

    pub(super) fn records(&self) -> u64 {
        self.state().records
    }

    /// Returns why the output could not be written, if that is so.
    pub(super) fn unread(&self) -> Option<ErrorKind> {
        self.state().unread
    }

    /// Returns a step that is not done.
    pub(super) fn step_under_way(&self) -> Option<String> {
        self.state().steps.keys().min().cloned()
    }

    /// Returns what is waited for on the way to a connection.
    pub(super) fn stage(&self) -> Option<String> {
        self.state().stage.clone()
    }

    /// Returns whether nothing more can be written to the tape.
    pub(super) fn tape_is_over(&self) -> bool {
        self.state().tape.as_ref().is_some_and(Writer::is_over)
    }

    /// Ends the probe. What follows is not counted.
    pub(super) fn finish(&self) {
        let mut state = self.state();
        let now = state.began.elapsed();
        state.end.get_or_insert(now);
    }

    /// Returns the results up to the end.
    pub(super) fn summary(&self, errors: Option<&Errors>) -> Summary {
        let mut state = self.state();
        let (end, records) = (state.end.unwrap_or_else(|| state.began.elapsed()), state.records);
        Summary {
            errors: errors.map_or(0, |errors| errors.count),
            first_error: errors.map(|errors| errors.first.clone()),
            ..state.figures.summary(end, records)
        }
    }

    /// Returns the messages that look like errors.
    pub(super) fn errors(&self) -> Option<Errors> {
        let state = self.state();
        let errors = state.learner.errors()?;
        let first = cut(&state.redactor.hide_in_message(&errors.first), MAX_ERROR);
        Some(Errors { first, ..errors })
    }

    /// Returns the findings.
    pub(super) fn findings(&self) -> Vec<learn::Finding> {
        let state = self.state();
        let mut findings = state.learner.findings();
        findings.iter_mut().for_each(|finding| hide_secrets(finding, &state.redactor));
        findings
    }

    /// Ends the tape, if there is one.
    ///
    /// # Errors
    /// It could not be written.
    pub(super) fn end_tape(&self) -> Result<Option<Line>, String> {
        let mut state = self.state();
        state.write_untaped();
        let ended = state.tape.take().map(Writer::end).transpose()?.flatten();
        Ok(ended.map(|tape| Line::Tape {
            path: tape.path,
            messages: tape.messages,
            bytes: tape.bytes,
            full: tape.full,
        }))
    }
}

impl Observer for Watch {
    fn saw(&self, sight: Sight<'_>) {
        let mut state = self.state();
        if state.end.is_none() {
            state.saw(sight);
        }
    }
}

impl State {
    fn say(&mut self, line: &Line) {
        let seconds = rounded(self.began.elapsed().as_secs_f64(), 3);
        let shown = self.screen.show(&Timed { seconds, line });
        self.unread = self.unread.or(shown.err().map(|error| error.kind()));
    }

    /// Prints a line about a step, unless it was repeated often enough.
    fn say_of(&mut self, what: &'static str, step: &str, line: &Line) {
        let repeats = self.repeats.entry((what, step.to_owned())).or_default();
        *repeats = repeats.saturating_add(1);
        if *repeats <= MAX_REPEATS || self.screen == Screen::Json {
            self.say(line);
        }
    }

    fn saw(&mut self, sight: Sight<'_>) {
        let now = self.began.elapsed();
        match sight {
            Sight::Trying { whose, address } => {
                self.stage = Some(format!("{address} has not answered"));
                self.address(Some(whose), address, AddressState::Trying, None);
            }
            Sight::Reached(address) => {
                self.stage = Some(format!("{address} is connected, and has not answered the handshake"));
                self.address(None, address, AddressState::Connected, None);
            }
            Sight::Unreachable(address, why) => self.address(None, address, AddressState::Failed, Some(why)),
            Sight::Certificate(der) => self.certificate(der),
            Sight::Tls { version, cipher } => {
                self.say(&Line::Tls { version: version.to_owned(), cipher: cipher.to_owned() });
            }
            Sight::Redirected(url) => self.say(&Line::Redirect { url: url.to_owned() }),
            Sight::Handshake { status, subprotocol, compression } => {
                let subprotocol = subprotocol.map(|chosen| self.redactor.foreign(chosen, MAX_WORDS));
                if status == 101 {
                    self.figures.opened(now, compression);
                    self.learner.connected(now);
                    if let Some(tape) = &mut self.tape {
                        tape.opened(now, subprotocol.as_deref(), compression);
                    }
                }
                self.say(&Line::Handshake { status, subprotocol, compression });
            }
            Sight::StepBegan { step } => {
                self.steps.insert(step.to_owned(), Instant::now());
                let line = Line::Step { step: step.to_owned(), state: StepState::Begun, milliseconds: None };
                self.say_of("begun", step, &line);
            }
            Sight::StepDone { step } => {
                let took = self.steps.remove(step).map(|began| rounded(began.elapsed().as_secs_f64() * 1000.0, 1));
                let line = Line::Step { step: step.to_owned(), state: StepState::Done, milliseconds: took };
                self.say_of("done", step, &line);
            }
            Sight::Sent { step, message } => self.sent(now, step, message),
            Sight::Requested { step, method, url } => {
                // The query may contain a token.
                let url = self.redactor.hide(url.split('?').next().unwrap_or_default());
                let line = Line::Request { step: step.to_owned(), method: method.to_owned(), url };
                self.say_of("request", step, &line);
            }
            Sight::Answered { step, status, bytes } => {
                self.say_of("answer", step, &Line::Answer { step: step.to_owned(), status, bytes });
            }
            Sight::Part(message) => self.part(now, message),
            Sight::Record { text, is_kept } => {
                self.made += u64::from(is_kept);
                self.learner.record(text, is_kept);
            }
            Sight::Heard { step, is_record } => {
                if !is_record {
                    self.learner.dropped();
                }
                let text = readable(&self.last).map(|text| self.words(&self.redactor.hide_in_message(text)));
                self.say_of("heard", step, &Line::Heard { step: step.to_owned(), record: is_record, text });
            }
            Sight::Read(bytes) => {
                self.write_untaped();
                self.figures.read(bytes);
            }
            Sight::Received(message) => self.received(now, message),
            Sight::Ping => self.figures.ping(now),
            Sight::Close { code, reason } => {
                let reason = self.redactor.foreign(reason, MAX_WORDS);
                self.write_untaped();
                if let Some(tape) = &mut self.tape {
                    tape.closed(now, code, &reason);
                }
                self.say(&Line::Close { code, reason });
            }
            Sight::Gap(gap) => self.gap(gap),
            Sight::Ended { cause, sentence, retry, planned, ready } => {
                self.was_ready |= ready;
                self.ended(now, cause, sentence, retry, planned);
            }
        }
    }

    fn address(&mut self, host: Option<&str>, address: SocketAddr, state: AddressState, reason: Option<&str>) {
        let hide = |text: &str| self.redactor.hide(text);
        let (host, reason) = (host.map(hide), reason.map(hide));
        self.say(&Line::Address { host, address: address.to_string(), state, reason });
    }

    fn certificate(&mut self, der: &[u8]) {
        let Some(mut certificate) = Certificate::read(der, SystemTime::now()) else { return };
        for text in [&mut certificate.subject, &mut certificate.issuer] {
            *text = self.redactor.foreign(text, MAX_WORDS);
        }
        self.say(&Line::Certificate(certificate));
    }

    fn gap(&mut self, gap: &Gap) {
        let hide = |text: &String| self.words(&self.redactor.hide_in_message(text));
        let range = gap.range.as_ref();
        let line = Line::Gap {
            cause: gap.cause.as_str(),
            missed: gap.missed,
            key: range.map(|range| hide(&range.key)),
            from: range.map(|range| hide(&range.from)),
            to: range.map(|range| hide(&range.to)),
        };
        self.say(&line);
    }

    fn sent(&mut self, now: Duration, step: &str, message: Message<'_>) {
        let bytes = message.bytes().len();
        let (kind, text, untaped) = match message {
            Message::Text(text) => {
                let text = String::from_utf8_lossy(text).into_owned();
                (Kind::Text, Some(self.redactor.hide_in_own_message(&text)), Untaped::SentText(text))
            }
            // A compressed message cannot be searched for secrets.
            Message::Binary(_) => (Kind::Binary, None, Untaped::SentBinary),
        };
        self.tape_later(now, || untaped);
        let text = text.map(|text| self.words(&text));
        self.say_of("sent", step, &Line::Sent { step: step.to_owned(), kind, bytes, text });
    }

    fn received(&mut self, now: Duration, message: Message<'_>) {
        let (bytes, is_text) = (message.bytes(), matches!(message, Message::Text(_)));
        self.figures.message(now, is_text, bytes.len());
        self.learner.received(now);
        // The steps have finished the message before it.
        self.write_untaped();
        self.tape_later(now, || match message {
            Message::Text(text) => Untaped::ReceivedText(text.to_vec()),
            Message::Binary(data) => Untaped::ReceivedBinary(data.to_vec()),
        });
    }

    fn part(&mut self, now: Duration, message: Message<'_>) {
        let bytes = message.bytes();
        self.last.clear();
        self.last.extend_from_slice(&bytes[..bytes.len().min(MAX_SHOWN_BYTES)]);
        let message = match message {
            Message::Text(text) => std::str::from_utf8(text).map(learn::Message::Text),
            Message::Binary(data) => Ok(learn::Message::Binary(data)),
        };
        self.learner.part(now, message.unwrap_or(learn::Message::Binary(bytes)));
    }

    fn tape_later(&mut self, at: Duration, message: impl FnOnce() -> Untaped) {
        if self.tape.is_some() {
            self.untaped.push((at, message()));
        }
    }

    /// Writes to the tape. A failure ends the tape, and is reported at its end.
    fn write_untaped(&mut self) {
        let Some(tape) = &mut self.tape else { return };
        for (at, message) in self.untaped.drain(..) {
            match message {
                Untaped::ReceivedText(text) => tape.received(at, Message::Text(&text), &self.redactor),
                Untaped::ReceivedBinary(data) => tape.received(at, Message::Binary(&data), &self.redactor),
                Untaped::SentText(text) => tape.sent(at, Some(&self.redactor.hide_in_own_message(&text))),
                Untaped::SentBinary => tape.sent(at, None),
            }
        }
    }

    fn ended(&mut self, now: Duration, cause: Cause, sentence: &str, retry: Option<Duration>, planned: bool) {
        self.write_untaped();
        self.figures.closed(now);
        // A silent feed has not refused.
        if !planned && cause != Cause::IdleTimeout {
            self.failure.get_or_insert_with(|| sentence.to_owned());
        }
        if cause == Cause::StepFailed && !self.was_ready && !self.is_refused {
            self.is_refused = true;
            self.failure = Some(sentence.to_owned());
        }
        // If the feed has refused, there is no further attempt.
        let retry = retry.filter(|_| !self.is_refused && (self.failure.is_none() || self.figures.messages() > 0));
        let retry_milliseconds = retry.map(|retry| retry.as_millis() as u64);
        let (cause, reason) = (cause.as_str(), sentence.to_owned());
        self.say(&Line::Ended { cause, reason, planned, retry_milliseconds });
    }

    fn record(&mut self, record: &Record<'_>) {
        if self.end.is_some() && self.records >= self.made {
            return;
        }
        self.records += 1;
        if self.records <= self.samples {
            let line = Line::Sample(self.sample(record));
            self.say(&line);
        }
    }

    fn sample(&self, record: &Record<'_>) -> Sample {
        let whole = match record.kind {
            ValueKind::Bytes => std::str::from_utf8(record.value).ok().map(str::to_owned),
            ValueKind::Text | ValueKind::Json => Some(convert::shown(record.kind, record.value)),
        };
        let (text, base64, cut) = match whole {
            Some(text) => {
                let end = text.floor_char_boundary(MAX_SHOWN_BYTES);
                (Some(self.redactor.hide_in_message(&text[..end])), None, end < text.len())
            }
            None => {
                let end = record.value.len().min(MAX_SHOWN_BYTES);
                let base64 = BASE64.encode(&record.value[..end]);
                (None, Some(self.redactor.hide_in_message(&base64)), end < record.value.len())
            }
        };
        let hide = |text: &str| self.words(&self.redactor.hide_in_message(text));
        Sample {
            number: self.records,
            kind: if record.kind == ValueKind::Bytes { Kind::Binary } else { Kind::Text },
            bytes: record.value.len(),
            text,
            base64,
            cut,
            key: record.key().map(|key| match key {
                Key::Text(key) => hide(key),
                Key::Bytes(key) => hide(&String::from_utf8_lossy(key)),
            }),
            topic: record.topic().map(hide),
            timestamp: record.timestamp_ms(),
            headers: record.headers().map(|(name, value)| (name.to_owned(), hide(value))).collect(),
        }
    }

    /// Returns the beginning of a text.
    fn words(&self, text: &str) -> String {
        cut(text, MAX_WORDS)
    }
}

/// Returns the first `most` characters of a text.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Hides secrets that the server has used in names and values. An option that would contain one is a comment.
fn hide_secrets(finding: &mut learn::Finding, redactor: &Redactor) {
    let texts = finding.others.iter_mut().chain([&mut finding.says]).chain(&mut finding.caveat);
    texts.for_each(|text| *text = redactor.hide_in_message(text));
    // Only pointers contain words of the server.
    for line in finding.lines.iter_mut().filter(|line| line.value.contains('/')) {
        let hidden = redactor.hide_in_message(&line.value);
        if hidden != line.value {
            line.value = hidden;
            finding.certainty = learn::Certainty::Possible;
            finding.caveat = Some("a secret stands where it says ***".to_owned());
        }
    }
}

/// Returns the beginning of a message, if it is text. At the cut, a character may be incomplete.
fn readable(bytes: &[u8]) -> Option<&str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&bytes[..error.valid_up_to()]).ok(),
        Err(_) => None,
    }
}
