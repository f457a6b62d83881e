//! Frames (RFC 6455): decodes the server's bytes to messages, and encodes sent messages as frames. No I/O.
//!
//! ```text
//! input ─▶ header ─┬─ whole message in the input ────────────────────────▶ borrowed from the input
//!                  ├─ data payload ──▶ (inflate) ──▶ `message`, checked ─▶ borrowed from `message`
//!                  └─ control payload ─▶ `control` (at most 125 bytes) ──▶ borrowed from `control`
//! ```

use super::inflate::Inflate;
use super::violation::{NotUtf8, Violation};

/// The most empty frames of a message. Each costs the peer only two bytes, but costs time here.
const MAX_EMPTY_FRAGMENTS: u32 = 1024;
/// The longest payload of a control frame (RFC 6455 §5.5).
const MAX_CONTROL_PAYLOAD: usize = 125;
/// By how much a compressed message may be larger than its content. In addition, an eighth is allowed for servers that
/// make small blocks (RFC 1951 §3.2.4: five bytes each).
const MAX_DEFLATE_OVERHEAD: usize = 1024;
/// A larger message buffer is freed after the message.
const KEPT_MESSAGE_BUFFER: usize = 1 << 20;

/// What the server sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A complete text message, valid UTF-8.
    Text(&'a [u8]),
    /// A complete binary message.
    Binary(&'a [u8]),
    Ping(&'a [u8]),
    Pong(&'a [u8]),
    Close(Close),
}

/// The content of a Close frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// `None` if the frame was empty (1005 in RFC 6455 §7.1.5).
    pub code: Option<u16>,
    /// U+FFFD replaces what is not UTF-8.
    pub reason: String,
    /// Whether the reason was UTF-8, as it must be.
    pub valid: bool,
}

impl Close {
    /// Returns the code of the reply: the same, unless the reason violates the protocol.
    pub(super) fn answer(&self) -> Option<u16> {
        if self.valid { self.code } else { Some(1007) }
    }
}

mod opcode {
    pub(super) const CONTINUATION: u8 = 0x0;
    pub(super) const TEXT: u8 = 0x1;
    pub(super) const BINARY: u8 = 0x2;
    pub(super) const CLOSE: u8 = 0x8;
    pub(super) const PING: u8 = 0x9;
    pub(super) const PONG: u8 = 0xA;
}

/// Decodes the server's bytes to events. The message limit bounds its memory.
#[derive(Debug)]
pub struct Decoder {
    limit: usize,
    inflate: Option<Inflate>,
    /// The frame whose payload is being read.
    frame: Option<Frame>,
    /// The message whose frames are being read.
    assembly: Option<Assembly>,
    message: Vec<u8>,
    control: Vec<u8>,
    /// Whether `message` was returned and has to be emptied.
    message_done: bool,
    on_invalid_text: OnInvalidText,
    /// How many text messages were replaced or skipped, and the last of them.
    invalid: u64,
    last_invalid: Option<NotUtf8>,
}

/// What to do with a text message that is not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnInvalidText {
    /// It is a violation (RFC 6455 §8.1).
    Refuse,
    /// U+FFFD replaces the invalid bytes.
    Replace,
    /// It is counted and left out. Used after the connector's Close, when nothing else can be sent.
    Skip,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    opcode: u8,
    fin: bool,
    remaining: usize,
}

#[derive(Debug, Clone, Copy)]
struct Assembly {
    text: bool,
    compressed: bool,
    /// How many bytes of `message` are known to be UTF-8.
    utf8_until: usize,
    /// The position of the first invalid byte.
    bad_utf8: Option<usize>,
    /// Whether that was a violation. The rest of the message is left out.
    refused: bool,
    empty_fragments: u32,
}

/// The first bytes of a frame.
struct Header {
    fin: bool,
    rsv1: bool,
    opcode: u8,
    payload_len: u64,
    header_len: usize,
}

impl Decoder {
    /// Returns a decoder for messages of up to `limit` bytes, decompressed. `inflate`: for permessage-deflate, if it
    /// was negotiated.
    pub fn new(limit: usize, inflate: Option<Inflate>) -> Decoder {
        Decoder {
            limit,
            inflate,
            frame: None,
            assembly: None,
            message: Vec::new(),
            control: Vec::new(),
            message_done: false,
            on_invalid_text: OnInvalidText::Refuse,
            invalid: 0,
            last_invalid: None,
        }
    }

    pub fn on_invalid_text(&mut self, what: OnInvalidText) {
        self.on_invalid_text = what;
    }

    pub(super) fn refuses_invalid_text(&self) -> bool {
        self.on_invalid_text == OnInvalidText::Refuse
    }

    pub(super) fn replaces_invalid_text(&self) -> bool {
        self.on_invalid_text == OnInvalidText::Replace
    }

    pub(super) fn saw_invalid_text(&self) -> bool {
        self.last_invalid.is_some()
    }

    /// Returns how many text messages were replaced or skipped since the last call, and the last of them.
    pub fn take_invalid_text(&mut self) -> Option<(u64, NotUtf8)> {
        let last = self.last_invalid.take()?;
        Some((std::mem::take(&mut self.invalid), last))
    }

    /// The size of the present message, as far as its frames say. 0 between messages.
    pub fn unfinished(&self) -> usize {
        let remaining = self.frame.map_or(0, |frame| frame.remaining);
        let begun = if self.assembly.is_some() { self.message.len() } else { 0 };
        begun.saturating_add(remaining)
    }

    /// Reads from `input` up to the end of the next event. Returns how many bytes were read, and the event if one is
    /// complete. Without an event, it needs more input. Bytes that were not read must be given again.
    ///
    /// # Errors
    /// The connection cannot continue: reply with the violation's code and close.
    pub fn decode<'a>(&'a mut self, input: &'a [u8]) -> Result<(usize, Option<Event<'a>>), Violation> {
        if self.message_done {
            self.message_done = false;
            self.message.clear();
            self.message.shrink_to(KEPT_MESSAGE_BUFFER);
        }
        let mut taken = 0;
        loop {
            let rest = &input[taken..];
            let frame = match self.frame {
                Some(frame) => frame,
                None => {
                    let Some(header) = Header::read(rest)? else {
                        return Ok((taken, None));
                    };
                    self.check(&header)?;
                    taken += header.header_len;
                    let rest = &input[taken..];
                    let len = header.payload_len as usize;
                    if self.is_whole(&header, rest) {
                        let payload = &rest[..len];
                        taken += len;
                        if header.opcode != opcode::TEXT {
                            return Ok((taken, Some(Event::Binary(payload))));
                        }
                        let Err(error) = std::str::from_utf8(payload) else {
                            return Ok((taken, Some(Event::Text(payload))));
                        };
                        let bad = NotUtf8 { len, offset: error.valid_up_to() };
                        if self.on_invalid_text == OnInvalidText::Refuse {
                            return Err(Violation::not_utf8(bad, taken));
                        }
                        self.message.extend_from_slice(payload);
                        if self.replace(bad) {
                            return Ok((taken, Some(Event::Text(&self.message))));
                        }
                        continue;
                    }
                    self.begin(&header)
                }
            };
            let rest = &input[taken..];
            let chunk = &rest[..frame.remaining.min(rest.len())];
            taken += chunk.len();
            let remaining = frame.remaining - chunk.len();
            self.frame = (remaining > 0).then_some(Frame { remaining, ..frame });
            if frame.opcode >= opcode::CLOSE {
                self.control.extend_from_slice(chunk);
            } else {
                let complete = frame.fin && remaining == 0;
                self.extend_message(chunk, complete)?;
                if let Some(bad) = self.find_bad_utf8(complete)
                    && self.on_invalid_text == OnInvalidText::Refuse
                {
                    if complete {
                        self.assembly = None;
                        self.message_done = true;
                    } else if let Some(assembly) = &mut self.assembly {
                        assembly.refused = true;
                    }
                    return Err(Violation::not_utf8(bad, taken));
                }
            }
            if remaining > 0 {
                return Ok((taken, None));
            }
            if frame.opcode >= opcode::CLOSE {
                return Ok((taken, Some(control_event(frame.opcode, &self.control)?)));
            }
            if frame.fin {
                self.message_done = true;
                let Some(assembly) = self.assembly.take().filter(|assembly| assembly.text) else {
                    return Ok((taken, Some(Event::Binary(&self.message))));
                };
                if assembly.refused {
                    self.message.clear();
                    continue;
                }
                if let Some(offset) = assembly.bad_utf8
                    && !self.replace(NotUtf8 { len: self.message.len(), offset })
                {
                    continue;
                }
                return Ok((taken, Some(Event::Text(&self.message))));
            }
        }
    }

    /// Checks the rules that depend on earlier frames and on the handshake.
    fn check(&self, header: &Header) -> Result<(), Violation> {
        if header.rsv1 && (self.inflate.is_none() || !matches!(header.opcode, opcode::TEXT | opcode::BINARY)) {
            return Err(Violation::protocol("a frame has the reserved bit RSV1, which no extension explains"));
        }
        match (header.opcode, self.assembly) {
            (opcode::CONTINUATION, None) => Err(Violation::protocol("a continuation frame continues no message")),
            (opcode::TEXT | opcode::BINARY, Some(_)) => {
                Err(Violation::protocol("a message begins before the fragmented one has ended"))
            }
            (opcode::CONTINUATION, Some(assembly)) if assembly.empty_fragments >= MAX_EMPTY_FRAGMENTS => {
                Err(Violation::new(1008, format!("a message has more than {MAX_EMPTY_FRAGMENTS} empty fragments")))
            }
            (opcode::CONTINUATION | opcode::TEXT | opcode::BINARY, _) => {
                let compressed = header.rsv1 || self.assembly.is_some_and(|assembly| assembly.compressed);
                let room = if compressed {
                    // The decompressed size is limited while inflating. This refuses at once what cannot fit.
                    self.limit.saturating_add(self.limit / 8).saturating_add(MAX_DEFLATE_OVERHEAD)
                } else {
                    self.limit.saturating_sub(self.message.len())
                };
                if header.payload_len > room as u64 { Err(Violation::too_big(self.limit)) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    /// Returns a message of one frame that is not compressed and completely in the input. This is the common case.
    fn is_whole(&self, header: &Header, rest: &[u8]) -> bool {
        header.fin
            && !header.rsv1
            && matches!(header.opcode, opcode::TEXT | opcode::BINARY)
            && header.payload_len <= rest.len() as u64
    }

    fn begin(&mut self, header: &Header) -> Frame {
        match header.opcode {
            opcode::TEXT | opcode::BINARY => {
                self.assembly = Some(Assembly {
                    text: header.opcode == opcode::TEXT,
                    compressed: header.rsv1,
                    utf8_until: 0,
                    bad_utf8: None,
                    refused: false,
                    empty_fragments: 0,
                });
            }
            opcode::CONTINUATION => {}
            _ => self.control.clear(),
        }
        if let Some(assembly) = &mut self.assembly
            && header.opcode < opcode::CLOSE
            && header.payload_len == 0
            && !header.fin
        {
            assembly.empty_fragments += 1;
        }
        // `check` has limited the length.
        Frame { opcode: header.opcode, fin: header.fin, remaining: header.payload_len as usize }
    }

    fn extend_message(&mut self, chunk: &[u8], complete: bool) -> Result<(), Violation> {
        let (Some(Assembly { compressed: true, .. }), Some(inflate)) = (self.assembly, &mut self.inflate) else {
            self.message.extend_from_slice(chunk);
            return Ok(());
        };
        let extended = inflate.extend(chunk, &mut self.message, self.limit);
        let finished =
            extended.and_then(|()| if complete { inflate.finish(&mut self.message, self.limit) } else { Ok(()) });
        finished.map_err(|error| error.violation(self.limit))
    }

    /// Checks the new part of a text message. Returns its first invalid byte, once. At the end of an incomplete
    /// message, a character may be incomplete.
    fn find_bad_utf8(&mut self, complete: bool) -> Option<NotUtf8> {
        let assembly = self.assembly.as_mut().filter(|assembly| assembly.text && assembly.bad_utf8.is_none())?;
        let error = match std::str::from_utf8(&self.message[assembly.utf8_until..]) {
            Ok(_) => {
                assembly.utf8_until = self.message.len();
                return None;
            }
            Err(error) => error,
        };
        assembly.utf8_until += error.valid_up_to();
        if error.error_len().is_none() && !complete {
            return None;
        }
        assembly.bad_utf8 = Some(assembly.utf8_until);
        Some(NotUtf8 { len: self.message.len(), offset: assembly.utf8_until })
    }

    /// Replaces invalid UTF-8 in `message`, or drops the message. Returns whether it is an event.
    fn replace(&mut self, bad: NotUtf8) -> bool {
        self.invalid += 1;
        self.last_invalid = Some(bad);
        if self.on_invalid_text != OnInvalidText::Replace {
            self.message.clear();
            return false;
        }
        self.message = String::from_utf8_lossy(&self.message).into_owned().into_bytes();
        self.message_done = true;
        true
    }
}

impl Header {
    /// Reads a header. `None` if it is not complete yet.
    fn read(input: &[u8]) -> Result<Option<Header>, Violation> {
        let &[first, second, ref rest @ ..] = input else {
            return Ok(None);
        };
        let (fin, rsv1, opcode) = (first & 0x80 != 0, first & 0x40 != 0, first & 0x0F);
        if first & 0x30 != 0 {
            return Err(Violation::protocol("a frame has a reserved bit that no extension explains"));
        }
        if matches!(opcode, 0x3..=0x7 | 0xB..=0xF) {
            return Err(Violation::protocol(format!("a frame has the reserved opcode {opcode:#x}")));
        }
        if second & 0x80 != 0 {
            return Err(Violation::protocol("a frame of the server is masked"));
        }
        let (payload_len, header_len) = match (second & 0x7F, rest) {
            (126, &[a, b, ..]) => (u64::from(u16::from_be_bytes([a, b])), 4),
            (127, &[a, b, c, d, e, f, g, h, ..]) => (u64::from_be_bytes([a, b, c, d, e, f, g, h]), 10),
            (126 | 127, _) => return Ok(None),
            (short, _) => (u64::from(short), 2),
        };
        if header_len == 4 && payload_len < 126 || header_len == 10 && payload_len <= 0xFFFF {
            return Err(Violation::protocol("a frame's length is not in its shortest form"));
        }
        if payload_len > i64::MAX as u64 {
            return Err(Violation::protocol("a frame's length has its highest bit set"));
        }
        if opcode >= opcode::CLOSE && (!fin || payload_len > MAX_CONTROL_PAYLOAD as u64) {
            return Err(Violation::protocol("a control frame is fragmented or longer than 125 bytes"));
        }
        Ok(Some(Header { fin, rsv1, opcode, payload_len, header_len }))
    }
}

fn control_event(opcode: u8, payload: &[u8]) -> Result<Event<'_>, Violation> {
    match opcode {
        opcode::PING => Ok(Event::Ping(payload)),
        opcode::PONG => Ok(Event::Pong(payload)),
        _ => read_close(payload).map(Event::Close),
    }
}

fn read_close(payload: &[u8]) -> Result<Close, Violation> {
    let (code, reason) = match payload {
        [] => {
            return Ok(Close { code: None, reason: String::new(), valid: true });
        }
        [_] => {
            return Err(Violation::protocol("a Close frame has a payload of one byte"));
        }
        &[a, b, ref reason @ ..] => (u16::from_be_bytes([a, b]), reason),
    };
    // RFC 6455 §7.4 and the IANA registry of close codes.
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Violation::protocol(format!("a Close frame has the code {code}, which must not be sent")));
    }
    // The code is kept also if the reason is not valid.
    let valid = std::str::from_utf8(reason).is_ok();
    Ok(Close { code: Some(code), reason: String::from_utf8_lossy(reason).into_owned(), valid })
}

/// Appends a frame of the client: final, masked (RFC 6455 §5.3), never compressed.
fn encode(opcode: u8, payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | len as u8),
        len @ 126..=0xFFFF => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

pub(super) fn encode_text(payload: &[u8], out: &mut Vec<u8>) {
    encode(opcode::TEXT, payload, rand::random(), out);
}

pub(super) fn encode_binary(payload: &[u8], out: &mut Vec<u8>) {
    encode(opcode::BINARY, payload, rand::random(), out);
}

pub(super) fn encode_ping(payload: &[u8], out: &mut Vec<u8>) {
    encode(opcode::PING, payload, rand::random(), out);
}

pub(super) fn encode_pong(payload: &[u8], out: &mut Vec<u8>) {
    encode(opcode::PONG, payload, rand::random(), out);
}

/// Appends a Close frame. The reason is cut at a character to fit into a control frame.
pub(super) fn encode_close(code: Option<u16>, reason: &str, out: &mut Vec<u8>) {
    let mut payload = Vec::new();
    if let Some(code) = code {
        payload.extend_from_slice(&code.to_be_bytes());
        payload.extend_from_slice(&reason.as_bytes()[..reason.floor_char_boundary(MAX_CONTROL_PAYLOAD - 2)]);
    }
    encode(opcode::CLOSE, &payload, rand::random(), out);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An event that owns what it shows.
    #[derive(Debug, PartialEq, Eq)]
    enum Seen {
        Text(String),
        Binary(Vec<u8>),
        Ping(Vec<u8>),
        Pong(Vec<u8>),
        Close(Close),
    }

    /// Decodes `bytes` given in pieces of `piece` bytes.
    fn decode(decoder: &mut Decoder, bytes: &[u8], piece: usize) -> Result<Vec<Seen>, Violation> {
        let (mut seen, mut buffer) = (Vec::new(), Vec::new());
        for chunk in bytes.chunks(piece) {
            buffer.extend_from_slice(chunk);
            loop {
                let (taken, event) = decoder.decode(&buffer)?;
                let event = event.map(|event| match event {
                    Event::Text(t) => Seen::Text(String::from_utf8(t.to_vec()).unwrap()),
                    Event::Binary(b) => Seen::Binary(b.to_vec()),
                    Event::Ping(p) => Seen::Ping(p.to_vec()),
                    Event::Pong(p) => Seen::Pong(p.to_vec()),
                    Event::Close(c) => Seen::Close(c),
                });
                buffer.drain(..taken);
                match event {
                    Some(event) => seen.push(event),
                    None => break,
                }
            }
        }
        Ok(seen)
    }

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first];
        match payload.len() {
            len @ 0..=125 => bytes.push(len as u8),
            len @ 126..=0xFFFF => bytes.extend([&[126u8][..], &(len as u16).to_be_bytes()].concat()),
            len => bytes.extend([&[127u8][..], &(len as u64).to_be_bytes()].concat()),
        }
        bytes.extend_from_slice(payload);
        bytes
    }

    fn plain() -> Decoder {
        Decoder::new(1 << 20, None)
    }

    fn violation(bytes: &[u8]) -> Violation {
        decode(&mut plain(), bytes, usize::MAX).unwrap_err()
    }

    #[test]
    fn a_message_that_has_begun_says_how_large_it_is() {
        let mut decoder = Decoder::new(1 << 20, None);
        let large = frame(0x82, &[7; 70_000]);
        decoder.decode(&large[..20_000]).unwrap();
        assert_eq!(decoder.unfinished(), 70_000);
        assert!(decoder.decode(&large[20_000..]).unwrap().1.is_some());
        assert_eq!(decoder.unfinished(), 0);
        decode(&mut decoder, &frame(0x01, b"first "), 3).unwrap();
        assert_eq!(decoder.unfinished(), 6);
        decode(&mut decoder, &frame(0x80, b"last"), 100).unwrap();
        assert_eq!(decoder.unfinished(), 0);
    }

    #[test]
    fn the_same_events_come_out_however_the_bytes_are_cut() {
        let big = "é".repeat(40_000);
        let bytes = [
            frame(0x81, b"hello"),
            frame(0x01, "caf\u{e9}".as_bytes().split_at(4).0),
            frame(0x89, b"are you there"),
            frame(0x80, "caf\u{e9}".as_bytes().split_at(4).1),
            frame(0x82, &[0, 255, 7]),
            frame(0x81, big.as_bytes()),
            frame(0x81, b""),
            frame(0x8A, b""),
            frame(0x88, b"\x03\xe8bye"),
        ]
        .concat();
        let expected = [
            Seen::Text("hello".into()),
            Seen::Ping(b"are you there".to_vec()),
            Seen::Text("caf\u{e9}".into()),
            Seen::Binary(vec![0, 255, 7]),
            Seen::Text(big),
            Seen::Text(String::new()),
            Seen::Pong(vec![]),
            Seen::Close(Close { code: Some(1000), reason: "bye".into(), valid: true }),
        ];
        for piece in [1, 2, 3, 7, 64, 4096, usize::MAX] {
            assert_eq!(decode(&mut plain(), &bytes, piece).unwrap(), expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn broken_frames_are_protocol_errors() {
        for (bytes, why) in [
            (frame(0xA1, b""), "reserved bit"),
            (frame(0xC1, b""), "RSV1"),
            (frame(0x83, b""), "reserved opcode 0x3"),
            (vec![0x81, 0x80, 1, 2, 3, 4], "masked"),
            (frame(0x80, b"x"), "continues no message"),
            ([frame(0x01, b"x"), frame(0x81, b"y")].concat(), "before the fragmented one"),
            (frame(0x09, b""), "control frame is fragmented"),
            (frame(0x89, &[0; 126]), "longer than 125"),
            (vec![0x81, 126, 0, 5], "shortest form"),
            (vec![0x81, 127, 0, 0, 0, 0, 0, 0, 255, 255], "shortest form"),
            (vec![0x82, 127, 255, 0, 0, 0, 0, 0, 0, 0], "highest bit"),
            (frame(0x88, b"\x03"), "one byte"),
            (frame(0x88, b"\x03\xed"), "must not be sent"),
        ] {
            let violation = violation(&bytes);
            assert_eq!(violation.code, 1002, "{violation:?}");
            assert!(violation.message.contains(why), "{violation:?} lacks {why}");
        }
    }

    #[test]
    fn text_that_is_not_utf8_is_refused_as_soon_as_it_is_seen() {
        assert_eq!(violation(&frame(0x81, b"\xff")).code, 1007);
        assert_eq!(violation(&frame(0x81, b"\xc3")).code, 1007);
        assert_eq!(violation(&frame(0x01, b"ok\xff")).code, 1007, "before the message is complete");
        // Half a character at the end of what is there so far is no error.
        assert_eq!(decode(&mut plain(), &frame(0x01, b"\xc3"), usize::MAX), Ok(vec![]));
    }

    #[test]
    fn the_error_says_where_the_bad_byte_is() {
        let (offset, len) = (3, 5);
        for bytes in [frame(0x81, b"abc\xfcd"), [frame(0x01, b"abc"), frame(0x80, b"\xfcd")].concat()] {
            let why = violation(&bytes).message;
            assert!(why.contains(&format!("size={len} offset={offset}")) && why.contains("=replace"), "{why}");
        }
    }

    #[test]
    fn text_that_is_not_utf8_is_replaced_if_asked_for() {
        let bytes = [
            frame(0x81, b"M\xfcnchen"),
            frame(0x81, b"good"),
            frame(0x01, b"caf\xc3"),
            frame(0x89, b"ping"),
            frame(0x00, b"\xff \xe2\x82"),
            frame(0x80, b""),
            frame(0x82, b"\xff"),
            frame(0x01, b"caf\xc3"),
            frame(0x80, b"\xa9"),
        ]
        .concat();
        for piece in [1, 2, 5, usize::MAX] {
            let mut decoder = plain();
            decoder.on_invalid_text(OnInvalidText::Replace);
            let seen = decode(&mut decoder, &bytes, piece).unwrap();
            let expected = [
                Seen::Text("M\u{fffd}nchen".into()),
                Seen::Text("good".into()),
                Seen::Ping(b"ping".to_vec()),
                Seen::Text("caf\u{fffd}\u{fffd} \u{fffd}".into()),
                Seen::Binary(vec![0xff]),
                Seen::Text("caf\u{e9}".into()),
            ];
            assert_eq!(seen, expected, "in pieces of {piece}");
            assert_eq!(decoder.take_invalid_text(), Some((2, NotUtf8 { len: 8, offset: 3 })));
            assert_eq!(decoder.take_invalid_text(), None);
        }
    }

    #[test]
    fn after_a_message_that_is_not_utf8_the_next_frames_can_be_read() {
        for bad in [frame(0x81, b"\xff"), [frame(0x01, b"a\xff"), frame(0x80, b"b")].concat()] {
            let bytes = [bad, frame(0x81, b"next")].concat();
            let mut decoder = plain();
            let at = decode(&mut decoder, &bytes, usize::MAX).unwrap_err().resume_at.unwrap();
            decoder.on_invalid_text(OnInvalidText::Skip);
            let rest = [&bytes[at..], &frame(0x81, b"\xff"), &frame(0x81, b"last")].concat();
            let seen = decode(&mut decoder, &rest, usize::MAX).unwrap();
            assert_eq!(seen, [Seen::Text("next".into()), Seen::Text("last".into())]);
            assert_eq!(decoder.take_invalid_text(), Some((1, NotUtf8 { len: 1, offset: 0 })), "the first was reported");
        }
    }

    #[test]
    fn a_closes_code_survives_a_reason_that_is_not_utf8() {
        let seen = decode(&mut plain(), &frame(0x88, b"\x0f\xa0too \xff"), usize::MAX).unwrap();
        let [Seen::Close(close)] = &seen[..] else { panic!("{seen:?}") };
        assert_eq!((close.code, close.reason.as_str(), close.answer()), (Some(4000), "too \u{fffd}", Some(1007)));
    }

    #[test]
    fn announced_lengths_cost_no_memory_and_are_bounded() {
        let mut decoder = Decoder::new(1000, None);
        let header = [0x82, 127, 0, 0, 0, 1, 0, 0, 0, 0];
        assert_eq!(decode(&mut decoder, &header, usize::MAX).unwrap_err().code, 1009);
        let mut decoder = Decoder::new(1000, None);
        let fragments = [frame(0x02, &[0; 600]), frame(0x00, &[0; 600])].concat();
        assert_eq!(decode(&mut decoder, &fragments, usize::MAX).unwrap_err().code, 1009);
        assert!(decoder.message.capacity() <= 4096);
    }

    #[test]
    fn endless_empty_fragments_end() {
        let mut decoder = plain();
        decode(&mut decoder, &frame(0x01, b"x"), usize::MAX).unwrap();
        let endless: Vec<u8> = (0..MAX_EMPTY_FRAGMENTS + 1).flat_map(|_| frame(0x00, b"")).collect();
        assert_eq!(decode(&mut decoder, &endless, usize::MAX).unwrap_err().code, 1008);
    }

    #[test]
    fn a_hundred_thousand_fragments_are_one_message() {
        let mut bytes = frame(0x01, b"a");
        (0..100_000).for_each(|_| bytes.extend(frame(0x00, b"b")));
        bytes.extend(frame(0x80, b"c"));
        let seen = decode(&mut plain(), &bytes, 65_536).unwrap();
        assert!(matches!(&seen[..], [Seen::Text(text)] if text.len() == 100_002));
    }

    #[test]
    fn our_frames_are_masked_and_read_back() {
        for len in [0, 125, 126, 65_535, 65_536] {
            let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let mut out = Vec::new();
            encode(opcode::BINARY, &payload, [1, 2, 3, 4], &mut out);
            assert_eq!(out[1] & 0x80, 0x80);
            let body = &out[out.len() - len..];
            let unmasked: Vec<u8> = body.iter().zip([1, 2, 3, 4].iter().cycle()).map(|(b, m)| b ^ m).collect();
            assert_eq!(unmasked, payload);
        }
    }

    #[test]
    fn a_long_close_reason_is_cut_at_a_character() {
        let mut out = Vec::new();
        encode_close(Some(1000), &"é".repeat(100), &mut out);
        assert_eq!(usize::from(out[1] & 0x7F), 2 + 122);
    }
}
