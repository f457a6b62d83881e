//! Writes Java `.properties` files.

use std::fs;
use std::path::Path;

/// Writes `entries` to `path` so that `java.util.Properties` reads them back unchanged.
///
/// # Panics
/// If the file cannot be written.
pub(crate) fn write(path: &Path, entries: &[(String, String)]) {
    let text: String =
        entries.iter().map(|(key, value)| format!("{}={}\n", escape(key, true), escape(value, false))).collect();
    fs::write(path, text).unwrap_or_else(|e| panic!("{} cannot be written: {e}", path.display()));
}

/// Sets `key` in `entries`, replacing an earlier value.
pub(crate) fn set(entries: &mut Vec<(String, String)>, key: &str, value: &str) {
    entries.retain(|(k, _)| k != key);
    entries.push((key.to_owned(), value.to_owned()));
}

fn escape(text: &str, key: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for (i, c) in text.chars().enumerate() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            ' ' if key || i == 0 => out.push_str("\\ "),
            '=' | ':' if key => out.extend(['\\', c]),
            '#' | '!' if key && i == 0 => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            _ => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn separators_are_escaped_in_keys_and_kept_in_values() {
        assert_eq!(escape("a b=c:d", true), "a\\ b\\=c\\:d");
        assert_eq!(escape("ws://h/?a=b c", false), "ws://h/?a=b c");
    }

    #[test]
    fn leading_blank_line_ends_and_other_letters_survive() {
        assert_eq!(escape(" x\ny", false), "\\ x\\ny");
        assert_eq!(escape("é😀", false), "\\u00e9\\ud83d\\ude00");
    }
}
