//! Parses `websocket.headers`: `name1:value1,name2:value2`.

use crate::dialogue::list;

/// Headers that belong to the handshake itself, and what to do instead.
const OURS: [(&str, &str); 8] = [
    ("Connection", "leave it out; the handshake sets it"),
    ("Upgrade", "leave it out; the handshake sets it"),
    ("Content-Length", "leave it out; a handshake has no body"),
    ("Transfer-Encoding", "leave it out; a handshake has no body"),
    ("Sec-WebSocket-Key", "leave it out; each handshake makes its own"),
    ("Sec-WebSocket-Version", "leave it out; the handshake sets it"),
    ("Sec-WebSocket-Accept", "leave it out; it is the server's"),
    ("Sec-WebSocket-Extensions", "use websocket.compression instead"),
];

/// The limit for one header, as in usual servers, and for all together, which is above that of usual servers. In bytes.
const MAX_VALUE_BYTES: usize = 8192;
const MAX_BYTES: usize = 64 << 10;

const FORM: &str = "write name1:value1,name2:value2, and a comma inside a value as \\, (in a properties file and in JSON as \
                    \\\\,)";

/// Returns the headers in their order. A comma separates them, except inside `{{…}}` or after a backslash, which is
/// removed.
///
/// # Errors
/// A sentence that says which part is wrong and how to write it, without values.
pub(crate) fn parse_headers(text: &str) -> Result<Vec<(String, String)>, String> {
    if text.len() > MAX_BYTES {
        return Err(format!("the headers have more than the limit of {MAX_BYTES} bytes together"));
    }
    let mut headers: Vec<(String, String)> = Vec::new();
    for piece in pieces(text) {
        if piece.trim().is_empty() {
            continue;
        }
        // A part that is not a header may be the end of a secret value, so the error names the header before it.
        let place = || match headers.last() {
            Some((name, _)) => format!("what follows header '{name}'"),
            None => "the first header".to_owned(),
        };
        let (name, value) = piece.split_once(':').ok_or_else(|| format!("{} has no colon; {FORM}", place()))?;
        let (name, value) = (name.trim(), value.trim());
        if !is_token(name) {
            return Err(format!("the name in {} is not a token (RFC 9110 §5.6.2); {FORM}", place()));
        }
        if let Some((_, instead)) = OURS.iter().find(|(ours, _)| ours.eq_ignore_ascii_case(name)) {
            return Err(format!("the header '{name}' cannot be set: {instead}"));
        }
        check_header_value(value).map_err(|why| format!("the value of header '{name}': {why}"))?;
        if name.eq_ignore_ascii_case("Sec-WebSocket-Protocol") {
            check_subprotocols(value)?;
        }
        headers.push((name.to_owned(), value.to_owned()));
    }
    Ok(headers)
}

/// Splits at the commas that separate. A `{{` without an end is ordinary text.
fn pieces(text: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut rest = text;
    let last_end = text.rfind("}}").unwrap_or_default();
    while let Some(next) = rest.chars().next() {
        let piece_end = pieces.len() - 1;
        let len = match next {
            ',' => {
                pieces.push(String::new());
                rest = &rest[1..];
                continue;
            }
            '\\' if rest[1..].starts_with(',') => {
                pieces[piece_end].push(',');
                rest = &rest[2..];
                continue;
            }
            '{' if rest.starts_with("{{") && text.len() - rest.len() < last_end => {
                rest.find("}}").map_or(2, |end| end + 2)
            }
            other => other.len_utf8(),
        };
        pieces[piece_end].push_str(&rest[..len]);
        rest = &rest[len..];
    }
    pieces
}

pub(super) fn check_header_value(text: &str) -> Result<(), String> {
    if text.chars().any(|c| c.is_ascii_control() && c != '\t') {
        return Err("a header's value must not contain line breaks or other control characters".into());
    }
    if text.len() > MAX_VALUE_BYTES {
        return Err(format!("it has more than the limit of {MAX_VALUE_BYTES} bytes"));
    }
    Ok(())
}

/// Parses a list of subprotocols, from the option or from a header.
pub(super) fn check_subprotocols(text: &str) -> Result<(), String> {
    // A template is checked when it is rendered.
    let mut constant = list::split(text).into_iter().filter(|entry| !entry.is_empty() && !entry.contains("{{"));
    match constant.find(|entry| !is_token(entry)) {
        Some(_) => Err("a subprotocol must be a token (RFC 6455 §4.1): letters, digits and !#$%&'*+-.^_`|~".into()),
        None => Ok(()),
    }
}

/// Whether a text is a token (RFC 9110 §5.6.2).
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<(String, String)> {
        parse_headers(text).unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn headers_are_split_and_trimmed() {
        assert_eq!(parsed(" A : 1:2 , B:,"), pairs(&[("A", "1:2"), ("B", "")]));
        assert_eq!(parsed(""), []);
        assert_eq!(parsed("A:\"x,B:y\""), pairs(&[("A", "\"x"), ("B", "y\"")]), "a quote has no meaning");
    }

    #[test]
    fn a_comma_behind_a_backslash_is_part_of_the_value() {
        assert_eq!(
            parsed(r"If-Modified-Since:Mon\, 02 Feb 2026 10:00:00 GMT,User-Agent:Mozilla/5.0 (KHTML\, like Gecko)"),
            pairs(&[
                ("If-Modified-Since", "Mon, 02 Feb 2026 10:00:00 GMT"),
                ("User-Agent", "Mozilla/5.0 (KHTML, like Gecko)")
            ])
        );
        assert_eq!(parsed(r"A:C:\dir\x,B:é\"), pairs(&[("A", r"C:\dir\x"), ("B", r"é\")]));
    }

    #[test]
    fn a_comma_in_a_template_does_not_separate() {
        assert_eq!(
            parsed("A:{{hmac(key, text)}},B:x{{a}}, C:y"),
            pairs(&[("A", "{{hmac(key, text)}}"), ("B", "x{{a}}"), ("C", "y")])
        );
        assert_eq!(parsed("A:{{x,B:y"), pairs(&[("A", "{{x"), ("B", "y")]), "it does not end");
    }

    #[test]
    fn a_piece_that_is_no_header_is_an_error_that_shows_how_to_write_it_and_no_value() {
        for (text, place) in [
            (
                "Authorization:AWS4 Credential=hunter2, Signature=hunter2",
                "what follows header 'Authorization' has no colon",
            ),
            ("If-Modified-Since:Mon, 02 hunter2 10:00:00 GMT", "the name in what follows header 'If-Modified-Since'"),
            ("hunter2", "the first header has no colon"),
            ("bad hunter2:1", "the name in the first header is not a token"),
        ] {
            let why = parse_headers(text).unwrap_err();
            assert!(why.contains(place) && why.contains(r"a comma inside a value as \,"), "{why}");
            assert!(!why.contains("hunter2"), "{why}");
        }
    }

    #[test]
    fn headers_of_the_handshake_itself_are_refused_with_what_to_do_instead() {
        for (name, instead) in OURS {
            let why = parse_headers(&format!("A:b,{}:x", name.to_lowercase())).unwrap_err();
            assert!(why.contains(&name.to_lowercase()) && why.contains(instead), "{why}");
        }
        assert!(parse_headers("sec-websocket-extensions:x").unwrap_err().contains("websocket.compression"));
        for name in ["Host", "User-Agent", "Sec-WebSocket-Protocol", "Origin", "Cookie", "Authorization"] {
            parsed(&format!("{name}:x"));
        }
        assert!(parse_headers("Sec-WebSocket-Protocol:a b").unwrap_err().contains("token"));
    }

    #[test]
    fn values_are_bounded() {
        let why = parse_headers(&format!("A:{}", "x".repeat(MAX_VALUE_BYTES + 1))).unwrap_err();
        assert!(why.contains("header 'A'") && why.contains("8192 bytes"), "{why}");
        let many = "A:x,".repeat(MAX_BYTES / 4 + 1);
        assert!(parse_headers(&many).unwrap_err().contains("65536 bytes together"));
    }

    #[test]
    fn a_value_has_one_line() {
        assert!(parse_headers("A:x\ny").unwrap_err().contains("header 'A'"));
    }
}
