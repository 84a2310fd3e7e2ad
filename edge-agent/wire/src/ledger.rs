//! The ledger: the gap-free sequence of everything the pole produced or had to give up, and what
//! the pole says of the ledger itself.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    access::Access,
    chain::Chain,
    command::Hold,
    event::{Data, Event, EventError, Header},
    list::{DroppedReads, ListChange},
    mute::Mute,
    schema,
    suspension::Suspension,
    time::{ClockStep, TimeCorrection},
    topics::Root,
};

/// Most ranges in one eviction; a store with more holes gives up less at a time.
pub const MAX_EVICTED_RANGES: usize = 32;

/// Sequences from `from` to `to`, both included.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub struct SequenceRange {
    /// First.
    #[schemars(range(min = 1))]
    pub from: u64,
    /// Last; not below `from`.
    #[schemars(range(min = 1))]
    pub to: u64,
}

impl SequenceRange {
    /// The ranges that hold exactly the numbers of `sorted`, which goes up.
    #[must_use]
    pub fn cover(sorted: &[u64]) -> Vec<Self> {
        let mut ranges: Vec<Self> = Vec::new();
        for &n in sorted {
            match ranges.last_mut() {
                Some(last) if last.to.checked_add(1) == Some(n) => last.to = n,
                _ => ranges.push(Self { from: n, to: n }),
            }
        }
        ranges
    }
}

/// Where a pole's ledger is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LedgerPosition {
    /// Which ledger.
    #[schemars(schema_with = "schema::uuid")]
    pub epoch: Uuid,
    /// The last sequence given; 0 where there is none yet.
    pub last_sequence: u64,
}

/// What the pole gave up, because a limit of its store was reached or the records' time on it had
/// ended. Nothing disappears silently: this is itself in the ledger, and the sequences that it
/// names will not come any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Eviction {
    /// Whole records, or only their photos.
    pub evicted: Evicted,
    /// Which limit was reached.
    pub cause: EvictionCause,
    /// The ledger that `sequences` counts in.
    #[schemars(schema_with = "schema::uuid")]
    pub epoch: Uuid,
    /// The records concerned.
    #[schemars(length(min = 1, max = 32))]
    pub sequences: Vec<SequenceRange>,
    /// For records: the ledger's chain after the last of each range, so that a server without their
    /// bodies can go on computing it. Empty for photos, whose records still come.
    #[schemars(length(max = 32))]
    pub chain_sha256: Vec<Chain>,
    /// How many records that is.
    pub records: u64,
    /// Bytes of photos given up.
    pub photo_bytes: u64,
}

impl Data for Eviction {
    const TYPE: &'static str = "org.milepost.alpr.eviction.v1";
    const IN_LEDGER: bool = true;
}

/// What was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Evicted {
    /// Records with their photos.
    Records,
    /// Photos; their records still come.
    Photos,
}

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EvictionCause {
    /// `outbox.max_records`.
    MaxRecords,
    /// `outbox.max_photo_bytes`.
    MaxPhotoBytes,
    /// `outbox.max_bytes`.
    MaxBytes,
    /// `outbox.min_free_bytes`: the disk was nearly full.
    FreeDisk,
    /// `retention.max_age_h`: purged, as the time of the records on the pole had ended.
    MaxAge,
    /// What lies on the disk is no longer what was written, and can not be read.
    Damaged,
    /// It is not on the disk: after a power cut a record may be back that the server had given its
    /// receipt for, and its photos are gone.
    Missing,
    /// A photo is larger than the broker or `uplink.max_packet_bytes` lets a message be.
    TooLarge,
}

/// The first record of every ledger: where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Epoch {
    /// Why there is a new ledger.
    pub cause: EpochCause,
    /// What was wrong with the store before, for `store_damaged`.
    pub why: Option<String>,
    /// The ledger before and the last sequence that is known of it (more may have been given); null
    /// where there was none or nothing of it can be read.
    pub previous: Option<LedgerPosition>,
}

impl Data for Epoch {
    const TYPE: &'static str = "org.milepost.alpr.epoch.v1";
    const IN_LEDGER: bool = true;
}

/// Why there is a new ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EpochCause {
    /// The pole's first start, or the first one after it was erased.
    FirstStart,
    /// The store was damaged and has been quarantined. What can still be read of it comes again with
    /// its own ids and new sequences; a [`Salvage`] says how much that was.
    StoreDamaged,
}

/// What could still be read of a quarantined store: these records come in the new ledger, under the
/// ids that they had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Salvage {
    /// The quarantined ledger, where it could be told, and the last sequence found in it.
    pub previous: Option<LedgerPosition>,
    /// Records brought over.
    pub records: u64,
    /// Photos brought over with them.
    pub photos: u64,
    /// Records that were found and could not be brought over.
    pub failed: u64,
    /// Whether the whole store could be gone through; false where reading it broke off.
    pub complete: bool,
}

impl Data for Salvage {
    const TYPE: &'static str = "org.milepost.alpr.salvage.v1";
    const IN_LEDGER: bool = true;
}

/// The agent started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Restart {
    /// How it had ended before.
    pub after: RestartCause,
    /// The agent's version.
    pub software_version: String,
    /// The kernel's id of this boot, where it tells.
    #[schemars(with = "Option<String>")]
    pub boot_id: Option<Uuid>,
}

impl Data for Restart {
    const TYPE: &'static str = "org.milepost.alpr.restart.v1";
    const IN_LEDGER: bool = true;
}

/// How the agent had ended before it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RestartCause {
    /// Never started before on this store.
    FirstStart,
    /// It was stopped in order.
    OrderlyStop,
    /// Its process ended by itself or was killed; the machine went on.
    ProcessEnded,
    /// The machine went down under it: power, kernel, reset.
    MachineRestarted,
}

/// The pole's signed word on a stretch of its ledger, every hour and on request.
///
/// `jws` is a JSON Web Signature in compact form (RFC 7515), algorithm ES256, `typ`
/// [`Manifest::JWS_TYPE`], over [`ManifestClaims`]; its `x5c` is the pole's certificate, to be checked
/// against the authority that signs poles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Manifest {
    /// First sequence of the stretch.
    pub from: u64,
    /// Last one.
    pub to: u64,
    /// The id of the server's command that asked for it; null for the hourly one.
    #[schemars(with = "Option<String>")]
    pub command_id: Option<Uuid>,
    /// The signed claims.
    pub jws: String,
}

impl Manifest {
    /// The JWS's `typ`.
    pub const JWS_TYPE: &'static str = "milepost-manifest+jws";
}

impl Data for Manifest {
    const TYPE: &'static str = "org.milepost.alpr.manifest.v1";
    const IN_LEDGER: bool = true;
}

/// What a manifest's signature is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ManifestClaims {
    /// `urn:milepost:<agency>:<site>:<camera>`
    pub source: crate::event::Source,
    /// Which ledger.
    #[schemars(schema_with = "schema::uuid")]
    pub epoch: Uuid,
    /// First sequence of the stretch.
    pub from: u64,
    /// Last one. Every number between has been given, and to one record only.
    pub to: u64,
    /// The chain after `from - 1`.
    pub chain_before_sha256: Chain,
    /// The chain after `to`.
    pub chain_after_sha256: Chain,
    /// When it was signed, by the pole's clock.
    #[schemars(schema_with = "schema::date_time")]
    pub issued_at: Timestamp,
}

impl ManifestClaims {
    /// Whether it speaks of this camera.
    #[must_use]
    pub fn is_of(&self, root: &Root) -> bool {
        self.source.root() == root
    }
}

macro_rules! ledger_events {
    ($($variant:ident $name:literal $meaning:literal,)*) => {
        /// What comes on the `ledger` topic.
        #[derive(Debug, Clone, PartialEq, Serialize)]
        #[serde(untagged)]
        pub enum LedgerEvent {
            $(#[doc = $meaning] $variant(Event<$variant>),)*
            /// Of a type that this version does not know: it has its sequence and gets its receipt
            /// like any other.
            Other(Header),
        }

        /// (Name, meaning) of every known type; the name is that of its schema, too.
        pub const LEDGER_TYPES: &[(&str, &str)] = &[$(($name, $meaning),)*];

        impl LedgerEvent {
            /// Reads one by its `type`.
            ///
            /// # Errors
            /// No envelope, or data that is not of its type's shape.
            pub fn from_json(json: &[u8]) -> Result<Self, EventError> {
                let header = Header::from_json(json)?;
                Ok(match header.kind.as_str() {
                    $($variant::TYPE => Self::$variant(Event::from_json(json)?),)*
                    _ => Self::Other(header),
                })
            }

            /// Its id.
            #[must_use]
            pub const fn id(&self) -> Uuid {
                match self {
                    $(Self::$variant(event) => event.id,)*
                    Self::Other(header) => header.id,
                }
            }

            /// Its type in one word.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $name,)*
                    Self::Other(_) => "other",
                }
            }
        }
    };
}

// A new type: its line here, its schema and its example.
ledger_events! {
    Epoch "epoch" "The first record of a ledger: where it comes from",
    Restart "restart" "The agent started",
    Salvage "salvage" "What could still be read of a quarantined store",
    Hold "hold" "Records were put on hold by the server, or a hold was ended",
    Suspension "suspension" "Capture is suspended for a time, or goes on",
    Manifest "manifest" "The pole's signed word on a stretch of its ledger",
    Eviction "eviction" "Records or photos that the pole had to give up",
    ClockStep "clock_step" "The pole's clock was set",
    DroppedReads "dropped_reads" "Reads that matched no list and were not kept",
    Access "access" "A person looked at what the pole holds",
    ListChange "list_change" "A version of an alert list came in force, or was refused",
    Mute "mute" "An entry of an alert list is muted for a time, or gives alerts again",
    TimeCorrection "time_correction" "The true time of records taken with an unsynchronised clock",
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_set, prelude::*};

    use super::*;
    use crate::examples;

    #[test]
    fn a_type_of_a_later_version_is_taken_by_its_envelope() {
        let step = examples::clock_step();
        let json = step.to_json().unwrap();
        assert_eq!(LedgerEvent::from_json(&json).unwrap(), LedgerEvent::ClockStep(step));
        let newer = String::from_utf8(json).unwrap().replace(ClockStep::TYPE, "org.example.new.v1");
        let event = LedgerEvent::from_json(newer.as_bytes()).unwrap();
        assert!(matches!(&event, LedgerEvent::Other(h) if h.ledger().is_some()), "{event:?}");
        assert!(LedgerEvent::from_json(b"{}").is_err());
    }

    proptest! {
        #[test]
        fn ranges_hold_exactly_what_they_cover(set in btree_set(1u64..60, 0..40)) {
            let sorted: Vec<_> = set.iter().copied().collect();
            let ranges = SequenceRange::cover(&sorted);
            let back: Vec<_> = ranges.iter().flat_map(|r| r.from..=r.to).collect();
            prop_assert_eq!(back, sorted);
            prop_assert!(ranges.windows(2).all(|w| w[0].to + 1 < w[1].from), "not merged");
        }
    }
}
