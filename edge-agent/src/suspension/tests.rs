use std::fs;

use jiff::{SignedDuration, Timestamp};
use milepost_wire::{
    Event, Root, Suspension as Said,
    Suspension::{Begun, Ended, Ordered, Recalled},
    SuspensionEnd,
};

use super::*;
use crate::{config, outbox::Setup};

fn source() -> wire::Source {
    Root::new("pd", "site", "cam").unwrap().source()
}

fn outbox(directory: &Path) -> Outbox {
    let config = config::Outbox {
        directory: directory.into(),
        max_records: 1000,
        max_photo_bytes: 1 << 20,
        max_bytes: 1 << 30,
        min_free_bytes: 0,
    };
    Outbox::open(Setup::plain(config, source(), Arc::default())).unwrap()
}

fn open(directory: &Path) -> Suspension {
    Suspension::open(directory, source(), Arc::default())
}

fn order(ask: Ask) -> Order {
    let (by, reason) = ("lt.okafor".into(), "a march".into());
    Order { command_id: Uuid::now_v7(), by, reason, case_number: None, ask }
}

fn after(seconds: i64) -> Timestamp {
    Timestamp::now() + SignedDuration::from_secs(seconds)
}

fn suspend(seconds: i64) -> Order {
    order(Ask::Suspend { from: None, until: after(seconds) })
}

/// What the ledger says, with its numbers and times.
fn ledger(outbox: &Outbox) -> Vec<(u64, Timestamp, Said)> {
    let records = outbox.records(0, 1000).unwrap();
    let events = records.iter().filter_map(|r| Event::<Said>::from_json(&r.body).ok());
    events.map(|e| (e.ledger().unwrap().sequence, e.time, e.data)).collect()
}

#[test]
fn who_and_why_comes_first_and_an_order_that_comes_again_is_answered_as_before() {
    let place = tempfile::tempdir().unwrap();
    let (outbox, suspension) = (outbox(place.path()), open(place.path()));
    assert!(!suspension.is_in_force());
    let first = suspend(3600);
    let before = Timestamp::now();
    let sequence = suspension.obey(&first, &outbox).unwrap();
    assert!(suspension.is_in_force());
    assert_eq!(suspension.health.metrics.capture_suspended.get(), 1);
    assert_eq!(suspension.obey(&first, &outbox).unwrap(), sequence);
    let resume = order(Ask::Resume);
    let resumed = suspension.obey(&resume, &outbox).unwrap();
    assert!(!suspension.is_in_force());
    // An order that the broker brings twice suspends nothing again, and ends no later one.
    assert_eq!(suspension.obey(&first, &outbox).unwrap(), sequence);
    assert!(!suspension.is_in_force());
    let second = suspend(3600);
    suspension.obey(&second, &outbox).unwrap();
    assert_eq!(suspension.obey(&resume, &outbox).unwrap(), resumed);
    assert!(suspension.is_in_force());

    let ledger = ledger(&outbox);
    let [ordered, begun, recalled, ended, ..] = &ledger[..] else { panic!("{ledger:?}") };
    assert_eq!(ledger.len(), 6);
    let Ordered { suspension_id, by, reason, .. } = &ordered.2 else { panic!("{ordered:?}") };
    assert_eq!((*suspension_id, &**by, &**reason), (first.command_id, "lt.okafor", "a march"));
    assert!(matches!(begun.2, Begun { suspension_id, .. } if suspension_id == first.command_id));
    assert!(before <= begun.1 && begun.0 == sequence);
    assert!(matches!(recalled.2, Recalled { command_id, .. } if command_id == resume.command_id));
    let Ended { cause, command_id, .. } = ended.2 else { panic!("{ended:?}") };
    assert_eq!((cause, command_id), (SuspensionEnd::Resumed, Some(resume.command_id)));
    assert!(ended.0 == resumed && begun.1 <= ended.1);
}

#[test]
fn a_restart_stays_suspended_until_the_time_is_over_and_the_file_has_no_names() {
    let place = tempfile::tempdir().unwrap();
    let outbox = outbox(place.path());
    open(place.path()).obey(&suspend(2), &outbox).unwrap();
    let file = fs::read_to_string(place.path().join(FILE)).unwrap();
    assert!(!file.contains("okafor") && !file.contains("march"), "{file}");
    let again = open(place.path());
    assert!(again.is_in_force());
    let stop = CancellationToken::new();
    again.wait_for_end_in(&outbox);
    again.wait(&stop);
    assert!(!again.is_in_force());
    // After its end, and entered once.
    let ledger = ledger(&outbox);
    let (Begun { until, .. }, Ended { cause, .. }) = (&ledger[1].2, &ledger[2].2) else {
        panic!("{ledger:?}")
    };
    assert!(ledger.len() == 3 && *cause == SuspensionEnd::Expired && ledger[2].1 >= *until);
    assert!(!open(place.path()).is_in_force());
}

#[test]
fn one_to_come_begins_and_ends_by_itself() {
    let place = tempfile::tempdir().unwrap();
    let (outbox, suspension) = (outbox(place.path()), open(place.path()));
    let (from, until) = (after(3), after(4));
    let ordered = suspension.obey(&order(Ask::Suspend { from: Some(from), until }), &outbox);
    assert!(!suspension.is_in_force());
    assert_eq!(suspension.health.facts()[FACT], format!("from {from} until {until}"));
    let stop = CancellationToken::new();
    thread::scope(|scope| {
        scope.spawn(|| suspension.watch(&stop, || suspension.enter(&outbox)));
        while ledger(&outbox).len() < 3 {
            thread::sleep(Duration::from_millis(20));
        }
        stop.cancel();
    });
    let [(first, ..), (_, begun, Begun { .. }), (_, ended, Ended { .. })] = &ledger(&outbox)[..]
    else {
        panic!("{:?}", ledger(&outbox))
    };
    assert_eq!(*first, ordered.unwrap());
    assert!(*begun <= from && *ended >= until, "{begun} to {ended}");
}

impl Suspension {
    /// Looks and enters as the agent's threads do, until it is over.
    fn wait_for_end_in(&self, outbox: &Outbox) {
        while self.is_in_force() {
            self.look();
            thread::sleep(Duration::from_millis(20));
        }
        self.enter(outbox);
        self.enter(outbox);
    }
}

#[test]
fn what_a_power_cut_kept_from_the_ledger_is_entered_after_it() {
    let place = tempfile::tempdir().unwrap();
    let outbox = outbox(place.path());
    let (suspension, order) = (open(place.path()), suspend(3600));
    // As far as the file, and no further.
    if let Ok(known) = &mut *suspension.known() {
        let mut next = known.memory.clone();
        next.carry_out(&order, &known.now()).unwrap();
        next.answer(order.command_id, 1);
        suspension.save(&next).unwrap();
    }
    let again = open(place.path());
    assert!(again.is_in_force() && ledger(&outbox).is_empty());
    let sequence = again.obey(&order, &outbox).unwrap();
    let ledger = ledger(&outbox);
    assert!(matches!(ledger[..], [(n, _, Begun { .. })] if n == sequence), "{ledger:?}");
}

#[test]
fn a_damaged_file_is_set_aside_and_the_ledger_says_that_what_it_knew_is_lost() {
    for damage in [b"{".to_vec(), vec![b' '; 5000]] {
        let place = tempfile::tempdir().unwrap();
        let outbox = outbox(place.path());
        open(place.path()).obey(&suspend(3600), &outbox).unwrap();
        fs::write(place.path().join(FILE), &damage).unwrap();
        let suspension = open(place.path());
        assert!(!suspension.is_in_force());
        assert!(suspension.health.facts()[FACT].contains("order it again"));
        // Known after another restart, too.
        let suspension = open(place.path());
        suspension.enter(&outbox);
        let last = ledger(&outbox).pop().unwrap().2;
        assert!(
            matches!(last, Ended { suspension_id: None, cause: SuspensionEnd::Lost, .. }),
            "{last:?}"
        );
        suspension.obey(&suspend(3600), &outbox).unwrap();
        assert!(open(place.path()).is_in_force());
    }
}

#[test]
fn capture_waits_while_it_is_not_known_and_an_order_that_can_not_be_made_durable_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let outbox = outbox(place.path());
    // A folder that is none: it can't be told what is in it.
    let file = place.path().join("file");
    fs::write(&file, "").unwrap();
    let unknown = open(&file);
    assert!(unknown.is_in_force());
    let refused = unknown.obey(&suspend(60), &outbox).unwrap_err();
    assert!(matches!(refused, SuspensionError::Unknown(_)), "{refused}");
    fs::remove_file(&file).unwrap();
    unknown.look();
    assert!(!unknown.is_in_force());

    let suspension = open(place.path());
    // A folder in the place of the file that is renamed to it.
    fs::create_dir(place.path().join(FILE).with_extension(durable::UNFINISHED)).unwrap();
    let refused = suspension.obey(&suspend(60), &outbox).unwrap_err();
    assert!(matches!(refused, SuspensionError::Write { .. }), "{refused}");
    assert!(!suspension.is_in_force() && !open(place.path()).is_in_force());
    let refused = |r: &outbox::Record| {
        let event = wire::Event::<wire::Suspension>::from_json(&r.body);
        let cause = wire::SuspensionEnd::Refused;
        matches!(event.map(|e| e.data), Ok(wire::Suspension::Ended { cause: c, .. }) if c == cause)
    };
    let last = outbox.records(0, 100).unwrap().pop();
    assert!(last.is_some_and(|record| refused(&record)), "the ledger says that it never held");
}
