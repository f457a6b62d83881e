//! TLS of the REST listeners: Kafka's `ssl.*` properties with PEM files or PEM text.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use connect_websocket_engine::config_def::ConfigError;
use connect_websocket_engine::file;
use indexmap::IndexMap;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    DEFAULT_VERSIONS, RootCertStore, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion,
};

const KEYSTORE_TYPE: &str = "ssl.keystore.type";
const KEYSTORE_FILE: &str = "ssl.keystore.location";
const KEYSTORE_KEY: &str = "ssl.keystore.key";
const KEYSTORE_CHAIN: &str = "ssl.keystore.certificate.chain";
const KEY_PASSWORD: &str = "ssl.key.password";
const TRUSTSTORE_TYPE: &str = "ssl.truststore.type";
const TRUSTSTORE_FILE: &str = "ssl.truststore.location";
const TRUSTSTORE_TEXT: &str = "ssl.truststore.certificates";
const CLIENT_AUTH: &str = "ssl.client.auth";
const PROTOCOLS: &str = "ssl.enabled.protocols";
const CIPHER_SUITES: &str = "ssl.cipher.suites";

/// The properties that can have a listener's prefix.
const KNOWN: &[&str] = &[
    KEYSTORE_TYPE,
    KEYSTORE_FILE,
    KEYSTORE_KEY,
    KEYSTORE_CHAIN,
    KEY_PASSWORD,
    TRUSTSTORE_TYPE,
    TRUSTSTORE_FILE,
    TRUSTSTORE_TEXT,
    CLIENT_AUTH,
    PROTOCOLS,
    CIPHER_SUITES,
];
/// Properties without effect, with and without a prefix: they choose the cryptography of a JVM.
const OF_A_JVM: &[&str] = &["ssl.provider", "ssl.secure.random.implementation", "ssl.engine.factory.class"];

/// Key, certificate chain and requirements for clients, ready for use.
#[derive(Clone)]
pub struct Tls(Arc<ServerConfig>);

impl Tls {
    /// Reads `{prefix}ssl.*`, or `ssl.*` if there are none with the prefix. As in Connect, the two are never mixed.
    ///
    /// # Errors
    /// Everything that is wrong, with its option.
    pub(super) fn parse(properties: &IndexMap<String, String>, prefix: &str) -> Result<Tls, Vec<ConfigError>> {
        let prefix = if properties.keys().any(|name| name.starts_with(prefix)) { prefix } else { "" };
        let mut options = Options { properties, prefix, errors: Vec::new() };
        options.check_unknown();
        let config = options.server_config();
        match (config, options.errors.is_empty()) {
            (Some(config), true) => Ok(Tls(Arc::new(config))),
            _ => Err(options.errors),
        }
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.0))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

struct Options<'a> {
    properties: &'a IndexMap<String, String>,
    prefix: &'a str,
    errors: Vec<ConfigError>,
}

impl<'a> Options<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        let value = self.properties.get(&format!("{}{name}", self.prefix))?;
        Some(value.trim()).filter(|value| !value.is_empty())
    }

    /// Returns an error without the value, because most values are secrets or long.
    fn refuse(&mut self, name: &str, why: &str) {
        let option = format!("{}{name}", self.prefix);
        let message = format!("Invalid value for configuration {option}: {why}");
        self.errors.push(ConfigError::new(option, message));
    }

    fn server_config(&mut self) -> Option<ServerConfig> {
        self.check_type(KEYSTORE_TYPE);
        if self.get(KEY_PASSWORD).is_some() {
            self.refuse(
                KEY_PASSWORD,
                "encrypted keys are not supported for REST listeners; give an unencrypted PKCS #8 key",
            );
        }
        let (versions, suites) = (self.versions(), self.cipher_suites());
        let identity = self.identity();
        let clients = self.clients();
        let ((key, chain), clients) = (identity?, clients?);
        let provider = CryptoProvider { cipher_suites: suites?, ..ring::default_provider() };
        let builder = ServerConfig::builder_with_provider(Arc::new(provider));
        let built = builder.with_protocol_versions(&versions?).and_then(|builder| {
            let builder = match clients {
                Some(verifier) => builder.with_client_cert_verifier(verifier),
                None => builder.with_no_client_auth(),
            };
            builder.with_single_cert(chain, key)
        });
        built.map_err(|error| self.refuse(KEYSTORE_FILE, &format!("key and certificate cannot be used: {error}"))).ok()
    }

    fn check_unknown(&mut self) {
        let given = self.properties.keys().filter_map(|option| option.strip_prefix(self.prefix));
        let own = !self.prefix.is_empty();
        let unknown: Vec<&str> =
            given.filter(|name| if own { !KNOWN.contains(name) } else { OF_A_JVM.contains(name) }).collect();
        for name in unknown {
            self.refuse(name, "a REST listener of this worker does not know it, and would not obey it; remove it");
        }
    }

    fn versions(&mut self) -> Option<Vec<&'static SupportedProtocolVersion>> {
        let Some(names) = self.get(PROTOCOLS) else { return Some(DEFAULT_VERSIONS.to_vec()) };
        let known = |name: &str| match name {
            "TLSv1.2" => Some(&TLS12),
            "TLSv1.3" => Some(&TLS13),
            _ => None,
        };
        let versions: Vec<_> = names.split(',').filter_map(|name| known(name.trim())).collect();
        if versions.is_empty() {
            self.refuse(PROTOCOLS, "it has neither TLSv1.2 nor TLSv1.3, and this worker knows no others");
            return None;
        }
        Some(versions)
    }

    /// Returns those of the given cipher suites that exist here. For TLS 1.3, a name begins with TLS_ in Java and with
    /// TLS13_ here.
    fn cipher_suites(&mut self) -> Option<Vec<SupportedCipherSuite>> {
        let all = ring::default_provider().cipher_suites;
        let Some(names) = self.get(CIPHER_SUITES) else { return Some(all) };
        let names: Vec<&str> = names.split(',').map(str::trim).collect();
        let java = |suite: &SupportedCipherSuite| format!("{:?}", suite.suite()).replace("TLS13_", "TLS_");
        let given: Vec<_> = all.into_iter().filter(|suite| names.contains(&java(suite).as_str())).collect();
        if given.is_empty() {
            self.refuse(
                CIPHER_SUITES,
                "this worker knows none of them; use those of TLS 1.3, or ECDHE with GCM or CHACHA20",
            );
            return None;
        }
        Some(given)
    }

    fn check_type(&mut self, name: &str) {
        if !self.get(name).is_some_and(|kind| kind.eq_ignore_ascii_case("PEM")) {
            self.refuse(name, "REST listeners take PEM only; convert the store and set the type to PEM");
        }
    }

    /// Reads a PEM file with key and chain, or both as text.
    fn identity(&mut self) -> Option<(PrivateKeyDer<'static>, Vec<CertificateDer<'static>>)> {
        let (key_option, key, chain) = match (self.get(KEYSTORE_FILE), self.get(KEYSTORE_KEY), self.get(KEYSTORE_CHAIN))
        {
            (Some(file), None, None) => {
                let text = self.file(KEYSTORE_FILE, file)?;
                (KEYSTORE_FILE, text.clone(), text)
            }
            (None, Some(key), Some(chain)) => (KEYSTORE_KEY, key.to_owned(), chain.to_owned()),
            _ => {
                let why = format!("an https listener needs it, or {KEYSTORE_KEY} and {KEYSTORE_CHAIN} instead of it");
                self.refuse(KEYSTORE_FILE, &why);
                return None;
            }
        };
        let Ok(key) = PrivateKeyDer::from_pem_slice(key.as_bytes()) else {
            self.refuse(key_option, "there is no unencrypted private key in it; give PEM with BEGIN PRIVATE KEY");
            return None;
        };
        let chain_option = if key_option == KEYSTORE_FILE { KEYSTORE_FILE } else { KEYSTORE_CHAIN };
        Some((key, self.certificates(chain_option, &chain)?))
    }

    fn clients(&mut self) -> Option<Option<Arc<dyn tokio_rustls::rustls::server::danger::ClientCertVerifier>>> {
        let required = match self.get(CLIENT_AUTH).unwrap_or("none").to_ascii_lowercase().as_str() {
            "none" => return Some(None),
            "requested" => false,
            "required" => true,
            _ => {
                self.refuse(CLIENT_AUTH, "String must be one of: required, requested, none");
                return None;
            }
        };
        self.check_type(TRUSTSTORE_TYPE);
        let (option, text) = match (self.get(TRUSTSTORE_FILE), self.get(TRUSTSTORE_TEXT)) {
            (Some(file), None) => (TRUSTSTORE_FILE, self.file(TRUSTSTORE_FILE, file)?),
            (None, Some(text)) => (TRUSTSTORE_TEXT, text.to_owned()),
            _ => {
                self.refuse(TRUSTSTORE_FILE, &format!("{CLIENT_AUTH} needs it, or {TRUSTSTORE_TEXT} instead of it"));
                return None;
            }
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.certificates(option, &text)?);
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(ring::default_provider()));
        let verifier = if required { verifier } else { verifier.allow_unauthenticated() };
        verifier.build().map(Some).map_err(|error| self.refuse(option, &format!("it cannot be used: {error}"))).ok()
    }

    fn file(&mut self, option: &str, path: &str) -> Option<String> {
        let read = file::read_text(Path::new(path), file::MAX_BYTES);
        read.map_err(|error| self.refuse(option, &format!("the file {path} cannot be read: {error}"))).ok()
    }

    fn certificates(&mut self, option: &str, text: &str) -> Option<Vec<CertificateDer<'static>>> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
        match found {
            Ok(found) if !found.is_empty() => Some(found),
            _ => {
                self.refuse(option, "there is no certificate in it; give PEM with BEGIN CERTIFICATE");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(pairs: &[(&str, &str)]) -> Vec<String> {
        let properties = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let errors = Tls::parse(&properties, "listeners.https.").unwrap_err();
        errors.into_iter().map(|error| error.message).collect()
    }

    #[test]
    fn everything_that_is_wrong_is_told_with_its_option_and_no_secret() {
        let all = errors(&[
            ("ssl.keystore.type", "PEM"),
            ("listeners.https.ssl.keystore.key", "hunter2"),
            ("listeners.https.ssl.keystore.certificate.chain", "hunter2"),
            ("listeners.https.ssl.key.password", "hunter2"),
            ("listeners.https.ssl.client.auth", "required"),
        ]);
        let shown = all.join("\n");
        for option in [
            "ssl.keystore.type",
            "ssl.keystore.key",
            "ssl.key.password",
            "ssl.truststore.type",
            "ssl.truststore.location",
        ] {
            assert!(shown.contains(&format!("configuration listeners.https.{option}: ")), "{option}:\n{shown}");
        }
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn what_a_listener_would_not_obey_is_refused() {
        let all = errors(&[
            ("listeners.https.ssl.enabled.protocols", "TLSv1.1"),
            ("listeners.https.ssl.cipher.suites", "TLS_RSA_WITH_AES_128_CBC_SHA"),
            ("listeners.https.ssl.provider", "BCFIPS"),
            ("listeners.https.ssl.truststore.locatoin", "/x"),
        ]);
        for option in ["ssl.enabled.protocols", "ssl.cipher.suites", "ssl.provider", "ssl.truststore.locatoin"] {
            assert!(all.iter().any(|error| error.contains(option)), "{option}: {all:?}");
        }
        let properties = [
            ("ssl.enabled.protocols", "TLSv1.3, TLSv1.1"),
            ("ssl.cipher.suites", "TLS_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
        ];
        let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
        let mut options = Options { properties: &properties, prefix: "", errors: Vec::new() };
        assert_eq!(options.versions().unwrap().len(), 1);
        assert_eq!(options.cipher_suites().unwrap().len(), 2);
    }

    #[test]
    fn without_prefixed_properties_the_plain_ones_count() {
        let all = errors(&[("ssl.keystore.type", "PEM"), ("ssl.keystore.location", "/no/such/file")]);
        assert_eq!(all.len(), 1);
        assert!(
            all[0].contains("configuration ssl.keystore.location: the file /no/such/file cannot be read"),
            "{all:?}"
        );
    }
}
