//! A mute is in force from its order to its end, and no clock keeps one longer than was asked for.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{answered::MAX_ANSWERED, sealing::ManualClock};

const DAY: SignedDuration = SignedDuration::from_hours(24);

fn start() -> Timestamp {
    "2026-11-27T12:00:00Z".parse().unwrap()
}

fn order(command: u128, entry: &str, until: Option<Timestamp>) -> Order {
    Order {
        command_id: Uuid::from_u128(command),
        by: "admin".into(),
        reason: "misread".into(),
        case_number: None,
        list: "svs".into(),
        entry_id: entry.into(),
        until,
    }
}

fn mute(memory: &mut Memory, entry: &str, until: Timestamp, now: &Now<'_>) {
    memory.carry_out(&order(1, entry, Some(until)), now).unwrap();
}

#[test]
fn a_muted_entry_is_that_of_its_list_until_its_end_or_the_servers_word() {
    let clock = ManualClock::default();
    let mut now = Now { wall: start(), own: &clock };
    let mut memory = Memory::default();
    mute(&mut memory, "A1", start() + DAY, &now);
    mute(&mut memory, "A2", start() + DAY, &now);
    assert!(memory.is_muted("svs", "A1", &now) && memory.is_muted("svs", "A2", &now));
    assert!(!memory.is_muted("svs", "A3", &now) && !memory.is_muted("amber", "A1", &now));
    memory.carry_out(&order(2, "A1", None), &now).unwrap();
    assert!(!memory.is_muted("svs", "A1", &now) && memory.is_muted("svs", "A2", &now));
    let again = memory.carry_out(&order(3, "A1", None), &now);
    assert_eq!(again, Err(OrderError::NotMuted));
    assert_eq!(memory.count("svs"), 1);
    now.wall = start() + DAY;
    assert!(!memory.is_muted("svs", "A2", &now));
    memory.look(&now);
    assert_eq!((memory.count("svs"), &memory), (0, &Memory::default()));
}

#[test]
fn a_later_mute_stands_in_the_place_of_the_one_before() {
    let clock = ManualClock::default();
    let mut now = Now { wall: start(), own: &clock };
    let mut memory = Memory::default();
    mute(&mut memory, "A1", start() + DAY * 9, &now);
    mute(&mut memory, "A1", start() + DAY, &now);
    assert_eq!(memory.count("svs"), 1);
    now.wall = start() + DAY * 2;
    assert!(!memory.is_muted("svs", "A1", &now));
}

#[test]
fn what_may_not_be_muted_is_refused_and_changes_nothing() {
    let clock = ManualClock::default();
    let now = Now { wall: start(), own: &clock };
    let mut memory = Memory::default();
    for n in 0..MAX_MUTES {
        mute(&mut memory, &n.to_string(), start() + MAX_MUTE, &now);
    }
    let full = memory.clone();
    let tick = SignedDuration::from_nanos(1);
    let cases = [
        ("0", start(), OrderError::Passed(start())),
        ("0", start() + MAX_MUTE + tick, OrderError::TooFarAhead(start())),
        ("more", start() + DAY, OrderError::TooMany),
    ];
    for (entry, until, expected) in cases {
        let refused = memory.carry_out(&order(1, entry, Some(until)), &now).unwrap_err();
        assert_eq!(refused, expected);
        assert_eq!(memory, full);
    }
    mute(&mut memory, "0", start() + DAY, &now);
    assert_eq!(memory.count("svs"), MAX_MUTES);
}

#[test]
fn a_clock_that_was_set_back_or_is_off_keeps_no_entry_muted() {
    let clock = ManualClock::default();
    let epoch = Timestamp::UNIX_EPOCH;
    let mut memory = Memory::default();
    mute(&mut memory, "A1", start() + DAY, &Now { wall: start(), own: &clock });
    clock.pass(Duration::from_secs(6 * 3600));
    assert!(memory.is_muted("svs", "A1", &Now { wall: epoch, own: &clock }));
    clock.restart(Duration::from_secs(18 * 3600));
    assert!(!memory.is_muted("svs", "A1", &Now { wall: epoch, own: &clock }), "off, and known");
    // What was over does not come back with the clock.
    mute(&mut memory, "A2", start() + DAY, &Now { wall: start(), own: &clock });
    memory.look(&Now { wall: start() + DAY, own: &clock });
    assert!(!memory.is_muted("svs", "A2", &Now { wall: start(), own: &clock }));
    // The own time was lost with its memory: it counts from here.
    clock.pass(Duration::from_secs(1000));
    mute(&mut memory, "A3", start() + DAY, &Now { wall: start(), own: &clock });
    let anew = ManualClock::default();
    memory.look(&Now { wall: epoch, own: &anew });
    anew.pass(Duration::from_secs(25 * 3600));
    assert!(!memory.is_muted("svs", "A3", &Now { wall: epoch, own: &anew }));
}

#[test]
fn the_last_commands_are_known_again() {
    let mut memory = Memory::default();
    for n in 0..=MAX_ANSWERED as u64 {
        memory.answer(Uuid::from_u128(n.into()), n);
    }
    assert_eq!(memory.answered(Uuid::nil()), None);
    assert_eq!(memory.answered(Uuid::from_u128(1)), Some(1));
}

proptest! {
    #[test]
    fn whatever_the_wall_clock_does_a_mute_ends_in_the_time_that_was_asked_for(
        hours in 1..(90 * 24_i64),
        steps in vec((0..200_u64, -1_000_000..1_000_000_i64), 1..40),
    ) {
        let clock = ManualClock::default();
        let mut memory = Memory::default();
        let until = start() + SignedDuration::from_hours(hours);
        mute(&mut memory, "A1", until, &Now { wall: start(), own: &clock });
        let (mut passed, mut over) = (0, false);
        for (pass, off) in steps {
            clock.pass(Duration::from_secs(pass * 3600));
            passed += pass;
            let wall = start() + SignedDuration::from_hours(off);
            let now = Now { wall, own: &clock };
            memory.look(&now);
            over |= wall >= until || passed >= hours.unsigned_abs();
            prop_assert_eq!(memory.is_muted("svs", "A1", &now), !over);
        }
    }
}
