//! Strings between Java and Rust, in one byte array: each as a big-endian i32 length and UTF-8. The length -1 is null.
//! `Strings.java` is the other side.

/// Appends one string.
pub(crate) fn put(bytes: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => {
            bytes.extend_from_slice(&i32::try_from(text.len()).unwrap_or(i32::MAX).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        None => bytes.extend_from_slice(&(-1_i32).to_be_bytes()),
    }
}

/// Returns the bytes of strings, in their order.
pub(crate) fn encode<'a>(texts: impl IntoIterator<Item = Option<&'a str>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    texts.into_iter().for_each(|text| put(&mut bytes, text));
    bytes
}

/// Returns the strings that Java has written. A cut string ends the list, and invalid UTF-8 is replaced. Neither
/// happens, because Java's side is part of the plugin.
pub(crate) fn decode(mut bytes: &[u8]) -> Vec<Option<String>> {
    let mut texts = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let length = i32::from_be_bytes(*length);
        let (text, rest) = match usize::try_from(length) {
            Ok(length) if length <= rest.len() => {
                let (text, rest) = rest.split_at(length);
                (Some(String::from_utf8_lossy(text).into_owned()), rest)
            }
            Ok(_) => return texts,
            Err(_) => (None, rest),
        };
        texts.push(text);
        bytes = rest;
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_nulls_come_back_as_they_went() {
        let texts = [Some("a"), None, Some(""), Some("größe \u{1F600}\u{0}")];
        let decoded = decode(&encode(texts));
        assert_eq!(decoded.iter().map(Option::as_deref).collect::<Vec<_>>(), texts);
    }

    #[test]
    fn what_is_cut_off_ends_the_list() {
        let bytes = encode([Some("ab"), Some("cd")]);
        assert_eq!(decode(&bytes[..bytes.len() - 1]), [Some("ab".to_owned())]);
    }
}
