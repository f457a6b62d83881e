//! Signatures that feeds require: Ed25519, and JSON Web Tokens (RFC 7519) with HS256, ES256, EdDSA and RS256. All are
//! computed by `ring`, which gets the random numbers for ES256 and RS256 from the system.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};

use crate::json::{Found, Pointer, Pointers, Scanned, Token};

/// A signature's algorithm, by its name in RFC 7518 and RFC 8037.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Hs256,
    Es256,
    EdDsa,
    Rs256,
}

impl Algorithm {
    pub(super) fn find(name: &str) -> Option<Algorithm> {
        match name {
            "HS256" => Some(Algorithm::Hs256),
            "ES256" => Some(Algorithm::Es256),
            "EdDSA" => Some(Algorithm::EdDsa),
            "RS256" => Some(Algorithm::Rs256),
            _ => None,
        }
    }

    fn sign(self, key: &[u8], input: &[u8]) -> Result<Vec<u8>, String> {
        match self {
            Algorithm::Hs256 => {
                let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
                Ok(ring::hmac::sign(&key, input).as_ref().to_vec())
            }
            Algorithm::Es256 => es256(key, input),
            Algorithm::EdDsa => ed25519(key, input),
            Algorithm::Rs256 => rs256(key, input),
        }
    }
}

/// Returns a token. `header` is a JSON object whose members are added to `alg` and `typ`.
///
/// # Errors
/// A sentence that says which part cannot be used, without its content.
pub(super) fn jwt(name: &str, key: &[u8], claims: &str, header: Option<&str>) -> Result<String, String> {
    let algorithm = Algorithm::find(name).ok_or("jwt supports only HS256, ES256, EdDSA and RS256")?;
    object_members(claims).ok_or("the claims for jwt are not a JSON object")?;
    let header = token_header(name, header.unwrap_or("{}"))?;
    let mut token = URL_SAFE_NO_PAD.encode(header) + "." + &URL_SAFE_NO_PAD.encode(claims);
    let signature = algorithm.sign(key, token.as_bytes())?;
    token.push('.');
    token.push_str(&URL_SAFE_NO_PAD.encode(signature));
    Ok(token)
}

/// Returns a header with `alg`, `typ` and the members of the given header.
fn token_header(algorithm: &str, given: &str) -> Result<String, String> {
    let members = object_members(given).ok_or("the header for jwt is not a JSON object")?;
    if member(given, "alg").is_some_and(|own| own != algorithm) {
        return Err("the header for jwt has another alg than the first argument".into());
    }
    let own = [("alg", algorithm), ("typ", "JWT")].into_iter();
    let own = own.filter(|(name, _)| member(given, name).is_none());
    let mut all: Vec<String> = own.map(|(name, value)| format!(r#""{name}":"{value}""#)).collect();
    all.extend(Some(members.to_owned()).filter(|members| !members.is_empty()));
    Ok(format!("{{{}}}", all.join(",")))
}

/// Returns the text between the braces of a JSON object.
fn object_members(text: &str) -> Option<&str> {
    let valid = Pointers::default().build().ok()?.scan(text, &mut Found::default());
    let members = text.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
    valid.then_some(members)
}

fn member(object: &str, name: &str) -> Option<String> {
    let mut pointers = Pointers::default();
    let id = pointers.add(Pointer::new(vec![Token::Name(name.into())]));
    let mut found = Found::default();
    pointers.build().ok()?.scan(object, &mut found);
    Scanned::new(object, &found).first(id).map(|raw| raw.content().into_owned())
}

/// Signs with an Ed25519 key: PEM of PKCS#8.
///
/// # Errors
/// A sentence that says what the key should be.
pub(super) fn ed25519(key: &[u8], input: &[u8]) -> Result<Vec<u8>, String> {
    let wanted = "expected an Ed25519 key as PEM (-----BEGIN PRIVATE KEY-----)";
    let pem = Pem::read(key).filter(|pem| pem.label == "PRIVATE KEY").ok_or(wanted)?;
    // OpenSSL leaves out the public key, which PKCS#8 allows.
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pem.der).map_err(|why| format!("{wanted}: {why}"))?;
    Ok(pair.sign(input).as_ref().to_vec())
}

fn es256(key: &[u8], input: &[u8]) -> Result<Vec<u8>, String> {
    let wanted = "expected a P-256 key with its public part as PEM (-----BEGIN PRIVATE KEY----- or -----BEGIN EC PRIVATE \
                  KEY-----; openssl ec -in key.pem writes one)";
    let pem = Pem::read(key).ok_or(wanted)?;
    let pkcs8 = match pem.label.as_str() {
        "PRIVATE KEY" => pem.der,
        "EC PRIVATE KEY" => sec1_as_pkcs8(&pem.der),
        _ => return Err(wanted.into()),
    };
    let random = SystemRandom::new();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8, &random)
        .map_err(|why| format!("{wanted}: {why}"))?;
    let signature = pair.sign(&random, input).map_err(|_| "signing with ES256 failed")?;
    Ok(signature.as_ref().to_vec())
}

fn rs256(key: &[u8], input: &[u8]) -> Result<Vec<u8>, String> {
    let wanted = "expected an RSA key of 2048 to 4096 bits as PEM (-----BEGIN PRIVATE KEY----- or -----BEGIN RSA PRIVATE \
                  KEY-----)";
    let pem = Pem::read(key).ok_or(wanted)?;
    let pair = match pem.label.as_str() {
        "PRIVATE KEY" => RsaKeyPair::from_pkcs8(&pem.der),
        "RSA PRIVATE KEY" => RsaKeyPair::from_der(&pem.der),
        _ => return Err(wanted.into()),
    }
    .map_err(|why| format!("{wanted}: {why}"))?;
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input, &mut signature)
        .map_err(|_| "signing with RS256 failed")?;
    Ok(signature)
}

/// Returns the first block of a PEM text (RFC 7468).
struct Pem {
    label: String,
    der: Vec<u8>,
}

impl Pem {
    fn read(text: &[u8]) -> Option<Pem> {
        // In keys that were copied from JSON, a line end is the two characters `\n`.
        let text = std::str::from_utf8(text).ok()?.replace("\\n", "\n");
        let mut rest = text.as_str();
        loop {
            let (_, behind) = rest.split_once("-----BEGIN ")?;
            let (label, behind) = behind.split_once("-----")?;
            let (body, behind) = behind.split_once(&format!("-----END {label}-----"))?;
            // OpenSSL puts a block of the curve's name before an EC key.
            if label == "EC PARAMETERS" {
                rest = behind;
                continue;
            }
            let body: String = body.chars().filter(|char| !char.is_whitespace()).collect();
            return Some(Pem { label: label.to_owned(), der: STANDARD.decode(body).ok()? });
        }
    }
}

/// Wraps an ECPrivateKey (SEC 1, RFC 5915) of P-256 in PrivateKeyInfo (RFC 5208).
fn sec1_as_pkcs8(key: &[u8]) -> Vec<u8> {
    const VERSION: [u8; 3] = [0x02, 0x01, 0x00];
    /// ecPublicKey with prime256v1 (RFC 5480).
    const ALGORITHM: [u8; 21] = [
        0x30, 0x13, 0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D,
        0x03, 0x01, 0x07,
    ];
    let content = [&VERSION[..], &ALGORITHM[..], &der(0x04, key)].concat();
    der(0x30, &content)
}

/// A value in DER.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = content.len().to_be_bytes();
    let digits = &len[len.iter().position(|&byte| byte != 0).unwrap_or(len.len() - 1)..];
    let mut out = vec![tag];
    if content.len() >= 0x80 {
        out.push(0x80 | digits.len() as u8);
    }
    out.extend_from_slice(digits);
    out.extend_from_slice(content);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    // The keys and the texts to be signed are the examples of RFC 7515, appendix A, and RFC 8037, appendix A.
    const PAYLOAD: &str =
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    const RSA_PKCS8: &str = "-----BEGIN PRIVATE KEY-----
MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQCh+BYK4uPJtGXO
jS1lYmM2K5J9vinh8CR3/BYlzJChNuOL2TSXxbbqY913EeZ8dCn5VrD7io8ImtxL
aYk8wTM/U+3QGbh3hCUv7JFP5IV3aVlL6kKA0ywPVb9ilE8TA5a8bpvfbr3SvaNn
juygxmj3AbONv/s4yDQs4v5tJ/reSlpIdJed1LnPmt7Ex1sFhSwsD174pcF1A5L5
ROjtZMEQxrZHYJqkeDrrnGya11UxMFBji4NmXG9veoKjlnAqH2QbgtPr8jkiGUkf
toaHLFcW9Qr4NY2ai50Xw0Byj3+H2JoY2PyrZ62EWQwuz3WTOTY8BwNNb2BvniHg
VFbK5emhAgMBAAECggEAEq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyW
PEAeP88vLNO97IjlA7/GQ5sLKMgvfTeXZx9SE+7YwVol2NXOoAJe46sui395IW/G
O+pWJ1O0BkTGoVEn2bKVRUCgu+GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzj
kn439X0M/V51gfpRLI9JYanrC4D4qAdGcopV/0ZHHzQlBjudU2QvXt4ehNYTCBr6
XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl/x/jTj3ccPDVZFD9pIuhLhBOneufuBiB
4cS98l2SR/RQyGWSeWjnczT0QU91p1DhOVRuOopznQKBgQDgHMQQ60imZV1URk0K
pLttoLhyt3SmqdEf/kgHePDdtzEafpAu+cS191R2JiuoF2yzWXnwFDcqGigp5BNr
0AHQfD8/Lk8l1Mk09jxxCfui5nYooNyac8YFjm3vItzVCVDnEd3BbVWG8qf6deqE
lMGAg+C2V0L4oNXnP7LZcPAZRwKBgQC5A8R+CZW2MvRTLLHzwZkUXV866cff7tx6
kqa0finGG0KgeqlaZPxgCZnFp7AeAcCMtiynVlJ7vMVgePsLq6XtON4tB5kP9jAP
rq3rbAOal78eUH5OcED6eNuCV8ixEu1eWcPNCS/l1OW1EnXUEoEHKl54Xrrz2uNw
kgMTP1FZ1wKBgAcCn1dwJKufzBWQxWQp1vsM5fggqPN1qGb5y0MAk3g7/Ls5bkUp
5u9SN0Ai3Ya6hNnvWJMb7sXQX6U/zyO2M/hTip7tUeh7CXgwo59dkpN75gJLVds2
9+DAncu3KXU4f2Fa+7bLNrur53k8KwPOq2bbuTG69QtV7Jr5MR0AHWKNAoGBAIf/
evpitUf+4JYbLpvNXWcY052Mpz22aR84mY3nh3F2LF2mjMJDpTg7FmuyPcVw6EcG
yoAe9fa65iNqCq+jdw6PVNGo2hxfjSiZ8IIzHdsPXI89//pMjZcQK9r+CCoRjaZj
OYiIDktVWZzmevJuv6WywUqd57LE3Zar3dLSIkx1AoGAIYd7DHOhrWvxkwPQsRM2
tOgrjbcrfvtQJipd+DlcxyVuuM9sQLdgjVk2oy26F0EmpScGLq2MowX7fhd/QJQ3
ydy5cY7YIBi87w93IKLEdfnbJtoOPLUW0ITrJReOgo1cq9SbsxYawBgfp/gh6A56
03k2+ZQwVK0JKSHuLFkuQ3U=
-----END PRIVATE KEY-----";
    const RSA_PKCS1: &str = "-----BEGIN RSA PRIVATE KEY-----
MIIEowIBAAKCAQEAofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd/wWJcyQoTbji9k0
l8W26mPddxHmfHQp+Vaw+4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL+yRT+SFd2lZS+pC
gNMsD1W/YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb/7OMg0LOL+bSf63kpaSHSX
ndS5z5rexMdbBYUsLA9e+KXBdQOS+UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uD
Zlxvb3qCo5ZwKh9kG4LT6/I5IhlJH7aGhyxXFvUK+DWNmoudF8NAco9/h9iaGNj8
q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQIDAQABAoIBABKucaRpzQorw35S
bEUAVx8dYXUdZOlJcHtiWQ+dC6V8ljxAHj/PLyzTveyI5QO/xkObCyjIL303l2cf
UhPu2MFaJdjVzqACXuOrLot/eSFvxjvqVidTtAZExqFRJ9mylUVAoLvhowVWmC1O
n95fZCXxTUtxNEG1Xcc7m0rtzJKs45J+N/V9DP1edYH6USyPSWGp6wuA+KgHRnKK
Vf9GRx80JQY7nVNkL17eHoTWEwga+lwi0FEoW9Y7lDtWXYmKBWhUE+U8PGxlJf8f
40493HDw1WRQ/aSLoS4QTp3rn7gYgeHEvfJdkkf0UMhlknlo53M09EFPdadQ4TlU
bjqKc50CgYEA4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH/5IB3jw3bcxGn6QLvnE
tfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw/Py5PJdTJNPY8cQn7ouZ2KKDcmnPG
BY5t7yLc1QlQ5xHdwW1VhvKn+nXqhJTBgIPgtldC+KDV5z+y2XDwGUcCgYEAuQPE
fgmVtjL0Uyyx88GZFF1fOunH3+7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYs
p1ZSe7zFYHj7C6ul7TjeLQeZD/YwD66t62wDmpe/HlB+TnBA+njbglfIsRLtXlnD
zQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdcCgYAHAp9XcCSrn8wVkMVkKdb7
DOX4IKjzdahm+ctDAJN4O/y7OW5FKebvUjdAIt2GuoTZ71iTG+7F0F+lP88jtjP4
U4qe7VHoewl4MKOfXZKTe+YCS1XbNvfgwJ3Ltyl1OH9hWvu2yza7q+d5PCsDzqtm
27kxuvULVeya+TEdAB1ijQKBgQCH/3r6YrVH/uCWGy6bzV1nGNOdjKc9tmkfOJmN
54dxdixdpozCQ6U4OxZrsj3FcOhHBsqAHvX2uuYjagqvo3cOj1TRqNocX40omfCC
Mx3bD1yPPf/6TI2XECva/ggqEY2mYzmIiA5LVVmc5nrybr+lssFKneeyxN2Wq93S
0iJMdQKBgCGHewxzoa1r8ZMD0LETNrToK423K377UCYqXfg5XMclbrjPbEC3YI1Z
NqMtuhdBJqUnBi6tjKMF+34Xf0CUN8ncuXGO2CAYvO8PdyCixHX52ybaDjy1FtCE
6yUXjoKNXKvUm7MWGsAYH6f4IegOetN5NvmUMFStCSkh7ixZLkN1
-----END RSA PRIVATE KEY-----";
    const EC_PKCS8: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgjpsQnnGQmL+YBIff
H1136cspYG6+0iY7X1fCE9+E9LKhRANCAAR/zc4ncPbEXUGDy+5v20t7WAczNXvp
7xO6z248e9FURcfxRM0bvZt+hyzf7bnuufSzaV1uqQskrYpGIyiFiOWt
-----END PRIVATE KEY-----";
    const EC_SEC1: &str = "-----BEGIN EC PRIVATE KEY-----
MHcCAQEEII6bEJ5xkJi/mASH3x9dd+nLKWBuvtImO19XwhPfhPSyoAoGCCqGSM49
AwEHoUQDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEXH8UTNG72b
focs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==
-----END EC PRIVATE KEY-----";
    const ED25519: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
-----END PRIVATE KEY-----";

    /// RFC 7515 A.1.
    #[test]
    fn hs256_signs_as_published() {
        let key = URL_SAFE_NO_PAD
            .decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow");
        let input = format!("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{PAYLOAD}");
        let signature = Algorithm::Hs256.sign(&key.unwrap(), input.as_bytes()).unwrap();
        assert_eq!(URL_SAFE_NO_PAD.encode(signature), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    }

    /// RFC 7515 A.2.
    #[test]
    fn rs256_signs_as_published_with_keys_of_both_forms() {
        let input = format!("eyJhbGciOiJSUzI1NiJ9.{PAYLOAD}");
        for key in [RSA_PKCS8, RSA_PKCS1] {
            let signature = Algorithm::Rs256.sign(key.as_bytes(), input.as_bytes()).unwrap();
            assert!(URL_SAFE_NO_PAD.encode(signature).starts_with(
                "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
            ));
        }
    }

    /// RFC 7515 A.3: the signature differs each time, so it is checked with the published public key.
    #[test]
    fn es256_signs_with_pkcs8_and_sec1_keys() {
        let coordinates =
            ["f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"];
        let mut public = vec![4];
        coordinates.iter().for_each(|text| public.extend(URL_SAFE_NO_PAD.decode(text).unwrap()));
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public);
        let input = format!("eyJhbGciOiJFUzI1NiJ9.{PAYLOAD}");
        let published = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
        public.verify(input.as_bytes(), &URL_SAFE_NO_PAD.decode(published).unwrap()).unwrap();
        let with_parameters =
            format!("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n{EC_SEC1}");
        for key in [EC_PKCS8, EC_SEC1, &EC_SEC1.replace('\n', "\\n"), &with_parameters] {
            let signature = Algorithm::Es256.sign(key.as_bytes(), input.as_bytes()).unwrap();
            public.verify(input.as_bytes(), &signature).unwrap();
        }
    }

    /// RFC 8037 A.4.
    #[test]
    fn eddsa_signs_as_published() {
        let input = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let signature = Algorithm::EdDsa.sign(ED25519.as_bytes(), input.as_bytes()).unwrap();
        assert_eq!(
            URL_SAFE_NO_PAD.encode(signature),
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
        );
    }

    /// The example of jwt.io.
    #[test]
    fn a_token_is_header_claims_and_signature() {
        let claims = r#"{"sub":"1234567890","name":"John Doe","iat":1516239022}"#;
        assert_eq!(
            jwt("HS256", b"your-256-bit-secret", claims, None).unwrap(),
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ.\
             SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"
        );
    }

    #[test]
    fn a_tokens_header_has_the_given_members_too() {
        let header = |given: &str| token_header("ES256", given);
        assert_eq!(header("{}").unwrap(), r#"{"alg":"ES256","typ":"JWT"}"#);
        assert_eq!(
            header(r#" {"kid":"k","nonce":"n"} "#).unwrap(),
            r#"{"alg":"ES256","typ":"JWT","kid":"k","nonce":"n"}"#
        );
        assert_eq!(header(r#"{"typ":"at+jwt","alg":"ES256"}"#).unwrap(), r#"{"typ":"at+jwt","alg":"ES256"}"#);
        assert!(header(r#"{"alg":"none"}"#).unwrap_err().contains("another alg"));
        assert!(header("[]").unwrap_err().contains("not a JSON object"));
        assert!(jwt("HS256", b"k", "{\"a\":}", None).unwrap_err().contains("the claims"));
    }

    #[test]
    fn a_key_of_another_kind_is_refused_with_what_was_expected() {
        for (algorithm, key, expected) in [
            (Algorithm::Es256, "hunter2", "expected a P-256 key"),
            (Algorithm::Es256, ED25519, "expected a P-256 key"),
            (Algorithm::Es256, RSA_PKCS1, "expected a P-256 key"),
            (Algorithm::EdDsa, EC_PKCS8, "expected an Ed25519 key"),
            (Algorithm::Rs256, EC_PKCS8, "expected an RSA key"),
            (Algorithm::Rs256, "-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----", "expected an RSA key"),
        ] {
            let error = algorithm.sign(key.as_bytes(), b"x").unwrap_err();
            assert!(error.starts_with(expected) && !error.contains("hunter2"), "{error}");
        }
    }
}
