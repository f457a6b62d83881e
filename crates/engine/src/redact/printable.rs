//! Makes text from outside safe for a log line: it cannot break the line, change its direction, or look like another
//! field.

/// Returns the text without control characters, invisible characters and those that change the direction of text, and
/// without what could end a quoted field of a log line and begin another.
pub fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for c in text.chars().filter(|c| !is_invisible(*c)) {
        let shown = match c {
            '"' => '\'',
            '=' if ends_with_event(&printable) => ':',
            c if c.is_control() || c.is_whitespace() => ' ',
            c => c,
        };
        if shown != ' ' || !printable.ends_with(' ') {
            printable.push(shown);
        }
    }
    // A backslash would escape the closing quote.
    printable.trim_matches([' ', '\\']).to_owned()
}

/// Returns the first `max_chars` characters of a text, with a mark if that is not all.
pub(super) fn cut(text: &str, max_chars: usize) -> String {
    match text.char_indices().nth(max_chars) {
        Some((end, _)) => format!("{}…", text[..end].trim_end_matches([' ', '\\'])),
        None => text.to_owned(),
    }
}

/// Removes `event=`, with which log lines begin.
fn ends_with_event(text: &str) -> bool {
    let word = text.trim_end();
    word.len() >= 5 && word.is_char_boundary(word.len() - 5) && word[word.len() - 5..].eq_ignore_ascii_case("event")
}

/// Whether it is a format character (Unicode's category Cf). These are invisible, and U+202E changes the direction.
pub fn is_invisible(c: char) -> bool {
    matches!(u32::from(c),
        0xad | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x180e | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f
        | 0xfeff | 0xfff9..=0xfffb | 0xfe00..=0xfe0f | 0xe0000..=0xe0fff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_cannot_be_broken_or_turned_around() {
        assert_eq!(printable("a\r\nb\tc\u{0}d\u{1b}[31m\u{2028}e\u{2029}f\u{85}g"), "a b c d [31m e f g");
        assert_eq!(printable("gnp\u{202e}.exe\u{2066}\u{200b}\u{feff}"), "gnp.exe");
        assert_eq!(printable("  Grüße, 世界 😀  "), "Grüße, 世界 😀");
    }

    #[test]
    fn fields_cannot_be_forged() {
        let forged = "bad\" event=websocket_opened EVENT =x preevent\u{200b}=y a=b\\";
        assert_eq!(printable(forged), "bad' event:websocket_opened EVENT :x preevent:y a=b");
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!(cut("äbc", 3), "äbc");
        assert_eq!(cut("äbcd", 3), "äbc…");
        assert_eq!(cut(r"ab\cd", 3), "ab…");
    }
}
