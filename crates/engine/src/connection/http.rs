//! HTTP responses of servers and proxies: status and headers (RFC 9110, RFC 9112). No I/O.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime};

/// The most bytes of status lines and headers before a body.
const MAX_ANSWER_BYTES: usize = 64 << 10;
const MAX_ANSWER_HEADERS: usize = 128;
/// The most interim responses (RFC 9110 §15.2) before the final one.
const MAX_INTERIM_ANSWERS: usize = 16;
/// The longest `Retry-After` that is obeyed.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// A response. It may repeat secrets of the request, so its `Debug` shows only the status.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Names and values. U+FFFD replaces what is not UTF-8.
    pub headers: Vec<(String, String)>,
    /// The beginning of the body of a refusal.
    pub body: Vec<u8>,
}

impl Answer {
    /// Returns a header's value. The case of its name does not matter. Several lines are one list (RFC 9110 §5.2).
    pub fn header(&self, name: &str) -> Option<String> {
        let found = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let values: Vec<&str> = found.map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    /// Whether it is a redirect.
    pub(super) fn redirects(&self) -> bool {
        matches!(self.status, 301 | 302 | 303 | 307 | 308) && self.header("location").is_some()
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({})", self.status)
    }
}

/// Reads a response up to its body. Returns its length, the response and the reason after its status, or `None` until
/// it is complete. Interim responses before it are skipped. Errors that a client may repair (RFC 9112 §5) are repaired:
/// blanks before a colon, and values over several lines.
///
/// # Errors
/// A sentence about the response.
pub(super) fn read_answer(bytes: &[u8]) -> Result<Option<(usize, Answer, String)>, String> {
    let mut begin = 0;
    for _ in 0..=MAX_INTERIM_ANSWERS {
        let Some((len, answer, reason)) = read_head(&bytes[begin..])? else {
            let endless = bytes.len() >= MAX_ANSWER_BYTES;
            return if endless {
                Err(format!("the answer has more than {MAX_ANSWER_BYTES} bytes of headers"))
            } else {
                Ok(None)
            };
        };
        begin += len;
        if !matches!(answer.status, 100 | 102..=199) {
            return Ok(Some((begin, answer, reason)));
        }
    }
    Err(format!("more than {MAX_INTERIM_ANSWERS} interim responses came before the final one"))
}

/// A status line and headers, and their length.
fn read_head(bytes: &[u8]) -> Result<Option<(usize, Answer, String)>, String> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_ANSWER_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = httparse::ParserConfig::default()
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .parse_response(&mut response, bytes);
    let len = match parsed {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(format!("the answer has more than {MAX_ANSWER_HEADERS} headers"));
        }
        Err(error) => return Err(format!("the answer is not HTTP ({error})")),
    };
    let answer = Answer {
        status: response.code.unwrap_or_default(),
        headers: response.headers.iter().map(|header| (header.name.to_owned(), unfolded(header.value))).collect(),
        body: Vec::new(),
    };
    Ok(Some((len, answer, response.reason.unwrap_or_default().to_owned())))
}

/// Returns a header's value on one line (RFC 9112 §5.2).
fn unfolded(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    let text =
        if text.contains('\n') { Cow::Owned(text.lines().map(str::trim).collect::<Vec<_>>().join(" ")) } else { text };
    text.trim().to_owned()
}

/// Returns the entries of a header's list, without empty ones (RFC 9110 §5.6.1).
pub(super) fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

/// Reads seconds, or an HTTP date (RFC 9110 §10.2.3).
pub(crate) fn retry_after(value: &str) -> Option<Duration> {
    let wait = match value.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(SystemTime::now()).unwrap_or_default(),
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Answer {
        read_answer(text.as_bytes()).unwrap().unwrap().1
    }

    #[test]
    fn interim_answers_are_skipped_and_bounded() {
        let interim = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
        for last in ["HTTP/1.1 101 Switching\r\n\r\n", "HTTP/1.1 403 No\r\n\r\n"] {
            let text = format!("{}{last}", interim.repeat(MAX_INTERIM_ANSWERS));
            let (len, answer, _) = read_answer(format!("{text}rest").as_bytes()).unwrap().unwrap();
            assert_eq!(len, text.len());
            assert!(last.contains(&answer.status.to_string()));
        }
        assert_eq!(read_answer(interim.as_bytes()), Ok(None));
        let many = interim.repeat(MAX_INTERIM_ANSWERS + 1);
        assert!(read_answer(many.as_bytes()).unwrap_err().contains("interim"));
    }

    #[test]
    fn untidy_headers_are_taken() {
        let answer = read("HTTP/1.1 101 x\r\nServer : nginx\r\nX-Folded: a\r\n  b\r\n\tc\r\nX-Empty:\r\n\r\n");
        assert_eq!(answer.header("server").as_deref(), Some("nginx"));
        assert_eq!(answer.header("x-folded").as_deref(), Some("a b c"));
        assert_eq!(answer.header("X-EMPTY").as_deref(), Some(""));
    }

    #[test]
    fn what_never_ends_is_refused() {
        let endless = format!("HTTP/1.1 101 x\r\nA: {}", "x".repeat(MAX_ANSWER_BYTES));
        assert!(read_answer(endless.as_bytes()).unwrap_err().contains("65536 bytes"));
        let many = format!("HTTP/1.1 101 x\r\n{}\r\n", "A: b\r\n".repeat(MAX_ANSWER_HEADERS + 1));
        assert!(read_answer(many.as_bytes()).unwrap_err().contains("128 headers"));
    }

    #[test]
    fn only_a_redirect_with_a_location_redirects() {
        for (head, redirects) in
            [("302 x\r\nLocation: /y", true), ("302 x\r\nA: b", false), ("200 x\r\nLocation: /y", false)]
        {
            assert_eq!(read(&format!("HTTP/1.1 {head}\r\n\r\n")).redirects(), redirects, "{head}");
        }
    }

    #[test]
    fn patience_is_seconds_or_a_date_and_bounded() {
        assert_eq!(retry_after("5"), Some(Duration::from_secs(5)));
        assert_eq!(retry_after("99999999"), Some(MAX_RETRY_AFTER));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert_eq!(retry_after("soon"), None);
    }
}
