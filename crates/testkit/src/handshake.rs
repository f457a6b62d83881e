//! The opening handshake, answered as the script says.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Duration, sleep};

use crate::deflate::{self, Agreed};
use crate::link::Io;
use crate::script::{Accept, Handshake, Reject};
use crate::stats::Request;

/// The largest request head that is read.
const MAX_HEAD: usize = 64 * 1024;

/// A request and the bytes that came after it.
pub(crate) struct Incoming {
    pub(crate) request: Request,
    pub(crate) rest: Vec<u8>,
}

/// Reads a request head; `None`: the client ended before it was whole.
pub(crate) async fn read_request(io: &mut Io) -> io::Result<Option<Incoming>> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok(Some(Incoming { request: parse(&bytes)?, rest }));
        }
        if bytes.len() > MAX_HEAD {
            return Err(io::Error::other(format!("request head is longer than {MAX_HEAD} bytes")));
        }
        if io.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
}

/// Reads a request's body up to its Content-Length.
pub(crate) async fn read_body(io: &mut Io, incoming: &Incoming, max: usize) -> io::Result<Vec<u8>> {
    let length = incoming.request.header("Content-Length").and_then(|length| length.parse().ok()).unwrap_or(0);
    if length > max {
        return Err(io::Error::other(format!("the body is longer than {max} bytes")));
    }
    let mut body = incoming.rest.clone();
    while body.len() < length {
        if io.read_buf(&mut body).await? == 0 {
            break;
        }
    }
    Ok(body)
}

fn parse(head: &[u8]) -> io::Result<Request> {
    let mut headers = [httparse::EMPTY_HEADER; 256];
    let mut parsed = httparse::Request::new(&mut headers);
    parsed.parse(head).map_err(|error| io::Error::other(format!("request is no HTTP: {error}")))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Request {
        line: head.split(|&byte| byte == b'\r').next().map(text).unwrap_or_default(),
        headers: parsed.headers.iter().map(|header| (header.name.to_owned(), text(header.value))).collect(),
    })
}

/// An answer with status 101, ready to be written.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) extensions: Option<String>,
    pub(crate) deflate: Option<Agreed>,
    pub(crate) bytes: Vec<u8>,
}

/// Makes the answer that `accept` asks for.
pub(crate) fn answer(accept: &Accept, request: &Request) -> Answer {
    let key = request.header("Sec-WebSocket-Key").unwrap_or_default();
    let offers = request.joined("Sec-WebSocket-Extensions");
    let (extensions, deflate) = match (&accept.extensions, &accept.deflate) {
        (Some(forced), wanted) => (Some(forced.clone()), wanted.as_ref().map(deflate::without_offer)),
        (None, Some(wanted)) => deflate::negotiate(wanted, &offers).unzip(),
        (None, None) => (None, None),
    };
    let offered = request.joined("Sec-WebSocket-Protocol");
    let subprotocol = match accept.subprotocol.as_deref() {
        Some("*") => offered.split(',').map(str::trim).find(|offer| !offer.is_empty()),
        given => given,
    };
    let accept_key = accept.accept_key.clone().unwrap_or_else(|| accept_key(key));
    let status = accept.status.unwrap_or(101);
    let mut head = format!(
        "{}HTTP/1.1 {status} {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
        accept.before,
        reason(status)
    );
    let mut header = |name: &str, value: &str| {
        head.push_str(name);
        head.push_str(": ");
        head.push_str(value);
        head.push_str("\r\n");
    };
    header("Sec-WebSocket-Accept", &accept_key);
    if let Some(subprotocol) = subprotocol {
        header("Sec-WebSocket-Protocol", subprotocol);
    }
    if let Some(extensions) = &extensions {
        header("Sec-WebSocket-Extensions", extensions);
    }
    for (name, value) in &accept.headers {
        header(name, value);
    }
    head.push_str("\r\n");
    Answer { status, extensions, deflate, bytes: head.into_bytes() }
}

/// RFC 6455 section 4.2.2, point 5.4.
fn accept_key(key: &str) -> String {
    let digest = Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    STANDARD.encode(digest)
}

/// Plays a handshake that does not end in a WebSocket, up to where TCP is to be ended.
pub(crate) async fn refuse(
    io: &mut Io,
    handshake: &Handshake,
    request: &Request,
    url: &str,
) -> io::Result<Option<u16>> {
    match handshake {
        Handshake::Reject(reject) => {
            write_response(io, reject).await?;
            Ok(Some(reject.status))
        }
        Handshake::Redirect { status, location } => redirect(io, *status, location).await,
        Handshake::RedirectLoop { status } => {
            let path = request.line.split(' ').nth(1).unwrap_or("/");
            redirect(io, *status, &format!("{}{path}", url.trim_end_matches('/'))).await
        }
        Handshake::EndlessHeaders { every_ms } => {
            io.write_all(b"HTTP/1.1 101 Switching Protocols\r\n").await?;
            let headers =
                b"X-Endless: 0123456789abcdef0123456789abcdef\r\n".repeat(if *every_ms == 0 { 200 } else { 1 });
            loop {
                write(io, &headers).await?;
                if *every_ms > 0 {
                    sleep(Duration::from_millis(*every_ms)).await;
                }
            }
        }
        Handshake::Garbage { hex, text } => {
            io.write_all(&from_hex(hex)?).await?;
            io.write_all(text.as_bytes()).await?;
            io.flush().await?;
            Ok(None)
        }
        Handshake::Hang { .. } => std::future::pending().await,
        Handshake::Accept(_) | Handshake::TcpClose { .. } | Handshake::TcpReset { .. } => Ok(None),
    }
}

async fn redirect(io: &mut Io, status: u16, location: &str) -> io::Result<Option<u16>> {
    let headers = vec![("Location".to_owned(), location.to_owned())];
    write_response(io, &Reject { status, headers, body: String::new() }).await?;
    Ok(Some(status))
}

/// Writes an HTTP response that ends the connection.
pub(crate) async fn write_response(io: &mut Io, response: &Reject) -> io::Result<()> {
    let mut text = format!("HTTP/1.1 {} {}\r\n", response.status, reason(response.status));
    for (name, value) in &response.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("Content-Length: {}\r\nConnection: close\r\n\r\n{}", response.body.len(), response.body));
    write(io, text.as_bytes()).await
}

/// Writes bytes, through TLS too.
pub(crate) async fn write(io: &mut Io, bytes: &[u8]) -> io::Result<()> {
    io.write_all(bytes).await?;
    io.flush().await
}

/// Writes the 101 answer byte by byte.
pub(crate) async fn drip(io: &mut Io, bytes: &[u8], every_ms: u64) -> io::Result<()> {
    for byte in bytes {
        write(io, &[*byte]).await?;
        sleep(Duration::from_millis(every_ms)).await;
    }
    Ok(())
}

fn reason(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        301 => "Moved Permanently",
        302 => "Found",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Status",
    }
}

/// Reads hexadecimal, blanks allowed.
pub(crate) fn from_hex(text: &str) -> io::Result<Vec<u8>> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|digit| !digit.is_whitespace())
        .map(|digit| digit.to_digit(16).map(|value| value as u8))
        .collect::<Option<_>>()
        .ok_or_else(|| io::Error::other(format!("hex \"{text}\" has a character that is no hexadecimal digit")))?;
    if !digits.len().is_multiple_of(2) {
        return Err(io::Error::other(format!("hex \"{text}\" has an odd number of digits")));
    }
    Ok(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_key_is_that_of_the_rfc() {
        assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn hex_is_read_with_blanks_and_errors_are_named() {
        assert_eq!(from_hex("81 00\nFf").unwrap(), [0x81, 0, 0xff]);
        assert!(from_hex("8").unwrap_err().to_string().contains("odd"));
        assert!(from_hex("8x").unwrap_err().to_string().contains("no hexadecimal"));
    }

    #[test]
    fn answer_takes_the_first_offered_subprotocol_or_the_given_one() {
        let headers = vec![("sec-websocket-protocol".to_owned(), " b, a".to_owned())];
        let request = Request { line: String::new(), headers };
        let text = |subprotocol: &str| {
            let accept = Accept { subprotocol: Some(subprotocol.to_owned()), ..Accept::default() };
            String::from_utf8(answer(&accept, &request).bytes).unwrap()
        };
        assert!(text("*").contains("Sec-WebSocket-Protocol: b\r\n"));
        assert!(text("zzz").contains("Sec-WebSocket-Protocol: zzz\r\n"));
    }
}
