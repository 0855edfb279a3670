//! What a certificate says (X.509, RFC 5280).

use std::net::IpAddr;

use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::time::Time;

/// Of a subject: how it is called (RFC 4519 section 2.3).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// Whom a certificate is for, and until when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) common_name: Option<String>,
    pub(crate) dns_names: Vec<String>,
    pub(crate) addresses: Vec<IpAddr>,
    /// In seconds since 1970, as is the next.
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
}

impl Subject {
    /// Whoever is called by a name or an address.
    pub(crate) fn named(name: &str) -> Self {
        let mut subject = Self::default();
        subject.add(name);
        subject
    }

    /// Adds a name or an address, unless it is there.
    pub(crate) fn add(&mut self, name: &str) {
        match name.parse() {
            Ok(address) if !self.addresses.contains(&address) => self.addresses.push(address),
            Ok(_) => {}
            Err(_) if self.dns_names.iter().any(|known| known == name) => {}
            Err(_) => self.dns_names.push(name.to_owned()),
        }
    }
}

/// Whose a certificate is, who vouches for it and for how long, in one line.
#[cfg(feature = "console")]
pub(crate) fn describe(der: &[u8]) -> String {
    let Ok(certificate) = Certificate::from_der(der) else {
        return "a certificate that is damaged".to_owned();
    };
    let body = certificate.tbs_certificate;
    let day = |time: Time| {
        let time = time.to_date_time();
        format!("{}-{:02}-{:02}", time.year(), time.month(), time.day())
    };
    let (from, until) = (day(body.validity.not_before), day(body.validity.not_after));
    format!("{}, issued by {}, valid from {from} to {until}", body.subject, body.issuer)
}

/// Reads a certificate in DER; `None` where it is damaged.
pub(crate) fn subject(der: &[u8]) -> Option<Subject> {
    let body = Certificate::from_der(der).ok()?.tbs_certificate;
    let seconds = |time: Time| i64::try_from(time.to_unix_duration().as_secs()).ok();
    let mut subject = Subject {
        not_before: seconds(body.validity.not_before)?,
        not_after: seconds(body.validity.not_after)?,
        ..Subject::default()
    };
    for part in body.subject.0.iter().flat_map(|set| set.0.iter()) {
        if part.oid == COMMON_NAME {
            let name = String::from_utf8_lossy(part.value.value()).into_owned();
            subject.common_name = Some(name);
        }
    }
    let names = body.get::<SubjectAltName>().ok()?.map(|(_, names)| names.0);
    for name in names.unwrap_or_default() {
        match name {
            GeneralName::DnsName(name) => subject.dns_names.push(name.to_string()),
            GeneralName::IpAddress(bytes) => subject.addresses.extend(address(bytes.as_bytes())),
            _ => {}
        }
    }
    Some(subject)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}
