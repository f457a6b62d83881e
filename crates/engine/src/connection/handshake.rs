//! The opening handshake (RFC 6455 §4): our request as bytes, the server's answer checked. No I/O here.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha1::{Digest, Sha1};

use crate::config::Secret;
use crate::endpoint::Endpoint;

/// RFC 6455 §1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// An answer's status line and headers may have this many bytes.
pub(super) const MAX_ANSWER_BYTES: usize = 64 << 10;
const MAX_ANSWER_HEADERS: usize = 128;
/// A server that asks for more patience than this is asked again after it.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// What the request asks for and the answer is checked against.
pub(super) struct Offer<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) subprotocols: &'a [String],
    pub(super) compression: bool,
    /// Extra headers, `Authorization` among them.
    pub(super) headers: &'a [(String, Secret)],
    pub(super) key: String,
}

/// What the server agreed to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Agreement {
    pub(super) subprotocol: Option<String>,
    pub(super) deflate: Option<Deflate>,
}

/// The parameters of permessage-deflate that matter to a receiver (RFC 7692 §7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deflate {
    pub(super) server_no_context_takeover: bool,
}

/// An answer as data. Foreign text that may repeat our secrets, so its `Debug` shows the status alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Names and values; what is not UTF-8 in a value became U+FFFD.
    pub headers: Vec<(String, String)>,
    /// The beginning of the body of a refusal.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value, whatever the case of its name; several lines are one list (RFC 9110 §5.2).
    pub fn header(&self, name: &str) -> Option<String> {
        let found = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let values: Vec<&str> = found.map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    /// Whether it sends us to another place.
    pub(super) fn redirects(&self) -> bool {
        matches!(self.status, 301 | 302 | 303 | 307 | 308) && self.header("location").is_some()
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({})", self.status)
    }
}

/// What an answer can be, beside an agreement. The texts are the server's, as they came, or hold some of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A status other than 101.
    Status { answer: Answer, reason: String },
    /// The answer breaks the protocol.
    Invalid(String),
}

pub(super) fn random_key() -> String {
    BASE64.encode(rand::random::<[u8; 16]>())
}

impl Offer<'_> {
    pub(super) fn request(&self) -> Vec<u8> {
        let mut request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {}\r\n\
             Sec-WebSocket-Version: 13\r\n",
            self.endpoint.resource(),
            self.endpoint.authority(),
            self.key
        );
        if self.compression {
            // `client_max_window_bits` invites any value: we do not compress, so whatever the server answers holds.
            request.push_str("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n");
        }
        if !self.subprotocols.is_empty() {
            request.push_str(&format!("Sec-WebSocket-Protocol: {}\r\n", self.subprotocols.join(", ")));
        }
        for (name, value) in self.headers {
            request.push_str(&format!("{name}: {}\r\n", value.reveal()));
        }
        request.push_str("\r\n");
        request.into_bytes()
    }

    /// Reads an answer. `None` while it is not complete; then how many bytes it took: what follows are frames.
    pub(super) fn read_answer(&self, bytes: &[u8]) -> Result<Option<(usize, Answer, Agreement)>, Refusal> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_ANSWER_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let len = match response.parse(bytes) {
            Ok(httparse::Status::Complete(len)) => len,
            Ok(httparse::Status::Partial) if bytes.len() < MAX_ANSWER_BYTES => return Ok(None),
            Ok(httparse::Status::Partial) => {
                return Err(Refusal::Invalid(format!("the answer has more than {MAX_ANSWER_BYTES} bytes of headers")));
            }
            Err(httparse::Error::TooManyHeaders) => {
                return Err(Refusal::Invalid(format!("the answer has more than {MAX_ANSWER_HEADERS} headers")));
            }
            Err(error) => {
                return Err(Refusal::Invalid(format!("the answer is not HTTP ({error})")));
            }
        };
        let text = |value: &[u8]| String::from_utf8_lossy(value).trim().to_owned();
        let answer = Answer {
            status: response.code.unwrap_or_default(),
            headers: response.headers.iter().map(|h| (h.name.to_owned(), text(h.value))).collect(),
            body: Vec::new(),
        };
        if answer.status != 101 {
            let reason = response.reason.unwrap_or_default();
            return Err(Refusal::Status { answer, reason: reason.to_owned() });
        }
        let header = |name: &str| answer.header(name);
        let invalid = |what: &str| Refusal::Invalid(format!("the answer {what}"));
        if !header("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket")) {
            return Err(invalid("does not upgrade to websocket"));
        }
        if !header("connection").is_some_and(|value| value.split(',').any(|t| t.trim().eq_ignore_ascii_case("upgrade")))
        {
            return Err(invalid("has no `Connection: Upgrade`"));
        }
        if header("sec-websocket-accept").as_deref() != Some(accept(&self.key).as_str()) {
            return Err(invalid("has a wrong Sec-WebSocket-Accept: it was not made for this request"));
        }
        let subprotocol = header("sec-websocket-protocol");
        if let Some(chosen) = &subprotocol
            && !self.subprotocols.contains(chosen)
        {
            return Err(invalid("chooses a subprotocol that was not offered; see websocket.subprotocols"));
        }
        let deflate =
            header("sec-websocket-extensions").map(|value| self.read_extensions(&value)).transpose()?.flatten();
        Ok(Some((len, answer, Agreement { subprotocol, deflate })))
    }

    fn read_extensions(&self, value: &str) -> Result<Option<Deflate>, Refusal> {
        let invalid = |what: String| Refusal::Invalid(format!("the answer {what}"));
        let mut agreed = None;
        for extension in value.split(',').map(str::trim).filter(|text| !text.is_empty()) {
            let mut parts = extension.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            if !self.compression || !name.eq_ignore_ascii_case("permessage-deflate") || agreed.is_some() {
                return Err(invalid(format!("uses an extension that was not offered: {name}")));
            }
            let mut seen = Vec::new();
            for parameter in parts {
                let (name, value) =
                    parameter.split_once('=').map_or((parameter, None), |(n, v)| (n.trim(), Some(v.trim())));
                let value = value.map(|value| value.trim_matches('"'));
                let bits = value.and_then(|value| value.parse::<u8>().ok()).filter(|bits| (8..=15).contains(bits));
                let name = name.to_ascii_lowercase();
                let legal = match name.as_str() {
                    "server_no_context_takeover" | "client_no_context_takeover" => value.is_none(),
                    "server_max_window_bits" | "client_max_window_bits" => bits.is_some(),
                    _ => false,
                };
                if !legal || seen.contains(&name) {
                    return Err(invalid(format!("has a permessage-deflate parameter that is not valid: {parameter}")));
                }
                seen.push(name);
            }
            agreed =
                Some(Deflate { server_no_context_takeover: seen.iter().any(|n| n == "server_no_context_takeover") });
        }
        Ok(agreed)
    }
}

/// `Sec-WebSocket-Accept` for a key (RFC 6455 §4.2.2).
fn accept(key: &str) -> String {
    BASE64.encode(Sha1::digest(format!("{key}{GUID}")))
}

/// Seconds, or an HTTP date (RFC 9110 §10.2.3).
pub(super) fn retry_after(value: &str) -> Option<Duration> {
    let wait = match value.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            httpdate::parse_http_date(value).ok()?.duration_since(std::time::SystemTime::now()).unwrap_or_default()
        }
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key and its answer of RFC 6455 §1.3.
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    fn endpoint() -> Endpoint {
        Endpoint::parse("wss://host:9443/feed?x=1").unwrap()
    }

    fn answer(extra: &str) -> String {
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
             Sec-WebSocket-Accept: {ACCEPT}\r\n{extra}\r\n"
        )
    }

    fn read(text: &str) -> Result<Option<(usize, Agreement)>, Refusal> {
        let endpoint = endpoint();
        let subprotocols = ["v2.json".to_owned()];
        let offer = Offer {
            endpoint: &endpoint,
            subprotocols: &subprotocols,
            compression: true,
            headers: &[],
            key: KEY.into(),
        };
        Ok(offer.read_answer(text.as_bytes())?.map(|(len, _, agreement)| (len, agreement)))
    }

    fn invalid(text: &str) -> String {
        match read(text) {
            Err(Refusal::Invalid(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_request_carries_what_is_configured() {
        let endpoint = endpoint();
        let subprotocols = ["a".to_owned(), "b".to_owned()];
        let offer = Offer {
            endpoint: &endpoint,
            subprotocols: &subprotocols,
            compression: true,
            headers: &[("Authorization".into(), Secret::new("Bearer t"))],
            key: KEY.into(),
        };
        let request = String::from_utf8(offer.request()).unwrap();
        assert!(request.starts_with("GET /feed?x=1 HTTP/1.1\r\nHost: host:9443\r\n"));
        for line in [
            "Sec-WebSocket-Protocol: a, b",
            "Authorization: Bearer t",
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
        ] {
            assert!(request.contains(&format!("{line}\r\n")), "{request}");
        }
        assert!(request.ends_with("\r\n\r\n"));
    }

    #[test]
    fn an_answer_is_complete_at_its_blank_line_and_what_follows_is_left() {
        let text = answer("");
        assert_eq!(read(&text[..text.len() - 1]), Ok(None));
        let (len, agreement) = read(&format!("{text}frames")).unwrap().unwrap();
        assert_eq!((len, agreement), (text.len(), Agreement { subprotocol: None, deflate: None }));
    }

    #[test]
    fn deflate_is_agreed_on_with_any_legal_parameters() {
        for (extension, forget) in [
            ("permessage-deflate", false),
            ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", true),
            ("permessage-deflate; server_max_window_bits=9; client_max_window_bits=\"15\"", false),
        ] {
            let (_, agreement) = read(&answer(&format!("Sec-WebSocket-Extensions: {extension}\r\n"))).unwrap().unwrap();
            assert_eq!(agreement.deflate, Some(Deflate { server_no_context_takeover: forget }), "{extension}");
        }
    }

    #[test]
    fn what_was_not_offered_is_refused() {
        for extension in [
            "x-webkit-deflate-frame",
            "permessage-deflate, permessage-deflate",
            "permessage-deflate; server_max_window_bits=7",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; surprise",
        ] {
            invalid(&answer(&format!("Sec-WebSocket-Extensions: {extension}\r\n")));
        }
        assert!(invalid(&answer("Sec-WebSocket-Protocol: v1\r\n")).contains("websocket.subprotocols"));
        assert!(read(&answer("Sec-WebSocket-Protocol: v2.json\r\n")).is_ok());
    }

    #[test]
    fn a_wrong_answer_is_told_apart() {
        assert!(invalid("SSH-2.0-OpenSSH_9.2\r\n\r\n").contains("not HTTP"));
        assert!(invalid(&answer("").replace(ACCEPT, "AAAA")).contains("Sec-WebSocket-Accept"));
        assert!(invalid(&answer("").replace("Upgrade: WebSocket\r\n", "")).contains("upgrade"));
        let endless = format!("HTTP/1.1 101 x\r\nA: {}", "x".repeat(MAX_ANSWER_BYTES));
        assert!(invalid(&endless).contains("65536 bytes"));
        let many = format!("HTTP/1.1 101 x\r\n{}\r\n", "A: b\r\n".repeat(MAX_ANSWER_HEADERS + 1));
        assert!(invalid(&many).contains("128 headers"));
    }

    #[test]
    fn a_refusal_keeps_status_and_headers() {
        let text = "HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nX-A: 1\r\nx-a: 2\r\n\r\n";
        let Err(Refusal::Status { answer, reason }) = read(text) else {
            panic!("it is a refusal");
        };
        assert_eq!((answer.status, reason.as_str()), (503, "Busy"));
        assert_eq!(answer.header("retry-after").as_deref(), Some("7"));
        assert_eq!(answer.header("X-A").as_deref(), Some("1, 2"));
        assert_eq!(answer.header("location"), None);
    }

    #[test]
    fn only_a_redirect_with_a_location_redirects() {
        for (head, redirects) in
            [("302 x\r\nLocation: /y", true), ("302 x\r\nA: b", false), ("200 x\r\nLocation: /y", false)]
        {
            let Err(Refusal::Status { answer, .. }) = read(&format!("HTTP/1.1 {head}\r\n\r\n")) else {
                panic!("it is a refusal");
            };
            assert_eq!(answer.redirects(), redirects, "{head}");
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
