//! What the end of a connection means, in a sentence that says what to do.

use std::{error::Error, fmt, io};

use jiff::Timestamp;
use rumqttc::v5::{
    ConnectionError, StateError,
    mqttbytes::{
        self,
        v5::{ConnectReturnCode, DisconnectReasonCode},
    },
};
use rustls::{AlertDescription as Alert, CertificateError, pki_types::UnixTime};

use super::validity::date;

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// Our own files: which and why.
    Files(String),
    /// Our own certificate has ended: no broker takes it.
    OwnCertificateEnded(Timestamp),
    /// Our own certificate begins later, or our clock is wrong.
    OwnCertificateNotYet(Timestamp),
    /// The broker's certificate is signed by another authority than `ca_file`.
    UnknownAuthority,
    /// The broker's certificate is for another name than `broker`.
    WrongName,
    /// The broker's certificate has ended.
    BrokerCertificateEnded(Option<Timestamp>),
    /// The broker's certificate begins later, or our clock is wrong.
    BrokerCertificateNotYet(Option<Timestamp>),
    /// The broker's certificate, or one of its chain, is on the authority's list.
    BrokerCertificateRevoked,
    /// A list in `crl_file` is past its end.
    RevocationListEnded(Option<Timestamp>),
    /// `crl_file` has no list of an authority in the broker's chain, or one signed by another.
    RevocationUnknown,
    /// The broker's certificate is refused for another reason.
    BrokerCertificate(String),
    /// The broker does not take our certificate.
    CertificateRefused(String),
    /// The broker knows us and says no.
    NotAuthorized(String),
    /// Nobody listens there.
    Unreachable(String),
    /// It took too long, or went silent.
    Silent(&'static str),
    /// Another client connected under our name.
    TakenOver,
    /// The broker ended it in order, but did not say why.
    ClosedSilently,
    /// The broker ended it, or something between.
    Closed(String),
    /// The protocol was broken.
    Protocol(String),
    /// Our own outbox could not be read.
    Outbox(String),
}

impl Cause {
    /// Whether the broker says no to who we are.
    #[must_use]
    pub const fn is_about_us(&self) -> bool {
        matches!(self, Self::CertificateRefused(_) | Self::NotAuthorized(_))
    }
}

/// ` on DATE`, where it is known.
fn on(time: Option<Timestamp>) -> String {
    time.map(|time| format!(" on {}", date(time))).unwrap_or_default()
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(why) => write!(f, "TLS files: {why}"),
            Self::OwnCertificateEnded(end) => write!(
                f,
                "our certificate (certificate_file) ended on {}: put a renewed certificate_file \
                 and key_file in place, no restart is needed; if that date is not past, set this \
                 machine's clock",
                date(*end)
            ),
            Self::OwnCertificateNotYet(start) => write!(
                f,
                "our certificate (certificate_file) does not hold before {}: check this machine's \
                 clock, then the certificate",
                date(*start)
            ),
            Self::UnknownAuthority => f.write_str(
                "the broker's certificate is not signed by the authority in ca_file: \
                 set ca_file to the broker's authority, and suspect another server behind this address",
            ),
            Self::WrongName => f.write_str(
                "the broker's certificate is for another name: write broker as it stands in the \
                 certificate, or have the certificate made for this name",
            ),
            Self::BrokerCertificateEnded(end) => write!(
                f,
                "the broker's certificate ended{}: have it renewed at the broker; if that date is \
                 not past, set this machine's clock",
                on(*end)
            ),
            Self::BrokerCertificateNotYet(start) => write!(
                f,
                "the broker's certificate is not yet valid, it begins{}: check this machine's \
                 clock, then the certificate",
                on(*start)
            ),
            Self::BrokerCertificateRevoked => f.write_str(
                "the broker's certificate is revoked (crl_file): suspect another server behind \
                 this address; if it is the right one, have a new certificate made for it",
            ),
            Self::RevocationListEnded(end) => write!(
                f,
                "the revocation list in crl_file ended{}, so the broker can't be checked: put the \
                 authority's latest list in place",
                on(*end)
            ),
            Self::RevocationUnknown => f.write_str(
                "crl_file says nothing of the broker's certificate, so it can't be checked: put \
                 in the list of each authority between it and ca_file",
            ),
            Self::BrokerCertificate(why) => write!(f, "the broker's certificate is refused: {why}"),
            Self::CertificateRefused(why) => write!(
                f,
                "the broker refuses our client certificate ({why}): check certificate_file, its \
                 end date, and that the broker trusts the authority that signed it"
            ),
            Self::NotAuthorized(why) => {
                write!(f, "the broker refuses this client ({why}): check the broker's users and access list")
            }
            Self::Unreachable(why) => {
                write!(f, "the broker can't be reached ({why}): check broker, the network and that it runs")
            }
            Self::Silent(what) => write!(f, "the broker is silent ({what}): check the network"),
            Self::TakenOver => f.write_str(
                "another client connected under this pole's name, so the broker closed our \
                 connection: suspect a second unit or a copied key",
            ),
            Self::ClosedSilently => f.write_str(
                "the broker closed the connection without a word: if this repeats, look at its \
                 log; some brokers do this when another client connects under this pole's name",
            ),
            Self::Closed(why) => write!(
                f,
                "the broker closed the connection ({why}): if this repeats, look at its log"
            ),
            Self::Protocol(why) => write!(f, "the broker does not speak as expected ({why})"),
            Self::Outbox(why) => write!(f, "the outbox can't be read: {why}"),
        }
    }
}

impl From<ConnectionError> for Cause {
    fn from(error: ConnectionError) -> Self {
        explain(&error)
    }
}

/// The cause behind rumqttc's error. TLS errors hide in I/O errors, and a refused client
/// certificate comes only after the TLS 1.3 handshake, out of the first read.
#[must_use]
pub fn explain(error: &ConnectionError) -> Cause {
    if let Some(tls) = find_io(error).and_then(io::Error::get_ref).and_then(|e| e.downcast_ref()) {
        return explain_tls(tls);
    }
    match error {
        ConnectionError::Timeout(_) => Cause::Silent("no connection in time"),
        ConnectionError::ConnectionRefused(code) => explain_refusal(*code),
        ConnectionError::MqttState(StateError::AwaitPingResp) => {
            Cause::Silent("no answer to a ping")
        }
        ConnectionError::MqttState(StateError::ConnectionAborted) => Cause::ClosedSilently,
        ConnectionError::MqttState(StateError::ServerDisconnect {
            reason_code: DisconnectReasonCode::SessionTakenOver,
            ..
        }) => Cause::TakenOver,
        ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, .. }) => {
            Cause::Closed(format!("{reason_code:?}"))
        }
        ConnectionError::MqttState(_) => match find_io(error) {
            Some(io) => Cause::Closed(io.to_string()),
            None => Cause::Protocol(error.to_string()),
        },
        ConnectionError::Io(io) => Cause::Unreachable(io.to_string()),
        ConnectionError::Tls(_) => match find_io(error) {
            Some(io) => Cause::Closed(format!("during the TLS handshake: {io}")),
            None => Cause::Protocol(error.to_string()),
        },
        _ => Cause::Protocol(error.to_string()),
    }
}

fn find_io(error: &ConnectionError) -> Option<&io::Error> {
    // These two don't give it as their source.
    match error {
        ConnectionError::MqttState(StateError::Io(io)) => return Some(io),
        ConnectionError::MqttState(StateError::Deserialization(mqttbytes::Error::Io(io))) => {
            return Some(io);
        }
        _ => {}
    }
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref() {
            return Some(io);
        }
        next = error.source();
    }
    None
}

fn explain_tls(error: &rustls::Error) -> Cause {
    use CertificateError as C;
    match error {
        rustls::Error::InvalidCertificate(why) => match why {
            C::UnknownIssuer | C::BadSignature => Cause::UnknownAuthority,
            C::NotValidForName | C::NotValidForNameContext { .. } => Cause::WrongName,
            C::Expired => Cause::BrokerCertificateEnded(None),
            C::ExpiredContext { not_after, .. } => Cause::BrokerCertificateEnded(time(*not_after)),
            C::NotValidYet => Cause::BrokerCertificateNotYet(None),
            C::NotValidYetContext { not_before, .. } => {
                Cause::BrokerCertificateNotYet(time(*not_before))
            }
            C::Revoked => Cause::BrokerCertificateRevoked,
            C::UnknownRevocationStatus => Cause::RevocationUnknown,
            C::ExpiredRevocationList => Cause::RevocationListEnded(None),
            C::ExpiredRevocationListContext { next_update, .. } => {
                Cause::RevocationListEnded(time(*next_update))
            }
            other => Cause::BrokerCertificate(other.to_string()),
        },
        rustls::Error::AlertReceived(alert) => match alert {
            Alert::CertificateRequired
            | Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::DecryptError
            | Alert::CertificateExpired
            | Alert::CertificateRevoked
            | Alert::CertificateUnknown
            | Alert::UnsupportedCertificate
            | Alert::AccessDenied => Cause::CertificateRefused(refused_for(*alert).into()),
            other => Cause::Closed(format!("TLS alert {other:?}")),
        },
        // The list is signed by another than the authority it names.
        rustls::Error::InvalidCertRevocationList(_) => Cause::RevocationUnknown,
        other => Cause::Protocol(other.to_string()),
    }
}

fn time(time: UnixTime) -> Option<Timestamp> {
    Timestamp::from_second(time.as_secs().try_into().ok()?).ok()
}

/// The broker's word on our certificate.
const fn refused_for(alert: Alert) -> &'static str {
    match alert {
        Alert::CertificateRequired => "it got none",
        Alert::UnknownCA => "it does not trust the authority that signed it",
        Alert::CertificateExpired => "it says that it has ended",
        Alert::CertificateRevoked => "it is revoked",
        Alert::DecryptError => "its signature, or its authority's, is wrong",
        Alert::UnsupportedCertificate => "it can't use this kind",
        Alert::AccessDenied => "access denied",
        _ => "without saying more",
    }
}

fn explain_refusal(code: ConnectReturnCode) -> Cause {
    use ConnectReturnCode as R;
    match code {
        R::NotAuthorized | R::BadUserNamePassword | R::Banned | R::ClientIdentifierNotValid => {
            Cause::NotAuthorized(format!("{code:?}"))
        }
        other => Cause::Closed(format!("{other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_taken_over_is_told_from_other_ends() {
        let told = |reason_code| {
            explain(&ConnectionError::MqttState(StateError::ServerDisconnect {
                reason_code,
                reason_string: None,
            }))
        };
        assert_eq!(told(DisconnectReasonCode::SessionTakenOver), Cause::TakenOver);
        let shut = told(DisconnectReasonCode::ServerShuttingDown);
        assert_eq!(shut, Cause::Closed("ServerShuttingDown".into()));
        let silent = ConnectionError::MqttState(StateError::ConnectionAborted);
        assert_eq!(explain(&silent), Cause::ClosedSilently);
    }

    #[test]
    fn each_fault_of_a_certificate_has_its_own_words() {
        use CertificateError as C;
        let day = || UnixTime::since_unix_epoch(std::time::Duration::from_secs(86_400));
        let ended = C::ExpiredContext { time: day(), not_after: day() };
        let list = C::ExpiredRevocationListContext { time: day(), next_update: day() };
        let early = C::NotValidYetContext { time: day(), not_before: day() };
        let faults = [
            (rustls::Error::from(C::UnknownIssuer), "not signed by the authority in ca_file"),
            (C::NotValidForName.into(), "for another name"),
            (ended.into(), "ended on 1970-01-02 00:00 UTC"),
            (early.into(), "begins on 1970-01-02 00:00 UTC"),
            (C::Revoked.into(), "is revoked"),
            (list.into(), "revocation list in crl_file ended on 1970-01-02 00:00 UTC"),
            (C::UnknownRevocationStatus.into(), "crl_file says nothing"),
            (rustls::Error::AlertReceived(Alert::CertificateRequired), "it got none"),
            (rustls::Error::AlertReceived(Alert::CertificateExpired), "it says that it has ended"),
            (rustls::Error::AlertReceived(Alert::CertificateRevoked), "it is revoked"),
            (rustls::Error::AlertReceived(Alert::UnknownCA), "does not trust the authority"),
        ];
        for (error, words) in faults {
            let said = explain_tls(&error).to_string();
            assert!(said.contains(words), "{error}: {said}");
        }
    }
}
