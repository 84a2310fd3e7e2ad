//! The contract with the central server: what a server's author depends on.
//!
//! - [`topics`]: where each message goes, with typed levels that can't break out of their place.
//! - [`Event`]: the CloudEvents 1.0 envelope of everything a pole says; [`Read`], [`UnreadPass`],
//!   [`Status`] and [`Heartbeat`] are its data, and so is what comes as a [`LedgerEvent`].
//! - [`Receipt`]: the server's word that it has durably stored what it names.
//! - [`schema`] and [`asyncapi`]: JSON Schema and AsyncAPI made from these types; the committed
//!   copies under `docs/reference/wire/` are compared with them in a test.
//! - [`onvif`]: the same read as an ONVIF Profile M event.
//!
//! Rules of the contract: names are `snake_case` with the unit in the name, times are RFC 3339 in
//! UTC, a consumer ignores members it does not know, a member is never given another meaning (a
//! new `…​.v2` type is made instead). This crate does no I/O.
#![forbid(unsafe_code)]

pub mod access;
pub mod alert;
pub mod asyncapi;
pub mod chain;
pub mod command;
pub mod disposition;
pub mod event;
pub mod examples;
pub mod health;
pub mod ledger;
pub mod list;
pub mod mute;
pub mod onvif;
pub mod read;
pub mod receipt;
pub mod schema;
pub mod suspension;
pub mod time;
pub mod topics;

pub use access::{Access, Accessed};
pub use alert::{
    Agreement, Alert, AlertEntry, AlertList, Check, ComparedPlace, ComparedText, Comparison,
    Freshness, ListedVehicle, StateComparison, StateVerdict,
};
pub use chain::Chain;
pub use command::{Action, Command, CommandError, Hold, Outcome, Response};
pub use disposition::{Disposition, DispositionError, Verdict};
pub use event::{Data, Event, EventError, Header, Ledger, Source, SpecVersion};
pub use health::{CheckStatus, ComponentCheck, Heartbeat, Status, StatusState};
pub use ledger::{
    Epoch, EpochCause, Evicted, Eviction, EvictionCause, LedgerEvent, LedgerPosition, Manifest,
    ManifestClaims, Restart, RestartCause, Salvage, SequenceRange,
};
pub use list::{
    DroppedReads, ListAnnouncement, ListAnnouncementError, ListChange, ListFormat, ListInForce,
    ListKey, ListOutcome, ListRequest, ListVersion, MAX_SUBSTITUTIONS, Tolerance,
};
pub use mute::{MAX_MUTE, Mute};
pub use read::{
    Character, Direction, Evidence, Models, PhotoInfo, PhotoKind, Position, Read, State,
    TextAlternative, TimeSource, UnreadPass, UnreadReason,
};
pub use receipt::{Receipt, ReceiptError};
pub use suspension::{MAX_SUSPENSION, Suspension, SuspensionEnd, Told};
pub use time::{BootTime, ClockStep, CorrectedTime, TimeCorrection};
pub use topics::{Leaf, Root, Topic, TopicError, TopicLevel};
