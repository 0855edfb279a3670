//! Why TLS cannot be opened, in words.

use rustls::{AlertDescription, CertificateError, Error};

/// Why the server's TLS cannot be opened, and what to try. `name` is whom the certificate should be
/// for.
pub(super) fn of_server(error: &Error, name: &str) -> String {
    match error {
        Error::InvalidCertificate(error) => of_certificate(error, name),
        Error::AlertReceived(alert) => format!("the server refused: {}", alert_words(*alert)),
        Error::PeerIncompatible(_) => format!(
            "the server speaks no TLS that tcp_tunn does: {error} (try '--tls-pass {name}')"
        ),
        Error::InvalidMessage(_) => "the server does not speak TLS".to_owned(),
        other => format!("the server's TLS failed: {other}"),
    }
}

fn of_certificate(error: &CertificateError, name: &str) -> String {
    use CertificateError as Bad;
    // Of a certificate that signs itself, and is marked as an authority's.
    let signs_itself = error.to_string().contains("CaUsedAsEndEntity");
    let is_foreign = signs_itself || matches!(error, Bad::UnknownIssuer | Bad::BadSignature);
    let what = match error {
        _ if is_foreign => "is signed by nobody whom this machine trusts",
        Bad::Expired | Bad::ExpiredContext { .. } => "has expired",
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => "is not valid yet",
        Bad::NotValidForName | Bad::NotValidForNameContext { .. } => "is for another name",
        Bad::Revoked => "is revoked",
        other => {
            return format!("the certificate of {name} is refused: {other} (try '--tls-insecure')");
        }
    };
    let hint = if is_foreign {
        "try '--tls-trust FILE' with its authority, or '--tls-insecure'"
    } else {
        "try '--tls-insecure'"
    };
    format!("the certificate of {name} {what} ({hint})")
}

/// Why the client's TLS cannot be opened, and what to try.
pub(super) fn of_client(error: &Error, name: &str) -> String {
    match error {
        Error::AlertReceived(alert) if is_of_certificate(*alert) => {
            let alert = alert_words(*alert);
            format!(
                "the client refused our certificate ({alert}): it does not trust the authority, \
                 or is pinned (try '--tls-pass {name}')"
            )
        }
        Error::AlertReceived(alert) => format!("the client refused: {}", alert_words(*alert)),
        other => format!("the client's TLS failed: {other}"),
    }
}

const fn is_of_certificate(alert: AlertDescription) -> bool {
    use AlertDescription as Alert;
    matches!(
        alert,
        Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::DecryptError
    )
}

/// Whether a server that asked for its client's certificate goes away for want of one.
pub(super) const fn wants_client(error: &Error) -> bool {
    use AlertDescription as Alert;
    matches!(
        error,
        Error::AlertReceived(
            Alert::CertificateRequired
                | Alert::HandshakeFailure
                | Alert::BadCertificate
                | Alert::CertificateUnknown
                | Alert::AccessDenied
        )
    )
}

/// Whether a server speaks TLS that rustls does not.
pub(super) const fn wants_other_tls(error: &Error) -> bool {
    use AlertDescription as Alert;
    matches!(
        error,
        Error::PeerIncompatible(_)
            | Error::AlertReceived(Alert::ProtocolVersion | Alert::HandshakeFailure)
    )
}

/// An alert as its RFC calls it, in words: `unknown CA`.
fn alert_words(alert: AlertDescription) -> String {
    let Some(name) = alert.as_str() else { return format!("alert {}", u8::from(alert)) };
    let mut words = String::new();
    let mut is_after_small = false;
    for letter in name.chars() {
        if letter.is_uppercase() && is_after_small {
            words.push(' ');
        }
        is_after_small = letter.is_lowercase();
        words.push(letter);
    }
    words.split(' ').map(small).collect::<Vec<_>>().join(" ")
}

/// A word in small letters, unless it is an abbreviation.
fn small(word: &str) -> String {
    if word.chars().all(char::is_uppercase) { word.to_owned() } else { word.to_lowercase() }
}

/// The alert that tells the client why there is no server for it.
pub(super) fn alert_for_client(error: &Error) -> AlertDescription {
    match error {
        Error::InvalidCertificate(error) => AlertDescription::from(error.clone()),
        Error::AlertReceived(alert) => *alert,
        _ => AlertDescription::HandshakeFailure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_are_named_in_words() {
        assert_eq!(alert_words(AlertDescription::UnknownCA), "unknown CA");
        assert_eq!(alert_words(AlertDescription::HandshakeFailure), "handshake failure");
        assert_eq!(alert_words(AlertDescription::from(200)), "alert 200");
    }
}
