//! Encrypted private keys (RFC 5958) in PEM. The key itself says how often the password is hashed, and OpenSSL does whatever it says.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use x509_parser::asn1_rs::{FromDer as _, Oid, Sequence, oid};
use x509_parser::x509::AlgorithmIdentifier;

/// The most rounds of hashing, which take seconds. Tools use up to a million.
const MAX_ROUNDS: u64 = 10_000_000;
const BEGIN: &str = "BEGIN ENCRYPTED PRIVATE KEY";

/// RFC 8018, appendix A.4 and A.2.
const PBES2: Oid<'_> = oid!(1.2.840.113549.1.5.13);
const PBKDF2: Oid<'_> = oid!(1.2.840.113549.1.5.12);

/// Refuses a PEM text with a key whose decryption could take minutes or more.
pub(super) fn check(pem: &[u8]) -> Result<(), String> {
    for behind in String::from_utf8_lossy(pem).split(BEGIN).skip(1) {
        let rounds = behind.split("-----").nth(1).and_then(rounds).ok_or(
            "its private key is encrypted in a way that this worker cannot read; encrypt it with openssl pkcs8 -topk8 -v2 aes-256-cbc",
        )?;
        if rounds > MAX_ROUNDS {
            return Err(format!(
                "the password of its private key would be hashed {rounds} times, and the limit is {MAX_ROUNDS}; encrypt it anew"
            ));
        }
    }
    Ok(())
}

/// Returns how often the password is hashed. `None` if it is not a key in DER with PBKDF2 or an older scheme of PKCS #5 or #12.
fn rounds(base64: &str) -> Option<u64> {
    let base64: String = base64.chars().filter(|c| !c.is_whitespace()).collect();
    let der = BASE64_STANDARD.decode(base64).ok()?;
    let (_, key) = Sequence::from_der(&der).ok()?;
    let (_, scheme) = AlgorithmIdentifier::from_der(&key.content).ok()?;
    let mut parameters = scheme.parameters?;
    if scheme.algorithm == PBES2 {
        let (_, derivation) = AlgorithmIdentifier::from_der(parameters.data).ok()?;
        if derivation.algorithm != PBKDF2 {
            return None;
        }
        parameters = derivation.parameters?;
    }
    let (behind, _salt) = <&[u8]>::from_der(parameters.data).ok()?;
    u64::from_der(behind).ok().map(|(_, rounds)| rounds)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An Ed25519 key with PBES2, PBKDF2 and this number of rounds, which has four bytes in DER.
    fn key(rounds: u32) -> String {
        let mut der = BASE64_STANDARD
            .decode(
                "MIGdMFkGCSqGSIb3DQEFDTBMMCsGCSqGSIb3DQEFDDAeBAi4dyO5NMq9PAIEf////zAMBggqhkiG9w0CCQUAMB0GCWCGSAFlAwQBKgQQv65ZLf9Cl1P9fArQtV6Zu\
                 ARAPEt0DCz1OVQl9/hF9rtSIeMMWJ5hK259jq9D0wM/W/m8V+NToSxkgQeYboolcK7pxjtUaris5vpxudkg8Kd0JA==",
            )
            .unwrap();
        let at = der.windows(4).position(|bytes| bytes == [0x7F, 0xFF, 0xFF, 0xFF]).unwrap();
        der[at..at + 4].copy_from_slice(&rounds.to_be_bytes());
        format!("-----{BEGIN}-----\n{}\n-----END ENCRYPTED PRIVATE KEY-----\n", BASE64_STANDARD.encode(der))
    }

    #[test]
    fn a_key_whose_password_is_hashed_without_end_is_refused() {
        assert_eq!(check(key(MAX_ROUNDS as u32).as_bytes()), Ok(()));
        for rounds in [MAX_ROUNDS as u32 + 1, 0x7FFF_FFFF] {
            let refused = check(format!("{}{}", key(9_000_000), key(rounds)).as_bytes()).unwrap_err();
            assert!(refused.contains(&format!("hashed {rounds} times")), "{refused}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_and_other_blocks_are_not_looked_at() {
        let whole = key(9_000_000);
        assert_eq!(check(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), Ok(()));
        for end in 0..150 {
            let cut: String = whole.chars().skip(BEGIN.len() + 11).take(end).collect();
            let _ = check(format!("-----{BEGIN}-----\n{cut}\n-----END ENCRYPTED PRIVATE KEY-----\n").as_bytes());
        }
        let scrypt = "MIGTMF0GCSqGSIb3DQEFDTBQMC8GCSsGAQQB2kcECzAiBAjO7sYyo5dBIAICQAACAQgCAQECAQAwHQ==";
        assert!(
            check(format!("-----{BEGIN}-----\n{scrypt}\n-----END").as_bytes()).unwrap_err().contains("openssl pkcs8")
        );
    }
}
