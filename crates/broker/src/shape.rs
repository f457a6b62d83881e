//! A look at a request's array lengths before it is decoded: the decoder allocates what a length field claims.

/// Most array elements in one request, all its arrays together.
const MAX_ELEMENTS: usize = 100_000;

/// Whether `body` really has the arrays that its length fields claim, and not too many elements.
///
/// `shape` is the request's layout up to its last array: `b`, `h`, `i`, `q` are 1, 2, 4, 8 bytes; `s` a string, `B` a
/// byte string, both nullable; `[…]` a nullable array of what stands between.
pub(super) fn fits(shape: &str, mut body: &[u8]) -> bool {
    let mut elements = MAX_ELEMENTS;
    walk(shape.as_bytes(), &mut body, &mut elements).is_some()
}

fn walk(shape: &[u8], body: &mut &[u8], elements: &mut usize) -> Option<()> {
    let mut at = 0;
    while let Some(field) = shape.get(at) {
        let size = match field {
            b'h' => 2,
            b'i' => 4,
            b'q' => 8,
            b's' => length(i32::from(i16::from_be_bytes(take(body)?))),
            b'B' => length(i32::from_be_bytes(take(body)?)),
            b'[' => {
                let end = at + closing(&shape[at..])?;
                for _ in 0..length(i32::from_be_bytes(take(body)?)) {
                    *elements = elements.checked_sub(1)?;
                    walk(&shape[at + 1..end], body, elements)?;
                }
                at = end;
                0
            }
            _ => 1,
        };
        *body = body.get(size..)?;
        at += 1;
    }
    Some(())
}

/// Position of the bracket that closes the one at the start.
fn closing(shape: &[u8]) -> Option<usize> {
    let mut depth = 0;
    shape.iter().position(|field| {
        depth += match field {
            b'[' => 1,
            b']' => -1,
            _ => 0,
        };
        depth == 0
    })
}

/// A length field's value; null (-1) holds nothing.
fn length(field: i32) -> usize {
    usize::try_from(field).unwrap_or(0)
}

fn take<const N: usize>(body: &mut &[u8]) -> Option<[u8; N]> {
    let (field, rest) = body.split_first_chunk()?;
    *body = rest;
    Some(*field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_must_be_as_long_as_it_claims() {
        assert!(fits("[s]", b"\0\0\0\x02\0\x01a\0\0"));
        assert!(!fits("[s]", b"\0\0\0\x03\0\x01a\0\0"));
        assert!(!fits("[s]", b"\x7f\xff\xff\xff\0\x01a"));
        assert!(!fits("[s]", b"\0\0"));
    }

    #[test]
    fn nested_arrays_and_nulls_are_walked() {
        assert!(fits("h[s[iB]]i", b"\0\x01\0\0\0\x01\xff\xff\0\0\0\x01\0\0\0\x07\xff\xff\xff\xff\0\0\0\x09"));
        assert!(!fits("h[s[iB]]i", b"\0\x01\0\0\0\x01\xff\xff\0\0\0\x02\0\0\0\x07\xff\xff\xff\xff\0\0\0\x09"));
        assert!(fits("[s]", b"\xff\xff\xff\xff"));
    }

    #[test]
    fn the_number_of_elements_is_bounded() {
        let topics = |count: u32| [&count.to_be_bytes()[..], &vec![0; 2 * count as usize]].concat();
        assert!(fits("[s]", &topics(100_000)));
        assert!(!fits("[s]", &topics(100_001)));
    }
}
