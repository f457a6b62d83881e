//! What a server has seen and done.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A snapshot of a server; the JSON of `GET /_stats`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// TCP connections accepted (requests for `/_stats` and the like are not counted).
    pub accepted: u64,
    /// Connections open now.
    pub open: u64,
    /// The next number; the messages that are being written at the moment have theirs already (see [`Stats::sent`]).
    pub next_n: u64,
    /// Numbers that a `live` feed skipped because nobody was connected.
    pub missed: u64,
    /// Every connection in the order of its request (or of its end, if none came).
    pub connections: Vec<ConnectionStats>,
}

impl Stats {
    /// Numbered messages written in full, over all connections.
    pub fn sent(&self) -> u64 {
        self.connections.iter().map(|connection| connection.sent).sum()
    }

    /// Numbered messages that the socket took but perhaps no client got; see [`ConnectionStats::in_doubt`].
    pub fn in_doubt(&self) -> u64 {
        self.connections.iter().map(ConnectionStats::in_doubt).sum()
    }

    /// Connections whose request came, with its line and headers.
    pub fn requests(&self) -> impl Iterator<Item = &Request> {
        self.connections.iter().filter_map(|connection| connection.request.as_ref())
    }
}

/// A client's opening handshake.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Such as `GET /stream?x=1 HTTP/1.1`.
    pub line: String,
    /// In order, names as sent.
    pub headers: Vec<(String, String)>,
}

impl Request {
    /// The value of the first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All values of this header, joined by commas.
    pub(crate) fn joined(&self, name: &str) -> String {
        let values: Vec<&str> = self
            .headers
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect();
        values.join(",")
    }
}

/// The payload of a Close frame.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CloseFrame {
    /// `None`: an empty payload.
    pub code: Option<u16>,
    /// Empty if there was none; broken UTF-8 is replaced.
    pub reason: String,
}

impl CloseFrame {
    pub(crate) fn read(payload: &[u8]) -> CloseFrame {
        match payload {
            [high, low, reason @ ..] => CloseFrame {
                code: Some(u16::from_be_bytes([*high, *low])),
                reason: String::from_utf8_lossy(reason).into_owned(),
            },
            _ => CloseFrame::default(),
        }
    }
}

/// How a connection ended; in JSON `"closed_by_server"` and so on, or `{"failed": "why"}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// Closing handshake begun by the server and answered.
    ClosedByServer,
    /// Closing handshake begun by the client and answered.
    ClosedByClient,
    /// The server sent Close; the client ended TCP without an answer, or did not answer in time.
    CloseUnanswered,
    /// The client ended TCP without a Close, or reset it.
    ClientGone,
    /// The server ended TCP as the script said.
    TcpClosed,
    /// The server reset TCP as the script said.
    TcpReset,
    /// Answered with something that is no WebSocket.
    Refused,
    /// The client broke a rule, TLS failed, or an expected message did not come: what it was.
    Failed(String),
    /// The server was stopped.
    Stopped,
}

/// One connection.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ConnectionStats {
    /// Its request; `None` if none came or the script did not wait for it.
    pub request: Option<Request>,
    /// The status it was answered with.
    pub status: Option<u16>,
    /// The extensions it was answered with.
    pub extensions: Option<String>,
    /// Numbered messages written in full.
    pub sent: u64,
    /// Their numbers: first and last of each unbroken range, in order.
    pub ranges: Vec<(u64, u64)>,
    /// How many of them the client certainly got: those before a ping that it answered, or all if it answered the server's Close.
    pub confirmed: u64,
    /// Numbered messages written in full before the server wrote its Close frame.
    pub sent_before_close: Option<u64>,
    /// Bytes written, without the handshake answer.
    pub bytes_sent: u64,
    /// Bytes read, without the request.
    pub bytes_received: u64,
    /// Pings written.
    pub pings_sent: u64,
    /// Pongs read.
    pub pongs_received: u64,
    /// Pings read.
    pub pings_received: u64,
    /// Pongs written.
    pub pongs_sent: u64,
    /// Text messages read.
    pub texts_received: u64,
    /// The first thousand of them, each cut at 64 KiB.
    pub texts: Vec<String>,
    /// Binary messages read.
    pub binaries_received: u64,
    /// The client's Close.
    pub close_received: Option<CloseFrame>,
    /// The server's Close.
    pub close_sent: Option<CloseFrame>,
    /// Milliseconds since 1970.
    pub opened_ms: u64,
    /// Milliseconds since 1970; `None`: open.
    pub closed_ms: Option<u64>,
    /// How it ended; `None`: open.
    pub ended: Option<Ended>,
}

impl ConnectionStats {
    /// Numbered messages that the socket took but perhaps the client did not get. None after a full closing handshake.
    pub fn in_doubt(&self) -> u64 {
        match self.ended {
            Some(Ended::ClosedByServer | Ended::ClosedByClient) => 0,
            _ => self.sent - self.confirmed,
        }
    }

    /// The numbers in doubt: first and last of each range.
    pub fn ranges_in_doubt(&self) -> Vec<(u64, u64)> {
        let mut left = self.in_doubt();
        let mut ranges = Vec::new();
        for &(first, last) in self.ranges.iter().rev() {
            if left == 0 {
                break;
            }
            let taken = left.min(last - first + 1);
            ranges.push((last + 1 - taken, last));
            left -= taken;
        }
        ranges.reverse();
        ranges
    }

    pub(crate) fn add_sent(&mut self, first: u64, count: u64) {
        if count == 0 {
            return;
        }
        self.sent += count;
        let last = first + count - 1;
        match self.ranges.last_mut() {
            Some(range) if range.1 + 1 == first => range.1 = last,
            _ => self.ranges.push((first, last)),
        }
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Microseconds since 1970.
pub(crate) fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubt_covers_what_came_after_the_last_confirmation() {
        let mut connection = ConnectionStats::default();
        connection.add_sent(10, 5);
        connection.add_sent(15, 5);
        connection.add_sent(40, 3);
        assert_eq!(connection.ranges, vec![(10, 19), (40, 42)]);
        connection.confirmed = 8;
        connection.ended = Some(Ended::TcpReset);
        assert_eq!(connection.in_doubt(), 5);
        assert_eq!(connection.ranges_in_doubt(), vec![(18, 19), (40, 42)]);
        connection.ended = Some(Ended::ClosedByServer);
        assert!(connection.ranges_in_doubt().is_empty());
    }

    #[test]
    fn close_payloads_of_any_length_are_read() {
        assert_eq!(CloseFrame::read(&[]), CloseFrame::default());
        assert_eq!(CloseFrame::read(&[3]), CloseFrame::default());
        assert_eq!(CloseFrame::read(&[3, 232, b'x']), CloseFrame { code: Some(1000), reason: "x".to_owned() });
    }
}
