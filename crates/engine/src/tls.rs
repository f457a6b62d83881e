//! TLS for `wss://`: the platform's certificate authorities and what the options add to or take from them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::file;

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
            let read = if part == Part::Key { private_key(file).map(drop) } else { certificates(file).map(drop) };
            if let Err(why) = read {
                problems.push((part, file, why));
            }
        }
        problems
    }

    /// The client's TLS configuration. Reads files, so it is made once per task.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>, String> {
        let mut roots = RootCertStore::empty();
        let platform = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(platform.certs);
        if let Some(file) = &self.ca {
            for certificate in certificates(file)? {
                roots
                    .add(certificate)
                    .map_err(|error| format!("{}: not a certificate authority: {error}", file.display()))?;
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be set up: {error}"))?;
        let builder = if self.check_host || roots.is_empty() {
            // An empty store refuses every server with `UnknownIssuer`, which names the remedy.
            builder.with_root_certificates(roots)
        } else {
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| format!("TLS cannot be set up: {error}"))?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyHost(verifier)))
        };
        let config = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                builder.with_client_auth_cert(certificates(certificate)?, private_key(key)?).map_err(|error| {
                    format!("{} and {} do not fit together: {error}", certificate.display(), key.display())
                })?
            }
            _ => builder.with_no_client_auth(),
        };
        Ok(Arc::new(config))
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
    PrivateKeyDer::from_pem_slice(&read(file)?)
        .map_err(|_| "the file holds no private key; give a PEM file with an unencrypted BEGIN PRIVATE KEY".into())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    file::read(path, file::MAX_BYTES).map_err(|error| format!("the file cannot be read: {error}"))
}

/// Checks all of the certificate but the name it was issued for.
#[derive(Debug)]
struct AnyHost(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyHost {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
