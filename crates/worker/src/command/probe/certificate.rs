//! Reads a server's certificate for people: subject, issuer, and until when it is valid. rustls decides whether it is
//! trusted.

use std::time::SystemTime;

use connect_websocket_engine::calendar::DateTime;
use connect_websocket_engine::record::epoch_ms;
use serde::Serialize;
use x509_parser::prelude::{AttributeTypeAndValue, FromDer as _, X509Certificate, X509Name};

const DAY: i64 = 86_400;

#[derive(Serialize, Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    /// The common name and the organization, if it has them.
    pub(super) subject: String,
    pub(super) issuer: String,
    /// The end of its validity, such as `2026-12-24T12:00:00Z`.
    pub(super) valid_until: String,
    pub(super) days_left: i64,
}

impl Certificate {
    /// Reads a certificate. Returns `None` if it is not one. A handshake has no certificate above 16 MiB (RFC 8446
    /// §4.4.2).
    pub(super) fn read(der: &[u8], now: SystemTime) -> Option<Certificate> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let end = certificate.validity().not_after.timestamp();
        Some(Certificate {
            subject: name(certificate.subject()),
            issuer: name(certificate.issuer()),
            valid_until: format!("{}Z", DateTime::from_epoch_seconds(end)),
            days_left: (end - epoch_ms(now).div_euclid(1000)).div_euclid(DAY),
        })
    }
}

/// Returns the common name and the organization.
fn name(name: &X509Name<'_>) -> String {
    let (common, organization) = (name.iter_common_name().next(), name.iter_organization().next());
    let text = |part: &AttributeTypeAndValue<'_>| {
        part.as_str().map_or_else(|_| String::from_utf8_lossy(part.as_slice()).into_owned(), str::to_owned)
    };
    let parts: Vec<String> = [common, organization].into_iter().flatten().map(text).collect();
    if parts.is_empty() { "somebody without a name".to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["feed.example".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "feed.example");
        change(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn names_and_end_are_read() {
        let der = certificate(|params| {
            params.distinguished_name.push(DnType::OrganizationName, "Été & Söhne");
            params.distinguished_name.push(DnType::CountryName, "FR");
            params.not_after = date_time_ymd(2030, 2, 28);
        });
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_898_380_800); // 2030-02-27T00:00:00Z
        let read = Certificate::read(&der, now).unwrap();
        assert_eq!(read.subject, "feed.example, Été & Söhne");
        assert_eq!(read.issuer, read.subject);
        assert_eq!(read.valid_until, "2030-02-28T00:00:00Z");
        assert_eq!(read.days_left, 1);
    }

    #[test]
    fn times_of_this_century_and_after_it_are_read() {
        for (year, shown) in [(2049, "2049-"), (2050, "2050-"), (9999, "9999-")] {
            let der = certificate(|params| params.not_after = date_time_ymd(year, 12, 31));
            assert!(Certificate::read(&der, SystemTime::now()).unwrap().valid_until.starts_with(shown), "{year}");
        }
        let der = certificate(|params| params.not_after = date_time_ymd(1999, 12, 31));
        assert!(Certificate::read(&der, SystemTime::now()).unwrap().days_left < -9000);
    }

    #[test]
    fn a_hostile_certificate_is_no_certificate_and_no_panic() {
        let der = certificate(|_| {});
        assert!(Certificate::read(&[], SystemTime::now()).is_none());
        for at in 0..der.len() {
            let _ = Certificate::read(&der[..at], SystemTime::now());
            for bit in 0..8 {
                let mut changed = der.clone();
                changed[at] ^= 1 << bit;
                let _ = Certificate::read(&changed, SystemTime::now());
            }
        }
        // One sequence in another, a million times; and a length of 4 GiB.
        let nested: Vec<u8> = (0..1_000_000).flat_map(|_| [0x30, 0x80]).collect();
        for hostile in [&nested[..], b"\x30\x84\xff\xff\xff\xff\x30\x84\xff\xff\xff\xff"] {
            assert!(Certificate::read(hostile, SystemTime::now()).is_none());
        }
    }
}
