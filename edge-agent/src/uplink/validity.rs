//! From when until when certificates and revocation lists hold, and what is said before they end.
//!
//! Pure. Fails: only where the bytes are no certificate or no list, with what the parser says.

use jiff::{SignedDuration, Timestamp};
use x509_parser::{
    parse_x509_certificate, parse_x509_crl,
    prelude::{ASN1Time, X509Certificate},
};

use crate::health::Status;

/// An end is warned of so long beforehand.
pub const WARN_AHEAD: SignedDuration = SignedDuration::from_hours(30 * 24);
/// What lives for less than three times [`WARN_AHEAD`] is warned of in its last third: a
/// certificate of a week would else never be without a warning.
const LAST_PART: i32 = 3;

/// Whose end it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// `certificate_file`, with its chain.
    Own,
    /// `ca_file`.
    Authority,
    /// The broker's, as it showed it.
    Broker,
    /// `crl_file`.
    RevocationList,
}

impl Whose {
    /// Its label in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Authority => "authority",
            Self::Broker => "broker",
            Self::RevocationList => "revocation_list",
        }
    }

    const fn subject(self) -> &'static str {
        match self {
            Self::Own => "our certificate (certificate_file)",
            Self::Authority => "the authority in ca_file",
            Self::Broker => "the broker's certificate",
            Self::RevocationList => "the revocation list in crl_file",
        }
    }

    const fn remedy(self) -> &'static str {
        match self {
            Self::Own => {
                "put a renewed certificate_file and key_file in place; no restart is needed"
            }
            Self::Authority => "add its successor to ca_file; both may stand in it",
            Self::Broker => "have it renewed at the broker",
            Self::RevocationList => "put the authority's latest list in place",
        }
    }
}

/// From when until when, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Not before.
    pub from: Timestamp,
    /// Not after; of a list that names no end, never.
    pub until: Timestamp,
}

impl Validity {
    /// Of a certificate in DER.
    ///
    /// # Errors
    /// Where it is none.
    pub fn of_certificate(der: &[u8]) -> Result<Self, String> {
        let (_, certificate) = parse_x509_certificate(der).map_err(|e| e.to_string())?;
        let X509Certificate { tbs_certificate, .. } = &certificate;
        let validity = &tbs_certificate.validity;
        Ok(Self { from: time(validity.not_before), until: time(validity.not_after) })
    }

    /// Of a revocation list in DER, from its making until the next is due.
    ///
    /// # Errors
    /// Where it is none.
    pub fn of_list(der: &[u8]) -> Result<Self, String> {
        let (_, list) = parse_x509_crl(der).map_err(|e| e.to_string())?;
        let until = list.next_update().map_or(Timestamp::MAX, time);
        Ok(Self { from: time(list.last_update()), until })
    }

    /// While both hold: a chain.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { from: self.from.max(other.from), until: self.until.min(other.until) }
    }

    /// Whichever holds longer: authorities of which any will do.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        if other.until > self.until { other } else { self }
    }

    /// From when on its end is warned of.
    #[must_use]
    pub fn warned_from(self) -> Timestamp {
        let ahead = (self.until.duration_since(self.from) / LAST_PART).min(WARN_AHEAD);
        self.until.checked_sub(ahead).unwrap_or(Timestamp::MIN)
    }

    /// What is to be said of it at `now`; nothing while the end is far.
    #[must_use]
    pub fn word(self, whose: Whose, now: Timestamp) -> Option<(Status, String)> {
        let (subject, remedy, end) = (whose.subject(), whose.remedy(), date(self.until));
        if now > self.until {
            return Some(match whose {
                // Authorities are trusted for their key: only their successors' absence hurts.
                Whose::Authority => (Status::Warn, format!("{subject} ended on {end}: {remedy}")),
                _ => (
                    Status::Fail,
                    format!(
                        "{subject} ended on {end}; this connection goes on, the next is refused: \
                         {remedy}"
                    ),
                ),
            });
        }
        (now >= self.warned_from()).then(|| {
            let left = match self.until.duration_since(now).as_hours() / 24 {
                0 => "less than a day left".into(),
                1 => "1 day left".into(),
                days => format!("{days} days left"),
            };
            (Status::Warn, format!("{subject} ends on {end} ({left}): {remedy}"))
        })
    }
}

/// A day and a minute that a person can put in a calendar.
#[must_use]
pub(super) fn date(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// Years outside of what can be told (9999 stands for no end) are the last that can.
fn time(time: ASN1Time) -> Timestamp {
    let second = time.timestamp();
    Timestamp::from_second(second).unwrap_or(if second < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn year() -> Validity {
        Validity { from: at("2026-01-01T00:00:00Z"), until: at("2027-01-01T00:00:00Z") }
    }

    #[test]
    fn an_end_is_warned_of_thirty_days_ahead_with_date_days_left_and_remedy() {
        assert_eq!(year().word(Whose::Own, at("2026-12-01T23:59:59Z")), None);
        let (status, words) = year().word(Whose::Own, at("2026-12-02T00:00:00Z")).unwrap();
        assert_eq!(status, Status::Warn);
        for part in ["certificate_file", "2027-01-01 00:00 UTC", "30 days left", "renewed"] {
            assert!(words.contains(part), "{words}");
        }
        let (_, words) = year().word(Whose::Broker, at("2026-12-31T23:00:00Z")).unwrap();
        assert!(words.contains("less than a day left") && words.contains("at the broker"));
    }

    #[test]
    fn once_ended_it_fails_but_an_authority_only_warns() {
        let after = at("2027-01-01T00:00:01Z");
        for whose in [Whose::Own, Whose::Broker, Whose::RevocationList] {
            assert_eq!(year().word(whose, after).unwrap().0, Status::Fail);
        }
        assert_eq!(year().word(Whose::Authority, after).unwrap().0, Status::Warn);
    }

    #[test]
    fn what_lives_shortly_is_warned_of_in_its_last_third() {
        let week = Validity { from: at("2026-01-01T00:00:00Z"), until: at("2026-01-07T00:00:00Z") };
        assert_eq!(week.word(Whose::Own, at("2026-01-04T23:00:00Z")), None);
        assert!(week.word(Whose::Own, at("2026-01-05T00:00:00Z")).is_some());
    }

    #[test]
    fn a_chain_holds_while_all_do_and_authorities_while_one_does() {
        let other =
            Validity { from: at("2026-06-01T00:00:00Z"), until: at("2028-01-01T00:00:00Z") };
        assert_eq!(year().and(other), Validity { from: other.from, until: year().until });
        assert_eq!((year().or(other), other.or(year())), (other, other));
    }

    #[test]
    fn a_certificate_is_read_and_one_without_an_end_has_none() {
        let mut params = CertificateParams::default();
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2027, 1, 1);
        let key = KeyPair::generate().unwrap();
        let validity = |p: &CertificateParams| {
            Validity::of_certificate(p.clone().self_signed(&key).unwrap().der())
        };
        assert_eq!(validity(&params), Ok(year()));
        params.not_after = date_time_ymd(9999, 12, 31);
        let endless = validity(&params).unwrap();
        assert_eq!(endless.until, Timestamp::MAX);
        assert_eq!(endless.word(Whose::Own, at("2026-02-01T00:00:00Z")), None);
    }

    #[test]
    fn what_is_no_certificate_or_list_is_refused() {
        for bytes in [&b""[..], b"\x30", b"\x30\x03\x02\x01\x00", &[0xFF; 64]] {
            assert!(Validity::of_certificate(bytes).is_err());
            assert!(Validity::of_list(bytes).is_err());
        }
    }
}
