//! Of a server's certificate what people ask for: whose it is, who issued it, until when. Whether it holds, rustls has
//! decided; this only reads (X.509 in DER: RFC 5280 §4.1, X.690 §8 and §10).

use std::time::SystemTime;

use connect_websocket_engine::calendar::DateTime;
use connect_websocket_engine::record::epoch_ms;
use serde::Serialize;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const VERSION: u8 = 0xa0;
/// id-at-commonName and id-at-organizationName.
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];
const ORGANIZATION: [u8; 3] = [0x55, 0x04, 0x0a];
const DAY: i64 = 86_400;

#[derive(Serialize, Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    /// The common name and the organization, as far as it has them.
    pub(super) subject: String,
    pub(super) issuer: String,
    /// Such as `2026-12-24T12:00:00Z`.
    pub(super) valid_until: String,
    pub(super) days_left: i64,
}

impl Certificate {
    /// Reads a certificate; `None` if it is not of that form.
    pub(super) fn read(der: &[u8], now: SystemTime) -> Option<Certificate> {
        let certificate = Der(der).value(SEQUENCE)?;
        let mut fields = Der(Der(certificate).value(SEQUENCE)?);
        fields.optional(VERSION);
        // Its number, and how it is signed.
        fields.next()?;
        fields.value(SEQUENCE)?;
        let issuer = name(fields.value(SEQUENCE)?);
        let mut validity = Der(fields.value(SEQUENCE)?);
        validity.next()?;
        let (kind, end) = validity.next()?;
        let end = time(kind, end)?;
        let subject = name(fields.value(SEQUENCE)?);
        let left = end.epoch_seconds()? - epoch_ms(now).div_euclid(1000);
        Some(Certificate { subject, issuer, valid_until: format!("{end}Z"), days_left: left.div_euclid(DAY) })
    }
}

/// Elements in DER, one after the other.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next element: its tag and its content.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let len = if first < 0x80 {
            usize::from(first)
        } else {
            let (bytes, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
            rest = after;
            if bytes.len() > 4 {
                return None;
            }
            bytes.iter().fold(0, |len, &byte| len << 8 | usize::from(byte))
        };
        let (content, after) = rest.split_at_checked(len)?;
        self.0 = after;
        Some((tag, content))
    }

    /// The content of the next element, which has this tag.
    fn value(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }

    /// Skips the next element if it has this tag.
    fn optional(&mut self, tag: u8) {
        if self.0.first() == Some(&tag) {
            self.next();
        }
    }
}

/// Common name and organization.
fn name(content: &[u8]) -> String {
    let mut parts = [None, None];
    let mut sets = Der(content);
    while let Some(set) = sets.value(SET) {
        let mut attribute = Der(Der(set).value(SEQUENCE).unwrap_or_default());
        let kind = attribute.value(OBJECT_IDENTIFIER).unwrap_or_default();
        let at = [COMMON_NAME, ORGANIZATION].iter().position(|known| kind == known);
        if let (Some(at), Some((_, text))) = (at, attribute.next()) {
            parts[at].get_or_insert_with(|| String::from_utf8_lossy(text).into_owned());
        }
    }
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "somebody without a name".to_owned() } else { parts.join(", ") }
}

/// UTCTime or GeneralizedTime, which in certificates end with `Z` and have seconds.
fn time(kind: u8, text: &[u8]) -> Option<DateTime> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let digits = if kind == UTC_TIME {
        // RFC 5280 §4.1.2.5.1: from 50 on it is the century before.
        let century = if text.get(..2)?.parse::<u32>().ok()? >= 50 { "19" } else { "20" };
        format!("{century}{text}")
    } else {
        text.to_owned()
    };
    if digits.len() != 14 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| digits[from..to].parse::<u32>().ok();
    Some(DateTime {
        year: i64::from(part(0, 4)?),
        month: part(4, 6)?,
        day: part(6, 8)?,
        hour: part(8, 10)?,
        minute: part(10, 12)?,
        second: part(12, 14)?,
    })
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
    fn what_is_cut_or_changed_is_no_certificate_and_no_panic() {
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
    }
}
