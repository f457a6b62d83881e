//! Certificates made at run time, good and bad.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde::{Deserialize, Serialize};
use tokio_rustls::TlsAcceptor;

/// What is right or wrong with a server's certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TlsProfile {
    /// For `localhost` and 127.0.0.1, from [`TestPki::ca_pem`].
    #[default]
    Good,
    /// The same, but it ended in 2020.
    Expired,
    /// The same, but for `wrong.example` only.
    WrongHost,
    /// For the right host, from another CA of the same name.
    UnknownCa,
    /// Signed by itself, and a CA by its own word, as `openssl req -x509` makes it: [`TestPki::self_signed_pem`].
    SelfSigned,
    /// The same, but it ended in 2020.
    SelfSignedExpired,
    /// The same, but for `wrong.example` only.
    SelfSignedWrongHost,
    /// Good, and the client must show a certificate from the same CA, such as [`TestPki::client_cert_pem`].
    ClientCertRequired,
}

/// A certificate authority, server certificates and a client certificate, made anew each time; all in PEM (PKCS #8 keys).
pub struct TestPki {
    authority: Authority,
    stranger: Authority,
    client: Leaf,
    self_signed: Leaf,
    self_signed_expired: Leaf,
    self_signed_wrong_host: Leaf,
}

/// What a server's certificate is for when it is good.
const HOSTS: [&str; 2] = ["localhost", "127.0.0.1"];
const WRONG_HOST: [&str; 1] = ["wrong.example"];

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
    pem: String,
}

struct Leaf {
    der: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

impl TestPki {
    /// Makes the keys and certificates; fails only if the system has no randomness.
    pub fn new() -> io::Result<TestPki> {
        let authority = Authority::new()?;
        let client = authority.leaf(&[], ExtendedKeyUsagePurpose::ClientAuth, 2044)?;
        Ok(TestPki {
            authority,
            stranger: Authority::new()?,
            client,
            self_signed: Leaf::self_signed(&HOSTS, 2044)?,
            self_signed_expired: Leaf::self_signed(&HOSTS, 2020)?,
            self_signed_wrong_host: Leaf::self_signed(&WRONG_HOST, 2044)?,
        })
    }

    /// The self-signed server certificate of a profile; `None`: its certificate is not self-signed.
    pub fn self_signed_pem(&self, profile: TlsProfile) -> Option<&str> {
        self.self_signed(profile).map(|leaf| leaf.pem.as_str())
    }

    fn self_signed(&self, profile: TlsProfile) -> Option<&Leaf> {
        match profile {
            TlsProfile::SelfSigned => Some(&self.self_signed),
            TlsProfile::SelfSignedExpired => Some(&self.self_signed_expired),
            TlsProfile::SelfSignedWrongHost => Some(&self.self_signed_wrong_host),
            _ => None,
        }
    }

    /// The CA certificate that a client should trust.
    pub fn ca_pem(&self) -> &str {
        &self.authority.pem
    }

    /// The CA certificate that a client should trust, in DER.
    pub fn ca_der(&self) -> &[u8] {
        &self.authority.der
    }

    /// A client certificate from that CA.
    pub fn client_cert_pem(&self) -> &str {
        &self.client.pem
    }

    /// Its private key.
    pub fn client_key_pem(&self) -> String {
        self.client.key.serialize_pem()
    }

    /// Writes `ca.pem`, `client.pem` and `client.key` for other processes.
    pub fn write_to(&self, directory: &Path) -> io::Result<()> {
        std::fs::create_dir_all(directory)?;
        std::fs::write(directory.join("ca.pem"), self.ca_pem())?;
        std::fs::write(directory.join("client.pem"), self.client_cert_pem())?;
        std::fs::write(directory.join("client.key"), self.client_key_pem())
    }

    pub(crate) fn acceptor(&self, profile: TlsProfile) -> io::Result<TlsAcceptor> {
        let authority = if profile == TlsProfile::UnknownCa { &self.stranger } else { &self.authority };
        let hosts: &[&str] = if profile == TlsProfile::WrongHost { &WRONG_HOST } else { &HOSTS };
        let last_year = if profile == TlsProfile::Expired { 2020 } else { 2044 };
        let signed = authority.leaf(hosts, ExtendedKeyUsagePurpose::ServerAuth, last_year)?;
        let leaf = self.self_signed(profile).unwrap_or(&signed);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let config = if profile == TlsProfile::ClientCertRequired {
            let mut roots = RootCertStore::empty();
            roots.add(self.authority.der.clone()).map_err(io::Error::other)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(io::Error::other)?;
            config.with_client_cert_verifier(verifier)
        } else {
            config.with_no_client_auth()
        };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf.key.serialize_der()));
        let config = config.with_single_cert(vec![leaf.der.clone()], key).map_err(io::Error::other)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl Authority {
    fn new() -> io::Result<Authority> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name.push(DnType::CommonName, "websocket-testkit CA");
        params.not_before = date_time_ymd(2015, 1, 1);
        params.not_after = date_time_ymd(2044, 1, 1);
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = params.self_signed(&key).map_err(io::Error::other)?;
        Ok(Authority { der: certificate.der().clone(), pem: certificate.pem(), issuer: Issuer::new(params, key) })
    }

    fn leaf(&self, hosts: &[&str], usage: ExtendedKeyUsagePurpose, last_year: i32) -> io::Result<Leaf> {
        let mut params = leaf_params(hosts, last_year)?;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(io::Error::other)?;
        Ok(Leaf { der: certificate.der().clone(), pem: certificate.pem(), key })
    }
}

impl Leaf {
    fn self_signed(hosts: &[&str], last_year: i32) -> io::Result<Leaf> {
        let mut params = leaf_params(hosts, last_year)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = params.self_signed(&key).map_err(io::Error::other)?;
        Ok(Leaf { der: certificate.der().clone(), pem: certificate.pem(), key })
    }
}

fn leaf_params(hosts: &[&str], last_year: i32) -> io::Result<CertificateParams> {
    let mut params = CertificateParams::default();
    for &host in hosts {
        let name = match host {
            "127.0.0.1" => SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            name => SanType::DnsName(name.try_into().map_err(io::Error::other)?),
        };
        params.subject_alt_names.push(name);
    }
    params.distinguished_name.push(DnType::CommonName, "websocket-testkit");
    params.not_before = date_time_ymd(2016, 1, 1);
    params.not_after = date_time_ymd(last_year, 1, 1);
    Ok(params)
}
