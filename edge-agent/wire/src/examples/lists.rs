//! Examples of what has to do with alert lists.

use super::{Action, Command, Event, Timestamp, Uuid, at, id, ledger, read, root};
use crate::{
    Access, Accessed, Agreement, Alert, AlertEntry, AlertList, ComparedPlace, ComparedText,
    Comparison, Disposition, DroppedReads, Freshness, ListAnnouncement, ListChange, ListFormat,
    ListInForce, ListOutcome, ListRequest, ListVersion, ListedVehicle, Mute, StateComparison,
    StateVerdict, Tolerance, Verdict,
};

/// An alert on [`read`], whose plate is listed with a B.
#[must_use]
pub fn alert() -> Event<Alert> {
    let read = read().data;
    let places = "8MPX402".chars().zip("BMPX402".chars()).map(|(read, listed)| ComparedPlace {
        read: read.into(),
        listed: Some(listed.into()),
        probability: if read == listed { 0.992 } else { 0.006 },
    });
    let version = list_version();
    let data = Alert {
        alert_id: id(20),
        read_id: read.read_id,
        preview: false,
        advisory: true,
        checks: Alert::CHECKS,
        list: AlertList {
            name: version.list,
            version: version.version,
            agency: version.agency,
            purpose: version.purpose,
            source_at: version.source_at,
            age_s: Some(26_100.0),
            freshness: Freshness::Fresh,
        },
        entry: AlertEntry {
            id: "2026-014237".into(),
            kind: Some("stolen".into()),
            entered_on: Some(jiff::civil::date(2026, 2, 27)),
            vehicle: ListedVehicle {
                year: Some("2019".into()),
                make: Some("TOYT".into()),
                model: Some("CAM".into()),
                colour: Some("BLU".into()),
            },
        },
        comparison: Comparison {
            agreement: Agreement::LookAlike,
            compared: ComparedText::PlateText,
            listed_plate: "BMPX402".into(),
            substitutions: 1,
            probability: 0.0057,
            places: places.collect(),
        },
        state: StateComparison {
            verdict: StateVerdict::Match,
            read: read.state.clone(),
            listed: Some("CA".into()),
        },
        plate_text: read.plate_text,
        raw_text: read.raw_text,
        confidence: read.confidence,
        alternatives: read.alternatives,
        captured_at: read.captured_at,
        time_source: read.time_source,
        time_uncertainty_s: read.time_uncertainty_s,
        boot_time: read.boot_time,
        direction: read.direction,
        position: read.position,
        evidence: read.evidence,
    };
    Event::new(data.alert_id, root().source(), data.captured_at, ledger(40), data)
}

/// What a list's authority says of a version.
#[must_use]
pub fn list_version() -> ListVersion {
    ListVersion {
        list: "svs".into(),
        version: 812,
        base: None,
        audience: "demo-pd".into(),
        agency: "California Department of Justice".into(),
        purpose: "stolen vehicles and plates".into(),
        source_at: at(-26_100_000),
        expires_at: at(60_300_000),
        aging_after_s: 43_200,
        stale_after_s: 86_400,
        tolerance: Tolerance::default(),
        format: ListFormat::Clew,
        bytes: 4_812_350,
        sha256: "c".repeat(64),
        key_sha256: None,
    }
}

/// Its announcement; the signature is made up.
#[must_use]
pub fn list_announcement() -> ListAnnouncement {
    let jws = "eyJ0eXAiOiJtaWxlcG9zdC1saXN0K2p3cyJ9.eyJsaXN0Ijoic3ZzIn0.c2ln".into();
    ListAnnouncement { jws, key: None }
}

/// The first request for its parts.
#[must_use]
pub fn list_request() -> Event<ListRequest> {
    let data = ListRequest {
        request_id: id(21),
        list: "svs".into(),
        version: 812,
        base: None,
        first_part: 0,
        parts: 16,
    };
    Event::new(id(22), root().source(), now(), None, data)
}

/// Somebody looked a plate up.
#[must_use]
pub fn access() -> Event<Access> {
    let data = Access {
        by: "sgt. rivera".into(),
        account: "milepost (sudo by rivera)".into(),
        what: Accessed::ListMatch,
        plate_text: "8MPX402".into(),
        reason: "alert 4411 seems wrong".into(),
        case_number: Some("2026-014237".into()),
        at: now(),
        found: 1,
    };
    Event::new(id(25), root().source(), now(), ledger(37), data)
}

/// Reads that were dropped.
#[must_use]
pub fn dropped_reads() -> Event<DroppedReads> {
    let data = DroppedReads {
        first_captured_at: at(-600_000),
        last_captured_at: at(-2_000),
        reads: 412,
        not_searched: 0,
    };
    Event::new(id(24), root().source(), now(), ledger(38), data)
}

/// It came in force.
#[must_use]
pub fn list_change() -> Event<ListChange> {
    let data = ListChange {
        list: Some("svs".into()),
        version: Some(812),
        outcome: ListOutcome::InForce,
        why: None,
        entries: Some(118_204),
        skipped: Some(37),
        bad: Some(2),
    };
    Event::new(id(23), root().source(), now(), ledger(39), data)
}

/// What became of [`alert`].
#[must_use]
pub fn disposition() -> Disposition {
    let alert = alert().data;
    Disposition {
        alert_id: alert.alert_id,
        list: alert.list.name,
        verdict: Verdict::IncorrectRead,
        at: at(600_000),
        plate_read: Some(alert.plate_text),
        plate_shown: Some("8MPX4Q2".into()),
    }
}

/// A command to mute its entry for a month.
#[must_use]
pub fn mute_command() -> Command {
    let alert = alert().data;
    Command {
        command_id: Uuid::from_u128(0x0199_4a1c_0000_7000_8000_0000_0000_00c3),
        by: "alpr.admin@demo-pd.example".into(),
        reason: "another vehicle's plate is read as this one every day".into(),
        case_number: None,
        action: Action::Mute {
            list: alert.list.name,
            entry_id: alert.entry.id,
            until: at(30 * 86_400_000),
        },
    }
}

/// What is in the ledger of [`mute_command`].
#[must_use]
pub fn mute() -> Event<Mute> {
    let Command { command_id, by, reason, case_number, .. } = mute_command();
    let alert = alert().data;
    let data = Mute {
        muted: true,
        list: alert.list.name,
        entry_id: alert.entry.id,
        until: Some(at(30 * 86_400_000)),
        by,
        reason,
        case_number,
        command_id,
    };
    Event::new(id(27), root().source(), at(700_000), ledger(48), data)
}

/// The same in a heartbeat.
pub(super) fn in_force() -> ListInForce {
    let ListVersion { list, version, source_at, expires_at, .. } = list_version();
    ListInForce { list, version, source_at, expires_at, entries: 118_204, waits_for_key: false }
}

fn now() -> Timestamp {
    at(4_000)
}
