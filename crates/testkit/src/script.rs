//! What a server plays: a [`Script`] is a list of [`Play`]s, one for each connection.
//!
//! Every type here is written in Rust (builders and struct literals) or in JSON; the JSON form is shown beside each item.
//! All times are milliseconds, all sizes bytes. An unknown key is an error.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::step::{Close, Messages, Step, default_timeout};

/// The plays of a server, in the order of its connections.
///
/// Connection 0 gets `plays[0]`, connection 1 `plays[1]`, and so on; after the last one the list goes on again
/// from `repeat_from` (default: the last play, for ever). An empty script accepts and sends nothing.
///
/// ```json
/// {"plays": [
///   {"handshake": {"do": "reject", "status": 503, "headers": [["Retry-After", "1"]]}},
///   {"steps": [{"do": "send", "count": 1000, "rate": 500}, {"do": "close", "code": 1001}]}
/// ]}
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Script {
    /// One per connection.
    pub plays: Vec<Play>,
    /// Where the list goes on after its end; `None`: at the last play.
    pub repeat_from: Option<usize>,
}

impl Script {
    /// The same play for every connection.
    pub fn every(play: Play) -> Script {
        Script::plays([play])
    }

    /// These plays one after the other, the last one repeating.
    pub fn plays(plays: impl IntoIterator<Item = Play>) -> Script {
        Script { plays: plays.into_iter().collect(), repeat_from: None }
    }

    /// These plays over and over.
    pub fn cycle(plays: impl IntoIterator<Item = Play>) -> Script {
        Script { plays: plays.into_iter().collect(), repeat_from: Some(0) }
    }

    /// Reads the JSON form.
    pub fn from_json(text: &str) -> Result<Script, serde_json::Error> {
        serde_json::from_str(text)
    }
}

/// The plays of a script, which connections share: one may hold a whole recording.
pub(crate) struct Plays {
    plays: Vec<Arc<Play>>,
    repeat_from: Option<usize>,
}

impl Plays {
    pub(crate) fn of(script: Script) -> Plays {
        Plays { plays: script.plays.into_iter().map(Arc::new).collect(), repeat_from: script.repeat_from }
    }

    /// The play of the `index`-th connection, counted from 0.
    pub(crate) fn play(&self, index: usize) -> Arc<Play> {
        let Some(last) = self.plays.len().checked_sub(1) else {
            return Arc::default();
        };
        let from = self.repeat_from.unwrap_or(last).min(last);
        let at = if index <= last { index } else { from + (index - from) % (last + 1 - from) };
        self.plays[at].clone()
    }
}

/// One connection: the opening handshake, then the steps one after the other.
///
/// After the last step the connection stays open: pings are answered, nothing is sent.
///
/// JSON: `{"handshake": …, "steps": […], "on_close": …}`; each may be left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Play {
    /// How the opening handshake is answered.
    pub handshake: Handshake,
    /// What happens then.
    pub steps: Vec<Step>,
    /// What the client's Close brings about.
    pub on_close: OnClose,
}

impl Play {
    /// A play that answers the handshake as RFC 6455 asks.
    pub fn accept() -> Play {
        Play::default()
    }

    /// A play that accepts with these particulars.
    pub fn accept_with(accept: Accept) -> Play {
        Play::handshake(Handshake::Accept(accept))
    }

    /// A play that accepts and negotiates permessage-deflate if the client offers it.
    pub fn accept_deflate(deflate: Deflate) -> Play {
        Play::accept_with(Accept { deflate: Some(deflate), ..Accept::default() })
    }

    /// A play with any handshake.
    pub fn handshake(handshake: Handshake) -> Play {
        Play { handshake, ..Play::default() }
    }

    /// A play that answers with this status, and nothing else.
    pub fn reject(status: u16) -> Play {
        Play::handshake(Handshake::Reject(Reject { status, ..Reject::default() }))
    }

    /// Sets what the client's Close brings about.
    pub fn on_close(mut self, on_close: OnClose) -> Play {
        self.on_close = on_close;
        self
    }

    /// Adds any step.
    pub fn step(mut self, step: Step) -> Play {
        self.steps.push(step);
        self
    }

    /// Adds [`Step::Send`].
    pub fn send(self, messages: Messages) -> Play {
        self.step(Step::Send(messages))
    }

    /// Adds [`Step::SendText`] with one unfragmented message.
    pub fn send_text(self, text: impl Into<String>) -> Play {
        self.step(Step::SendText { text: text.into(), fragments: 1, ping_between: false })
    }

    /// Adds [`Step::ExpectText`] with a limit of ten seconds.
    pub fn expect_text(self, contains: impl Into<String>) -> Play {
        self.step(Step::ExpectText { contains: contains.into(), timeout_ms: default_timeout() })
    }

    /// Adds [`Step::AwaitSignal`].
    pub fn await_signal(self) -> Play {
        self.step(Step::AwaitSignal)
    }

    /// Adds [`Step::Wait`].
    pub fn wait_ms(self, ms: u64) -> Play {
        self.step(Step::Wait { ms })
    }

    /// Adds [`Step::Close`] with this code and no reason.
    pub fn close(self, code: u16) -> Play {
        self.step(Step::Close(Close { code: Some(code), ..Close::default() }))
    }

    /// Adds [`Step::Reset`].
    pub fn reset(self) -> Play {
        self.step(Step::Reset)
    }

    /// Adds [`Step::CloseTcp`].
    pub fn close_tcp(self) -> Play {
        self.step(Step::CloseTcp)
    }
}

/// How the opening handshake is answered; with `do` in JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Handshake {
    /// 101, with anything in it put wrong at will. See [`Accept`].
    Accept(Accept),
    /// Another status. See [`Reject`].
    Reject(Reject),
    /// `{"do": "redirect", "status": 302, "location": "ws://127.0.0.1:9/x"}`
    Redirect {
        /// 301, 302, 303, 307 or 308.
        #[serde(default = "default_redirect")]
        status: u16,
        /// The `Location` header, as given.
        location: String,
    },
    /// Redirects to the very URL that was asked for. `{"do": "redirect_loop", "status": 302}`
    RedirectLoop {
        /// 301, 302, 303, 307 or 308.
        #[serde(default = "default_redirect")]
        status: u16,
    },
    /// Never answers. `{"do": "hang"}`; with `"before_request": true` not one byte is read, nor a TLS handshake answered.
    Hang {
        /// Act at once after TCP accept.
        #[serde(default)]
        before_request: bool,
    },
    /// `101` and then header after header, without end. `{"do": "endless_headers", "every_ms": 0}`
    EndlessHeaders {
        /// Pause between two headers; 0: as fast as the socket takes them.
        #[serde(default)]
        every_ms: u64,
    },
    /// Writes bytes that are no HTTP, then ends the connection. `{"do": "garbage", "hex": "00ff"}` or `"text": "SSH-2.0-x\r\n"`
    Garbage {
        /// The bytes in hexadecimal.
        #[serde(default)]
        hex: String,
        /// The bytes as text; sent after `hex`.
        #[serde(default)]
        text: String,
    },
    /// FIN instead of an answer. `{"do": "tcp_close"}`
    TcpClose {
        /// Act at once after TCP accept, before the request is read.
        #[serde(default)]
        before_request: bool,
    },
    /// RST instead of an answer. `{"do": "tcp_reset"}`
    TcpReset {
        /// Act at once after TCP accept, before the request is read.
        #[serde(default)]
        before_request: bool,
    },
}

impl Default for Handshake {
    fn default() -> Handshake {
        Handshake::Accept(Accept::default())
    }
}

impl Handshake {
    pub(crate) fn acts_before_request(&self) -> bool {
        matches!(
            self,
            Handshake::Hang { before_request: true }
                | Handshake::TcpClose { before_request: true }
                | Handshake::TcpReset { before_request: true }
        )
    }
}

/// A 101 answer. `{"do": "accept"}` is the correct one.
///
/// ```json
/// {"do": "accept", "subprotocol": "chat", "deflate": {"server_max_window_bits": 10}, "drip_ms": 5}
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Accept {
    /// Sent as given before the answer: an interim answer such as `HTTP/1.1 103 Early Hints\r\n\r\n`.
    pub before: String,
    /// Headers to add, as given: `[["Set-Cookie", "a=b"]]`.
    pub headers: Vec<(String, String)>,
    /// The `Sec-WebSocket-Protocol` answer, sent as given (so it may be one that was not offered). `"*"`: the first one offered.
    pub subprotocol: Option<String>,
    /// The `Sec-WebSocket-Extensions` answer, sent as given, whatever was offered.
    pub extensions: Option<String>,
    /// Negotiates permessage-deflate (RFC 7692). Messages are compressed if it was offered, or if `extensions` is given too.
    pub deflate: Option<Deflate>,
    /// `Sec-WebSocket-Accept` as given instead of the right one.
    pub accept_key: Option<String>,
    /// The status instead of 101 (with the WebSocket headers all the same).
    pub status: Option<u16>,
    /// Waits this long before it answers.
    pub delay_ms: u64,
    /// Writes the answer one byte each so many milliseconds.
    pub drip_ms: Option<u64>,
    /// Answers 403 to a request with an `Origin`, which every web page's handshake has, and 404 to `/_stats` and the like, which a
    /// page can request without one.
    pub no_pages: bool,
    /// Holds the answer back and writes it together with the first frames of the first step, in one write.
    pub pipelined: bool,
}

/// permessage-deflate as the server wants it; what the client's offer asks for is honoured too.
///
/// JSON: `{"server_no_context_takeover": true, "server_max_window_bits": 9}`; `{}` is compression with context takeover and
/// a window of 32 KiB.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Deflate {
    /// Each message of the server starts with an empty window.
    pub server_no_context_takeover: bool,
    /// The client must start each message with an empty window.
    pub client_no_context_takeover: bool,
    /// 8 to 15; `None`: 15, not stated. At 8, messages go out as stored blocks, which any window can read.
    pub server_max_window_bits: Option<u8>,
    /// 8 to 15; sent only if the client offered it.
    pub client_max_window_bits: Option<u8>,
    /// 0 to 9; `None`: 6.
    pub level: Option<u32>,
}

/// An answer that is no WebSocket, and the connection ends.
///
/// ```json
/// {"do": "reject", "status": 429, "headers": [["Retry-After", "2"]], "body": "slow down"}
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reject {
    /// Any status.
    pub status: u16,
    /// Headers, as given. `Content-Length` is added.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Default for Reject {
    fn default() -> Reject {
        Reject { status: 503, headers: Vec::new(), body: String::new() }
    }
}

/// What the client's Close brings about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum OnClose {
    /// The step stops after the message that is being written, the server answers with the same code, then ends TCP. `{"do": "answer"}`
    #[default]
    Answer,
    /// It is recorded; the steps go on and it is never answered. `{"do": "ignore"}`
    Ignore,
    /// So many numbered messages more (as the last `send` made them, as fast as the socket takes them), then it is answered.
    /// `{"do": "go_on_sending", "count": 100}`
    GoOnSending {
        /// How many.
        count: u64,
    },
}

fn default_redirect() -> u16 {
    302
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_play_repeats_or_the_list_goes_on_from_repeat_from() {
        let plays = [Play::reject(500), Play::reject(501), Play::reject(502)];
        let status = |plays: &Plays, index| match &plays.play(index).handshake {
            Handshake::Reject(reject) => reject.status,
            _ => 0,
        };
        let script = Plays::of(Script::plays(plays.clone()));
        assert_eq!([0, 1, 2, 3, 9].map(|i| status(&script, i)), [500, 501, 502, 502, 502]);
        let script = Plays::of(Script { plays: plays.to_vec(), repeat_from: Some(1) });
        assert_eq!([0, 1, 2, 3, 4, 5].map(|i| status(&script, i)), [500, 501, 502, 501, 502, 501]);
        assert_eq!(*Plays::of(Script::default()).play(3), Play::default());
    }

    #[test]
    fn json_form_is_read_with_defaults() {
        let script = Script::from_json(
            r#"{"plays":[{"handshake":{"do":"accept","deflate":{"server_max_window_bits":10},"headers":[["A","b"]]},
                "steps":[{"do":"send","count":3,"rate":10},{"do":"loop","count":2,"steps":[{"do":"ping"},{"do":"await_pong"}]},
                         {"do":"violate","rule":"masked_frame"},{"do":"reset"},{"do":"close","code":1001}],
                "on_close":{"do":"go_on_sending","count":5}}]}"#,
        )
        .unwrap();
        let play = &script.plays[0];
        assert_eq!(play.on_close, OnClose::GoOnSending { count: 5 });
        assert_eq!(play.steps[0], Step::Send(Messages::count(3).rate(10.0)));
        assert_eq!(play.steps[3], Step::Reset);
        assert_eq!(play.steps[4], Step::Close(Close { code: Some(1001), ..Close::default() }));
        let again: Script = serde_json::from_str(&serde_json::to_string(&script).unwrap()).unwrap();
        assert_eq!(again, script);
    }

    #[test]
    fn every_example_of_the_documentation_is_read() {
        let mut examples = 0;
        for line in include_str!("script.rs").lines() {
            let Some(doc) = line.trim().strip_prefix("/// ") else {
                continue;
            };
            let json = match doc.split_once("`{\"do\"") {
                Some((_, rest)) => format!("{{\"do\"{}", rest.split('`').next().unwrap()),
                None if doc.starts_with("{\"do\"") => doc.to_owned(),
                None => continue,
            };
            let handshake = serde_json::from_str::<Handshake>(&json);
            let on_close = serde_json::from_str::<OnClose>(&json);
            assert!(handshake.is_ok() || on_close.is_ok(), "{json} {handshake:?}");
            examples += 1;
        }
        assert_eq!(examples, 13);
    }

    #[test]
    fn a_misspelt_key_is_an_error() {
        assert!(Script::from_json(r#"{"plays":[{"steps":[{"do":"send","cuont":3}]}]}"#).is_err());
        assert!(Script::from_json(r#"{"plays":[{"steps":[{"do":"close","cod":1000}]}]}"#).is_err());
        assert!(Script::from_json(r#"{"plays":[{"handshake":{"do":"hang","befor_request":true}}]}"#).is_err());
    }
}
