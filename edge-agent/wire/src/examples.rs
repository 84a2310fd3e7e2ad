//! One example of every message, for the reference and for tests. The plates are made up.

mod lists;

use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    chain::Chain,
    command::{Action, Command, Hold, Outcome, Response},
    event::{Event, Ledger},
    health::{CheckStatus, ComponentCheck, Heartbeat, Status, StatusState},
    ledger::{
        Epoch, EpochCause, Evicted, Eviction, EvictionCause, LedgerPosition, Manifest,
        ManifestClaims, Restart, RestartCause, Salvage, SequenceRange,
    },
    read::{
        Character, Direction, Evidence, Models, PhotoInfo, Position, Read, State, TextAlternative,
        TimeSource, UnreadPass, UnreadReason,
    },
    receipt::Receipt,
    suspension::{Suspension, Told},
    time::{BootTime, ClockStep, CorrectedTime, MAX_DRIFT_PPM, TimeCorrection},
    topics::{Root, TopicLevel},
};

pub use lists::{
    access, alert, disposition, dropped_reads, list_announcement, list_change, list_request,
    list_version, mute, mute_command,
};

const EPOCH: Uuid = Uuid::from_u128(0x0199_4a1b_0000_7000_8000_0000_0000_0001);
const POSITION: Position =
    Position { latitude_deg: 37.774_93, longitude_deg: -122.419_42, heading_deg: 270.0 };

/// So many milliseconds after [`at`]'s zero.
fn boot_time(ms: u32, uncertainty_s: f64) -> BootTime {
    let since_boot_s = 95.0 + f64::from(ms) / 1000.0;
    BootTime {
        boot_id: Uuid::from_u128(0x5bd1_f0d6_fb86_424f_96de_4741_3156_3a5f),
        since_boot_s,
        uncertainty_s,
    }
}

fn id(n: u128) -> Uuid {
    Uuid::from_u128(0x0199_4a1b_7c00_7000_8000_0000_0000_0000 | n)
}

/// 2026-03-01T07:15:00Z plus milliseconds.
fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(1_772_349_300_000 + ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn root() -> Root {
    // Constant names that fit the alphabet; `TopicLevel` has no constructor that skips the check.
    let level = |name| TopicLevel::new(name).unwrap_or_else(|e| unreachable!("{e}"));
    Root { agency: level("demo-pd"), site: level("main-street"), camera: level("north") }
}

fn ledger(sequence: u64) -> Option<Ledger> {
    Some(Ledger { epoch: EPOCH, sequence })
}

fn photo(digit: char, width_px: u32, height_px: u32, bytes: u64) -> PhotoInfo {
    PhotoInfo { sha256: digit.to_string().repeat(64), width_px, height_px, bytes }
}

/// A read.
#[must_use]
pub fn read() -> Event<Read> {
    let characters = "8MPX402".chars().map(|c| Character {
        text: c.into(),
        probability: 0.992,
        alternatives: match c {
            '8' => vec![TextAlternative { text: "B".into(), probability: 0.006 }],
            '0' => vec![TextAlternative { text: "O".into(), probability: 0.005 }],
            _ => vec![],
        },
    });
    let data = Read {
        read_id: id(1),
        plate_text: "8MPX402".into(),
        raw_text: "8MPX4O2".into(),
        confidence: 0.945,
        characters: characters.collect(),
        alternatives: vec![TextAlternative { text: "BMPX402".into(), probability: 0.006 }],
        state: Some(State { code: "US-CA".into(), confidence: 0.91 }),
        direction: Direction::Approaching,
        captured_at: at(420),
        time_source: TimeSource::Ntp,
        time_uncertainty_s: Some(0.504),
        boot_time: Some(boot_time(420, 0.5)),
        first_seen_at: at(0),
        last_seen_at: at(866),
        frames_seen: 26,
        frames_read: 9,
        position: POSITION,
        plate_corners_px: [[901.5, 610.0], [1033.0, 613.5], [1032.5, 680.0], [901.0, 676.0]],
        frame_width_px: 1920,
        frame_height_px: 1080,
        evidence: Evidence {
            plate: Some(photo('a', 192, 96, 6_120)),
            context: Some(photo('b', 1280, 720, 148_305)),
            withheld_reason: None,
        },
        models: Models {
            detector: "plate-detector-1.0".into(),
            aligner: "plate-aligner-1.0".into(),
            reader: "plate-reader-1.0".into(),
        },
        execution_provider: "cpu".into(),
    };
    Event::new(data.read_id, root().source(), data.captured_at, ledger(41), data)
}

/// An unread pass.
#[must_use]
pub fn unread_pass() -> Event<UnreadPass> {
    let data = UnreadPass {
        pass_id: id(2),
        reason: UnreadReason::LowConfidence,
        direction: Direction::Receding,
        captured_at: at(5_120),
        time_source: TimeSource::Unsynchronised,
        time_uncertainty_s: None,
        boot_time: Some(boot_time(5_120, 0.5)),
        first_seen_at: at(5_000),
        last_seen_at: at(5_600),
        frames_seen: 11,
        frames_read: 8,
        best_confidence: Some(0.31),
        position: POSITION,
    };
    Event::new(data.pass_id, root().source(), data.captured_at, ledger(42), data)
}

/// An eviction.
#[must_use]
pub fn eviction() -> Event<Eviction> {
    let data = Eviction {
        evicted: Evicted::Records,
        cause: EvictionCause::MaxRecords,
        epoch: EPOCH,
        sequences: vec![SequenceRange { from: 3, to: 11 }, SequenceRange { from: 14, to: 14 }],
        chain_sha256: [11, 14].map(|n| Chain::from([n; 32])).into(),
        records: 10,
        photo_bytes: 1_544_250,
    };
    Event::new(id(3), root().source(), at(6_000), ledger(43), data)
}

/// The beginning of a ledger after its store was damaged.
#[must_use]
pub fn epoch() -> Event<Epoch> {
    let before = Uuid::from_u128(0x0199_3b1b_0000_7000_8000_0000_0000_0007);
    let data = Epoch {
        cause: EpochCause::StoreDamaged,
        why: Some("the store is damaged: record 3: too short".into()),
        previous: Some(LedgerPosition { epoch: before, last_sequence: 9_120 }),
    };
    Event::new(id(6), root().source(), at(-90_000), ledger(1), data)
}

/// What came over from the store before.
#[must_use]
pub fn salvage() -> Event<Salvage> {
    let data = Salvage {
        previous: epoch().data.previous,
        records: 31,
        photos: 60,
        failed: 1,
        complete: true,
    };
    Event::new(id(7), root().source(), at(-80_000), ledger(33), data)
}

/// A start after the power had gone.
#[must_use]
pub fn restart() -> Event<Restart> {
    let data = Restart {
        after: RestartCause::MachineRestarted,
        software_version: "0.1.0".into(),
        boot_id: Some(Uuid::from_u128(0x5ad1_93f1_9b1e_4c55_8d2b_0f0c_5b0e_77aa)),
    };
    Event::new(id(8), root().source(), at(-89_000), ledger(2), data)
}

/// The claims of [`manifest`].
#[must_use]
pub fn manifest_claims() -> ManifestClaims {
    ManifestClaims {
        source: root().source(),
        epoch: EPOCH,
        from: 1,
        to: 43,
        chain_before_sha256: Chain::start(EPOCH),
        chain_after_sha256: Chain::from([43; 32]),
        issued_at: at(6_500),
    }
}

/// An hourly manifest; its JWS is cut short here.
#[must_use]
pub fn manifest() -> Event<Manifest> {
    let jws = "eyJ0eXAiOiJtaWxlcG9zdC1tYW5pZmVzdCtqd3MiLCJhbGciOiJFUzI1NiIsIng1YyI6WyLigKYiXX0.…";
    let data = Manifest { from: 1, to: 43, command_id: None, jws: jws.into() };
    Event::new(id(9), root().source(), at(6_500), ledger(44), data)
}

/// The clock set forward by three days.
#[must_use]
pub fn clock_step() -> Event<ClockStep> {
    let three_days_ms = 3 * 86_400_000;
    let data = ClockStep {
        before: at(9_000),
        after: at(9_000 + three_days_ms),
        step_s: 259_200.0,
        source_before: TimeSource::Unsynchronised,
        source_after: TimeSource::Ntp,
        not_yet: Some(boot_time(8_000, 0.0)),
        noticed: Some(boot_time(9_000, 0.0)),
    };
    Event::new(id(10), root().source(), data.after, ledger(44), data)
}

/// The unread pass of [`unread_pass`] in its right place.
#[must_use]
pub fn time_correction() -> Event<TimeCorrection> {
    let pass = unread_pass();
    let mut data = TimeCorrection {
        time_source: TimeSource::Ntp,
        reference_at: at(10_000 + 3 * 86_400_000),
        reference_uncertainty_s: Some(0.004),
        reference_boot_time: boot_time(10_000, 0.0),
        drift_ppm: MAX_DRIFT_PPM,
        records: Vec::new(),
        unnamed: false,
    };
    let corrected = pass.data.boot_time.and_then(|moment| data.correct(moment));
    data.records = corrected
        .map(|(corrected_at, uncertainty_s)| CorrectedTime {
            id: pass.id,
            sequence: 42,
            captured_at: pass.data.captured_at,
            corrected_at,
            uncertainty_s,
        })
        .into_iter()
        .collect();
    Event::new(id(11), root().source(), data.reference_at, ledger(45), data)
}

/// A command to put a read on hold.
#[must_use]
pub fn command() -> Command {
    Command {
        command_id: Uuid::from_u128(0x0199_4a1c_0000_7000_8000_0000_0000_00c1),
        by: "sgt.rivera@demo-pd.example".into(),
        reason: "linked to an investigation".into(),
        case_number: Some("26-001234".into()),
        action: Action::Hold { ids: vec![id(1)] },
    }
}

/// What is in the ledger of [`command`].
#[must_use]
pub fn hold() -> Event<Hold> {
    let Command { command_id, by, reason, case_number, .. } = command();
    let until = Some(at(730 * 86_400_000));
    let data = Hold { held: true, ids: vec![id(1)], until, by, reason, case_number, command_id };
    Event::new(id(12), root().source(), at(8_000), ledger(46), data)
}

/// A command to capture nothing for four hours.
#[must_use]
pub fn suspend() -> Command {
    let (from, until) = (at(3_600_000), at(5 * 3_600_000));
    Command {
        command_id: Uuid::from_u128(0x0199_4a1c_0000_7000_8000_0000_0000_00c2),
        by: "lt.okafor@demo-pd.example".into(),
        reason: "permitted march on Main Street".into(),
        case_number: None,
        action: Action::Suspend { from: Some(from), until },
    }
}

/// What is in the ledger when [`suspend`] begins.
#[must_use]
pub fn suspension() -> Event<Suspension> {
    let data = Suspension::Begun {
        suspension_id: suspend().command_id,
        from: at(3_600_000),
        until: at(5 * 3_600_000),
        told: Told { synchronised: true, boot_time: Some(boot_time(3_600_000, 0.0)) },
    };
    Event::new(id(14), root().source(), at(3_600_000), ledger(47), data)
}

/// The answer to [`command`].
#[must_use]
pub fn response() -> Event<Response> {
    let command_id = command().command_id;
    let data = Response { command_id, outcome: Outcome::Done, why: None, sequence: Some(46) };
    Event::new(id(13), root().source(), at(8_010), None, data)
}

/// A birth.
#[must_use]
pub fn status() -> Event<Status> {
    let data = Status {
        state: StatusState::Online,
        unexpected: false,
        software_version: "0.1.0".into(),
        connected_at: at(-60_000),
        started_at: at(-90_000),
    };
    Event::new(id(4), root().source(), data.connected_at, None, data)
}

/// A heartbeat.
#[must_use]
pub fn heartbeat() -> Event<Heartbeat> {
    let check = ComponentCheck {
        status: CheckStatus::Warn,
        output: "the clock is not synchronised: check the NTP server".into(),
        since: at(-80_000),
    };
    let data = Heartbeat {
        status: CheckStatus::Warn,
        checks: [("clock".to_owned(), check)].into(),
        software_version: "0.1.0".into(),
        uptime_s: 97,
        ledger: LedgerPosition { epoch: EPOCH, last_sequence: 43 },
        outbox_records: 3,
        outbox_photo_bytes: 154_425,
        lists: vec![lists::in_force()],
        reads_total: 1,
        unread_passes_total: 1,
    };
    Event::new(id(5), root().source(), at(7_000), None, data)
}

/// A receipt that names a read by its id and a range by sequence.
#[must_use]
pub fn receipt() -> Receipt {
    Receipt {
        ids: vec![id(1)],
        sequences: vec![SequenceRange { from: 42, to: 43 }],
        epoch: Some(EPOCH),
    }
}
