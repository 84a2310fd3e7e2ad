//! Somebody with the server's certificate sends rubbish to the pole: no message may end it, make it
//! grow, keep it from sending, or make it delete what no right receipt was given for.

use std::time::Duration;

use harness::{broker::Broker, pole::server};
use jiff::Timestamp;
use milepost_wire::{Action, Command, Leaf, Receipt, SequenceRange, command::MAX_COMMAND_IDS};
use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};
use uuid::Uuid;

use crate::{
    context::{Context, RowName},
    pole::{Options, Process},
    table::Row,
};

/// Records that wait for a receipt.
const RECORDS: u64 = 200;
/// Most that the pole may grow.
const LIMIT_KB: u64 = 20 << 10;
/// For anything that is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// The row.
pub fn row(context: &Context) -> Row {
    let mut row = Row::new(RowName::Hostile.fault());
    let folder = context.folder(RowName::Hostile, "0");
    let broker = Broker::start(&folder, "");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _inside = runtime.enter();
    let silent = server(&broker, false);
    let options = Options {
        directory: folder.join("outbox"),
        broker: broker.address().to_string(),
        pki: folder.join("pki"),
        fill: RECORDS,
        hours: 0,
        photo_bytes: 1000,
        photos_every: 1,
        max_photo_bytes: 1 << 30,
        rate: 0,
        resend_after_s: 3600,
    };
    let mut pole = Process::start(&options, &folder.join("pole.log"));
    pole.go();
    // Each read and its two photos.
    if !pole.until(PATIENCE, |s| s.published >= RECORDS * 3) {
        row.fail(format!("the pole does not send: {:?}", pole.state()));
        return row;
    }
    let (epoch, last) = pole.state().filled.expect("it says so before it sends");
    let before = pole.resident_kb();
    let mut choices = context.choices(RowName::Hostile, 0);
    let messages = context.runs(RowName::Hostile);
    let mut largest = before;
    for (unit, count) in context.units(RowName::Hostile, 100) {
        let batch: Vec<_> = (0..count)
            .map(|_| {
                if choices.random_ratio(1, 3) {
                    (Leaf::Commands, command(&mut choices, epoch, last))
                } else {
                    (Leaf::Receipts, receipt(&mut choices, epoch, last))
                }
            })
            .collect();
        if let Err(why) = runtime.block_on(broker.say(batch)) {
            row.fail(format!("the messages could not be sent: {why}"));
            break;
        }
        row.runs += count;
        largest = largest.max(pole.resident_kb());
        let state = pole.state();
        if state.ended || state.waiting != last {
            let again = context.again(RowName::Hostile, unit);
            row.fail(format!("after {} messages: {state:?}; {again}", row.runs));
            break;
        }
    }
    // The last may still be under way.
    pole.until(Duration::from_secs(2), |s| s.ended);
    largest = largest.max(pole.resident_kb());
    let state = pole.state();
    if state.waiting != last {
        row.fail(format!("{} of {last} records left without a right receipt", state.waiting));
    }
    let grown = largest.saturating_sub(before);
    if grown > LIMIT_KB {
        row.fail(format!("grew by {grown} kB in {messages} messages"));
    }
    runtime.block_on(silent.stop());
    // What only a right receipt may do, it does.
    let said = runtime.block_on(async {
        let right = Receipt {
            sequences: vec![SequenceRange { from: 1, to: last }],
            epoch: Some(epoch),
            ..Receipt::default()
        };
        let json = serde_json::to_vec(&right).expect("JSON");
        broker.say(vec![(Leaf::Receipts, json)]).await
    });
    if said.is_err() || !pole.until(PATIENCE, |s| s.waiting == 0) {
        row.fail(format!("a right receipt deletes nothing afterwards: {:?}", pole.state()));
    }
    row.held = vec![
        format!(
            "{} receipts ignored, {} commands refused or ignored, {RECORDS} records untouched, then \
             deleted by a right receipt",
            state.ignored, state.commands
        ),
        format!("{} connection(s)", state.connections),
    ];
    row.worst = vec![format!("grew by {:.1} MB", grown as f64 / 1024.0)];
    drop(pole);
    context.close(&folder, row.failures.is_empty());
    row
}

/// A command that is no right one: names records that are not there, or a stretch of another ledger,
/// beyond the last number or backwards; has capture suspended in the past, backwards or for too long, or
/// go on; or no command at all. Nothing of it may enter the ledger.
fn command(choices: &mut StdRng, epoch: Uuid, last: u64) -> Vec<u8> {
    let id = |choices: &mut StdRng| Uuid::from_u128(choices.random());
    let ids = |choices: &mut StdRng, n: usize| (0..n).map(|_| id(choices)).collect::<Vec<_>>();
    let action = match choices.random_range(0..8) {
        0 => Action::Manifest { epoch: id(choices), from: 1, to: last },
        1 => Action::Manifest { epoch, from: last + choices.random_range(1..9), to: u64::MAX },
        2 => Action::Manifest { epoch, from: choices.random_range(2..=last), to: 1 },
        3 => Action::Hold { ids: ids(choices, 1) },
        4 => Action::Release { ids: ids(choices, MAX_COMMAND_IDS) },
        5 => Action::Resume,
        6 => {
            let ends = [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX];
            let mut end = || *ends.choose(choices).unwrap_or(&Timestamp::MIN);
            let (from, until) = (end(), end());
            Action::Suspend { from: (until != from).then_some(from), until }
        }
        _ => Action::Hold { ids: ids(choices, MAX_COMMAND_IDS + 1) },
    };
    let long = choices.random_ratio(1, 4);
    let text = if long { "\u{1F6A8}".repeat(choices.random_range(0..20_000)) } else { "x".into() };
    let command = Command {
        command_id: id(choices),
        by: text.clone(),
        reason: text,
        case_number: None,
        action,
    };
    let mut json = serde_json::to_vec(&command).unwrap_or_default();
    if choices.random_ratio(1, 3) {
        spoil(&mut json, choices);
    }
    json
}

/// Replaces, leaves out or doubles some bytes.
fn spoil(text: &mut Vec<u8>, choices: &mut StdRng) {
    for _ in 0..choices.random_range(1..8) {
        let place = choices.random_range(0..text.len().max(1)).min(text.len());
        match choices.random_range(0..3) {
            0 if place < text.len() => text[place] = choices.random(),
            1 if place < text.len() => drop(text.remove(place)),
            _ => text.insert(place, choices.random()),
        }
    }
}

/// One hostile message. None of them is a right receipt for a record that is there: ids are made
/// up, ranges have a wrong epoch, lie beyond the last number or run backwards.
fn receipt(choices: &mut StdRng, epoch: Uuid, last: u64) -> Vec<u8> {
    let json = |r: &Receipt| serde_json::to_vec(r).unwrap_or_default();
    let strange = |choices: &mut StdRng| {
        let ids =
            (0..choices.random_range(0..5)).map(|_| Uuid::from_u128(choices.random())).collect();
        let sequences = vec![SequenceRange { from: 1, to: choices.random() }];
        Receipt { ids, sequences, epoch: Some(Uuid::from_u128(choices.random())) }
    };
    let bytes = |choices: &mut StdRng, most: usize| -> Vec<u8> {
        (0..choices.random_range(0..most)).map(|_| choices.random()).collect()
    };
    match choices.random_range(0..12) {
        0 => bytes(choices, 4096),
        1 => {
            let mut text = json(&strange(choices));
            spoil(&mut text, choices);
            text
        }
        2 => "[".repeat(choices.random_range(1..60_000)).into(),
        3 => "{\"ids\":".repeat(choices.random_range(1..9_000)).into(),
        4 => vec![b' '; choices.random_range(1..100_000)],
        5 => vec![b'x'; choices.random_range(100_000..400_000)],
        6 => {
            let ids =
                (0..choices.random_range(900..2000)).map(|_| Uuid::from_u128(choices.random()));
            json(&Receipt { ids: ids.collect(), ..Receipt::default() })
        }
        7 => json(&strange(choices)),
        8 => {
            let from = last + choices.random_range(1_000..1_000_000);
            let sequences = vec![SequenceRange { from, to: u64::MAX }];
            json(&Receipt { sequences, epoch: Some(epoch), ..Receipt::default() })
        }
        9 => {
            let sequences = vec![SequenceRange { from: last, to: 1 }];
            json(&Receipt { sequences, epoch: Some(epoch), ..Receipt::default() })
        }
        10 => {
            let mut text = json(&strange(choices));
            text.truncate(choices.random_range(0..text.len()));
            text
        }
        _ => {
            let texts = [
                "",
                "null",
                "0",
                "[]",
                "{}",
                "\"ids\"",
                "{\"ids\":null}",
                "{\"ids\":[1e999]}",
                "{\"sequences\":[{\"from\":1,\"to\":18446744073709551615}]}",
                "{\"sequences\":[{\"from\":-1,\"to\":1e3}],\"epoch\":\"\"}",
                "{\"ids\":[],\"ids\":[],\"ids\":[\"\\ud800\"]}",
            ];
            texts.choose(choices).map_or(Vec::new(), |t| (*t).into())
        }
    }
}
