//! Signatures of clients, computed as the feeds do.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac, signature};
use serde_json::Value;

pub(crate) fn hmac_sha256(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

pub(crate) fn hmac_sha512(key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA512, key), text).as_ref().to_vec()
}

pub(crate) fn sha256(text: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, text.as_bytes()).as_ref().to_vec()
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The bytes of a base64 text; none for what is none.
pub(crate) fn from_base64(text: &str) -> Vec<u8> {
    STANDARD.decode(text).unwrap_or_default()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of a hexadecimal text; what is none counts as 0.
pub(crate) fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().map(|digit| digit.to_digit(16).unwrap_or(0) as u8).collect();
    digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect()
}

/// A secret as it may be seen: as it is, percent-encoded, in hexadecimal and in base64, of which only the characters that
/// no neighbour changes.
pub fn secret_forms(secret: &str) -> Vec<String> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(byte);
    let escape = |byte: u8| if is_plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    let encoded: String = secret.bytes().map(escape).collect();
    let mut forms = vec![secret.to_owned(), encoded, hex(secret.as_bytes())];
    forms.extend((0..3).map(|before| inside_base64(before, secret)));
    // A key in PEM is as secret line by line.
    forms.extend(secret.lines().filter(|line| line.len() > 20 && !line.starts_with("-----")).map(str::to_owned));
    forms
}

/// What base64 makes of a secret behind so many other bytes: three bytes become four characters.
fn inside_base64(before: usize, secret: &str) -> String {
    let bytes = [&[0; 3][..before], secret.as_bytes()].concat();
    let (first, end) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
    base64(&bytes)[first..end.max(first)].to_owned()
}

pub(crate) fn random_hex(bytes: usize) -> String {
    let mut random = vec![0; bytes];
    // It fails only where the system has no randomness; the token is then weak, and this is a test kit.
    let _ = SystemRandom::new().fill(&mut random);
    hex(&random)
}

/// The header and claims of a JWT whose ES256 signature this public key (an uncompressed point) confirms.
pub(crate) fn es256_jwt(token: &str, public_key: &[u8]) -> Option<(Value, Value)> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let key = signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, public_key);
    key.verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
    let part = |part: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
    let (header, claims): (Value, Value) = (part(header)?, part(claims)?);
    (header["alg"] == "ES256").then_some((header, claims))
}

/// The claims of a JWT whose HS256 signature this key confirms.
pub(crate) fn hs256_claims(token: &str, key: &str) -> Option<Value> {
    let (signed, signature) = token.rsplit_once('.')?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    hmac::verify(&key, signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(signed.split('.').nth(1)?).ok()?).ok()
}

/// A JWT signed with HS256.
#[cfg(test)]
pub(crate) fn hs256_jwt(key: &str, claims: &Value) -> String {
    let part = |text: String| URL_SAFE_NO_PAD.encode(text);
    let signed = format!("{}.{}", part(r#"{"alg":"HS256","typ":"JWT"}"#.to_owned()), part(claims.to_string()));
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(hmac_sha256(key.as_bytes(), &signed)))
}

/// A JWT signed with a private key in PEM of the SEC1 form.
#[cfg(test)]
pub(crate) fn jwt_signed_with(pem: &str, public_key: &str, header: &Value, claims: &Value) -> String {
    let der: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    // RFC 5915: the private key is the octet string after the version.
    let secret = &from_base64(&der)[7..39];
    let random = SystemRandom::new();
    let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
    let key =
        signature::EcdsaKeyPair::from_private_key_and_public_key(algorithm, secret, &from_hex(public_key), &random);
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = key.unwrap().sign(&random, signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmacs_are_those_of_rfc_4231() {
        // Test case 2.
        let (key, text) = (b"Jefe", "what do ya want for nothing?");
        assert_eq!(hex(&hmac_sha256(key, text)), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        assert!(hex(&hmac_sha512(key, text.as_bytes())).starts_with("164b7a7bfcf819e2e395fbe73b56e0a3"));
    }

    #[test]
    fn a_secret_is_found_in_base64_behind_any_number_of_bytes() {
        for before in ["", "a", "ab", "abc"] {
            let encoded = base64(format!("{before}hush secret and more").as_bytes());
            assert!(secret_forms("hush secret").iter().any(|form| encoded.contains(form)), "{encoded}");
        }
    }

    #[test]
    fn a_jwt_of_another_key_is_refused() {
        let token = "eyJhbGciOiJFUzI1NiJ9.e30.AAAA";
        assert_eq!(es256_jwt(token, &[4; 65]), None);
        assert_eq!(es256_jwt("a.b", &[4; 65]), None);
    }
}
