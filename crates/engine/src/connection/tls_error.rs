//! What went wrong with TLS, in plain words, and which option helps.

use std::io;

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

use super::open_error::{OpenError, OpenErrorKind};

/// What TLS itself says of a failed read or write, if it is not just the socket.
pub(super) fn cause(error: &io::Error) -> Option<&Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

/// The error of a TLS connection; `whom` says with whom.
pub(super) fn tls_error(whom: &str, error: &io::Error) -> OpenError {
    let (kind, hint) = match cause(error) {
        Some(Error::InvalidCertificate(why)) => of_certificate(why),
        Some(Error::AlertReceived(alert)) => of_alert(*alert),
        Some(Error::PeerIncompatible(why)) => (OpenErrorKind::Tls, of_incompatible(why)),
        Some(Error::InvalidMessage(_)) => {
            (OpenErrorKind::Tls, "what came is not TLS; a server without TLS wants ws:// in websocket.url")
        }
        _ => (OpenErrorKind::Tcp, ""),
    };
    let hint = if hint.is_empty() { String::new() } else { format!("; {hint}") };
    OpenError::new(kind, format!("TLS with {whom} failed: {error}{hint}"))
}

fn of_certificate(why: &CertificateError) -> (OpenErrorKind, &'static str) {
    match why {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => (
            OpenErrorKind::CertificateExpired,
            "the server's certificate has expired or is not valid yet: renew it, or set this machine's clock",
        ),
        // A bad signature is that of another authority of the same name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => (OpenErrorKind::Certificate, NOT_TRUSTED),
        // webpki's words are not public: a server that shows an authority's certificate, as `openssl req -x509` makes it.
        other if format!("{other:?}").contains("CaUsedAsEndEntity") => (OpenErrorKind::Certificate, NOT_TRUSTED),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            OpenErrorKind::Certificate,
            "the certificate must name the host of websocket.url in its subjectAltName \
             (websocket.ssl.endpoint.identification.algorithm)",
        ),
        _ => (OpenErrorKind::Certificate, ""),
    }
}

const NOT_TRUSTED: &str =
    "to trust its authority, or a self-signed certificate itself, name it in websocket.ssl.ca.location";

/// The server's alerts (RFC 8446 §6.2).
fn of_alert(alert: AlertDescription) -> (OpenErrorKind, &'static str) {
    use AlertDescription::*;
    match alert {
        CertificateRequired | NoCertificate => (
            OpenErrorKind::Certificate,
            "the server wants a client certificate: see websocket.ssl.certificate.location",
        ),
        BadCertificate
        | UnsupportedCertificate
        | CertificateRevoked
        | CertificateExpired
        | CertificateUnknown
        | UnknownCA
        | AccessDenied => (
            OpenErrorKind::Certificate,
            "the server does not accept our client certificate, or that there is none: see \
             websocket.ssl.certificate.location",
        ),
        ProtocolVersion => (OpenErrorKind::Tls, NO_VERSION),
        HandshakeFailure | InsufficientSecurity => (OpenErrorKind::Tls, NO_CIPHER),
        UnrecognisedName => (OpenErrorKind::Tls, "the server knows no host of the name in websocket.url"),
        _ => (OpenErrorKind::Tcp, ""),
    }
}

const NO_VERSION: &str = "the server speaks neither TLS 1.2 nor TLS 1.3";
const NO_CIPHER: &str = "the server has no cipher suite or key exchange in common with us: we offer AES-GCM and \
                         ChaCha20-Poly1305 with elliptic curves";

fn of_incompatible(why: &PeerIncompatible) -> &'static str {
    use PeerIncompatible::*;
    match why {
        ServerDoesNotSupportTls12Or13 | ServerTlsVersionIsDisabledByOurConfig => NO_VERSION,
        NoCipherSuitesInCommon | NoKxGroupsInCommon | NoSignatureSchemesInCommon => NO_CIPHER,
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classified(cause: Error) -> OpenError {
        tls_error("feed.example", &io::Error::new(io::ErrorKind::InvalidData, cause))
    }

    #[test]
    fn only_alerts_that_mean_it_name_client_certificates() {
        use AlertDescription::*;
        for alert in [CertificateRequired, BadCertificate, UnknownCA, CertificateExpired, AccessDenied] {
            let error = classified(Error::AlertReceived(alert));
            assert_eq!(error.kind, OpenErrorKind::Certificate, "{error}");
            assert!(error.message.contains("websocket.ssl.certificate.location"), "{error}");
        }
        for (alert, words) in [
            (ProtocolVersion, "neither TLS 1.2 nor TLS 1.3"),
            (HandshakeFailure, "no cipher suite"),
            (UnrecognisedName, "no host of the name"),
        ] {
            let error = classified(Error::AlertReceived(alert));
            assert_eq!(error.kind, OpenErrorKind::Tls, "{error}");
            assert!(error.message.contains(words) && !error.message.contains("ssl.certificate"), "{error}");
        }
    }

    #[test]
    fn an_unspecific_alert_is_an_outage() {
        let error = classified(Error::AlertReceived(AlertDescription::InternalError));
        assert!(error.kind == OpenErrorKind::Tcp && error.message.contains("InternalError"), "{error}");
    }

    #[test]
    fn versions_ciphers_and_what_is_not_tls_are_named_in_plain_words() {
        let invalid = Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        for (cause, words) in [
            (Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13), "neither TLS 1.2 nor TLS 1.3"),
            (Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon), "no cipher suite"),
            (invalid, "ws://"),
        ] {
            let error = classified(cause);
            assert!(error.kind == OpenErrorKind::Tls && error.message.contains(words), "{error}");
        }
    }

    #[test]
    fn an_expired_certificate_is_a_kind_of_its_own() {
        assert_eq!(
            classified(Error::InvalidCertificate(CertificateError::Expired)).kind,
            OpenErrorKind::CertificateExpired
        );
        let unknown = classified(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        assert!(unknown.kind == OpenErrorKind::Certificate && unknown.message.contains("websocket.ssl.ca.location"));
        assert_eq!(tls_error("x", &io::ErrorKind::ConnectionReset.into()).kind, OpenErrorKind::Tcp);
    }
}
