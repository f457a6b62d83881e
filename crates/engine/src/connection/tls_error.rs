//! Errors of TLS in plain words, with the option that helps.

use std::io;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

use super::open_error::{OpenError, OpenErrorKind};
use crate::calendar::DateTime;

/// Returns the TLS error of a failed read or write, if it is not just an error of the socket.
pub(super) fn cause(error: &io::Error) -> Option<&Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

/// Returns the error of a TLS connection. `whom`: the other side.
pub(super) fn tls_error(whom: &str, error: &io::Error) -> OpenError {
    let hint = match cause(error) {
        Some(Error::InvalidCertificate(why)) => Some(of_certificate(why)),
        Some(Error::AlertReceived(alert)) => of_alert(*alert),
        Some(Error::PeerIncompatible(why)) => Some(of_incompatible(why)),
        Some(Error::InvalidMessage(_)) => {
            Some("the server does not answer with TLS; for a server without TLS, write ws:// in websocket.url")
        }
        _ => None,
    };
    // Without an error of TLS, it is an outage like one of the socket.
    let (kind, hint) = hint.map_or((OpenErrorKind::Tcp, ""), |hint| (OpenErrorKind::Tls, hint));
    let hint = if hint.is_empty() { String::new() } else { format!("; {hint}") };
    OpenError::new(kind, format!("TLS with {whom} failed: {}{hint}", reason(error)))
}

/// Returns what failed, in plain words where the library's sentence is for programmers.
fn reason(error: &io::Error) -> String {
    let date = |time: &UnixTime| DateTime::from_epoch_seconds(i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
    match cause(error) {
        Some(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            format!("the certificate was valid until {}Z", date(not_after))
        }
        Some(Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. })) => {
            format!("the certificate is valid from {}Z", date(not_before))
        }
        Some(Error::InvalidCertificate(why)) if of_certificate(why) == NOT_TRUSTED => {
            "the certificate is not from a trusted authority".to_owned()
        }
        None if error.kind() == io::ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
        _ => error.to_string(),
    }
}

fn of_certificate(why: &CertificateError) -> &'static str {
    match why {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate has expired or is not valid yet: renew it, or set this machine's clock"
        }
        // A bad signature means another authority with the same name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => NOT_TRUSTED,
        // webpki has no public type for this: the server's certificate is that of an authority, as `openssl req -x509`
        // makes it.
        other if format!("{other:?}").contains("CaUsedAsEndEntity") => NOT_TRUSTED,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the certificate must name the host of websocket.url in its subjectAltName \
             (websocket.ssl.endpoint.identification.algorithm)"
        }
        _ => "",
    }
}

const NOT_TRUSTED: &str =
    "to trust its authority, or a self-signed certificate itself, name it in websocket.ssl.ca.location";

/// Returns the meaning of a server's alert (RFC 8446 §6.2), or `None` if it is not about certificates, versions or
/// names.
fn of_alert(alert: AlertDescription) -> Option<&'static str> {
    use AlertDescription::*;
    match alert {
        CertificateRequired | NoCertificate => {
            Some("the server requires a client certificate: see websocket.ssl.certificate.location")
        }
        BadCertificate
        | UnsupportedCertificate
        | CertificateRevoked
        | CertificateExpired
        | CertificateUnknown
        | UnknownCA
        | AccessDenied => Some(
            "the server does not accept the client certificate, or requires one: see \
             websocket.ssl.certificate.location",
        ),
        ProtocolVersion => Some(NO_VERSION),
        HandshakeFailure | InsufficientSecurity => Some(NO_CIPHER),
        UnrecognisedName => Some("the server does not know the host name in websocket.url"),
        _ => None,
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
    use std::time::Duration;

    use super::*;

    fn classified(cause: Error) -> OpenError {
        tls_error("feed.example", &io::Error::new(io::ErrorKind::InvalidData, cause))
    }

    #[test]
    fn only_alerts_that_mean_it_name_client_certificates() {
        use AlertDescription::*;
        for alert in [CertificateRequired, BadCertificate, UnknownCA, CertificateExpired, AccessDenied] {
            let error = classified(Error::AlertReceived(alert));
            assert_eq!(error.kind, OpenErrorKind::Tls, "{error}");
            assert!(error.message.contains("websocket.ssl.certificate.location"), "{error}");
        }
        for (alert, words) in [
            (ProtocolVersion, "neither TLS 1.2 nor TLS 1.3"),
            (HandshakeFailure, "no cipher suite"),
            (UnrecognisedName, "does not know the host name"),
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
    fn a_certificate_that_does_not_hold_is_named_with_the_remedy_and_a_lost_socket_is_an_outage() {
        for (why, words) in [
            (CertificateError::Expired, "renew it"),
            (CertificateError::UnknownIssuer, "websocket.ssl.ca.location"),
            (CertificateError::NotValidForName, "websocket.ssl.endpoint.identification.algorithm"),
        ] {
            let error = classified(Error::InvalidCertificate(why));
            assert!(error.kind == OpenErrorKind::Tls && error.message.contains(words), "{error}");
        }
        assert_eq!(tls_error("x", &io::ErrorKind::ConnectionReset.into()).kind, OpenErrorKind::Tcp);
    }

    #[test]
    fn what_failed_is_told_with_dates_and_without_the_libraries_names() {
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let (time, end, begin) = (at(1_795_762_601), at(1_609_459_200), at(1_861_920_000));
        for (why, words) in [
            (CertificateError::ExpiredContext { time, not_after: end }, "was valid until 2021-01-01T00:00:00Z;"),
            (CertificateError::NotValidYetContext { time, not_before: begin }, "is valid from 2029-01-01T00:00:00Z;"),
            (CertificateError::UnknownIssuer, "failed: the certificate is not from a trusted authority;"),
        ] {
            let error = classified(Error::InvalidCertificate(why));
            assert!(error.message.contains(words), "{error}");
        }
        let cut = tls_error("x", &io::Error::new(io::ErrorKind::UnexpectedEof, "tls handshake eof"));
        assert_eq!(cut.message, "TLS with x failed: the server closed the connection");
        // A time that no calendar has.
        let error =
            classified(Error::InvalidCertificate(CertificateError::ExpiredContext { time, not_after: at(u64::MAX) }));
        assert_eq!(error.kind, OpenErrorKind::Tls);
    }
}
