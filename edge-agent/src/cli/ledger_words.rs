//! What `milepost watch` says of a pole's ledger.

use milepost_wire::{
    Accessed, EpochCause, Event, EvictionCause, Header, LedgerEvent, ListOutcome, Mute,
    RestartCause, SequenceRange, Suspension, SuspensionEnd,
};
use serde_json::{Value, json};

use crate::uplink::central::verdict::{LedgerState, Verdict};

/// What a pole says of itself, in a line.
pub(super) fn ledger_line(event: &LedgerEvent) -> String {
    let (time, source, words) = match event {
        LedgerEvent::Eviction(Event { time, source, data, .. }) => {
            let why = match data.cause {
                EvictionCause::MaxAge => "their time on it was over",
                EvictionCause::Damaged | EvictionCause::Missing => "they could not be read",
                EvictionCause::TooLarge => "they were larger than a message may be",
                EvictionCause::FreeDisk => "its disk was full",
                _ => "its store was full",
            };
            (time, source, format!("gave up {} {:?}: {why}", data.records, data.evicted))
        }
        LedgerEvent::Epoch(Event { time, source, data, .. }) => {
            let words = match data.cause {
                EpochCause::FirstStart => "a new ledger begins".to_owned(),
                EpochCause::StoreDamaged => {
                    let why = data.why.as_deref().unwrap_or("unknown");
                    format!("its store was damaged and set aside, a new ledger begins: {why}")
                }
            };
            (time, source, words)
        }
        LedgerEvent::Restart(Event { time, source, data, .. }) => {
            let words = match data.after {
                RestartCause::FirstStart => "started for the first time",
                RestartCause::OrderlyStop => "started after an orderly stop",
                RestartCause::ProcessEnded => "started after its process had ended unasked",
                RestartCause::MachineRestarted => {
                    "started after the machine had gone down under it"
                }
            };
            (time, source, words.to_owned())
        }
        LedgerEvent::Salvage(Event { time, source, data, .. }) => {
            let (records, failed) = (data.records, data.failed);
            (
                time,
                source,
                format!("{records} records came over from a damaged store, {failed} did not"),
            )
        }
        LedgerEvent::Hold(Event { time, source, data, .. }) => {
            let what = if data.held { "on hold" } else { "released" };
            (time, source, format!("{} records {what}", data.ids.len()))
        }
        LedgerEvent::Suspension(Event { time, source, data, .. }) => {
            (time, source, suspension_words(data))
        }
        LedgerEvent::Manifest(Event { time, source, data, .. }) => {
            (time, source, format!("signed for {} to {} of its ledger", data.from, data.to))
        }
        LedgerEvent::ClockStep(Event { time, source, data, .. }) => {
            let (from, to) = (data.source_before.name(), data.source_after.name());
            (time, source, format!("its clock was set by {:+.3} s ({from} → {to})", data.step_s))
        }
        LedgerEvent::TimeCorrection(Event { time, source, data, .. }) => {
            (time, source, format!("true time of {} records taken before", data.records.len()))
        }
        LedgerEvent::Access(Event { time, source, data, .. }) => {
            let (by, account, reason) = (&data.by, &data.account, &data.reason);
            let what = match data.what {
                Accessed::ListMatch => "looked a plate up in the lists",
            };
            (time, source, format!("{by}, as {account}, {what}: {reason}"))
        }
        LedgerEvent::DroppedReads(Event { time, source, data, .. }) => {
            (time, source, format!("{} reads matched no list and were not kept", data.reads))
        }
        LedgerEvent::ListChange(Event { time, source, data, .. }) => {
            let list = data.list.as_deref().unwrap_or("unknown");
            let version = data.version.map(|v| format!(" version {v}")).unwrap_or_default();
            let words = match data.outcome {
                ListOutcome::InForce => {
                    format!(
                        "list {list}{version} is in force, {} entries",
                        data.entries.unwrap_or(0)
                    )
                }
                ListOutcome::Refused => {
                    let why = data.why.as_deref().unwrap_or("unknown");
                    format!("list {list}{version} was refused: {why}")
                }
            };
            (time, source, words)
        }
        LedgerEvent::Mute(Event { time, source, data, .. }) => (time, source, mute_words(data)),
        LedgerEvent::Other(Header { time, source, kind, .. }) => (time, source, kind.clone()),
    };
    format!("{:<23.23}  {}  {words}", time.to_string(), source.root())
}

fn mute_words(said: &Mute) -> String {
    let Mute { list, entry_id, until, by, reason, .. } = said;
    match until {
        Some(until) => {
            format!("{by} has entry {entry_id} of list {list} muted until {until}: {reason}")
        }
        None => format!("{by} has entry {entry_id} of list {list} give alerts again: {reason}"),
    }
}

fn suspension_words(said: &Suspension) -> String {
    match said {
        Suspension::Ordered { from, until, by, reason, .. } => {
            format!("{by} has capture suspended from {from} until {until}: {reason}")
        }
        Suspension::Recalled { by, reason, .. } => {
            format!("{by} has the suspension of capture end: {reason}")
        }
        Suspension::Begun { until, .. } => format!("nothing is captured until {until}"),
        Suspension::Ended { cause, .. } => {
            let why = match cause {
                SuspensionEnd::Expired => "its time was over",
                SuspensionEnd::Resumed => "by command",
                SuspensionEnd::Replaced => "another stands in its place",
                SuspensionEnd::Lost => "what the pole knew of it was damaged: order it again",
                SuspensionEnd::Refused => "the pole could not keep it on its disk: it never held",
            };
            format!("the suspension of capture has ended: {why}")
        }
    }
}

/// A verdict in a word, and why where there is more to say.
pub(super) fn verdict_words(verdict: &Verdict) -> (&'static str, Option<&str>) {
    match verdict {
        Verdict::Verified => ("verified", None),
        Verdict::Open(waits) => ("open", Some(waits.words())),
        Verdict::Wrong(why) => ("WRONG", Some(why)),
    }
}

/// Where a ledger stands, in a line.
pub(super) fn ledger_words(state: &LedgerState) -> String {
    let s = state;
    let mut words = vec![format!("{} to {} came", s.first, s.last)];
    if s.missing > 0 {
        words.push(format!("{} missing: {}", s.missing, ranges(&s.missing_ranges, s.missing)));
    }
    if s.announced > s.last {
        words.push(format!("the pole has given up to {}", s.announced));
    }
    words.push(match s.verified_chain {
        Some(chain) => {
            format!("verified: {}, chain {chain}", ranges(&s.verified_ranges, s.verified))
        }
        None => "nothing verified".into(),
    });
    if !s.ask_for.is_empty() {
        words.push(format!("ask for manifests of {}", ranges(&s.ask_for, 0)));
    }
    if s.unchecked > 0 {
        words.push(format!("{} forgotten unchecked", s.unchecked));
    }
    let (verified, wrong, open) = (s.verified_manifests, s.wrong_manifests, s.open_manifests);
    words.push(format!("manifests: {verified} verified, {wrong} WRONG, {open} open"));
    format!("{} ledger {}: {}", s.source.root(), s.epoch, words.join("; "))
}

/// The same for scripts.
pub(super) fn ledger_json(s: &LedgerState) -> Value {
    json!({
        "kind": "ledger_state", "source": s.source, "epoch": s.epoch, "first": s.first,
        "last": s.last, "announced": s.announced, "missing": s.missing,
        "missing_ranges": s.missing_ranges, "verified": s.verified,
        "verified_ranges": s.verified_ranges, "verified_chain_sha256": s.verified_chain,
        "ask_for": s.ask_for, "unchecked": s.unchecked,
        "verified_manifests": s.verified_manifests, "wrong_manifests": s.wrong_manifests,
        "open_manifests": s.open_manifests,
    })
}

/// `41–43, 50`, and dots where there are more than are named (`of` is how many there are in all).
fn ranges(named: &[SequenceRange], of: u64) -> String {
    let words = named.iter().map(|r| match r.to == r.from {
        true => r.from.to_string(),
        false => format!("{}–{}", r.from, r.to),
    });
    let words = words.collect::<Vec<_>>().join(", ");
    let count: u64 = named.iter().map(|r| r.to - r.from + 1).sum();
    if count < of { format!("{words}, …") } else { words }
}

#[cfg(test)]
mod tests {
    use milepost_wire::examples;

    use super::*;
    use crate::uplink::central::Central;

    #[test]
    fn a_gap_is_shown_with_its_numbers() {
        let mut central = Central::default();
        let eviction = examples::eviction();
        let root = eviction.source.root().clone();
        let heartbeat = examples::heartbeat();
        central.take(&root.topic(milepost_wire::Leaf::Ledger), &eviction.to_json().unwrap());
        central.take(&root.topic(milepost_wire::Leaf::Health), &heartbeat.to_json().unwrap());
        let words = ledger_words(&central.ledgers()[0]);
        assert!(words.contains("3 to 43 came; 30 missing: 12–13, 15–42"), "{words}");
        assert!(words.contains("nothing verified"), "{words}");
    }
}
