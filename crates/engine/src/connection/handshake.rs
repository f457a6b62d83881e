//! The opening handshake (RFC 6455 §4): writes the request, and checks the server's response. No I/O.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha1::{Digest, Sha1};

use super::http::{Answer, list, read_answer};
use super::request::Request;
use crate::endpoint::Endpoint;
use crate::secret::Secret;

/// RFC 6455 §1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The most characters of the server's words in an error.
const MAX_SHOWN_CHARS: usize = 60;
pub(super) const USER_AGENT: &str = concat!("connect-websocket/", env!("CARGO_PKG_VERSION"));
const SUBPROTOCOL: &str = "Sec-WebSocket-Protocol";
/// The beginning of an alert (RFC 8446 §5.1), with which a TLS server answers a request without TLS.
const TLS_ALERT: &[u8] = &[21, 3];
/// The parameters of a request, with which the response is compared.
pub(super) struct Offer<'a> {
    pub(super) request: &'a Request,
    /// The configured endpoint, or that of a redirect.
    pub(super) endpoint: &'a Endpoint,
    pub(super) key: String,
}

/// What the server has accepted.
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

/// Other responses. The texts are the server's words as received, or contain some of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A status other than 101. The body begins after `len` bytes.
    Status { answer: Answer, reason: String, len: usize },
    /// The response violates the protocol.
    Invalid(String),
}

pub(super) fn random_key() -> String {
    BASE64.encode(rand::random::<[u8; 16]>())
}

impl Offer<'_> {
    /// Returns the request. A configured header replaces one of the same name. A header that is allowed only once is
    /// sent once.
    pub(super) fn request(&self) -> Vec<u8> {
        let configured = |name: &str| self.headers().iter().rev().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let ours_or_configured = |name: &str, ours: String| match configured(name) {
            Some((_, value)) => value.reveal().to_owned(),
            None => ours,
        };
        let mut head = format!("GET {} HTTP/1.1\r\n", self.endpoint.resource());
        let mut line = |name: &str, value: &str| {
            for part in [name, ": ", value, "\r\n"] {
                head.push_str(part);
            }
        };
        line("Host", &ours_or_configured("Host", self.endpoint.authority()));
        line("User-Agent", &ours_or_configured("User-Agent", USER_AGENT.into()));
        line("Upgrade", "websocket");
        line("Connection", "Upgrade");
        line("Sec-WebSocket-Key", &self.key);
        line("Sec-WebSocket-Version", "13");
        if self.request.compression {
            // `client_max_window_bits` allows any value: the client does not compress, so every answer of the server is
            // fine.
            line("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits");
        }
        let subprotocols = self.subprotocols();
        if !subprotocols.is_empty() {
            line(SUBPROTOCOL, &subprotocols.join(", "));
        }
        let is = |name: &str, names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
        for header in self.headers() {
            let (name, value) = header;
            let written = is(name, &["Host", "User-Agent", SUBPROTOCOL]);
            // RFC 6454 §7.1, RFC 6265 §5.4, RFC 9110 §11.6.2: one at most. The last one is used, as in a map.
            let replaced = is(name, &["Origin", "Cookie", "Authorization"])
                && configured(name).is_some_and(|last| !std::ptr::eq(last, header));
            if !written && !replaced {
                line(name, value.reveal());
            }
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    /// Returns the configured headers, if this is the configured origin.
    fn headers(&self) -> &[(String, Secret)] {
        if self.endpoint.same_origin(&self.request.endpoint) { &self.request.headers } else { &[] }
    }

    /// Returns the offered subprotocols: those of `websocket.subprotocols`, and then those of a header.
    fn subprotocols(&self) -> Vec<&str> {
        let headers = self.headers().iter().filter(|(name, _)| name.eq_ignore_ascii_case(SUBPROTOCOL));
        let mut offered: Vec<&str> = self.request.subprotocols.iter().map(String::as_str).collect();
        for subprotocol in headers.flat_map(|(_, value)| list(value.reveal())) {
            if !offered.contains(&subprotocol) {
                offered.push(subprotocol);
            }
        }
        offered
    }

    /// Reads a response. Returns `None` until it is complete, then its length. Frames follow it.
    pub(super) fn read_answer(&self, bytes: &[u8]) -> Result<Option<(usize, Answer, Agreement)>, Refusal> {
        if bytes.starts_with(TLS_ALERT) {
            return Err(Refusal::Invalid("the answer is one of TLS; write wss:// in websocket.url".to_owned()));
        }
        let Some((len, answer, reason)) = read_answer(bytes).map_err(Refusal::Invalid)? else {
            return Ok(None);
        };
        if answer.status != 101 {
            return Err(Refusal::Status { answer, reason, len });
        }
        self.agree(&answer).map(|agreement| Some((len, answer, agreement)))
    }

    /// Compares a 101 with what was offered.
    fn agree(&self, answer: &Answer) -> Result<Agreement, Refusal> {
        let invalid = |what: &str| Refusal::Invalid(format!("the answer {what}"));
        let header = |name: &str| answer.header(name).unwrap_or_default();
        let has_token = |name: &str, token: &str| list(&header(name)).any(|found| found.eq_ignore_ascii_case(token));
        if !has_token("upgrade", "websocket") {
            return Err(invalid("does not upgrade to websocket"));
        }
        if !has_token("connection", "upgrade") {
            return Err(invalid("has no `Connection: Upgrade`"));
        }
        let accept = accept(&self.key);
        let accepts = header("sec-websocket-accept");
        if accepts.is_empty() || !list(&accepts).all(|found| found == accept) {
            return Err(invalid("has a wrong Sec-WebSocket-Accept: it was not made for this request"));
        }
        Ok(Agreement {
            subprotocol: self.read_subprotocol(&header(SUBPROTOCOL))?,
            deflate: self.read_extensions(&header("sec-websocket-extensions"))?,
        })
    }

    /// Returns the chosen subprotocol. An empty header chooses none.
    fn read_subprotocol(&self, value: &str) -> Result<Option<String>, Refusal> {
        let Some(chosen) = list(value).next() else {
            return Ok(None);
        };
        if list(value).any(|other| other != chosen) {
            return Err(Refusal::Invalid("the answer chooses more than one subprotocol".into()));
        }
        if !self.subprotocols().contains(&chosen) {
            return Err(Refusal::Invalid(format!(
                "the answer chooses the subprotocol '{}', which was not offered; name it in websocket.subprotocols",
                self.shown(chosen)
            )));
        }
        Ok(Some(chosen.to_owned()))
    }

    fn shown(&self, text: &str) -> String {
        self.request.redactor.foreign(text, MAX_SHOWN_CHARS)
    }

    fn read_extensions(&self, value: &str) -> Result<Option<Deflate>, Refusal> {
        let remedy =
            if self.request.compression { "; set websocket.compression=none to offer no extensions" } else { "" };
        let invalid = |what: String| Refusal::Invalid(format!("the answer {what}{remedy}"));
        let mut agreed = None;
        for extension in list(value) {
            let mut parts = extension.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            if !self.request.compression || !name.eq_ignore_ascii_case("permessage-deflate") || agreed.is_some() {
                return Err(invalid(format!("uses an extension that was not offered: {}", self.shown(name))));
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
                    return Err(invalid(format!(
                        "has a permessage-deflate parameter that is not valid: {}",
                        self.shown(parameter)
                    )));
                }
                seen.push(name);
            }
            agreed =
                Some(Deflate { server_no_context_takeover: seen.iter().any(|n| n == "server_no_context_takeover") });
        }
        Ok(agreed)
    }
}

/// Returns `Sec-WebSocket-Accept` for a key (RFC 6455 §4.2.2).
fn accept(key: &str) -> String {
    BASE64.encode(Sha1::digest(format!("{key}{GUID}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key and its answer of RFC 6455 §1.3.
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    fn request(headers: &[(&str, &str)]) -> Request {
        Request {
            headers: headers.iter().map(|(name, value)| (name.to_string(), Secret::new(*value))).collect(),
            subprotocols: vec!["v2.json".into()],
            ..Request::to(Endpoint::parse("wss://host:9443/feed?x=1").unwrap())
        }
    }

    /// The lines of our request to an endpoint.
    fn lines(request: &Request, endpoint: &str) -> Vec<String> {
        let endpoint = Endpoint::parse(endpoint).unwrap();
        let bytes = Offer { request, endpoint: &endpoint, key: KEY.into() }.request();
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.ends_with("\r\n\r\n"));
        text.trim_end().split("\r\n").map(str::to_owned).collect()
    }

    fn of<'a>(lines: &'a [String], name: &str) -> Vec<&'a str> {
        let lines = lines.iter().filter_map(|line| line.split_once(": "));
        lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }

    fn answer(extra: &str) -> String {
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
             Sec-WebSocket-Accept: {ACCEPT}\r\n{extra}\r\n"
        )
    }

    fn read(text: &str) -> Result<Option<(usize, Agreement)>, Refusal> {
        let request = request(&[]);
        let offer = Offer { request: &request, endpoint: &request.endpoint, key: KEY.into() };
        Ok(offer.read_answer(text.as_bytes())?.map(|(len, _, agreement)| (len, agreement)))
    }

    fn subprotocol(text: &str) -> Option<String> {
        read(text).unwrap().unwrap().1.subprotocol
    }

    fn invalid(text: &str) -> String {
        match read(text) {
            Err(Refusal::Invalid(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_request_carries_what_is_configured() {
        let lines = lines(&request(&[("Authorization", "Bearer t")]), "wss://host:9443/feed?x=1");
        assert_eq!(lines[0], "GET /feed?x=1 HTTP/1.1");
        for (name, value) in [
            ("Host", "host:9443"),
            ("User-Agent", USER_AGENT),
            ("Sec-WebSocket-Protocol", "v2.json"),
            ("Authorization", "Bearer t"),
            ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
        ] {
            assert_eq!(of(&lines, name), [value], "{name}");
        }
    }

    #[test]
    fn a_configured_header_replaces_ours_and_what_may_come_once_comes_once() {
        let request = request(&[
            ("host", "feed.example.com"),
            ("USER-AGENT", "Mozilla/5.0"),
            ("Origin", "https://a.example"),
            ("Origin", "https://b.example"),
            ("cookie", "a=1; b=2"),
            ("X-Twice", "1"),
            ("X-Twice", "2"),
            ("sec-websocket-protocol", "graphql-ws, v2.json, v1"),
        ]);
        let configured = lines(&request, "wss://host:9443/");
        for (name, values) in [
            ("Host", &["feed.example.com"][..]),
            ("User-Agent", &["Mozilla/5.0"]),
            ("Origin", &["https://b.example"]),
            ("Cookie", &["a=1; b=2"]),
            ("X-Twice", &["1", "2"]),
            ("Sec-WebSocket-Protocol", &["v2.json, graphql-ws, v1"]),
        ] {
            assert_eq!(of(&configured, name), values, "{name}");
        }
        // A redirect to a stranger takes none of them along.
        let foreign = lines(&request, "wss://other.example/");
        for (name, values) in [
            ("Host", &["other.example"][..]),
            ("User-Agent", &[USER_AGENT]),
            ("Origin", &[]),
            ("Cookie", &[]),
            ("X-Twice", &[]),
            ("Sec-WebSocket-Protocol", &["v2.json"]),
        ] {
            assert_eq!(of(&foreign, name), values, "{name}");
        }
    }

    #[test]
    fn a_subprotocol_given_as_a_header_may_be_chosen() {
        let request = request(&[("Sec-WebSocket-Protocol", "graphql-ws")]);
        let offer = Offer { request: &request, endpoint: &request.endpoint, key: KEY.into() };
        let text = answer("Sec-WebSocket-Protocol: graphql-ws\r\n");
        let (_, _, agreement) = offer.read_answer(text.as_bytes()).unwrap().unwrap();
        assert_eq!(agreement.subprotocol.as_deref(), Some("graphql-ws"));
    }

    #[test]
    fn a_header_that_comes_twice_is_one_list() {
        let twice = format!("Upgrade: h2c\r\nConnection: close\r\nSec-WebSocket-Accept: {ACCEPT}\r\n");
        assert!(read(&answer(&twice)).is_ok());
        assert!(invalid(&answer("Sec-WebSocket-Accept: AAAA\r\n")).contains("Sec-WebSocket-Accept"));
        let chosen = "Sec-WebSocket-Protocol: v2.json\r\n";
        assert_eq!(subprotocol(&answer(&chosen.repeat(2))).as_deref(), Some("v2.json"));
        let two = format!("{chosen}Sec-WebSocket-Protocol: v1\r\n");
        assert!(invalid(&answer(&two)).contains("more than one subprotocol"));
    }

    #[test]
    fn an_empty_subprotocol_is_none() {
        for empty in ["", " ", ","] {
            assert_eq!(subprotocol(&answer(&format!("Sec-WebSocket-Protocol: {empty}\r\n"))), None);
        }
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
            let why = invalid(&answer(&format!("Sec-WebSocket-Extensions: {extension}\r\n")));
            assert!(why.contains("websocket.compression=none"), "{why}");
        }
        assert!(invalid(&answer("Sec-WebSocket-Protocol: v1\r\n")).contains("websocket.subprotocols"));
        assert!(read(&answer("Sec-WebSocket-Protocol: v2.json\r\n")).is_ok());
    }

    #[test]
    fn each_wrong_answer_has_an_error_of_its_own() {
        assert!(invalid("SSH-2.0-OpenSSH_9.2\r\n\r\n").contains("not HTTP"));
        assert!(invalid("\x15\x03\x01\0\x02\x02\x46").contains("write wss://"));
        assert!(invalid(&answer("").replace(ACCEPT, "AAAA")).contains("Sec-WebSocket-Accept"));
        assert!(invalid(&answer("").replace("Upgrade: WebSocket\r\n", "")).contains("upgrade"));
    }

    #[test]
    fn a_refusal_keeps_status_and_headers() {
        let text = "HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nX-A: 1\r\nx-a: 2\r\n\r\n";
        let Err(Refusal::Status { answer, reason, len }) = read(&format!("{text}body")) else {
            panic!("it is a refusal");
        };
        assert_eq!((answer.status, reason.as_str(), len), (503, "Busy", text.len()));
        assert_eq!(answer.header("retry-after").as_deref(), Some("7"));
        assert_eq!(answer.header("X-A").as_deref(), Some("1, 2"));
        assert_eq!(answer.header("location"), None);
    }
}
