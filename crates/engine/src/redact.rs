//! Hides secrets in what people read. Every text from outside (a status reason, a close reason, a body, a redirect's
//! location) goes through [`Redactor::foreign`] before it is shown or cut, because it may repeat what was sent.
//!
//! The redactor gets the secrets: the configuration's at the start, captured and computed ones later. To add a secret
//! costs almost nothing. A text is searched only when it is shown, which is rare.

mod forms;
mod parts;
mod printable;
mod unescape;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{PoisonError, RwLock, RwLockWriteGuard};
use std::time::SystemTime;

use url::Url;

pub use printable::{is_invisible, printable};
use unescape::View;

/// Replaces a secret.
const REDACTED: &str = "***";
/// This many consecutive characters of a secret are hidden, wherever it was cut.
const RUN: usize = 8;
/// The shortest secret. Shorter texts are words and numbers that occur by themselves.
const MIN_LEN: usize = 4;
/// How many values of a variable are kept, because an answer may repeat an earlier one.
const VALUES_PER_VARIABLE: usize = 8;
/// How much of a long text is searched at once, because a search needs a hundred times the memory of its text.
const PIECE: usize = 16 << 10;
/// The overlap of the pieces, so that no escaped run is cut.
const OVERLAP: usize = 256;
/// How much of a text from outside is used. Much less of it is shown.
const MAX_FOREIGN_BYTES: usize = 16 << 10;

/// Hides secrets in texts. It is shared: secrets can be added while others search.
#[derive(Default)]
pub struct Redactor {
    known: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    /// Secrets that are hidden in every form, complete or cut.
    secrets: Vec<String>,
    /// Messages that are hidden as they are, complete or from their beginning. Secrets inside them are in `secrets`.
    messages: Vec<String>,
    /// The last values of each variable.
    learned: HashMap<String, VecDeque<Vec<String>>>,
}

impl Redactor {
    /// Adds a secret: a password, a token, a signature, or a value from a config provider.
    pub fn add(&self, secret: &str) {
        self.add_all(vec![secret.to_owned()]);
    }

    /// Adds a message that is sent. The whole message is secret, and what looks like a password or a key inside it. Its
    /// other words are not hidden, because an error without the name of a channel does not help.
    pub fn add_message(&self, message: &str) {
        self.add_all(parts::of_message(message));
        let mut known = self.write();
        if message.len() >= MIN_LEN && !known.messages.iter().any(|known| known == message) {
            known.messages.push(message.to_owned());
        }
    }

    /// Adds what looks like a password or a key in the template of a message.
    pub fn add_template(&self, template: &str) {
        // The words of an expression are not secret.
        let mut pieces = template.split("{{");
        let first = pieces.next().unwrap_or_default();
        let after = pieces.map(|piece| piece.split_once("}}").map_or(piece, |(_, after)| after));
        self.add_all(parts::of_message(&[first].into_iter().chain(after).collect::<String>()));
    }

    /// Adds a header that is sent.
    pub fn add_header(&self, name: &str, value: &str) {
        self.add_all(parts::of_header(name, value));
    }

    /// Adds a URL. Its user info and the values of its query are secret.
    pub fn add_url(&self, url: &Url) {
        self.add_all(parts::of_url(url));
    }

    /// Sets the captured or computed value of a variable. Some earlier values stay secret.
    pub fn learn(&self, variable: &str, secret: &str) {
        self.learn_all(variable, vec![secret.to_owned()]);
    }

    /// The same as [`Redactor::learn`], for a URL that was captured or rendered.
    pub fn learn_url(&self, variable: &str, url: &Url) {
        self.learn_all(variable, parts::of_url(url));
    }

    /// Returns the text with all secrets hidden, for texts of this program, such as the messages of panics.
    pub fn hide(&self, text: &str) -> String {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.hide(text, &known.messages, |_| true)
    }

    /// Returns a message of the feed with all secrets hidden. Unlike [`Redactor::hide`], it does not hide the harmless
    /// words of sent messages, because many feeds use the same words, nor the time of a signed log-in, because all
    /// times near it begin with the same digits.
    pub fn hide_in_message(&self, text: &str) -> String {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if known.secrets.is_empty() && known.learned.is_empty() {
            return text.to_owned();
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        known.hide_in_pieces(text, |learned| !is_time_near(learned, now))
    }

    /// The same for a sent message. It also hides what looks like a password or a key.
    pub fn hide_in_own_message(&self, text: &str) -> String {
        let mut own = Known { secrets: parts::of_message(text), ..Known::default() };
        own.secrets.retain(|secret| secret.len() >= MIN_LEN);
        self.hide_in_message(&own.hide(text, &[], |_| true))
    }

    /// Returns a text from outside for logs and errors: without secrets, printable, and at most `max_chars` long.
    /// Secrets are hidden before the text is cut.
    pub fn foreign(&self, text: &str, max_chars: usize) -> String {
        let text = &text[..text.floor_char_boundary(MAX_FOREIGN_BYTES)];
        let hidden = self.hide(text);
        let clean = printable(&hidden);
        // Removed characters may have been in the middle of a secret.
        let hidden = if clean == hidden { hidden } else { self.hide(&clean) };
        printable::cut(&hidden, max_chars)
    }

    /// The same as [`Redactor::learn`], for a message that was rendered from secrets.
    pub fn learn_message(&self, variable: &str, message: &str) {
        self.learn_all(variable, parts::of_message(message));
    }

    fn add_all(&self, secrets: Vec<String>) {
        let mut known = self.write();
        for secret in secrets {
            if secret.len() >= MIN_LEN && !known.secrets.contains(&secret) {
                known.secrets.push(secret);
            }
        }
    }

    fn learn_all(&self, variable: &str, mut secrets: Vec<String>) {
        secrets.retain(|secret| secret.len() >= MIN_LEN);
        let mut known = self.write();
        let values = known.learned.entry(variable.to_owned()).or_default();
        if secrets.is_empty() || values.back() == Some(&secrets) {
            return;
        }
        if values.len() == VALUES_PER_VARIABLE {
            values.pop_front();
        }
        values.push_back(secrets);
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Hides only the secrets for which `counts` returns true.
    fn hide(&self, text: &str, messages: &[String], counts: impl Fn(&str) -> bool) -> String {
        without(text, &self.find(text, messages, &counts))
    }

    /// The same for a text of any length, without sent messages.
    fn hide_in_pieces(&self, text: &str, counts: impl Fn(&str) -> bool) -> String {
        let mut hidden = vec![false; text.len()];
        let (mut at, mut end) = (0, 0);
        while end < text.len() {
            end = text.floor_char_boundary(at + PIECE + OVERLAP);
            let found = self.find(&text[at..end], &[], &counts);
            hidden[at..end].iter_mut().zip(found).for_each(|(hidden, found)| *hidden |= found);
            at = text.floor_char_boundary(at + PIECE);
        }
        without(text, &hidden)
    }

    /// Returns for each byte whether to hide it.
    fn find(&self, text: &str, messages: &[String], counts: &impl Fn(&str) -> bool) -> Vec<bool> {
        let views = View::all(text);
        let mut search = Search::new(&views, text.len());
        messages.iter().for_each(|message| search.hide_from_its_beginning(message.as_bytes()));
        let learned = self.learned.values().flatten().flatten().filter(|learned| counts(learned));
        for secret in self.secrets.iter().chain(learned) {
            forms::of(secret).iter().for_each(|form| search.hide_runs(form));
        }
        search.hidden
    }
}

/// Whether a text is a time of less than a day from `now`, in seconds, milliseconds, microseconds or nanoseconds since 1970.
fn is_time_near(text: &str, now: u64) -> bool {
    let seconds = text.get(..10).filter(|_| matches!(text.len(), 10 | 13 | 16 | 19));
    text.bytes().all(|byte| byte.is_ascii_digit())
        && seconds.and_then(|seconds| seconds.parse::<u64>().ok()).is_some_and(|at| at.abs_diff(now) < 86_400)
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor")
    }
}

/// A text, and which bytes of it to hide.
struct Search<'a> {
    views: &'a [View],
    /// For each view: where each run of [`RUN`] bytes begins. Emptied when they are hidden.
    runs: Vec<HashMap<&'a [u8], Vec<usize>>>,
    hidden: Vec<bool>,
}

impl<'a> Search<'a> {
    fn new(views: &'a [View], len: usize) -> Search<'a> {
        let runs = views.iter().map(|view| {
            let mut runs: HashMap<&[u8], Vec<usize>> = HashMap::new();
            for (at, run) in view.bytes().windows(RUN).enumerate() {
                runs.entry(run).or_default().push(at);
            }
            runs
        });
        Search { views, runs: runs.collect(), hidden: vec![false; len] }
    }

    /// Hides each run of the secret. A shorter secret is hidden as a whole.
    fn hide_runs(&mut self, secret: &[u8]) {
        let views = self.views;
        for (nth, view) in views.iter().enumerate() {
            if secret.len() < RUN {
                let found = view.bytes().windows(secret.len()).enumerate().filter(|(_, window)| *window == secret);
                for (at, _) in found {
                    self.hide(view, at, secret.len());
                }
            }
            for run in secret.windows(RUN) {
                let found = self.runs[nth].get_mut(run).map(std::mem::take).unwrap_or_default();
                found.into_iter().for_each(|at| self.hide(view, at, RUN));
            }
        }
    }

    /// Hides the message, or its beginning. Call it before [`Search::hide_runs`].
    fn hide_from_its_beginning(&mut self, message: &[u8]) {
        let views = self.views;
        let Some(beginning) = message.get(..RUN) else {
            return self.hide_runs(message);
        };
        for (nth, view) in views.iter().enumerate() {
            let mut end = 0;
            for at in self.runs[nth].get(beginning).cloned().unwrap_or_default() {
                if at >= end {
                    end = at + view.bytes()[at..].iter().zip(message).take_while(|(a, b)| a == b).count();
                    self.hide(view, at, end - at);
                }
            }
        }
    }

    fn hide(&mut self, view: &View, at: usize, len: usize) {
        self.hidden[view.origin(at)..view.origin(at + len)].fill(true);
    }
}

/// Returns the text without the bytes to hide.
fn without(text: &str, hidden: &[bool]) -> String {
    let mut result = String::with_capacity(text.len());
    let mut inside = false;
    for (at, c) in text.char_indices() {
        let hidden = hidden[at..at + c.len_utf8()].contains(&true);
        match (hidden, inside) {
            (false, _) => result.push(c),
            (true, false) => result.push_str(REDACTED),
            (true, true) => {}
        }
        inside = hidden;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "s3cr?t~~ \"key\"/é";

    fn knowing(secret: &str) -> Redactor {
        let redactor = Redactor::default();
        redactor.add(secret);
        redactor
    }

    #[test]
    fn a_secret_is_hidden_in_every_form() {
        let redactor = knowing(SECRET);
        let url_encoded: String = SECRET.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for form in [
            SECRET.to_owned(),
            url_encoded.clone(),
            url_encoded.to_uppercase(),
            url_encoded.replace('%', "%25"),
            SECRET.replace(' ', "+"),
            SECRET.replace('"', "\\\"").replace('/', "\\/"),
            SECRET.replace('"', "\\\"").replace('é', "\\u00e9").replace('\\', "\\\\"),
            SECRET.bytes().map(|byte| format!("{byte:02x}")).collect(),
        ] {
            assert_eq!(redactor.hide(&format!("no: {form}, sorry")), "no: ***, sorry", "{form}");
        }
    }

    #[test]
    fn base64_of_a_secret_is_hidden_among_other_bytes() {
        use base64::Engine as _;
        use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
        let redactor = knowing(SECRET);
        for before in ["", "u", "us", "use"] {
            for engine in [&STANDARD, &URL_SAFE_NO_PAD] {
                let hidden = redactor.hide(&engine.encode(format!("{before}{SECRET}")));
                assert!(hidden.contains("***") && hidden.len() < 12, "{hidden}");
            }
        }
    }

    #[test]
    fn a_secret_that_was_cut_is_hidden_from_eight_characters_on() {
        let redactor = knowing("abcdefghijklmnopqrstuvwxyz");
        assert_eq!(redactor.hide("bad token abcdefgh"), "bad token ***");
        assert_eq!(redactor.hide("bad token abcdefg"), "bad token abcdefg");
        assert_eq!(redactor.hide("bad token abcdefghij… and more"), "bad token ***… and more");
        assert_eq!(redactor.hide("…stuvwxyz is bad, …klmnopqr… too"), "…*** is bad, …***… too");
        assert_eq!(redactor.hide("bad token %61%62%63%64%65%66%67%68%6"), "bad token ***%6");
        assert_eq!(redactor.hide("YWJjZGVmZ2hpamts"), "***");
    }

    #[test]
    fn a_short_secret_is_hidden_whole_and_a_very_short_one_is_a_word() {
        assert_eq!(knowing("hush").hide("hush, hus and aHVzaA=="), "***, hus and ***A==");
        assert_eq!(knowing("abc").hide("abc"), "abc");
    }

    #[test]
    fn a_message_is_hidden_and_its_words_are_not() {
        let redactor = Redactor::default();
        redactor.add_message(r#"{"op":"subscribe","channel":"trades","symbol":"BTC-USD","key":"AK1234567"}"#);
        assert_eq!(
            redactor.hide("cannot subscribe to trades of BTC-USD: bad key AK1234567"),
            "cannot subscribe to trades of BTC-USD: bad key ***"
        );
        assert_eq!(redactor.hide(r#"bad message {"op":"subscribe","chan"#), "bad message ***");
        assert_eq!(redactor.hide(r#"bad message "{\"op\":\"subscribe\"}""#), r#"bad message "***}""#);
    }

    #[test]
    fn in_messages_the_words_of_our_own_message_are_left_and_its_secrets_are_not() {
        let redactor = Redactor::default();
        let own = r#"{"type":"subscribe","channel":"trades","key":"AK1234567"}"#;
        redactor.add_message(own);
        assert_eq!(redactor.hide_in_message(r#"{"type":"snapshot"} AK1234567"#), r#"{"type":"snapshot"} ***"#);
        assert_eq!(redactor.hide_in_own_message(own), own.replace("AK1234567", "***"));
        let other = r#"{"op":"login","args":["swordfish"]}"#;
        assert_eq!(redactor.hide_in_own_message(other), other.replace("swordfish", "***"));
        assert_eq!(redactor.hide_in_message("swordfish"), "swordfish");
    }

    #[test]
    fn in_a_long_message_a_secret_is_hidden_wherever_it_stands() {
        let redactor = knowing("swordfish~é1");
        let escaped = "\\u0073\\u0077\\u006f\\u0072\\u0064\\u0066\\u0069\\u0073\\u0068~\\u00e91";
        for secret in ["swordfish~é1", escaped] {
            for before in (PIECE - 80..PIECE + 80).chain(PIECE + OVERLAP - 80..PIECE + OVERLAP + 80).step_by(7) {
                let (before, after) = ("x".repeat(before), "y".repeat(2 * PIECE));
                let hidden = redactor.hide_in_message(&format!("{before} {secret} {after}"));
                assert!(hidden == format!("{before} *** {after}"), "{} {secret}", before.len());
            }
        }
    }

    #[test]
    fn in_messages_the_time_of_a_log_in_hides_no_other_time() {
        let redactor = Redactor::default();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        redactor.learn_message("step login", &format!(r#"{{"op":"login","args":["{now}","swordfish","9876543210"]}}"#));
        let message = format!("{now}123 swordfish 9876543210");
        assert_eq!(redactor.hide_in_message(&message), format!("{now}123 *** ***"));
        assert_eq!(redactor.hide(&message), "***123 *** ***");
        assert!(!is_time_near("1234567890", now) && !is_time_near(&now.to_string()[..9], now));
    }

    #[test]
    fn of_a_template_the_text_is_secret_and_the_expressions_are_not() {
        let redactor = Redactor::default();
        redactor.add_template(r#"{"op":"auth","args":["AK1234567","{{hex(hmac_sha256(secret.s, 'GET/realtime'))}}"]}"#);
        assert_eq!(redactor.hide_in_message("AK1234567 hmac_sha256 GET/realtime"), "*** hmac_sha256 GET/realtime");
    }

    #[test]
    fn what_a_variable_held_before_stays_hidden_for_a_while() {
        let redactor = Redactor::default();
        (0..VALUES_PER_VARIABLE + 1).for_each(|n| redactor.learn("token", &format!("captured-{n:04}-token")));
        redactor.learn("token", "");
        assert_eq!(redactor.hide("captured-0008-token captured-0001-token"), "*** ***");
        assert_eq!(redactor.hide("d-0000-t"), "d-0000-t");
        let url = Url::parse("wss://host/?token=swordfish").unwrap();
        redactor.learn_url("endpoint", &url);
        assert_eq!(redactor.hide("bad swordfish"), "bad ***");
    }

    #[test]
    fn foreign_text_is_redacted_before_it_is_cleaned_and_cut() {
        let redactor = knowing("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln");
        let reason = "bad token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln\" event=forged\r\n\u{202e}";
        assert_eq!(redactor.foreign(reason, 200), "bad token ***' event:forged");
        assert_eq!(redactor.foreign(reason, 12), "bad token **…");
        assert_eq!(redactor.foreign("bad eyJhb\u{200b}GciOi", 200), "bad ***");
        assert_eq!(redactor.foreign(&"é".repeat(100_000), 200).chars().count(), 201);
    }

    #[test]
    fn nothing_known_changes_nothing() {
        assert_eq!(Redactor::default().hide("a %41 \\u0041 \"b\""), "a %41 \\u0041 \"b\"");
    }

    #[test]
    fn repeated_text_takes_no_quadratic_time() {
        let redactor = knowing(&"a".repeat(100_000));
        redactor.add_message(&"b".repeat(100_000));
        assert_eq!(redactor.hide(&"a".repeat(100_000)), "***");
        assert_eq!(redactor.foreign(&"b".repeat(100_000), 200), "***");
    }
}
