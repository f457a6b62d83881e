//! The name that was meant when one is wrong, for the sentence that refuses it.

/// Returns the nearest of the names, if it is near enough to have been meant.
pub(crate) fn nearest<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    // One letter in eight may be wrong; in short names, two letters.
    let most = (word.len() / 8).max(2);
    let word = word.to_ascii_lowercase();
    let candidates = names.filter(|name| name.len().abs_diff(word.len()) <= most);
    let near = candidates.map(|name| (distance(&word, &name.to_ascii_lowercase()), name)).min()?;
    (near.0 <= most).then_some(near.1)
}

/// How many letters have to be changed, added or taken away.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut before = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let changed = before + usize::from(from != *to);
            before = row[j + 1];
            row[j + 1] = changed.min(before + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
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
