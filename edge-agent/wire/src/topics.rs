//! Topics: `alpr/v1/<agency>/<site>/<camera>/<leaf>`.
//!
//! Every level that comes from outside is a [`TopicLevel`], whose alphabet has no `/`, `+`, `#` or
//! NUL: a name can't reach into another pole's topics. Parsing and formatting are inverse.

use std::{fmt, str::FromStr};

use uuid::Uuid;

use crate::{event::Source, read::PhotoKind};

/// First levels of every topic; `v1` moves when the contract breaks.
pub const PREFIX: &str = "alpr/v1";

/// Longest name of an agency, a site or a camera, in characters.
pub const MAX_LEVEL_CHARS: usize = 64;

/// ONVIF's topic of a recognised plate, below the pole's root (ONVIF Core, "MQTT topic structure":
/// `TopicPrefix/onvif-ej/LocalTopic`, namespace prefixes dropped, `ej` for events in JSON).
pub const ONVIF_LICENSE_PLATE: &str = "onvif-ej/RuleEngine/Recognition/LicensePlate";

/// What is wrong with a topic or a name in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// A name that can't be a topic level.
    #[error("{0:?} can't be a topic level: use 1 to {MAX_LEVEL_CHARS} of A-Z a-z 0-9 and '-'")]
    Level(String),
    /// Not one of this contract's topics.
    #[error("{0:?} is not a topic of the contract {PREFIX}/<agency>/<site>/<camera>/…")]
    Unknown(String),
}

/// One level of a topic that came from outside: 1 to 64 of `A-Z a-z 0-9 -`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicLevel(String);

impl TopicLevel {
    /// Checks the alphabet and the length.
    ///
    /// # Errors
    /// [`TopicError::Level`] for anything else, wildcards and separators above all.
    pub fn new(name: &str) -> Result<Self, TopicError> {
        let fits = (1..=MAX_LEVEL_CHARS).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if fits { Ok(Self(name.into())) } else { Err(TopicError::Level(name.into())) }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TopicLevel {
    type Err = TopicError;

    fn from_str(name: &str) -> Result<Self, TopicError> {
        Self::new(name)
    }
}

/// One camera's place in the topic tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Root {
    /// Whose pole it is.
    pub agency: TopicLevel,
    /// Which pole.
    pub site: TopicLevel,
    /// Which image sensor on it.
    pub camera: TopicLevel,
}

impl Root {
    /// From three names.
    ///
    /// # Errors
    /// [`TopicError::Level`] for the first name that can't be a level.
    pub fn new(agency: &str, site: &str, camera: &str) -> Result<Self, TopicError> {
        Ok(Self {
            agency: TopicLevel::new(agency)?,
            site: TopicLevel::new(site)?,
            camera: TopicLevel::new(camera)?,
        })
    }

    /// The topic of one leaf below this root.
    #[must_use]
    pub fn topic(&self, leaf: Leaf) -> String {
        Topic { root: self.clone(), leaf }.to_string()
    }

    /// The subscription of a pole to the parts of lists that it has asked for.
    #[must_use]
    pub fn list_parts(&self) -> String {
        format!("{self}/list_parts/+/+")
    }

    /// The `source` of this camera's events.
    #[must_use]
    pub fn source(&self) -> Source {
        Source::of(self)
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}/{}/{}/{}", self.agency, self.site, self.camera)
    }
}

/// What is below a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Leaf {
    /// `reads`: [`Event`](crate::Event) of [`Read`](crate::Read).
    Reads,
    /// `alerts`: event of [`Alert`](crate::Alert).
    Alerts,
    /// `unread_passes`: event of [`UnreadPass`](crate::UnreadPass).
    UnreadPasses,
    /// `evidence/<read id>/<plate|context>`: the JPEG itself; its hash is in the read.
    Evidence {
        /// The read it belongs to.
        read_id: Uuid,
        /// Which of its two photos.
        kind: PhotoKind,
    },
    /// `status`, retained: event of [`Status`](crate::Status); birth, orderly stop and Last-Will.
    Status,
    /// `health`: event of [`Heartbeat`](crate::Heartbeat).
    Health,
    /// `ledger`: event of one of the types of [`LedgerEvent`](crate::LedgerEvent).
    Ledger,
    /// `commands`, from the server: [`Command`](crate::Command).
    Commands,
    /// `responses`: event of [`Response`](crate::Response).
    Responses,
    /// `lists`, from the server: [`ListAnnouncement`](crate::ListAnnouncement).
    Lists,
    /// `list_requests`: event of [`ListRequest`](crate::ListRequest).
    ListRequests,
    /// `list_parts/<request id>/<part>`, from the server: a part of a list.
    ListParts {
        /// The request that asked for it.
        request_id: Uuid,
        /// Which part, from 0.
        part: u32,
    },
    /// `dispositions`, from the server: [`Disposition`](crate::Disposition).
    Dispositions,
    /// `receipts`, from the server: [`Receipt`](crate::Receipt).
    Receipts,
    /// `onvif-ej/RuleEngine/Recognition/LicensePlate`: the read as an ONVIF event.
    Onvif,
}

impl fmt::Display for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reads => f.write_str("reads"),
            Self::Alerts => f.write_str("alerts"),
            Self::UnreadPasses => f.write_str("unread_passes"),
            Self::Evidence { read_id, kind } => {
                write!(f, "evidence/{}/{}", read_id.hyphenated(), kind.name())
            }
            Self::Status => f.write_str("status"),
            Self::Health => f.write_str("health"),
            Self::Ledger => f.write_str("ledger"),
            Self::Commands => f.write_str("commands"),
            Self::Responses => f.write_str("responses"),
            Self::Lists => f.write_str("lists"),
            Self::ListRequests => f.write_str("list_requests"),
            Self::ListParts { request_id, part } => {
                write!(f, "list_parts/{}/{part}", request_id.hyphenated())
            }
            Self::Dispositions => f.write_str("dispositions"),
            Self::Receipts => f.write_str("receipts"),
            Self::Onvif => f.write_str(ONVIF_LICENSE_PLATE),
        }
    }
}

impl Leaf {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "reads" => Self::Reads,
            "alerts" => Self::Alerts,
            "unread_passes" => Self::UnreadPasses,
            "status" => Self::Status,
            "health" => Self::Health,
            "ledger" => Self::Ledger,
            "commands" => Self::Commands,
            "responses" => Self::Responses,
            "lists" => Self::Lists,
            "list_requests" => Self::ListRequests,
            "dispositions" => Self::Dispositions,
            "receipts" => Self::Receipts,
            ONVIF_LICENSE_PLATE => Self::Onvif,
            _ => {
                let (first, rest) = text.split_once('/')?;
                let (id, last) = rest.split_once('/')?;
                let uuid = Uuid::parse_str(id).ok()?;
                let leaf = match first {
                    "evidence" => {
                        Self::Evidence { read_id: uuid, kind: PhotoKind::from_name(last)? }
                    }
                    "list_parts" => Self::ListParts { request_id: uuid, part: last.parse().ok()? },
                    _ => return None,
                };
                // Only the canonical spelling, so that one thing has one topic.
                return (leaf.to_string() == text).then_some(leaf);
            }
        })
    }
}

/// A whole topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic {
    /// Which camera.
    pub root: Root,
    /// What of it.
    pub leaf: Leaf,
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.root, self.leaf)
    }
}

impl FromStr for Topic {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        let unknown = || TopicError::Unknown(text.into());
        let rest =
            text.strip_prefix(PREFIX).and_then(|t| t.strip_prefix('/')).ok_or_else(unknown)?;
        let mut levels = rest.splitn(4, '/');
        let mut next = || levels.next().ok_or_else(unknown);
        let root = Root::new(next()?, next()?, next()?)?;
        let leaf = Leaf::parse(next()?).ok_or_else(unknown)?;
        Ok(Self { root, leaf })
    }
}

/// The subscription of a server: everything below the cameras that match; `None` is every one.
#[must_use]
pub fn filter(
    agency: Option<&TopicLevel>,
    site: Option<&TopicLevel>,
    camera: Option<&TopicLevel>,
) -> String {
    let level = |l: Option<&TopicLevel>| l.map_or("+".to_owned(), ToString::to_string);
    format!("{PREFIX}/{}/{}/{}/#", level(agency), level(site), level(camera))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn level() -> impl Strategy<Value = String> {
        "[A-Za-z0-9-]{1,64}"
    }

    fn leaf() -> impl Strategy<Value = Leaf> {
        prop_oneof![
            Just(Leaf::Reads),
            Just(Leaf::Alerts),
            Just(Leaf::UnreadPasses),
            Just(Leaf::Status),
            Just(Leaf::Health),
            Just(Leaf::Ledger),
            Just(Leaf::Commands),
            Just(Leaf::Responses),
            Just(Leaf::Dispositions),
            Just(Leaf::Receipts),
            Just(Leaf::Onvif),
            (any::<u128>(), any::<bool>()).prop_map(|(id, plate)| Leaf::Evidence {
                read_id: Uuid::from_u128(id),
                kind: if plate { PhotoKind::Plate } else { PhotoKind::Context },
            }),
            Just(Leaf::Lists),
            Just(Leaf::ListRequests),
            (any::<u128>(), any::<u32>())
                .prop_map(|(id, part)| Leaf::ListParts { request_id: Uuid::from_u128(id), part }),
        ]
    }

    proptest! {
        #[test]
        fn a_topic_comes_back_as_it_was(a in level(), s in level(), c in level(), leaf in leaf()) {
            let topic = Topic { root: Root::new(&a, &s, &c).unwrap(), leaf };
            prop_assert_eq!(topic.to_string().parse::<Topic>(), Ok(topic));
        }

        #[test]
        fn any_text_that_parses_is_spelled_in_one_way(text in "(alpr/v1/)?[ -~]{0,80}") {
            if let Ok(topic) = text.parse::<Topic>() {
                prop_assert_eq!(topic.to_string(), text);
            }
        }

        #[test]
        fn a_level_can_not_break_out(
            before in "[a-z]{0,5}", bad in "[/+#\u{0}$ _.\u{e9}]", after in "[a-z]{0,5}",
        ) {
            let name = format!("{before}{bad}{after}");
            prop_assert_eq!(TopicLevel::new(&name), Err(TopicError::Level(name.clone())));
            prop_assert!(Root::new("a", &name, "c").is_err());
        }
    }

    #[test]
    fn names_that_are_empty_or_too_long_are_refused() {
        assert!(TopicLevel::new("").is_err());
        assert!(TopicLevel::new(&"a".repeat(65)).is_err());
        assert!(TopicLevel::new(&"a".repeat(64)).is_ok());
    }

    #[test]
    fn a_filter_has_wildcards_only_where_nothing_is_named() {
        let a = TopicLevel::new("pd").unwrap();
        assert_eq!(filter(Some(&a), None, None), "alpr/v1/pd/+/+/#");
        assert_eq!(filter(Some(&a), Some(&a), Some(&a)), "alpr/v1/pd/pd/pd/#");
    }
}
