//! Lists in options: topics, URLs, headers, captures and pointers. They are split before templates are rendered.

use std::collections::HashSet;

/// Splits at commas, and trims each entry. The empty text is the empty list.
///
/// A comma inside `{{…}}`, quotes or brackets does not separate. A comma after a backslash does not either, and the
/// backslash is removed. A quote or bracket without an end is an ordinary character.
pub fn split(text: &str) -> Vec<String> {
    let mut entries = Vec::new();
    let mut entry = String::new();
    let mut ahead = Ahead { text, without_end: Vec::new(), brackets: HashSet::new() };
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        if text[at..].starts_with("\\,") {
            entry.push(',');
            at += 2;
            continue;
        }
        if first == ',' {
            entries.push(entry.trim().to_owned());
            entry.clear();
            at += 1;
            continue;
        }
        let end = ahead.closed(at).unwrap_or(at + first.len_utf8());
        entry.push_str(&text[at..end]);
        at = end;
    }
    if !text.trim().is_empty() {
        entries.push(entry.trim().to_owned());
    }
    entries
}

/// Looks for the ends of quotes and brackets. It remembers what has no end, so that each part of the text is looked
/// through a few times at most.
struct Ahead<'t> {
    text: &'t str,
    /// Quotes without an end. A later one of the same kind has none either. `{` stands for `{{`.
    without_end: Vec<u8>,
    /// Where brackets without an end are.
    brackets: HashSet<usize>,
}

impl Ahead<'_> {
    /// Returns the end of the quoted or bracketed piece that begins here.
    fn closed(&mut self, at: usize) -> Option<usize> {
        if self.text[at..].starts_with("{{")
            && let Some(end) = self.insertion(at)
        {
            return Some(end);
        }
        match self.text.as_bytes()[at] {
            b'"' | b'\'' => self.quoted(at),
            b'(' | b'[' | b'{' => self.bracketed(at),
            _ => None,
        }
    }

    /// Returns where `{{…}}` ends. Text in single quotes inside it may contain braces.
    fn insertion(&mut self, start: usize) -> Option<usize> {
        if self.without_end.contains(&b'{') {
            return None;
        }
        let bytes = self.text.as_bytes();
        let mut at = start + 2;
        while at < bytes.len() {
            match bytes[at] {
                b'\'' => at = self.quoted(at).unwrap_or(at + 1),
                b'}' if bytes.get(at + 1) == Some(&b'}') => return Some(at + 2),
                _ => at += 1,
            }
        }
        self.without_end.push(b'{');
        None
    }

    fn quoted(&mut self, start: usize) -> Option<usize> {
        let bytes = self.text.as_bytes();
        let quote = bytes[start];
        if self.without_end.contains(&quote) {
            return None;
        }
        let mut at = start + 1;
        while at < bytes.len() {
            match bytes[at] {
                b'\\' => at += 2,
                byte if byte == quote => return Some(at + 1),
                _ => at += 1,
            }
        }
        self.without_end.push(quote);
        None
    }

    /// Returns where a piece in brackets ends. Brackets inside quotes do not count.
    fn bracketed(&mut self, start: usize) -> Option<usize> {
        if self.brackets.contains(&start) {
            return None;
        }
        let bytes = self.text.as_bytes();
        // Each open bracket, and what closes it.
        let mut open = Vec::new();
        let mut at = start;
        while at < bytes.len() {
            match bytes[at] {
                b'"' | b'\'' => {
                    at = self.quoted(at).unwrap_or(at + 1);
                    continue;
                }
                b'(' => open.push((at, b')')),
                b'[' => open.push((at, b']')),
                b'{' => open.push((at, b'}')),
                close @ (b')' | b']' | b'}') if open.pop_if(|(_, end)| *end == close).is_none() => break,
                _ => {}
            }
            at += 1;
            if open.is_empty() {
                return Some(at);
            }
        }
        self.brackets.extend(open.into_iter().map(|(at, _)| at));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_separate_and_entries_are_trimmed() {
        assert_eq!(split("a , b,c"), ["a", "b", "c"]);
        assert_eq!(split("a,,b,"), ["a", "", "b", ""]);
        assert!(split("").is_empty() && split("  ").is_empty());
    }

    #[test]
    fn commas_inside_braces_quotes_or_brackets_or_after_a_backslash_do_not_separate() {
        for (text, expected) in [
            ("API-Sign:{{hex(hmac(a, b))}},X:1", vec!["API-Sign:{{hex(hmac(a, b))}}", "X:1"]),
            (r#"{"a":1,"b":[2,3]},{"c":4}"#, vec![r#"{"a":1,"b":[2,3]}"#, r#"{"c":4}"#]),
            ("a=part(/x, ',', 0),b=/'odd, key'/y", vec!["a=part(/x, ',', 0)", "b=/'odd, key'/y"]),
            (r#"X:"a,b",Y:c"#, vec![r#"X:"a,b""#, "Y:c"]),
            (r"If-Modified-Since:Mon\, 02 Feb,X:1", vec!["If-Modified-Since:Mon, 02 Feb", "X:1"]),
            ("{{'}},' + x}},b", vec!["{{'}},' + x}}", "b"]),
            (r#"{"q":"a\",}"},b"#, vec![r#"{"q":"a\",}"}"#, "b"]),
        ] {
            assert_eq!(split(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_never_closed_hides_no_comma() {
        assert_eq!(split("it's,b"), ["it's", "b"]);
        assert_eq!(split("a(1,b[2,c{{3,d\"4"), ["a(1", "b[2", "c{{3", "d\"4"]);
        assert_eq!(split("(a],b"), ["(a]", "b"]);
        assert_eq!(split("a\\b\\"), ["a\\b\\"]);
        assert_eq!(split("ä'ö,ü"), ["ä'ö", "ü"]);
    }

    #[test]
    fn what_is_never_closed_takes_no_time() {
        // Each of them would be looked for up to the end, again and again.
        for piece in ["(", "{{", "'\\'", "(\\'\\\"", "{{\\'", "([{{", "({{\"}}", "[\"(\",", "(a]", "{{'"] {
            let text = piece.repeat(200_000);
            let entries = split(&text);
            assert_eq!(entries.join(",").len(), text.trim().len(), "{piece}");
        }
    }
}
