//! What happens on an open connection: the steps of a [`Play`](crate::Play).

use serde::{Deserialize, Serialize};

/// One thing the server does; with `do` in JSON.
///
/// While a step runs or waits, pings are answered, texts are recorded, and a Close of the client ends the steps (see [`OnClose`](crate::OnClose)).
///
/// | wanted | step |
/// |---|---|
/// | data, numbered | `send` |
/// | one given message | `send_text`, `send_binary` |
/// | any bytes | `raw` |
/// | a log-in or subscription to wait for | `expect_text`, `hear` |
/// | the test to say when | `await_signal` and [`Server::signal`](crate::Server::signal) |
/// | keepalive | `ping`, `ping_flood`, `await_pong`, `withhold_pongs`, `delay_pongs` |
/// | an end | `close`, `close_raw`, `close_tcp`, `reset` |
/// | silence | `wait`, `mute` (both answer pings), `black_hole`, `stop_reading` |
/// | a broken frame | `violate` |
/// | too much | `huge_length`, `endless_frame`, `endless_fragments`, `fragments`, `empty_fragments`, `deflate_bomb` |
/// | too slow | `slow_drip` |
/// | again | `loop` |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// Numbered messages. See [`Messages`].
    Send(Messages),
    /// `{"do": "send_text", "text": "{\"event\":\"subscribed\"}", "fragments": 1}`. Compressed if permessage-deflate is agreed.
    SendText {
        /// The payload.
        text: String,
        /// Cut into so many frames, at any byte (so within a character, too).
        #[serde(default = "one")]
        fragments: usize,
        /// A ping between any two fragments.
        #[serde(default)]
        ping_between: bool,
    },
    /// `{"do": "send_binary", "base64": "AAEC"}`
    SendBinary {
        /// The payload in standard base64.
        base64: String,
    },
    /// Bytes straight onto the connection. `{"do": "raw", "hex": "8100"}`
    Raw {
        /// Hexadecimal; blanks are allowed.
        hex: String,
    },
    /// Waits for a text message of the client that contains this; each message is looked at once, so two of these wait for two
    /// messages. When it does not come, the connection is closed with 1008. `{"do": "expect_text", "contains": "subscribe", "timeout_ms": 5000}`
    ExpectText {
        /// Part of the text; empty: any text.
        contains: String,
        /// The limit; default 10 000.
        #[serde(default = "default_timeout")]
        timeout_ms: u64,
    },
    /// Waits for one text message of the client, whatever it says, and goes on if none comes. From then on this client is not
    /// waited for any more. `{"do": "hear", "timeout_ms": 2000}`
    Hear {
        /// The limit; default 10 000.
        #[serde(default = "default_timeout")]
        timeout_ms: u64,
    },
    /// Waits for one call of [`Server::signal`](crate::Server::signal) or `POST /_signal`. `{"do": "await_signal"}`
    AwaitSignal,
    /// `{"do": "ping", "count": 3, "payload": "hi", "every_ms": 1000}`
    Ping {
        /// How many; default 1.
        #[serde(default = "one_u64")]
        count: u64,
        /// Up to 125 bytes; default empty.
        #[serde(default)]
        payload: String,
        /// Pause after each; default 0.
        #[serde(default)]
        every_ms: u64,
    },
    /// Pings as fast as the socket takes them. `{"do": "ping_flood", "count": 100000}`; without `count`: for ever.
    PingFlood {
        /// How many.
        #[serde(default)]
        count: Option<u64>,
    },
    /// Waits until every ping sent so far is answered; closes with 1008 when it is not. `{"do": "await_pong", "timeout_ms": 5000}`
    AwaitPong {
        /// The limit; default 10 000.
        #[serde(default = "default_timeout")]
        timeout_ms: u64,
    },
    /// From here on the client's pings are not answered. `{"do": "withhold_pongs"}`; `"on": false` ends it.
    WithholdPongs {
        /// Default true.
        #[serde(default = "yes")]
        on: bool,
    },
    /// From here on the client's pings are answered so late. `{"do": "delay_pongs", "ms": 3000}`
    DelayPongs {
        /// The delay.
        ms: u64,
    },
    /// A Close frame. See [`Close`].
    Close(Close),
    /// A Close frame with any payload (one byte, a reason that is no UTF-8), then as `close`. `{"do": "close_raw", "hex": "03"}`
    CloseRaw {
        /// The payload in hexadecimal.
        hex: String,
    },
    /// FIN without a Close frame, and without close_notify of TLS; then reads until the client ends too. `{"do": "close_tcp"}`
    CloseTcp,
    /// RST. `{"do": "reset"}`
    Reset,
    /// Goes on after this time. `{"do": "wait", "ms": 200}`
    Wait {
        /// How long.
        ms: u64,
    },
    /// Alive but silent: answers pings and sends nothing. `{"do": "mute"}` is for ever; `"ms"` ends it.
    Mute {
        /// How long.
        #[serde(default)]
        ms: Option<u64>,
    },
    /// Neither reads nor writes, and keeps the socket. `{"do": "black_hole"}` is for ever; `"ms"` ends it.
    BlackHole {
        /// How long.
        #[serde(default)]
        ms: Option<u64>,
    },
    /// From here on nothing is read any more, so the client's writes stall in the end. `{"do": "stop_reading"}`; `"on": false` ends it.
    StopReading {
        /// Default true.
        #[serde(default = "yes")]
        on: bool,
    },
    /// Breaks one rule of RFC 6455 or 7692. `{"do": "violate", "rule": "masked_frame"}`; see [`Violation`].
    Violate {
        /// Which.
        rule: Violation,
    },
    /// The header of a text frame of this length, 16 bytes of it, and no more. `{"do": "huge_length", "length": 4294967296}`
    HugeLength {
        /// Default 2^63-1, the largest that RFC 6455 allows.
        #[serde(default = "longest")]
        length: u64,
    },
    /// A frame of 2^63-1 bytes, sent as fast as the socket takes it. `{"do": "endless_frame"}`
    EndlessFrame,
    /// A message that never ends, in fragments of this size. `{"do": "endless_fragments", "size": 1024}`
    EndlessFragments {
        /// Payload of each fragment; default 1024.
        #[serde(default = "kilobyte")]
        size: usize,
    },
    /// A message of fragments without payload. `{"do": "empty_fragments", "count": 1000}` ends it; without `count`: for ever.
    EmptyFragments {
        /// How many.
        #[serde(default)]
        count: Option<u64>,
    },
    /// One text message (the letter x) in so many fragments. `{"do": "fragments", "count": 100000, "size": 10}`
    Fragments {
        /// How many, at least 1.
        count: u64,
        /// Payload of each.
        size: usize,
    },
    /// A small compressed text message that inflates to so many blanks. `{"do": "deflate_bomb", "size": 1073741824}`
    DeflateBomb {
        /// Size when inflated.
        size: u64,
    },
    /// A text message, a few bytes at a time. `{"do": "slow_drip", "text": "abc", "bytes": 1, "every_ms": 100}`
    SlowDrip {
        /// The message.
        text: String,
        /// How many bytes each time; default 1.
        #[serde(default = "one")]
        bytes: usize,
        /// Pause after each.
        every_ms: u64,
    },
    /// These steps again and again. `{"do": "loop", "count": 3, "steps": [{"do": "ping"}]}`; without `count`: for ever.
    Loop {
        /// How many times.
        #[serde(default)]
        count: Option<u64>,
        /// What is repeated.
        steps: Vec<Step>,
    },
}

/// A Close frame of the server; it then waits for the client's Close and ends TCP.
///
/// ```json
/// {"do": "close", "code": 1001, "reason": "going away"}
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Close {
    /// Any number, also one that must not be sent (1005, 1006, 1015, 0, 999, 5000); `None`: an empty Close.
    pub code: Option<u16>,
    /// The reason.
    pub reason: String,
    /// `false`: the steps go on at once, so that more can be sent after a Close.
    pub wait: bool,
    /// How long to wait for the client's Close before TCP is ended without it; `None`: for ever.
    pub wait_ms: Option<u64>,
    /// Never ends TCP after the closing handshake, although RFC 6455 section 7.1.1 says that the server does it first.
    pub keep_open: bool,
}

impl Default for Close {
    fn default() -> Close {
        Close { code: None, reason: String::new(), wait: true, wait_ms: None, keep_open: false }
    }
}

/// Numbered messages: `{"n":17,"pad":"xxxx"}`, where n counts over all connections of the server, from 0.
///
/// Each n is written in full exactly once, unless the socket fails under it (then `sent` and `confirmed` in
/// [`ConnectionStats`](crate::ConnectionStats) show what may be missing). A message that was not written in full gives its number back.
///
/// ```json
/// {"do": "send", "count": 100000, "size": 512, "rate": 10000}
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Messages {
    /// How many; `None`: for ever.
    pub count: Option<u64>,
    /// Stops when the server's counter has reached this number, whatever connection sent the others.
    pub until_n: Option<u64>,
    /// Stops after this time, looked at between two buffers.
    pub for_ms: Option<u64>,
    /// Messages per second, kept on average (what the socket delays is caught up with); `None`: as fast as the socket takes them.
    #[serde(deserialize_with = "number")]
    pub rate: Option<f64>,
    /// With `rate`: the feed's clock runs whether anybody is connected or not, and what came meanwhile is skipped (counted in
    /// [`Stats::missed`](crate::Stats::missed)), as a live feed does. For one connection at a time.
    pub live: bool,
    /// Payload size; `pad` (or blanks at the end) fills it. Default 64.
    pub size: usize,
    /// Text or binary frames.
    pub kind: Kind,
    /// What the messages are.
    pub content: Content,
    /// Adds `"ts"`, the time of writing in microseconds since 1970, after n; for latency measurements.
    pub timestamp: bool,
    /// Each message in so many frames; default 1.
    pub fragments: usize,
    /// A ping between any two fragments.
    pub ping_between: bool,
    /// A ping so often, whose pong confirms the messages before it.
    pub ping_every_ms: Option<u64>,
    /// Resets TCP when the client takes longer than this for one buffer (256 KiB or one message), as feeds do with slow readers.
    pub stuck_ms: Option<u64>,
    /// `false`: uncompressed even if permessage-deflate is agreed (RFC 7692 allows it message by message).
    pub compress: bool,
}

impl Default for Messages {
    fn default() -> Messages {
        Messages {
            count: None,
            until_n: None,
            for_ms: None,
            rate: None,
            live: false,
            size: 64,
            kind: Kind::Text,
            content: Content::Numbered,
            timestamp: false,
            fragments: 1,
            ping_between: false,
            ping_every_ms: None,
            stuck_ms: None,
            compress: true,
        }
    }
}

/// A number of JSON, whole or not. Not read as `f64` straight away: with serde_json's `arbitrary_precision`, which another
/// crate of a build may ask for, a number inside a tagged enum comes as a map.
fn number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let number = Option::<serde_json::Number>::deserialize(deserializer)?;
    Ok(number.and_then(|number| number.as_f64()))
}

impl Messages {
    /// So many messages of 64 bytes, as fast as the socket takes them.
    pub fn count(count: u64) -> Messages {
        Messages { count: Some(count), ..Messages::default() }
    }

    /// Messages without end.
    pub fn forever() -> Messages {
        Messages::default()
    }

    /// Sets messages per second.
    pub fn rate(mut self, per_second: f64) -> Messages {
        self.rate = Some(per_second);
        self
    }

    /// Sets the payload size.
    pub fn size(mut self, bytes: usize) -> Messages {
        self.size = bytes;
        self
    }

    /// Sets binary frames.
    pub fn binary(mut self) -> Messages {
        self.kind = Kind::Binary;
        self
    }

    /// Sets the number of frames per message.
    pub fn fragments(mut self, frames: usize) -> Messages {
        self.fragments = frames;
        self
    }
}

/// The opcode of data frames; `"text"` or `"binary"`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// 0x1
    #[default]
    Text,
    /// 0x2
    Binary,
}

/// What numbered messages contain; `"numbered"` or `"trades"`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// `{"n":17,"pad":"xxxx"}`
    #[default]
    Numbered,
    /// `{"type":"trade","n":17,"symbol":"BTC-USD","price":"68012.51","size":"0.0031","side":"buy","ts":1764000000123}`; `size` is not used.
    Trades,
}

/// One broken rule each; a client must fail the connection (RFC 6455 section 7.1.7) on all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Violation {
    /// A masked frame from the server (RFC 6455 section 5.1).
    MaskedFrame,
    /// A text message that is not UTF-8 (8.1).
    InvalidUtf8,
    /// The same, where only the last of three fragments shows it.
    InvalidUtf8Fragmented,
    /// RSV1 set on a text frame; without an agreed extension it must be 0 (5.2). With permessage-deflate this is `corrupt_deflate`.
    Rsv1,
    /// RSV2 set.
    Rsv2,
    /// RSV3 set.
    Rsv3,
    /// RSV1 set on a ping, which is never compressed (RFC 7692 section 6.1).
    Rsv1OnControl,
    /// Opcode 0x3 (5.2).
    ReservedDataOpcode,
    /// Opcode 0xB (5.2).
    ReservedControlOpcode,
    /// A ping without FIN (5.5).
    FragmentedControl,
    /// A ping of 126 bytes (5.5).
    LongControl,
    /// A continuation frame where no message was begun (5.4).
    LoneContinuation,
    /// A new text message inside a fragmented one (5.4).
    InterleavedMessage,
    /// A length of 5 in the 16-bit form (5.2: the minimal number of bytes must be used).
    NonMinimalLength,
    /// A 64-bit length with its highest bit set (5.2).
    LengthHighBit,
    /// A compressed message (RSV1) whose bytes are no deflate stream.
    CorruptDeflate,
}

impl Violation {
    /// All of them, to go through.
    pub const ALL: [Violation; 16] = [
        Violation::MaskedFrame,
        Violation::InvalidUtf8,
        Violation::InvalidUtf8Fragmented,
        Violation::Rsv1,
        Violation::Rsv2,
        Violation::Rsv3,
        Violation::Rsv1OnControl,
        Violation::ReservedDataOpcode,
        Violation::ReservedControlOpcode,
        Violation::FragmentedControl,
        Violation::LongControl,
        Violation::LoneContinuation,
        Violation::InterleavedMessage,
        Violation::NonMinimalLength,
        Violation::LengthHighBit,
        Violation::CorruptDeflate,
    ];
}

pub(crate) fn default_timeout() -> u64 {
    10_000
}

fn one() -> usize {
    1
}

fn one_u64() -> u64 {
    1
}

fn yes() -> bool {
    true
}

fn longest() -> u64 {
    (1 << 63) - 1
}

fn kilobyte() -> usize {
    1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_of_the_documentation_is_read() {
        let mut examples = 0;
        for part in include_str!("step.rs").split("`{\"do\"").skip(1) {
            let json = format!("{{\"do\"{}", part.split('`').next().unwrap());
            if json.contains("include_str") {
                continue;
            }
            let step: Step = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{json}: {error}"));
            let again: Step = serde_json::from_str(&serde_json::to_string(&step).unwrap()).unwrap();
            assert_eq!(again, step);
            examples += 1;
        }
        assert!(examples > 25, "only {examples}");
    }

    #[test]
    fn every_violation_has_a_name() {
        for rule in Violation::ALL {
            let json = serde_json::to_string(&Step::Violate { rule }).unwrap();
            assert_eq!(serde_json::from_str::<Step>(&json).unwrap(), Step::Violate { rule }, "{json}");
        }
    }
}
