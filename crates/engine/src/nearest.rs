//! The name that was meant when one is wrong, for the sentence that refuses it.

use strsim::levenshtein;

/// A longer word is none of ours. To compare two takes the product of their lengths.
const MAX_WORD: usize = 200;

/// Returns the nearest of the names, if it is near enough to have been meant.
pub(crate) fn nearest<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    if word.len() > MAX_WORD {
        return None;
    }
    // One letter in eight may be wrong; in short names, two letters.
    let most = (word.len() / 8).max(2);
    let word = word.to_ascii_lowercase();
    let candidates = names.filter(|name| name.len().abs_diff(word.len()) <= most);
    let near = candidates.map(|name| (levenshtein(&word, &name.to_ascii_lowercase()), name)).min()?;
    (near.0 <= most).then_some(near.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_what_is_far_is_not() {
        let names = ["websocket.url", "websocket.reconnect.interval.ms", "websocket.subscription.topics"];
        for (word, near) in [
            ("websocket.urls", Some(names[0])),
            ("websocket.URL", Some(names[0])),
            ("websocket.reconnect.interval", Some(names[1])),
            ("websocket.subscripton.topic", Some(names[2])),
            ("websocket.topics", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, names.into_iter()), near, "{word}");
        }
        assert_eq!(nearest(&"x".repeat(100_000), names.into_iter()), None);
    }
}
