//! The least that receiving can cost: reads the socket into a large buffer, walks the frame headers and drops the
//! messages. TLS is decrypted; compressed messages are inflated, because nothing could be stored otherwise.
//!
//! Environment: `WEBSOCKET_URL`, `WEBSOCKET_CA`, and `BENCH_MESSAGES`, after which it says that it has them.

mod trust;

use std::env;
use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;

use flate2::{Decompress, FlushDecompress};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

const BUFFER: usize = 256 * 1024;
const SCRATCH: usize = 64 * 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let url = env::var("WEBSOCKET_URL")?;
    let awaited: u64 = env::var("BENCH_MESSAGES")?.parse()?;
    let (scheme, rest) = url.split_once("://").ok_or("WEBSOCKET_URL has no scheme")?;
    let address = rest.split('/').next().unwrap_or_default();
    let socket = TcpStream::connect(address)?;
    if scheme == "wss" {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host).to_owned();
        let tls = ClientConnection::new(trust::client_config()?, ServerName::try_from(host)?)?;
        receive(StreamOwned::new(tls, socket), address, awaited)
    } else {
        receive(socket, address, awaited)
    }
}

fn receive(mut socket: impl Read + Write, host: &str, awaited: u64) -> Result<(), Box<dyn Error>> {
    write!(
        socket,
        "GET / HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    )?;
    socket.flush()?;

    let mut buffer = vec![0; BUFFER];
    let mut scratch = vec![0; SCRATCH];
    let mut inflate = Decompress::new(false);
    let mut filled = 0;
    let mut upgraded = false;
    let mut messages = 0;
    loop {
        let read = socket.read(&mut buffer[filled..])?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        let mut at = 0;
        if !upgraded {
            let Some(end) = buffer[..filled].windows(4).position(|window| window == b"\r\n\r\n") else {
                continue;
            };
            at = end + 4;
            upgraded = true;
        }
        while let Some(frame) = Frame::parse(&buffer[at..filled])? {
            let payload = &buffer[at + frame.header..at + frame.header + frame.length];
            at += frame.header + frame.length;
            if frame.is_data {
                if frame.is_compressed {
                    inflate_message(&mut inflate, payload, &mut scratch)?;
                }
                messages += 1;
                if messages == awaited {
                    println!("received {messages} messages");
                }
            }
        }
        buffer.copy_within(at..filled, 0);
        filled -= at;
    }
}

/// A whole frame in the buffer.
struct Frame {
    header: usize,
    length: usize,
    is_data: bool,
    is_compressed: bool,
}

impl Frame {
    /// RFC 6455 section 5.2; `None`: not all of it is there yet.
    fn parse(bytes: &[u8]) -> Result<Option<Frame>, Box<dyn Error>> {
        let (header, length) = match *bytes {
            [_, 126, a, b, ..] => (4, usize::from(u16::from_be_bytes([a, b]))),
            [_, 127, a, b, c, d, e, f, g, h, ..] => {
                (10, usize::try_from(u64::from_be_bytes([a, b, c, d, e, f, g, h]))?)
            }
            [_, short @ 0..=125, ..] => (2, usize::from(short)),
            [_, 128..=255, ..] => return Err("a server's frame is masked".into()),
            _ => return Ok(None),
        };
        if length > BUFFER - header {
            return Err(format!("a frame of {length} bytes does not fit into the buffer").into());
        }
        if bytes.len() < header + length {
            return Ok(None);
        }
        let is_data = matches!(bytes[0] & 0x0f, 1 | 2);
        Ok(Some(Frame { header, length, is_data, is_compressed: bytes[0] & 0x40 != 0 }))
    }
}

/// RFC 7692 section 7.2.2: the four octets that the sender took away come back at the end.
fn inflate_message(inflate: &mut Decompress, payload: &[u8], scratch: &mut [u8]) -> Result<(), Box<dyn Error>> {
    for mut input in [payload, &[0, 0, 0xff, 0xff]] {
        loop {
            let (taken, made) = (inflate.total_in(), inflate.total_out());
            inflate.decompress(input, scratch, FlushDecompress::Sync)?;
            let taken = usize::try_from(inflate.total_in() - taken)?;
            let made = usize::try_from(inflate.total_out() - made)?;
            input = &input[taken..];
            // A full scratch buffer may hide more output.
            if input.is_empty() && made < scratch.len() {
                break;
            }
        }
    }
    Ok(())
}
