//! Finds secrets inside a message, a header or a URL. That is never certain. A log-in message, values of names such as
//! `password`, and what looks like a key count as secret. Words such as `subscribe` and `BTC-USD` do not, so that a
//! server's errors can be understood.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use percent_encoding::percent_decode_str;
use url::Url;

use super::unescape;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// Values are secret if their name contains one of these.
const SECRET_NAMES: [&str; 18] = [
    "pass", "pwd", "secret", "token", "key", "auth", "sign", "cred", "login", "user", "session", "cookie", "jwt",
    "otp", "hmac", "bearer", "private", "access",
];
/// A message with one of these words is a log-in.
const LOGIN_WORDS: [&str; 9] =
    ["login", "logon", "log_in", "signin", "auth", "authenticate", "authorize", "identify", "pass"];
/// Headers that are not secret. Errors show them.
const PUBLIC_HEADERS: [&str; 6] = ["host", "origin", "user-agent", "accept", "accept-language", "accept-encoding"];

/// Returns the secrets inside a message that is sent.
pub(super) fn of_message(message: &str) -> Vec<String> {
    let words = words(message);
    let logs_in = words.iter().any(|word| is_login_word(&word.text));
    let mut secrets: Vec<String> = words.iter().flat_map(|word| keys(&word.text)).collect();
    let named = words.into_iter().filter(|word| logs_in || is_secret_name(&word.name));
    secrets.extend(named.map(|word| word.text).filter(|text| !is_login_word(text)));
    secrets
}

/// Returns the secrets of a header that is sent: the value, and its parts that have a meaning by themselves.
pub(super) fn of_header(name: &str, value: &str) -> Vec<String> {
    if PUBLIC_HEADERS.iter().any(|public| name.eq_ignore_ascii_case(public)) {
        return Vec::new();
    }
    let mut secrets = vec![value.to_owned()];
    if let Some((scheme, credentials)) = value.split_once(' ') {
        secrets.push(credentials.trim().to_owned());
        if scheme.eq_ignore_ascii_case("basic") {
            secrets.extend(of_basic_credentials(credentials.trim()));
        }
    }
    let all = is_secret_name(&name.to_lowercase());
    for word in words(value) {
        secrets.extend(keys(&word.text));
        if all || !word.name.is_empty() {
            secrets.push(word.text);
        }
    }
    secrets
}

/// Returns user name, password and both together (RFC 7617).
fn of_basic_credentials(credentials: &str) -> Vec<String> {
    let Some(pair) = BASE64.decode(credentials).ok().and_then(|pair| String::from_utf8(pair).ok()) else {
        return Vec::new();
    };
    let parts = pair.split_once(':').map(|(user, password)| [user.to_owned(), password.to_owned()]);
    parts.into_iter().flatten().chain([pair]).collect()
}

/// Returns user info and query values, as written and decoded.
pub(super) fn of_url(url: &Url) -> Vec<String> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (user, password) = (decoded(url.username()), decoded(url.password().unwrap_or_default()));
    let query = url.query().unwrap_or_default().split('&').map(|part| part.split_once('=').map_or(part, |(_, v)| v));
    let mut secrets = vec![format!("{user}:{password}")];
    secrets.extend([url.username(), url.password().unwrap_or_default()].into_iter().chain(query).map(str::to_owned));
    secrets.extend([user, password]);
    let of_query = url.query_pairs().map(|(name, value)| if value.is_empty() { name } else { value }.into_owned());
    secrets.extend(of_query.collect::<Vec<_>>());
    secrets.retain(|secret| secret != ":");
    secrets
}

/// A word of a message: a quoted string, or text between punctuation, with the last name before it.
struct Word {
    name: String,
    text: String,
}

/// Splits a message into words: JSON, `name=value`, `name:value`, or words only.
fn words(message: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut name = String::new();
    let mut rest = message;
    while let Some(first) = rest.chars().next() {
        let (text, after) = match first {
            '"' => quoted(&rest[1..]),
            c if is_syntax(c) => {
                rest = &rest[c.len_utf8()..];
                continue;
            }
            _ => {
                let (text, after) = rest.split_at(rest.find(is_syntax).unwrap_or(rest.len()));
                (text.to_owned(), after)
            }
        };
        rest = after;
        if is_followed_by_value(rest) {
            name = text.to_lowercase();
        } else {
            words.push(Word { name: name.clone(), text });
        }
    }
    words
}

fn is_syntax(c: char) -> bool {
    c.is_whitespace() || c.is_control() || "\"',;&{}[]()<>:=".contains(c)
}

/// Whether a value follows: `: value` or `=value`. `==` is the end of base64.
fn is_followed_by_value(rest: &str) -> bool {
    let Some(value) = rest.trim_start().strip_prefix([':', '=']) else {
        return false;
    };
    !value.is_empty() && !value.starts_with(['=', ',', ';', '&'])
}

/// Returns the content of a JSON string after its opening quote, and the text after the string.
fn quoted(text: &str) -> (String, &str) {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return (unescape::json(&text[..at]), &text[at + 1..]),
            _ => {}
        }
    }
    (unescape::json(text), "")
}

fn is_secret_name(name: &str) -> bool {
    SECRET_NAMES.iter().any(|part| name.contains(part))
}

fn is_login_word(text: &str) -> bool {
    LOGIN_WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// Returns the parts of a word that look like keys.
fn keys(word: &str) -> Vec<String> {
    let is_of_key = |c: char| c.is_ascii_alphanumeric() || "-_.~+/".contains(c);
    word.split(|c| !is_of_key(c)).filter(|part| looks_like_key(part)).map(str::to_owned).collect()
}

/// Whether a text looks like a key, a token or a signature, and not like a word such as `subscribe` or a symbol such as
/// `BTC-USD`.
fn looks_like_key(part: &str) -> bool {
    part.len() >= 20 || part.len() >= 8 && part.contains(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_under_a_secret_name_is_secret_and_other_words_are_not() {
        for message in [
            r#"{"op":"subscribe","channel":"trades","password":"swordfish"}"#,
            r#"{"op":"subscribe","channel":"trades","credentials":["swordfish"]}"#,
            r#"{"op":"subscribe","args":{"apiKey" : "sword\u0066ish"},"channel":"trades"}"#,
            "SUBSCRIBE\nchannel:trades\npasscode:swordfish\n\n\0",
            "channel=trades&token=swordfish",
        ] {
            assert_eq!(of_message(message), ["swordfish"], "{message}");
        }
    }

    #[test]
    fn a_message_that_logs_in_has_no_harmless_words() {
        for message in
            [r#"{"op":"login","args":["alice","swordfish"]}"#, "AUTH alice swordfish", "PASS alice:swordfish"]
        {
            let secrets = of_message(message);
            assert!(secrets.contains(&"swordfish".to_owned()), "{message}: {secrets:?}");
        }
    }

    #[test]
    fn keys_are_secret_under_any_name() {
        assert_eq!(of_message(r#"["feed","AK1234567","BTC-USD","subscribe"]"#), ["AK1234567"]);
        assert_eq!(of_message("x abcdefghijklmnopqrst=="), ["abcdefghijklmnopqrst"]);
    }

    #[test]
    fn basic_credentials_are_secret_as_they_are_and_decoded() {
        let secrets = of_header("Authorization", "Basic Ym9iOnN3b3JkZmlzaA==");
        for secret in ["Ym9iOnN3b3JkZmlzaA==", "bob:swordfish", "bob", "swordfish"] {
            assert!(secrets.iter().any(|known| known == secret), "{secret}: {secrets:?}");
        }
        assert!(of_header("Cookie", "session=swordfish; a=b").contains(&"swordfish".to_owned()));
        assert!(of_header("Origin", "https://example.com").is_empty());
    }

    #[test]
    fn user_info_and_query_values_of_a_url_are_secret() {
        let url = Url::parse("wss://bob:sword%20fish@host/path?key=a+b&c%2Fd&empty=").unwrap();
        let secrets = of_url(&url);
        for secret in ["bob:sword fish", "bob", "sword%20fish", "sword fish", "a+b", "a b", "c%2Fd", "c/d"] {
            assert!(secrets.iter().any(|known| known == secret), "{secret}: {secrets:?}");
        }
        assert!(!secrets.iter().any(|known| known == "key" || known == "path"), "{secrets:?}");
    }

    #[test]
    fn a_message_that_is_no_json_is_taken_apart_as_far_as_it_goes() {
        for message in ["\"", "\"abc", "{\"password\":\"", "a=", "=:\"\\", ""] {
            let _ = of_message(message);
        }
        assert_eq!(of_message("{\"password\":\"swordfish"), ["swordfish"]);
    }
}
