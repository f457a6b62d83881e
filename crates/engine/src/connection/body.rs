//! The beginning of the body of a refused handshake, in which a server or proxy says what is wrong.

use super::http::Answer;

/// The most bytes of a body that are kept.
pub(super) const MAX_BODY_BYTES: usize = 16 << 10;

/// Returns the body in the bytes after the headers, and whether no more of it will be kept.
pub(super) fn of(answer: &Answer, received: &[u8]) -> (Vec<u8>, bool) {
    let (mut body, complete) = if matches!(answer.status, 204 | 304) {
        (Vec::new(), true)
    } else if answer.header("transfer-encoding").is_some_and(|coding| coding.to_ascii_lowercase().ends_with("chunked"))
    {
        chunks(received)
    } else {
        let len = answer.header("content-length").and_then(|len| len.parse().ok()).unwrap_or(usize::MAX);
        (received[..received.len().min(len)].to_vec(), received.len() >= len)
    };
    let complete = complete || body.len() >= MAX_BODY_BYTES;
    body.truncate(MAX_BODY_BYTES);
    (body, complete)
}

/// Decodes chunked coding (RFC 9112 §7.1). Invalid bytes end the body.
fn chunks(mut received: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let (begin, len) = match httparse::parse_chunk_size(received) {
            Ok(httparse::Status::Complete((begin, len))) => (begin, usize::try_from(len).unwrap_or(usize::MAX)),
            Ok(httparse::Status::Partial) => return (body, false),
            Err(_) => return (body, true),
        };
        if len == 0 {
            return (body, true);
        }
        let rest = &received[begin..];
        body.extend_from_slice(&rest[..rest.len().min(len)]);
        // The chunk ends with CRLF.
        match rest.get(len.saturating_add(2)..) {
            Some(next) => received = next,
            None => return (body, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)]) -> Answer {
        let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Answer { status, headers, body: Vec::new() }
    }

    #[test]
    fn a_body_ends_where_its_headers_say() {
        let fixed = answer(403, &[("Content-Length", "4")]);
        assert_eq!(of(&fixed, b"no"), (b"no".to_vec(), false));
        assert_eq!(of(&fixed, b"nope and more"), (b"nope".to_vec(), true));
        assert_eq!(of(&answer(403, &[]), b"until the end"), (b"until the end".to_vec(), false));
        assert_eq!(of(&answer(204, &[]), b""), (vec![], true));
    }

    #[test]
    fn chunks_are_put_together() {
        let chunked = answer(403, &[("transfer-encoding", "gzip, Chunked")]);
        let bytes = b"3\r\nnot\r\n6;x=y\r\n today\r\n0\r\n\r\n";
        assert_eq!(of(&chunked, bytes), (b"not today".to_vec(), true));
        for end in 0..bytes.len() - 4 {
            let (body, complete) = of(&chunked, &bytes[..end]);
            assert!(b"not today".starts_with(&body[..]) && !complete, "{end}");
        }
        assert_eq!(of(&chunked, b"3\r\nnot\r\nzzz\r\n"), (b"not".to_vec(), true));
        assert_eq!(of(&chunked, b"ffffffffffffffff\r\nx"), (b"x".to_vec(), false));
    }

    #[test]
    fn no_more_is_kept_than_the_bound() {
        let (body, complete) = of(&answer(500, &[]), &vec![b'x'; MAX_BODY_BYTES + 5]);
        assert_eq!((body.len(), complete), (MAX_BODY_BYTES, true));
    }
}
