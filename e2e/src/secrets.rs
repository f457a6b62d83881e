//! The search for secrets in what people read.

use connect_websocket_testkit::secret_forms;

/// So many characters of a secret's beginning give it away.
const BEGINNING: usize = 8;

/// A text shows nothing of a secret: not its first eight characters, plain, percent-encoded, in base64 or in hexadecimal.
///
/// # Panics
/// If it does; the message names the place and shows the line.
pub fn assert_absent(place: &str, text: &str, secret: &str) {
    // Every key in PEM begins with the same words.
    for line in secret.lines().filter(|line| !line.starts_with("-----")) {
        let beginning: String = line.chars().take(BEGINNING).collect();
        for form in secret_forms(&beginning) {
            let shown = text.lines().find(|line| line.contains(&form));
            assert!(shown.is_none(), "{place} shows {form}, of {secret}: {}", shown.unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::assert_absent;

    const SECRET: &str = "s3cr et/+key";

    #[test]
    fn secret_is_found_in_every_form_whole_or_cut() {
        // The base64 of "s3cr et/", of "u:s3cr et/+key", and the secret's hexadecimal.
        for shown in [
            "it is s3cr et/+key.",
            "cut: s3cr et/",
            "GET /?key=s3cr%20et%2F%2Bkey",
            "czNjciBldC8=",
            "dTpzM2NyIGV0Lytr",
            "key=733363722065742f2b6b6579",
        ] {
            let text = format!("a line before\n{shown}\n");
            assert!(catch_unwind(|| assert_absent("the text", &text, SECRET)).is_err(), "not found in {shown}");
        }
    }

    #[test]
    fn fewer_characters_are_words_that_occur_by_themselves() {
        assert_absent("the text", "s3cr et", SECRET);
    }
}
