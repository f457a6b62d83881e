//! A small blocking WebSocket client for these tests, as raw as the server.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use connect_websocket_testkit::Server;

pub(crate) const TEXT: u8 = 1;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// Fails a test that hangs.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

pub(crate) struct Client {
    pub(crate) tcp: TcpStream,
    pub(crate) head: String,
    pub(crate) answer_pings: bool,
    input: Vec<u8>,
    at: usize,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Frame {
    /// FIN, RSV bits and opcode.
    pub(crate) first: u8,
    pub(crate) masked: bool,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn opcode(&self) -> u8 {
        self.first & 0x0f
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).unwrap()
    }

    pub(crate) fn n(&self) -> u64 {
        number(self.text())
    }

    pub(crate) fn close_code(&self) -> u16 {
        u16::from_be_bytes([self.payload[0], self.payload[1]])
    }
}

pub(crate) fn number(text: &str) -> u64 {
    serde_json::from_str::<serde_json::Value>(text).unwrap()["n"].as_u64().unwrap()
}

/// Sends a request and returns all bytes up to the end of the connection.
pub(crate) fn http(server: &Server, request: &str) -> io::Result<String> {
    let mut tcp = TcpStream::connect(server.addr())?;
    tcp.set_read_timeout(Some(LIMIT))?;
    tcp.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    tcp.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

pub(crate) fn upgrade(headers: &str) -> String {
    upgrade_at("/feed?x=1", headers)
}

fn upgrade_at(target: &str, headers: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
    )
}

impl Client {
    pub(crate) fn connect(server: &Server) -> Client {
        Client::connect_with(server, "")
    }

    pub(crate) fn connect_with(server: &Server, headers: &str) -> Client {
        Client::to(server.addr(), headers)
    }

    pub(crate) fn to(addr: SocketAddr, headers: &str) -> Client {
        Client::over(TcpStream::connect(addr).unwrap(), headers)
    }

    /// Asks the server at this address for this path.
    pub(crate) fn at(host: &str, target: &str) -> Client {
        Client::shake(TcpStream::connect(host).unwrap(), &upgrade_at(target, ""))
    }

    /// The opening handshake on a connection that is there already.
    pub(crate) fn over(tcp: TcpStream, headers: &str) -> Client {
        Client::shake(tcp, &upgrade(headers))
    }

    fn shake(mut tcp: TcpStream, request: &str) -> Client {
        tcp.set_read_timeout(Some(LIMIT)).unwrap();
        tcp.set_write_timeout(Some(LIMIT)).unwrap();
        tcp.write_all(request.as_bytes()).unwrap();
        let mut client = Client { tcp, head: String::new(), answer_pings: true, input: Vec::new(), at: 0 };
        while !client.head.ends_with("\r\n\r\n") {
            let byte = client.take(1).unwrap()[0];
            client.head.push(byte as char);
        }
        client
    }

    pub(crate) fn take(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut chunk = [0; 64 * 1024];
        while self.input.len() - self.at < count {
            if self.at > 1 << 20 {
                self.input.drain(..self.at);
                self.at = 0;
            }
            match self.tcp.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => self.input.extend_from_slice(&chunk[..read]),
            }
        }
        let bytes = self.input[self.at..self.at + count].to_vec();
        self.at += count;
        Ok(bytes)
    }

    /// The next frame, whatever it is.
    pub(crate) fn raw_frame(&mut self) -> io::Result<Frame> {
        let head = self.take(2)?;
        let length = match head[1] & 0x7f {
            126 => u64::from(u16::from_be_bytes(self.take(2)?.try_into().unwrap())),
            127 => u64::from_be_bytes(self.take(8)?.try_into().unwrap()),
            short => u64::from(short),
        };
        let masked = head[1] & 0x80 != 0;
        if masked {
            self.take(4)?;
        }
        Ok(Frame { first: head[0], masked, payload: self.take(length as usize)? })
    }

    /// The next frame that is no ping; pings are answered.
    pub(crate) fn frame(&mut self) -> io::Result<Frame> {
        loop {
            let frame = self.raw_frame()?;
            if frame.opcode() != PING {
                return Ok(frame);
            }
            if self.answer_pings {
                self.try_send(PONG, &frame.payload)?;
            }
        }
    }

    /// The next message, put together from its fragments; compressed ones are not inflated.
    pub(crate) fn message(&mut self) -> io::Result<Frame> {
        let mut message = self.frame()?;
        while message.first & 0x80 == 0 {
            let next = self.frame()?;
            assert_eq!(next.opcode(), 0, "a fragmented message is continued");
            message.first |= next.first & 0x80;
            message.payload.extend_from_slice(&next.payload);
        }
        Ok(message)
    }

    pub(crate) fn send(&mut self, opcode: u8, payload: &[u8]) {
        self.try_send(opcode, payload).unwrap();
    }

    fn try_send(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        assert!(payload.len() < 126);
        let mask = [7, 77, 177, 201];
        let mut bytes = vec![0x80 | opcode, 0x80 | payload.len() as u8];
        bytes.extend_from_slice(&mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.tcp.write_all(&bytes)
    }

    pub(crate) fn close(&mut self, code: u16) {
        self.send(CLOSE, &code.to_be_bytes());
    }

    /// Reads numbered messages until the server's Close, which is answered; returns the numbers and the code.
    pub(crate) fn numbers_until_close(&mut self) -> (Vec<u64>, u16) {
        let mut numbers = Vec::new();
        loop {
            let message = self.message().unwrap();
            if message.opcode() == CLOSE {
                self.send(CLOSE, &message.payload);
                // The server waits for this before it books the end.
                self.tcp.shutdown(Shutdown::Both).unwrap();
                return (numbers, message.close_code());
            }
            numbers.push(message.n());
        }
    }

    /// The connection ends without anything more.
    pub(crate) fn ended(&mut self) -> io::Error {
        match self.take(1) {
            Ok(byte) => panic!("got byte {byte:?} where the end was expected"),
            Err(error) => error,
        }
    }
}
