//! Frames on the wire (RFC 6455 section 5.2): a writer that can also write wrong ones, and a reader for the client's.

pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;
pub(crate) const FIN: u8 = 0x80;
pub(crate) const RSV1: u8 = 0x40;

/// The largest frame taken from a client.
const MAX_CLIENT_FRAME: u64 = 16 * 1024 * 1024;

/// Writes a header with any first byte (FIN, RSV bits, opcode), unmasked, with the minimal length form.
pub(crate) fn header(out: &mut Vec<u8>, first_byte: u8, length: u64) {
    out.push(first_byte);
    if length < 126 {
        out.push(length as u8);
    } else if length <= u64::from(u16::MAX) {
        out.push(126);
        out.extend_from_slice(&(length as u16).to_be_bytes());
    } else {
        out.push(127);
        out.extend_from_slice(&length.to_be_bytes());
    }
}

/// Writes one frame.
pub(crate) fn frame(out: &mut Vec<u8>, first_byte: u8, payload: &[u8]) {
    header(out, first_byte, payload.len() as u64);
    out.extend_from_slice(payload);
}

/// Writes a message in `fragments` frames of about the same size; returns how many pings it put between them.
pub(crate) fn message(
    out: &mut Vec<u8>,
    opcode: u8,
    compressed: bool,
    payload: &[u8],
    fragments: usize,
    ping_between: bool,
) -> u64 {
    let fragments = fragments.max(1);
    let rsv1 = if compressed { RSV1 } else { 0 };
    for index in 0..fragments {
        let start = payload.len() * index / fragments;
        let end = payload.len() * (index + 1) / fragments;
        let fin = if index + 1 == fragments { FIN } else { 0 };
        let first = if index == 0 { opcode | rsv1 } else { CONTINUATION };
        frame(out, fin | first, &payload[start..end]);
        if ping_between && fin == 0 {
            frame(out, FIN | PING, b"between");
        }
    }
    if ping_between { fragments as u64 - 1 } else { 0 }
}

/// The payload of a Close frame.
pub(crate) fn close_payload(code: Option<u16>, reason: &str) -> Vec<u8> {
    let mut payload = Vec::with_capacity(2 + reason.len());
    if let Some(code) = code {
        payload.extend_from_slice(&code.to_be_bytes());
        payload.extend_from_slice(reason.as_bytes());
    }
    payload
}

/// A frame that the client sent, unmasked.
#[derive(Debug, PartialEq)]
pub(crate) struct ClientFrame {
    pub(crate) fin: bool,
    pub(crate) rsv1: bool,
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

/// Collects the client's bytes and cuts them into frames.
#[derive(Default)]
pub(crate) struct FrameReader {
    buffer: Vec<u8>,
    start: usize,
}

impl FrameReader {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        } else if self.start > 64 * 1024 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame; an error says which rule the client broke.
    pub(crate) fn next(&mut self) -> Result<Option<ClientFrame>, String> {
        let bytes = &self.buffer[self.start..];
        let [first, second, ..] = *bytes else {
            return Ok(None);
        };
        if second & 0x80 == 0 {
            return Err("client frame is not masked".to_owned());
        }
        if first & 0x30 != 0 {
            return Err("client frame has RSV2 or RSV3 set".to_owned());
        }
        let (length, at) = match second & 0x7f {
            126 => match bytes.get(2..4) {
                Some(length) => (u64::from(u16::from_be_bytes([length[0], length[1]])), 4),
                None => return Ok(None),
            },
            127 => match bytes.get(2..10).and_then(|length| length.try_into().ok()) {
                Some(length) => (u64::from_be_bytes(length), 10),
                None => return Ok(None),
            },
            short => (u64::from(short), 2),
        };
        if length > MAX_CLIENT_FRAME {
            return Err(format!("client frame announces {length} bytes"));
        }
        let opcode = first & 0x0f;
        let fin = first & FIN != 0;
        if opcode >= CLOSE && (!fin || length > 125) {
            return Err("client control frame is fragmented or longer than 125 bytes".to_owned());
        }
        let end = at + 4 + length as usize;
        let Some(body) = bytes.get(at..end) else {
            return Ok(None);
        };
        let (mask, masked) = body.split_at(4);
        let payload = masked.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        self.start += end;
        Ok(Some(ClientFrame { fin, rsv1: first & RSV1 != 0, opcode, payload }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_the_minimal_form() {
        let sizes = [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)];
        for (length, expected) in sizes {
            let mut out = Vec::new();
            header(&mut out, FIN | TEXT, length);
            assert_eq!(out.len(), expected, "length {length}");
        }
    }

    #[test]
    fn fragments_are_first_continuations_and_fin() {
        let mut out = Vec::new();
        assert_eq!(message(&mut out, TEXT, true, b"abcdef", 3, true), 2);
        let mut expected = vec![TEXT | RSV1, 2, b'a', b'b'];
        frame(&mut expected, FIN | PING, b"between");
        expected.extend_from_slice(&[CONTINUATION, 2, b'c', b'd']);
        frame(&mut expected, FIN | PING, b"between");
        expected.extend_from_slice(&[FIN | CONTINUATION, 2, b'e', b'f']);
        assert_eq!(out, expected);
    }

    #[test]
    fn client_frames_are_unmasked_whatever_way_they_arrive() {
        let mut wire = vec![FIN | TEXT, 0x80 | 5, 1, 2, 3, 4];
        wire.extend(b"hello".iter().zip([1u8, 2, 3, 4, 1]).map(|(a, b)| a ^ b));
        wire.extend_from_slice(&[FIN | PING, 0x80, 0, 0, 0, 0]);
        let mut reader = FrameReader::default();
        let mut frames = Vec::new();
        for byte in wire {
            reader.push(&[byte]);
            while let Some(frame) = reader.next().unwrap() {
                frames.push((frame.opcode, frame.payload));
            }
        }
        assert_eq!(frames, vec![(TEXT, b"hello".to_vec()), (PING, Vec::new())]);
    }

    #[test]
    fn a_clients_broken_frame_is_named() {
        for wire in [vec![FIN | TEXT, 1, b'x'], vec![PING, 0x80], vec![FIN | RSV1 >> 1 | TEXT, 0x80]] {
            let mut reader = FrameReader::default();
            reader.push(&wire);
            assert!(reader.next().is_err(), "{wire:?}");
        }
        let mut reader = FrameReader::default();
        reader.push(&[FIN | BINARY, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        assert!(reader.next().is_err());
    }
}
