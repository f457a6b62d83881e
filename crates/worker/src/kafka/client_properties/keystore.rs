//! Reads Java keystores and PEM files. Returns keys and certificates as PEM.
//!
//! The type of a store is recognised by its first bytes, as Java's own `JKS` and `PKCS12` types read each other's files (JEP 229). The JKS
//! format and its key protection are those of the JDK's `sun.security.provider.JavaKeyStore` and `KeyProtector`.

use openssl::error::ErrorStack;
use openssl::pkcs12::Pkcs12;
use openssl::pkey::{PKey, Private};
use openssl::sha::Sha1;
use openssl::x509::X509;

use super::encrypted_key;

/// A private key and its certificate chain, the client's own certificate first. Both are PEM.
pub(super) struct Identity {
    pub(super) key: String,
    pub(super) chain: String,
}

const JKS_MAGIC: [u8; 4] = [0xfe, 0xed, 0xfe, 0xed];
const JCEKS_MAGIC: [u8; 4] = [0xce, 0xce, 0xce, 0xce];
const CONVERT: &str =
    "convert it with `keytool -importkeystore -srckeystore OLD -destkeystore NEW.p12 -deststoretype PKCS12`";

enum Format {
    Jks,
    Pkcs12,
}

fn format(bytes: &[u8]) -> Result<Format, String> {
    if bytes.starts_with(&JKS_MAGIC) {
        Ok(Format::Jks)
    } else if bytes.starts_with(&JCEKS_MAGIC) {
        Err(format!("it is a JCEKS store, which this worker cannot read: {CONVERT}"))
    } else if bytes.first() == Some(&0x30) {
        Ok(Format::Pkcs12)
    } else if bytes.trim_ascii_start().starts_with(b"-----BEGIN") {
        Err("it is a PEM file: set the store type to PEM".to_owned())
    } else {
        Err("it is neither a JKS nor a PKCS12 store".to_owned())
    }
}

/// Returns the trusted certificates of a JKS or PKCS12 truststore, as PEM. Without a password, the digest of a JKS
/// store is not checked, as in Java.
pub(super) fn trusted_certificates(bytes: &[u8], password: Option<&str>) -> Result<String, String> {
    let certificates = match format(bytes)? {
        Format::Jks => read_jks(bytes, password)?
            .into_iter()
            .filter_map(|entry| match entry {
                JksEntry::Trusted(certificate) => Some(certificate),
                JksEntry::Key { .. } => None,
            })
            .map(|der| X509::from_der(der).map_err(|_| "it holds a broken certificate".to_owned()))
            .collect::<Result<Vec<_>, _>>()?,
        Format::Pkcs12 => {
            let password = password.ok_or("a PKCS12 truststore needs ssl.truststore.password")?;
            let store = open_pkcs12(bytes, password)?;
            // The certificates of a key's chain are not authorities, but cannot be distinguished from authorities here.
            if store.pkey.is_some() {
                return Err("it holds a private key: use a truststore that holds only trusted certificates".to_owned());
            }
            store.ca.into_iter().flatten().collect()
        }
    };
    if certificates.is_empty() {
        return Err("it holds no trusted certificate".to_owned());
    }
    pem_chain(&certificates)
}

/// Returns the private key of a JKS or PKCS12 keystore and its chain. `key_password` is the store's password, unless
/// the user has set another one.
pub(super) fn identity(bytes: &[u8], password: Option<&str>, key_password: Option<&str>) -> Result<Identity, String> {
    let password = password.ok_or("it needs ssl.keystore.password")?;
    let key_password = key_password.unwrap_or(password);
    let (key, chain) = match format(bytes)? {
        Format::Jks => {
            let mut keys = read_jks(bytes, Some(password))?.into_iter().filter_map(|entry| match entry {
                JksEntry::Key { protected, chain } => Some((protected, chain)),
                JksEntry::Trusted(_) => None,
            });
            let (protected, chain) = keys.next().ok_or("it holds no private key")?;
            if keys.next().is_some() {
                return Err("it holds more than one private key: keep one".to_owned());
            }
            let der = unprotect(protected, key_password)?;
            let key = PKey::private_key_from_pkcs8(&der).map_err(|_| "its private key is broken".to_owned())?;
            let chain: Result<Vec<_>, _> = chain.into_iter().map(X509::from_der).collect();
            (key, chain.map_err(|_| "it holds a broken certificate".to_owned())?)
        }
        Format::Pkcs12 => {
            if key_password != password {
                return Err(
                    "a PKCS12 store has one password: ssl.key.password must equal ssl.keystore.password".to_owned()
                );
            }
            let store = open_pkcs12(bytes, password)?;
            let key = store.pkey.ok_or("it holds no private key")?;
            let own = store.cert.ok_or("it holds no certificate for its private key")?;
            (key, in_order(own, store.ca.into_iter().flatten().collect()))
        }
    };
    check_pair(&key, chain.first())?;
    let pem = key.private_key_to_pem_pkcs8().map_err(|_| "its private key cannot be written as PEM".to_owned())?;
    Ok(Identity { key: text(pem)?, chain: pem_chain(&chain)? })
}

/// Returns PEM text from a property with its line breaks. In Kafka, any blanks can replace line breaks, because
/// continuation lines of a properties file have none. Other text is not changed.
pub(super) fn normalized_pem(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 32);
    let mut rest = text;
    while let Some((label, body, after)) = next_block(rest) {
        out.push_str(&format!("-----BEGIN {label}-----\n"));
        if body.contains(':') {
            // The headers of old encrypted keys need their own line breaks.
            out.push_str(body.trim());
            out.push('\n');
        } else {
            let base64: Vec<char> = body.chars().filter(|c| !c.is_whitespace()).collect();
            for line in base64.chunks(64) {
                out.extend(line);
                out.push('\n');
            }
        }
        out.push_str(&format!("-----END {label}-----\n"));
        rest = after;
    }
    if out.is_empty() { text.to_owned() } else { out }
}

fn next_block(text: &str) -> Option<(&str, &str, &str)> {
    let (_, rest) = text.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    let (body, rest) = rest.split_once("-----END ")?;
    let (_, after) = rest.split_once("-----")?;
    Some((label, body, after))
}

/// Checks that a PEM text contains at least one certificate, and that all can be read.
pub(super) fn check_pem_certificates(pem: &[u8]) -> Result<(), String> {
    match X509::stack_from_pem(pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(()),
        Ok(_) => Err("it holds no `BEGIN CERTIFICATE` block".to_owned()),
        Err(_) => Err("it holds a broken PEM certificate".to_owned()),
    }
}

/// Checks that PEM texts of a key and of its chain can be read and belong together.
pub(super) fn check_pem_identity(key: &[u8], password: Option<&str>, chain: &[u8]) -> Result<(), String> {
    encrypted_key::check(key)?;
    let key = match password {
        // With a callback that gives no password, OpenSSL does not ask on the terminal.
        None => PKey::private_key_from_pem_callback(key, |_| Ok(0)),
        Some(password) => PKey::private_key_from_pem_passphrase(key, password.as_bytes()),
    };
    let key = key.map_err(
        |_| "its private key cannot be read: it must be PEM, with the right ssl.key.password if it is encrypted",
    )?;
    check_pem_certificates(chain)?;
    let chain = X509::stack_from_pem(chain).map_err(|_| "it holds a broken PEM certificate".to_owned())?;
    check_pair(&key, chain.first())
}

/// Returns the chain from the client's own certificate upwards, in the order of TLS, without certificates that do not
/// belong to it.
fn in_order(own: X509, mut others: Vec<X509>) -> Vec<X509> {
    let mut chain = vec![own];
    while let Some(at) = chain
        .last()
        .and_then(|last| others.iter().position(|other| other.issued(last) == openssl::x509::X509VerifyResult::OK))
    {
        chain.push(others.swap_remove(at));
    }
    chain
}

fn check_pair(key: &PKey<Private>, own: Option<&X509>) -> Result<(), String> {
    let public = own.and_then(|certificate| certificate.public_key().ok());
    if public.is_some_and(|public| key.public_eq(&public)) {
        Ok(())
    } else {
        Err("the first certificate does not belong to the private key".to_owned())
    }
}

fn open_pkcs12(bytes: &[u8], password: &str) -> Result<openssl::pkcs12::ParsedPkcs12_2, String> {
    let store = Pkcs12::from_der(bytes).map_err(|_| "it is not a complete PKCS12 store".to_owned())?;
    store.parse2(password).map_err(|error| {
        if is_unsupported(&error) {
            format!("it uses an old encryption (RC2) that this worker cannot read: {CONVERT} of a current JDK")
        } else {
            "its password is wrong, or it is damaged".to_owned()
        }
    })
}

/// RC2 needs OpenSSL's legacy provider, which is not built in.
fn is_unsupported(error: &ErrorStack) -> bool {
    error.errors().iter().any(|error| error.reason().is_some_and(|reason| reason.contains("unsupported")))
}

fn pem_chain(certificates: &[X509]) -> Result<String, String> {
    let mut pem = Vec::new();
    for certificate in certificates {
        pem.extend(
            certificate.to_pem().map_err(|_| "it holds a certificate that cannot be written as PEM".to_owned())?,
        );
    }
    text(pem)
}

fn text(pem: Vec<u8>) -> Result<String, String> {
    String::from_utf8(pem).map_err(|_| "its PEM form is not text".to_owned())
}

enum JksEntry<'a> {
    Trusted(&'a [u8]),
    Key { protected: &'a [u8], chain: Vec<&'a [u8]> },
}

const DIGEST_BYTES: usize = 20;

fn read_jks<'a>(bytes: &'a [u8], password: Option<&str>) -> Result<Vec<JksEntry<'a>>, String> {
    let content = bytes.len().checked_sub(DIGEST_BYTES).map(|end| &bytes[..end]).ok_or(TRUNCATED)?;
    if let Some(password) = password {
        let mut digest = Sha1::new();
        digest.update(&utf16(password));
        // A constant of the format.
        digest.update(b"Mighty Aphrodite");
        digest.update(content);
        if digest.finish() != bytes[content.len()..] {
            return Err("its password is wrong, or it is damaged".to_owned());
        }
    }
    let mut reader = JksReader { rest: &content[JKS_MAGIC.len()..] };
    let version = reader.u32()?;
    if version != 1 && version != 2 {
        return Err(format!("JKS version {version} is unknown"));
    }
    let count = reader.u32()?;
    let mut entries = Vec::new();
    for _ in 0..count {
        let tag = reader.u32()?;
        let alias = usize::from(reader.u16()?);
        reader.take(alias)?;
        reader.take(8)?;
        entries.push(match tag {
            1 => {
                let protected = reader.sized()?;
                let length = reader.u32()?;
                let mut chain = Vec::new();
                for _ in 0..length {
                    chain.push(reader.certificate(version)?);
                }
                JksEntry::Key { protected, chain }
            }
            2 => JksEntry::Trusted(reader.certificate(version)?),
            _ => return Err(format!("JKS entry type {tag} is unknown")),
        });
    }
    Ok(entries)
}

const TRUNCATED: &str = "it ends too early";

struct JksReader<'a> {
    rest: &'a [u8],
}

impl<'a> JksReader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16, String> {
        self.take(2).map(|bytes| u16::from(bytes[0]) << 8 | u16::from(bytes[1]))
    }

    fn u32(&mut self) -> Result<u32, String> {
        Ok(u32::from(self.u16()?) << 16 | u32::from(self.u16()?))
    }

    fn sized(&mut self) -> Result<&'a [u8], String> {
        let length = self.u32()?;
        self.take(length as usize)
    }

    fn certificate(&mut self, version: u32) -> Result<&'a [u8], String> {
        if version == 2 {
            let kind = usize::from(self.u16()?);
            if self.take(kind)? != b"X.509" {
                return Err("it holds a certificate that is not X.509".to_owned());
            }
        }
        self.sized()
    }
}

/// DER of the OID 1.3.6.1.4.1.42.2.17.1.1, which names the key protection of JKS.
const PROTECTION_OID: &[u8] = &[0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x2a, 0x02, 0x11, 0x01, 0x01];

/// Decrypts a key of a JKS store: salt, key XOR a chain of SHA-1 digests, digest of the plain key.
fn unprotect(protected: &[u8], password: &str) -> Result<Vec<u8>, String> {
    // EncryptedPrivateKeyInfo: the last element is the octet string with the payload.
    let at = protected.windows(PROTECTION_OID.len()).position(|window| window == PROTECTION_OID);
    let at = at.ok_or_else(|| format!("its private key is protected in an unknown way: {CONVERT}"))?;
    let mut rest = &protected[at + PROTECTION_OID.len()..];
    if let [0x05, 0x00, after @ ..] = rest {
        rest = after;
    }
    let payload = octet_string(rest).ok_or("its private key is broken")?;
    if payload.len() < 2 * DIGEST_BYTES {
        return Err("its private key is broken".to_owned());
    }
    let (salt, payload) = payload.split_at(DIGEST_BYTES);
    let (encrypted, check) = payload.split_at(payload.len() - DIGEST_BYTES);
    let password = utf16(password);
    let digest = |bytes: &[u8]| {
        let mut digest = Sha1::new();
        digest.update(&password);
        digest.update(bytes);
        digest.finish()
    };
    let mut plain = Vec::with_capacity(encrypted.len());
    let mut link = salt.to_vec();
    for block in encrypted.chunks(DIGEST_BYTES) {
        link = digest(&link).to_vec();
        plain.extend(block.iter().zip(&link).map(|(byte, mask)| byte ^ mask));
    }
    if digest(&plain) == check { Ok(plain) } else { Err("ssl.key.password is wrong for its private key".to_owned()) }
}

/// Returns the content of a DER OCTET STRING.
fn octet_string(der: &[u8]) -> Option<&[u8]> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    if tag != 0x04 {
        return None;
    }
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f)).filter(|(bytes, _)| bytes.len() <= 4)?;
        (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
    };
    rest.get(..length)
}

fn utf16(password: &str) -> Vec<u8> {
    password.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{self, bytes};
    use super::*;

    fn subject(pem: &str) -> String {
        let certificates = X509::stack_from_pem(pem.as_bytes()).unwrap();
        assert_eq!(certificates.len(), 1);
        format!("{:?}", certificates[0].subject_name())
    }

    #[test]
    fn reads_truststores_of_keytool() {
        for store in [fixtures::TRUST_JKS, fixtures::TRUST_PKCS12] {
            let pem = trusted_certificates(&bytes(store), Some("changeit")).unwrap();
            assert!(subject(&pem).contains("client"), "{pem}");
            let error = trusted_certificates(&bytes(store), Some("changedit")).unwrap_err();
            assert!(error.contains("password is wrong"), "{error}");
        }
        assert!(trusted_certificates(&bytes(fixtures::TRUST_JKS), None).is_ok(), "a JKS digest needs no check");
        assert!(
            trusted_certificates(&bytes(fixtures::TRUST_PKCS12), None).unwrap_err().contains("ssl.truststore.password")
        );
    }

    #[test]
    fn reads_keystores_of_keytool() {
        let jks = identity(&bytes(fixtures::KEY_JKS), Some("storepass"), Some("keypass1")).unwrap();
        let pkcs12 = identity(&bytes(fixtures::KEY_PKCS12), Some("storepass"), None).unwrap();
        assert!(jks.key.starts_with("-----BEGIN PRIVATE KEY-----"));
        assert_eq!((jks.key, jks.chain), (pkcs12.key, pkcs12.chain));
        assert!(
            identity(&bytes(fixtures::KEY_JKS), Some("storepass"), None).err().unwrap().contains("ssl.key.password")
        );
        assert!(identity(&bytes(fixtures::KEY_JKS), Some("x"), None).err().unwrap().contains("password is wrong"));
        assert!(identity(&bytes(fixtures::KEY_JKS), None, None).err().unwrap().contains("ssl.keystore.password"));
    }

    #[test]
    fn a_store_without_what_is_needed_is_refused() {
        let refused = |result: Result<String, String>| result.unwrap_err();
        assert!(
            refused(trusted_certificates(&bytes(fixtures::KEY_JKS), Some("storepass")))
                .contains("no trusted certificate")
        );
        assert!(refused(trusted_certificates(&bytes(fixtures::KEY_PKCS12), Some("storepass"))).contains("private key"));
        assert!(
            identity(&bytes(fixtures::TRUST_JKS), Some("changeit"), None).err().unwrap().contains("no private key")
        );
        let old = refused(trusted_certificates(&bytes(fixtures::TRUST_PKCS12_OLD), Some("changeit")));
        assert!(old.contains("RC2") && old.contains("keytool"), "{old}");
        assert!(refused(trusted_certificates(&[0xce, 0xce, 0xce, 0xce, 0, 0], None)).contains("JCEKS"));
        assert!(
            refused(trusted_certificates(b"-----BEGIN CERTIFICATE-----", None)).contains("set the store type to PEM")
        );
        assert!(refused(trusted_certificates(b"hello", None)).contains("neither a JKS nor a PKCS12"));
    }

    #[test]
    fn truncated_stores_are_errors() {
        for store in [fixtures::TRUST_JKS, fixtures::KEY_JKS, fixtures::TRUST_PKCS12, fixtures::KEY_PKCS12] {
            let whole = bytes(store);
            for end in 0..whole.len() {
                assert!(trusted_certificates(&whole[..end], Some("changeit")).is_err());
                assert!(identity(&whole[..end], Some("storepass"), Some("keypass1")).is_err());
            }
        }
    }

    #[test]
    fn pem_key_and_chain_must_belong_together() {
        let own = identity(&bytes(fixtures::KEY_PKCS12), Some("storepass"), None).unwrap();
        assert_eq!(check_pem_identity(own.key.as_bytes(), None, own.chain.as_bytes()), Ok(()));
        let group = openssl::ec::EcGroup::from_curve_name(openssl::nid::Nid::X9_62_PRIME256V1).unwrap();
        let other = PKey::from_ec_key(openssl::ec::EcKey::generate(&group).unwrap()).unwrap();
        let plain = other.private_key_to_pem_pkcs8().unwrap();
        assert!(check_pem_identity(&plain, None, own.chain.as_bytes()).unwrap_err().contains("does not belong"));
        let key = PKey::private_key_from_pem(own.key.as_bytes()).unwrap();
        let cipher = openssl::symm::Cipher::aes_128_cbc();
        let encrypted = key.private_key_to_pem_pkcs8_passphrase(cipher, b"right").unwrap();
        assert_eq!(check_pem_identity(&encrypted, Some("right"), own.chain.as_bytes()), Ok(()));
        for wrong in [None, Some("wrong")] {
            assert!(
                check_pem_identity(&encrypted, wrong, own.chain.as_bytes()).unwrap_err().contains("ssl.key.password")
            );
        }
        assert!(check_pem_certificates(b"").unwrap_err().contains("BEGIN CERTIFICATE"));
    }

    #[test]
    fn damaged_stores_never_panic() {
        for store in [fixtures::TRUST_JKS, fixtures::KEY_JKS] {
            let whole = bytes(store);
            for at in 0..whole.len() {
                for byte in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                    let mut damaged = whole.clone();
                    damaged[at] = byte;
                    let _ = trusted_certificates(&damaged, None);
                    for entry in read_jks(&damaged, None).into_iter().flatten() {
                        if let JksEntry::Key { protected, .. } = entry {
                            let _ = unprotect(protected, "keypass1");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn pem_of_a_property_gets_its_lines_back() {
        let pem = identity(&bytes(fixtures::KEY_PKCS12), Some("storepass"), None).unwrap().chain;
        let two = pem.repeat(2);
        assert_eq!(normalized_pem(&two), two);
        assert_eq!(normalized_pem(&two.replace('\n', "  ")), two);
        assert_eq!(normalized_pem(two.trim_end()), two);
        assert_eq!(normalized_pem("no pem"), "no pem");
        assert_eq!(normalized_pem("-----BEGIN X"), "-----BEGIN X");
    }
}
