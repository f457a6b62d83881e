//! Recognises binary formats of structured data (CBOR, MessagePack). Their content is not read.

/// Returns the format of a message, if the whole message is in it: a map or an array, or several one after another.
pub(super) fn form(message: &[u8]) -> Option<&'static str> {
    let is_whole = |skip: fn(u8, &mut &[u8]) -> Option<u64>| {
        let mut rest = message;
        while !rest.is_empty() {
            if skip_value(&mut rest, skip).is_none() {
                return false;
            }
        }
        true
    };
    match message.first()? {
        0x80..=0x9F | 0xDC..=0xDF if is_whole(skip_messagepack) => Some("MessagePack"),
        0x80..=0xBF if is_whole(skip_cbor) => Some("CBOR"),
        _ => None,
    }
}

/// Steps over a value and all in it. `skip` steps over what follows a first byte, and says how many values belong to it.
fn skip_value(rest: &mut &[u8], skip: fn(u8, &mut &[u8]) -> Option<u64>) -> Option<()> {
    let mut pending: u64 = 1;
    while pending > 0 {
        let (first, behind) = rest.split_first()?;
        *rest = behind;
        pending = (pending - 1).checked_add(skip(*first, rest)?)?;
    }
    Some(())
}

/// RFC 8949 §3, without indefinite lengths.
fn skip_cbor(first: u8, rest: &mut &[u8]) -> Option<u64> {
    let argument = match first & 0x1F {
        small @ 0..24 => u64::from(small),
        size @ 24..28 => number(rest, 1 << (size - 24))?,
        _ => return None,
    };
    match first >> 5 {
        2 | 3 => skip_bytes(rest, argument).map(|()| 0),
        4 => Some(argument),
        5 => argument.checked_mul(2),
        6 => Some(1),
        _ => Some(0),
    }
}

/// The MessagePack specification, "Formats".
fn skip_messagepack(first: u8, rest: &mut &[u8]) -> Option<u64> {
    let low = |mask: u8| u64::from(first & mask);
    let (bytes, values) = match first {
        0x80..=0x8F => (0, low(0x0F) * 2),
        0x90..=0x9F => (0, low(0x0F)),
        0xA0..=0xBF => (low(0x1F), 0),
        0xC1 => return None,
        0xC4..=0xC6 => (number(rest, 1 << (first - 0xC4))?, 0),
        0xC7..=0xC9 => (number(rest, 1 << (first - 0xC7))?.checked_add(1)?, 0),
        0xCA => (4, 0),
        0xCB => (8, 0),
        0xCC..=0xCF => (1 << (first - 0xCC), 0),
        0xD0..=0xD3 => (1 << (first - 0xD0), 0),
        0xD4..=0xD8 => ((1 << (first - 0xD4)) + 1, 0),
        0xD9..=0xDB => (number(rest, 1 << (first - 0xD9))?, 0),
        0xDC | 0xDD => (0, number(rest, 2 << (first - 0xDC))?),
        0xDE | 0xDF => (0, number(rest, 2 << (first - 0xDE))?.checked_mul(2)?),
        _ => (0, 0),
    };
    skip_bytes(rest, bytes)?;
    Some(values)
}

fn number(rest: &mut &[u8], size: usize) -> Option<u64> {
    let (digits, behind) = rest.split_at_checked(size)?;
    *rest = behind;
    Some(digits.iter().fold(0, |number, digit| number << 8 | u64::from(*digit)))
}

fn skip_bytes(rest: &mut &[u8], count: u64) -> Option<()> {
    *rest = rest.get(usize::try_from(count).ok()?..)?;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_known_if_the_whole_message_is_it() {
        // {"op":1,"t":"#commit"} and {"seq":[1,-1,h'00',null]}, as the firehose sends a header and a body.
        let cbor = b"\xA2\x62op\x01\x61t\x67#commit\xA1\x63seq\x84\x01\x20\x41\x00\xF6";
        assert_eq!(form(cbor), Some("CBOR"));
        assert_eq!(form(&cbor[..cbor.len() - 1]), None);
        // {"a":[1,-1,"x",1.5,null]}
        let messagepack = b"\x81\xA1a\x95\x01\xFF\xA1x\xCB\x3F\xF8\0\0\0\0\0\0\xC0";
        assert_eq!(form(messagepack), Some("MessagePack"));
        assert_eq!(form(&messagepack[..messagepack.len() - 1]), None);
        for none in
            [&b""[..], b"{}", b"\xFF", b"\x9F\xFF", b"\xBB\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", b"\xDF\xFF\xFF\xFF\xFF"]
        {
            assert_eq!(form(none), None, "{none:?}");
        }
    }
}
