//! What the end of a connection means, in a sentence that says what to do.

use std::{error::Error, fmt, io};

use rumqttc::v5::{
    ConnectionError, StateError,
    mqttbytes::{self, v5::ConnectReturnCode},
};
use rustls::{AlertDescription as Alert, CertificateError};

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// Our own files: which and why.
    Files(String),
    /// The broker's certificate is signed by another authority than `ca_file`.
    UnknownAuthority,
    /// The broker's certificate is for another name than `broker`.
    WrongName,
    /// The broker's certificate has ended, or begins later (then our clock may be wrong).
    BrokerCertificateTime,
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
    /// The broker ended it.
    Closed(String),
    /// The protocol was broken.
    Protocol(String),
    /// Our own outbox could not be read.
    Outbox(String),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(why) => write!(f, "TLS files: {why}"),
            Self::UnknownAuthority => f.write_str(
                "the broker's certificate is not signed by the authority in ca_file: \
                 set ca_file to the broker's authority, and suspect another server behind this address",
            ),
            Self::WrongName => f.write_str(
                "the broker's certificate is for another name: write broker as it stands in the \
                 certificate, or have the certificate made for this name",
            ),
            Self::BrokerCertificateTime => f.write_str(
                "the broker's certificate has expired or is not yet valid: renew it, and check \
                 this machine's clock",
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
            Self::Closed(why) => write!(
                f,
                "the broker closed the connection ({why}): if this repeats, look at its log; two \
                 clients with the same name put each other out"
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
        ConnectionError::MqttState(StateError::ConnectionAborted) => {
            Cause::Closed("without a word".into())
        }
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
            C::Expired
            | C::ExpiredContext { .. }
            | C::NotValidYet
            | C::NotValidYetContext { .. } => Cause::BrokerCertificateTime,
            other => Cause::BrokerCertificate(other.to_string()),
        },
        rustls::Error::AlertReceived(alert) => match alert {
            Alert::CertificateRequired
            | Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::CertificateExpired
            | Alert::CertificateRevoked
            | Alert::CertificateUnknown
            | Alert::UnsupportedCertificate
            | Alert::AccessDenied => Cause::CertificateRefused(format!("{alert:?}")),
            other => Cause::Closed(format!("TLS alert {other:?}")),
        },
        other => Cause::Protocol(other.to_string()),
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
