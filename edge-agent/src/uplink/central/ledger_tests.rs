//! What following a ledger promises: whatever the order, the same verdict; whatever was changed,
//! left out or moved, never a verified one.

use std::collections::BTreeSet;

use milepost_wire::{Chain, SequenceRange};
use proptest::{collection::vec, prelude::*, sample::Index};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{
    ledger::{Came, Digest, Ledger, MAX_DIGESTS},
    verdict::{LedgerState, Stretch, Verdict, Waits},
};

const EPOCH: Uuid = Uuid::from_u128(7);

/// What comes to the server.
#[derive(Debug, Clone)]
enum Message {
    Body(u64, Digest),
    /// An eviction: a body of its own, and what it names.
    Eviction(u64, Digest, Vec<(SequenceRange, Chain)>),
    Manifest(Stretch),
}

/// What a pole did.
#[derive(Debug, Clone)]
struct Pole {
    bodies: Vec<Vec<u8>>,
    evictions: Vec<(u64, Vec<SequenceRange>)>,
    /// Evicted bodies that had been sent before.
    sent: Vec<u64>,
    hours: Vec<u64>,
}

fn digest(body: &[u8]) -> Digest {
    Sha256::digest(body).into()
}

impl Pole {
    fn last(&self) -> u64 {
        self.bodies.len() as u64
    }

    fn body(&self, sequence: u64) -> Digest {
        digest(&self.bodies[sequence as usize - 1])
    }

    fn chain(&self, after: u64) -> Chain {
        let bodies = &self.bodies[..after as usize];
        bodies.iter().fold(Chain::start(EPOCH), |chain, body| chain.then(body))
    }

    fn signed(&self, from: u64, to: u64, hourly: bool) -> Message {
        let (before, after) = (self.chain(from - 1), self.chain(to));
        Message::Manifest(Stretch { from, to, before, after, hourly })
    }

    fn evicted(&self) -> impl Iterator<Item = u64> {
        self.evictions.iter().flat_map(|(_, ranges)| ranges).flat_map(|r| r.from..=r.to)
    }

    /// Everything in order, with every manifest that is asked for.
    fn messages(&self) -> Vec<Message> {
        let gone: Vec<u64> = self.evicted().filter(|n| !self.sent.contains(n)).collect();
        let mut messages = Vec::new();
        for n in (1..=self.last()).filter(|n| !gone.contains(n)) {
            let eviction = self.evictions.iter().find(|(by, _)| *by == n);
            messages.push(match eviction {
                None => Message::Body(n, self.body(n)),
                Some((_, ranges)) => {
                    let ranges = ranges.iter().map(|r| (*r, self.chain(r.to))).collect();
                    Message::Eviction(n, self.body(n), ranges)
                }
            });
        }
        let mut from = 1;
        for &to in &self.hours {
            messages.push(self.signed(from, to, true));
            from = to + 1;
        }
        for asked in seen(&messages).0.ask_for {
            messages.push(self.signed(asked.from, asked.to, false));
        }
        messages
    }
}

/// The end of a ledger to which these came.
fn seen(messages: &[Message]) -> (LedgerState, Vec<(Stretch, Verdict)>) {
    let mut ledger = Ledger::new(EPOCH);
    for message in messages {
        match message {
            Message::Body(n, digest) => drop(ledger.body(*n, *digest)),
            Message::Eviction(n, digest, ranges) => {
                if ledger.body(*n, *digest) == Came::New {
                    ranges.iter().for_each(|(r, chain)| ledger.give_up(*r, Some(*chain), Some(*n)));
                }
            }
            Message::Manifest(stretch) => ledger.sign(stretch.clone()),
        }
    }
    let mut verdicts: Vec<_> = ledger.news().into_iter().map(|(s, v, _)| (s, v)).collect();
    verdicts.sort_by_key(|(stretch, _)| (stretch.from, stretch.to));
    let source = milepost_wire::examples::read().source;
    let mut state = ledger.state(source, EPOCH);
    state.ask_for.sort_unstable();
    state.ask_for.dedup();
    (state, verdicts)
}

fn poles() -> impl Strategy<Value = Pole> {
    let evictions = vec((any::<Index>(), vec((any::<Index>(), 0u64..4), 1..4)), 0..4);
    let indices = || vec(any::<Index>(), 0..5);
    (4usize..40, evictions, indices(), indices(), any::<bool>()).prop_map(
        |(n, evictions, hours, sent, folds)| {
            let bodies = (0..n).map(|i| format!("body {i}").into_bytes()).collect();
            let last = n as u64;
            let mut pole = Pole { bodies, evictions: vec![], sent: vec![], hours: vec![] };
            let mut by: Vec<_> =
                evictions.iter().map(|(by, _)| by.index(n - 2) as u64 + 3).collect();
            by.sort_unstable();
            by.dedup();
            let all_by = by.clone();
            for (by, (_, ranges)) in by.into_iter().zip(&evictions) {
                let mut taken = Vec::new();
                for (from, more) in ranges {
                    let from = from.index(by as usize - 1) as u64 + 1;
                    let evicted: Vec<u64> = pole.evicted().collect();
                    // Evictions are not given up here: reads go first.
                    let free = |n: &u64| !evicted.contains(n) && !all_by.contains(n);
                    taken.extend((from..=(from + more).min(by - 1)).filter(free));
                }
                // An eviction that still waits is taken into the next one.
                if let (true, false, Some((before, ranges))) =
                    (folds, taken.is_empty(), pole.evictions.last())
                {
                    taken.extend(ranges.iter().flat_map(|r| r.from..=r.to).chain([*before]));
                }
                taken.sort_unstable();
                taken.dedup();
                let ranges = SequenceRange::cover(&taken);
                if !ranges.is_empty() {
                    pole.evictions.push((by, ranges));
                }
            }
            let evicted: Vec<u64> = pole.evicted().collect();
            if !evicted.is_empty() {
                pole.sent = sent.iter().map(|i| evicted[i.index(evicted.len())]).collect();
            }
            pole.hours = hours.iter().map(|i| i.index(n) as u64 + 1).chain([last]).collect();
            pole.hours.sort_unstable();
            pole.hours.dedup();
            pole
        },
    )
}

fn shuffled<T: Clone>(messages: &[T], keys: &[u32], again: &[Index]) -> Vec<T> {
    let mut messages = messages.to_vec();
    let copies: Vec<T> = again.iter().map(|i| messages[i.index(messages.len())].clone()).collect();
    messages.extend(copies);
    let mut order: Vec<usize> = (0..messages.len()).collect();
    order.sort_by_key(|i| keys[i % keys.len()].rotate_left(*i as u32));
    order.into_iter().map(|i| messages[i].clone()).collect()
}

proptest! {
    #[test]
    fn in_any_order_and_however_often_the_same_is_verified(
        pole in poles(), keys in vec(any::<u32>(), 30), again in vec(any::<Index>(), 0..20),
    ) {
        let messages = pole.messages();
        let (state, verdicts) = seen(&messages);
        // A body sent and then given up among others is bound to nothing.
        if pole.sent.is_empty() {
            prop_assert!(verdicts.iter().all(|(_, v)| *v == Verdict::Verified), "{:?}", verdicts);
            let evicted: BTreeSet<u64> = pole.evicted().collect();
            prop_assert_eq!(state.verified, pole.last() - evicted.len() as u64);
        }
        prop_assert!(!verdicts.iter().any(|(_, v)| matches!(v, Verdict::Wrong(_))));
        prop_assert_eq!(state.missing, 0);
        let (again_state, again_verdicts) = seen(&shuffled(&messages, &keys, &again));
        prop_assert_eq!(again_state, state);
        prop_assert_eq!(again_verdicts, verdicts);
    }

    #[test]
    fn a_changed_a_dropped_or_a_swapped_body_is_never_verified(
        pole in poles(), keys in vec(any::<u32>(), 30), again in vec(any::<Index>(), 0..20),
        at in any::<Index>(), other in any::<Index>(), how in 0..4,
    ) {
        let messages = pole.messages();
        let mut forged = messages.clone();
        let bodies: Vec<usize> = (0..messages.len())
            .filter(|i| !matches!(messages[*i], Message::Manifest(_)))
            .collect();
        let (at, other) = (bodies[at.index(bodies.len())], bodies[other.index(bodies.len())]);
        prop_assume!(at != other || how != 2);
        let number = |m: &Message| match m {
            Message::Body(n, _) | Message::Eviction(n, ..) => *n,
            Message::Manifest(_) => 0,
        };
        let set = |m: &mut Message, new: Digest| match m {
            Message::Body(_, d) | Message::Eviction(_, d, _) => *d = new,
            Message::Manifest(_) => {}
        };
        let n = number(&messages[at]);
        match how {
            0 => set(&mut forged[at], digest(b"forged")),
            1 => drop(forged.remove(at)),
            2 => {
                set(&mut forged[at], pole.body(number(&messages[other])));
                set(&mut forged[other], pole.body(n));
            }
            // Dropped, and explained by an eviction that the pole never made, with its true chain.
            _ => {
                forged.remove(at);
                let range = SequenceRange { from: n, to: n };
                let forgery = vec![(range, pole.chain(n))];
                forged.push(Message::Eviction(pole.last() + 1, digest(b"forged"), forgery));
            }
        }
        let (_, verdicts) = seen(&shuffled(&forged, &keys, &again));
        for (stretch, verdict) in verdicts {
            let over = stretch.from <= n && n <= stretch.to;
            let given_up = pole.sent.contains(&n) && how != 0 && how != 2;
            prop_assert!(!over || given_up || verdict != Verdict::Verified, "{:?}", stretch);
        }
    }
}

fn pole(n: usize) -> Pole {
    let bodies = (0..n).map(|i| format!("body {i}").into_bytes()).collect();
    Pole { bodies, evictions: vec![], sent: vec![], hours: vec![n as u64] }
}

#[test]
fn a_server_that_begins_in_the_middle_goes_on_from_the_first_manifest() {
    let pole = Pole { hours: vec![10, 20, 30], ..pole(30) };
    let messages = pole.messages();
    let late: Vec<_> = messages[4..].to_vec();
    let (state, verdicts) = seen(&late);
    let words: Vec<_> = verdicts.iter().map(|(_, v)| v.clone()).collect();
    let expected = [Verdict::Open(Waits::Bodies), Verdict::Verified, Verdict::Verified];
    assert_eq!(words, expected);
    assert_eq!(state.verified_ranges, [SequenceRange { from: 11, to: 30 }]);
    assert_eq!(state.verified_chain, Some(pole.chain(30)));
}

#[test]
fn a_body_forged_where_the_true_one_was_given_up_is_not_verified() {
    let evictions = vec![(10, vec![SequenceRange { from: 4, to: 6 }])];
    let pole = Pole { evictions, ..pole(12) };
    let mut messages = pole.messages();
    let before = seen(&messages);
    assert!(before.1.iter().all(|(_, v)| *v == Verdict::Verified), "{before:?}");
    messages.push(Message::Body(5, digest(b"forged")));
    let (_, verdicts) = seen(&messages);
    let all = verdicts.iter().find(|(s, _)| s.to == 12).unwrap();
    assert_eq!(all.1, Verdict::Open(Waits::Between));
}

#[test]
fn an_eviction_that_was_taken_into_a_longer_one_explains_the_same_whether_it_came_or_not() {
    let range = |from, to| SequenceRange { from, to };
    let evictions = vec![(8, vec![range(3, 4)]), (11, vec![range(3, 5), range(8, 8)])];
    for sent in [vec![], vec![8]] {
        let pole = Pole { evictions: evictions.clone(), sent, ..pole(12) };
        let (state, verdicts) = seen(&pole.messages());
        assert!(verdicts.iter().all(|(_, v)| *v == Verdict::Verified), "{verdicts:?}");
        assert_eq!(state.missing, 0);
    }
}

#[test]
fn stretches_that_overlap_or_do_not_join_are_wrong() {
    let pole = Pole { hours: vec![10], ..pole(20) };
    let mut messages = pole.messages();
    messages.push(pole.signed(10, 20, true));
    let (_, verdicts) = seen(&messages);
    assert!(matches!(&verdicts[1].1, Verdict::Wrong(why) if why.contains("overlaps")));
    let strange = Chain::from([9; 32]);
    let after = pole.chain(20);
    messages.pop();
    messages.push(Message::Manifest(Stretch {
        from: 11,
        to: 20,
        before: strange,
        after,
        hourly: true,
    }));
    let (state, verdicts) = seen(&messages);
    assert!(matches!(&verdicts[1].1, Verdict::Wrong(why) if why.contains("signed before")));
    assert_eq!((state.verified_manifests, state.wrong_manifests), (1, 1));
}

#[test]
fn memory_is_bounded_and_what_was_forgotten_is_said_and_never_verified() {
    let mut ledger = Ledger::new(EPOCH);
    let first = digest(b"1");
    for n in 1..=MAX_DIGESTS as u64 + 1 {
        assert_eq!(ledger.body(n, if n == 1 { first } else { [0; 32] }), Came::New);
    }
    assert_eq!(ledger.unchecked(), 1);
    assert_eq!(ledger.body(1, first), Came::Again);
    let (before, after) = (Chain::start(EPOCH), Chain::start(EPOCH).then(b"1"));
    ledger.sign(Stretch { from: 1, to: 1, before, after, hourly: true });
    assert_eq!(ledger.news()[0].1, Verdict::Open(Waits::Memory));
    assert!(ledger.news().is_empty(), "told once");
}

#[test]
fn another_body_of_a_sequence_is_a_conflict_and_the_first_one_stays() {
    let mut ledger = Ledger::new(EPOCH);
    assert_eq!(ledger.body(3, [1; 32]), Came::New);
    assert_eq!(ledger.body(3, [1; 32]), Came::Again);
    assert_eq!(ledger.body(3, [2; 32]), Came::Conflict);
    assert_eq!(ledger.body(3, [1; 32]), Came::Again);
}
