//! A text with its escapes resolved (`%2F`, `\/`, `\u002f`), and where each byte of it came from.

/// How many times escapes are resolved: escaped text may be escaped again, as JSON inside JSON or in a URL.
const MAX_PASSES: usize = 3;

/// One way to read a text.
pub(super) struct View {
    bytes: Vec<u8>,
    /// For each byte, where it begins in the original text. The last entry is the end of that text.
    origins: Vec<usize>,
}

impl View {
    /// Returns the text as it is, and with its escapes resolved once, twice, …
    pub(super) fn all(text: &str) -> Vec<View> {
        let mut views = vec![View { bytes: text.as_bytes().to_vec(), origins: (0..=text.len()).collect() }];
        while views.len() <= MAX_PASSES
            && let Some(unescaped) = views.last().and_then(View::unescaped)
        {
            views.push(unescaped);
        }
        views
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns where the byte at `at` begins in the original text.
    pub(super) fn origin(&self, at: usize) -> usize {
        self.origins[at]
    }

    /// Returns `None` if there is nothing to resolve.
    fn unescaped(&self) -> Option<View> {
        let mut view = View { bytes: Vec::with_capacity(self.bytes.len()), origins: Vec::new() };
        let mut at = 0;
        while at < self.bytes.len() {
            let (taken, bytes) = any_escape(&self.bytes[at..]).unwrap_or_else(|| (1, vec![self.bytes[at]]));
            view.origins.extend(std::iter::repeat_n(self.origins[at], bytes.len()));
            view.bytes.extend(bytes);
            at += taken;
        }
        view.origins.push(self.origins[at]);
        (view.bytes.len() < self.bytes.len()).then_some(view)
    }
}

/// Returns the content of a JSON string.
pub(super) fn json(text: &str) -> String {
    let mut rest = text.as_bytes();
    let mut content = Vec::with_capacity(rest.len());
    while let Some(&first) = rest.first() {
        let (taken, bytes) = json_escape(rest).unwrap_or_else(|| (1, vec![first]));
        content.extend(bytes);
        rest = &rest[taken..];
    }
    String::from_utf8_lossy(&content).into_owned()
}

/// Returns the length of the escape at the beginning of the text, and its meaning.
fn any_escape(text: &[u8]) -> Option<(usize, Vec<u8>)> {
    match text {
        [b'%', rest @ ..] => Some((3, vec![u8::try_from(hex(rest, 2)?).ok()?])),
        _ => json_escape(text),
    }
}

/// Reads an escape of JSON (RFC 8259 §7).
fn json_escape(text: &[u8]) -> Option<(usize, Vec<u8>)> {
    match text {
        [b'\\', b'u', rest @ ..] => utf16(hex(rest, 4)?, &rest[4..]),
        [b'\\', escape, ..] => Some((2, vec![simple_escape(*escape)?])),
        _ => None,
    }
}

fn simple_escape(escape: u8) -> Option<u8> {
    match escape {
        b'"' | b'\\' | b'/' => Some(escape),
        b'b' => Some(8),
        b'f' => Some(12),
        b'n' => Some(b'\n'),
        b'r' => Some(b'\r'),
        b't' => Some(b'\t'),
        _ => None,
    }
}

/// Returns the character of `\uXXXX`, or of a pair of surrogates whose second half is in `after`.
fn utf16(unit: u32, after: &[u8]) -> Option<(usize, Vec<u8>)> {
    let (taken, code) = match (unit, after) {
        (0xd800..=0xdbff, [b'\\', b'u', low @ ..]) => {
            let low = hex(low, 4).filter(|low| (0xdc00..=0xdfff).contains(low))?;
            (12, 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00))
        }
        _ => (6, unit),
    };
    Some((taken, char::from_u32(code)?.to_string().into_bytes()))
}

fn hex(text: &[u8], digits: usize) -> Option<u32> {
    let digits = text.get(..digits)?;
    digits.iter().try_fold(0, |value, digit| Some(value * 16 + char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(text: &str) -> (String, Vec<usize>) {
        let view = View::all(text).pop().unwrap();
        (String::from_utf8_lossy(&view.bytes).into_owned(), view.origins)
    }

    #[test]
    fn escapes_are_resolved_and_each_byte_knows_its_origin() {
        assert_eq!(last("a%2Fb"), ("a/b".to_owned(), vec![0, 1, 4, 5]));
        assert_eq!(last(r"a\/b"), ("a/b".to_owned(), vec![0, 1, 3, 4]));
        assert_eq!(last(r"\u00e9"), ("é".to_owned(), vec![0, 0, 6]));
        assert_eq!(last(r"\ud83d\ude00!").0, "😀!");
    }

    #[test]
    fn escapes_of_escapes_are_resolved_too() {
        assert_eq!(last("a%252Fb").0, "a/b");
        assert_eq!(last(r"%5C%22x").0, "\"x");
    }

    #[test]
    fn what_is_no_escape_stays_as_it_is() {
        for text in ["100%", "%zz", r"\", r"\q", r"\u12", r"\ud800", "%e", "é"] {
            assert_eq!(View::all(text).len(), 1, "{text}");
        }
    }

    #[test]
    fn a_json_string_has_no_percent_escapes() {
        assert_eq!(json(r"a\nb\u00e9%2F\q"), "a\nbé%2F\\q");
    }
}
