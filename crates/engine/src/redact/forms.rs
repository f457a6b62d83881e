//! The forms in which a server may repeat a secret. Escapes of URLs and JSON are not among them: they are resolved in
//! the searched text, because there are many ways to write them.

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};

use super::MIN_LEN;

/// Returns the secret itself, as base64 and as hex.
pub(super) fn of(secret: &str) -> Vec<Vec<u8>> {
    let mut forms = vec![secret.as_bytes().to_vec()];
    if secret.contains(' ') {
        // application/x-www-form-urlencoded
        forms.push(secret.replace(' ', "+").into_bytes());
    }
    for alphabet in [STANDARD, URL_SAFE] {
        let engine = GeneralPurpose::new(&alphabet, NO_PAD);
        forms.extend((0..3).map(|before| inside_base64(&engine, before, secret.as_bytes())));
    }
    let hex = secret.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    forms.push(hex.to_uppercase().into_bytes());
    forms.push(hex.into_bytes());
    // A signature in hex is the same in the other case.
    if secret.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        forms.push(secret.to_uppercase().into_bytes());
        forms.push(secret.to_lowercase().into_bytes());
    }
    forms.sort_unstable();
    forms.dedup();
    forms.retain(|form| form.len() >= MIN_LEN);
    forms
}

/// Base64 writes three bytes as four characters. So the form of a secret inside other bytes depends on their number
/// before it, modulo three. Returns the characters that depend on the secret only.
fn inside_base64(engine: &GeneralPurpose, before: usize, secret: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; before];
    bytes.extend(secret);
    let encoded = engine.encode(&bytes).into_bytes();
    let first = (before * 8).div_ceil(6);
    let end = bytes.len() * 8 / 6;
    encoded[first..end.max(first)].to_vec()
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE as BASE64_URL};

    use super::*;

    #[test]
    fn base64_is_found_at_every_alignment_and_in_both_alphabets() {
        let secret = "s3cr?t~~>key";
        for before in ["", "u", "us", "use", "user:", "longer:"] {
            for after in ["", "x", "xy", "xyz"] {
                for engine in [&BASE64, &BASE64_URL] {
                    let encoded = engine.encode(format!("{before}{secret}{after}"));
                    let found = of(secret).into_iter().filter_map(|form| String::from_utf8(form).ok());
                    let longest = found.filter(|form| encoded.contains(form)).map(|form| form.len()).max();
                    assert!(longest >= Some(secret.len() * 8 / 6 - 2), "{encoded}");
                }
            }
        }
    }

    #[test]
    fn a_secret_in_hex_is_found_in_either_case() {
        let forms = of("2d9c9c516d8401AA");
        for case in ["2d9c9c516d8401AA", "2d9c9c516d8401aa", "2D9C9C516D8401AA"] {
            assert!(forms.contains(&case.as_bytes().to_vec()), "{case}");
        }
    }

    #[test]
    fn hex_is_found_in_either_case() {
        let forms: Vec<String> = of("key?").into_iter().filter_map(|form| String::from_utf8(form).ok()).collect();
        assert!(forms.contains(&"6b65793f".to_owned()) && forms.contains(&"6B65793F".to_owned()), "{forms:?}");
    }
}
