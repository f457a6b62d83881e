//! Lists in options: topics, URLs, headers, captures and pointers. They are split before templates are rendered.

/// Splits at commas, and trims each entry. The empty text is the empty list.
///
/// A comma inside `{{…}}`, quotes or brackets does not separate. A comma after a backslash does not either, and the
/// backslash is removed. A quote or bracket without an end is an ordinary character.
pub fn split(text: &str) -> Vec<String> {
    let mut entries = Vec::new();
    let mut entry = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some(behind) = rest.strip_prefix("\\,") {
            entry.push(',');
            rest = behind;
            continue;
        }
        if first == ',' {
            entries.push(entry.trim().to_owned());
            entry.clear();
            rest = &rest[1..];
            continue;
        }
        let (whole, behind) = rest.split_at(closed(rest).unwrap_or(first.len_utf8()));
        entry.push_str(whole);
        rest = behind;
    }
    if !text.trim().is_empty() {
        entries.push(entry.trim().to_owned());
    }
    entries
}

/// Returns the length of the quoted or bracketed piece at the beginning of the text.
fn closed(text: &str) -> Option<usize> {
    if text.starts_with("{{")
        && let Some(end) = insertion(text)
    {
        return Some(end);
    }
    match text.as_bytes().first()? {
        quote @ (b'"' | b'\'') => quoted(text, *quote),
        b'(' | b'[' | b'{' => bracketed(text),
        _ => None,
    }
}

/// Returns where `{{…}}` ends. Text in single quotes inside it may contain braces.
fn insertion(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 2;
    while at < bytes.len() {
        match bytes[at] {
            b'\'' => at += quoted(&text[at..], b'\'').unwrap_or(1),
            b'}' if bytes.get(at + 1) == Some(&b'}') => return Some(at + 2),
            _ => at += 1,
        }
    }
    None
}

fn quoted(text: &str, quote: u8) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            byte if byte == quote => return Some(at + 1),
            _ => at += 1,
        }
    }
    None
}

/// Returns the length of a piece in brackets. Brackets inside quotes do not count.
fn bracketed(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut open = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            quote @ (b'"' | b'\'') => at += quoted(&text[at..], quote).unwrap_or(1) - 1,
            b'(' => open.push(b')'),
            b'[' => open.push(b']'),
            b'{' => open.push(b'}'),
            close @ (b')' | b']' | b'}') if open.pop() != Some(close) => return None,
            _ => {}
        }
        at += 1;
        if open.is_empty() {
            return Some(at);
        }
    }
    None
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
}
