//! TLS for `wss://`: the platform's certificate authorities and what the options add to or take from them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::file;
use crate::observer::{Sight, Watched};

/// What the options say about TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    pub ca: Option<PathBuf>,
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub check_host: bool,
}

/// Which of the files a problem is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Ca,
    Certificate,
    Key,
}

impl Settings {
    /// Every file that cannot be used, and why.
    pub(crate) fn problems(&self) -> Vec<(Part, &Path, String)> {
        let files = [(Part::Ca, &self.ca), (Part::Certificate, &self.certificate), (Part::Key, &self.key)];
        let mut problems = Vec::new();
        for (part, file) in files {
            let Some(file) = file.as_deref() else {
                continue;
            };
            let read = match part {
                Part::Ca => trust(file, &mut RootCertStore::empty()).map(drop),
                Part::Certificate => certificates(file).map(drop),
                Part::Key => private_key(file).map(drop),
            };
            if let Err(why) = read {
                problems.push((part, file, why));
            }
        }
        if problems.is_empty()
            && let (Some(certificate), Some(key)) = (&self.certificate, &self.key)
            && let Err(why) = certified_key(certificate, key)
        {
            problems.push((Part::Key, key, why));
        }
        problems
    }

    /// The client's TLS configuration. Reads files, so it is made once per task.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>, String> {
        self.watched_config(Watched::default())
    }

    /// The same, with somebody who is shown the servers' certificates.
    pub(crate) fn watched_config(&self, watched: Watched) -> Result<Arc<ClientConfig>, String> {
        let mut roots = RootCertStore::empty();
        let platform = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(platform.certs);
        let named = self.ca.as_deref().map(|file| trust(file, &mut roots)).transpose()?.unwrap_or_default();
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be set up: {error}"))?;
        let builder = if roots.is_empty() {
            // Nothing is named either. An empty store refuses every server with `UnknownIssuer`, which names the remedy.
            builder.with_root_certificates(roots)
        } else {
            let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
                .build()
                .map_err(|error| format!("TLS cannot be set up: {error}"))?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Verifier {
                webpki,
                named,
                check_host: self.check_host,
                watched,
            }))
        };
        let config = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => builder
                .with_client_auth_cert(certificates(certificate)?, private_key(key)?)
                .map_err(|error| format!("{}: {}", key.display(), unfit(certificate, &error)))?,
            _ => builder.with_no_client_auth(),
        };
        Ok(Arc::new(config))
    }
}

/// Adds the certificates of a file to those that are trusted, and returns them. A bundle may hold some that TLS cannot
/// use, but not only such.
fn trust(file: &Path, roots: &mut RootCertStore) -> Result<Vec<CertificateDer<'static>>, String> {
    let named = certificates(file)?;
    match roots.add_parsable_certificates(named.iter().cloned()) {
        (0, _) => Err("the file holds no certificate that TLS can use; give X.509 certificates in PEM".into()),
        _ => Ok(named),
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Whether a key belongs to a certificate.
fn certified_key(certificate: &Path, key: &Path) -> Result<(), String> {
    let pair = CertifiedKey::from_der(certificates(certificate)?, private_key(key)?, &provider());
    pair.map(drop).map_err(|error| unfit(certificate, &error))
}

fn unfit(certificate: &Path, error: &rustls::Error) -> String {
    match error {
        rustls::Error::InconsistentKeys(_) => {
            format!(
                "the key does not belong to the certificate in {}; give the one it was made with",
                certificate.display()
            )
        }
        other => format!("the key cannot be used with the certificate in {}: {other}", certificate.display()),
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = read(file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err("the file holds no certificate; give a PEM file with BEGIN CERTIFICATE".into()),
        Err(error) => Err(format!("the file is not valid PEM ({error})")),
    }
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let text = read(file)?;
    let says = |words: &str| text.windows(words.len()).any(|window| window == words.as_bytes());
    // PKCS #8 (RFC 7468 §11), and what OpenSSL wrote before.
    if says("BEGIN ENCRYPTED PRIVATE KEY") || says("Proc-Type: 4,ENCRYPTED") {
        return Err("the key is encrypted; give an unencrypted one, as `openssl pkey -in encrypted.pem -out key.pem` \
                    writes it"
            .into());
    }
    PrivateKeyDer::from_pem_slice(&text)
        .map_err(|_| "the file holds no private key; give a PEM file with an unencrypted BEGIN PRIVATE KEY".into())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    file::read(path, file::MAX_BYTES).map_err(|error| format!("the file cannot be read: {error}"))
}

/// Trusts what authorities vouch for, and the certificates that an option names for what they are: a self-signed server
/// certificate is its own authority, whether or not it says that it is one.
#[derive(Debug)]
struct Verifier {
    webpki: Arc<WebPkiServerVerifier>,
    named: Vec<CertificateDer<'static>>,
    check_host: bool,
    watched: Watched,
}

impl Verifier {
    /// A certificate that was named needs nobody to vouch for it; its dates and its name still count.
    fn verify_named(
        &self,
        certificate: &CertificateDer<'_>,
        server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        let mut itself = RootCertStore::empty();
        itself.add(certificate.clone().into_owned())?;
        let algorithms = provider().signature_verification_algorithms.all;
        let verdict = verify_server_cert_signed_by_trust_anchor(&parsed, &itself, &[], now, algorithms);
        // The dates are checked before all else, so every other verdict is about who vouches.
        if let Err(rustls::Error::InvalidCertificate(
            why @ (CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
            | CertificateError::BadEncoding),
        )) = verdict
        {
            return Err(why.into());
        }
        if self.check_host {
            verify_server_name(&parsed, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.watched.tell(Sight::Certificate(end_entity));
        if self.named.iter().any(|named| named == end_entity) {
            return self.verify_named(end_entity, server_name, now);
        }
        match self.webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.check_host => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}
