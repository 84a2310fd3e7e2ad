//! Promise: whatever happens to the broker, every read arrives, exactly once by id, with its
//! photos, and leaves the outbox only then.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, time::Duration};

use harness::{
    broker::Broker,
    pole::{FIRST_ENTRIES, Pole, pole, server},
};
use milepost::config::{self, Delivery};
use milepost_wire::{Leaf, Receipt, SequenceRange};
use tokio::time::sleep;
use uuid::Uuid;

/// Keeps 200 reads while the broker is killed and restarted five times, each time in the middle of
/// sending. The next outage waits until the pole is back.
async fn keep_through_outages(pole: &Pole, broker: &mut Broker) -> BTreeSet<Uuid> {
    let mut kept = BTreeSet::new();
    for n in 0..200 {
        kept.insert(pole.keep(n, 20_000 + 400 * n as usize));
        sleep(Duration::from_millis(15)).await;
        if n % 40 == 20 {
            broker.kill();
        }
        if n % 40 == 35 {
            broker.restart();
            let before = pole.health.metrics.uplink_connections.get();
            pole.until("back after an outage", |p| {
                p.health.metrics.uplink_connections.get() > before
            })
            .await;
        }
    }
    kept
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_killed_five_times_costs_no_read_and_doubles_none() {
    let scratch = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(scratch.path(), "");
    let server = server(&broker, true);
    let pole = pole(scratch.path(), broker.uplink());
    let kept = keep_through_outages(&pole, &mut broker).await;
    pole.drained().await;
    assert_eq!(pole.outbox.position().last_sequence, FIRST_ENTRIES + 200);
    // A photo goes after the record that names it, never before.
    let photos = scratch.path().join("outbox/photos");
    pole.until("no photo is left", |_| std::fs::read_dir(&photos).unwrap().count() == 0).await;
    assert!(pole.health.metrics.uplink_connections.get() >= 6);
    assert_eq!(pole.health.metrics.receipts_ignored.get(), 0);
    pole.stop().await;
    let log = std::mem::take(&mut *server.log.lock().unwrap());
    let summary = server.stop().await;
    assert_eq!(log.reads.keys().copied().collect::<BTreeSet<_>>(), kept, "lost or invented");
    assert_eq!(log.complete, kept, "each with both photos, their hashes right");
    let reads = FIRST_ENTRIES + 1..=FIRST_ENTRIES + 200;
    assert_eq!(log.sequences, reads.collect::<BTreeSet<_>>(), "no gap");
    assert_eq!((summary.distinct, summary.gaps, summary.bad, summary.bad_photos), (200, 0, 0, 0));
    assert_eq!(log.historical, 0, "all within the live window");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_puback_delivery_a_read_waits_for_the_broker_and_for_somebody_to_listen() {
    let scratch = tempfile::tempdir().unwrap();
    let broker = Broker::start(scratch.path(), "");
    let settings = config::Uplink {
        delivery: Delivery::Puback,
        resend_after: Duration::from_secs(1),
        ..broker.uplink()
    };
    let pole = pole(scratch.path(), settings);
    let kept: BTreeSet<_> = (0..20).map(|n| pole.keep(n, 5_000)).collect();
    pole.until("the health page says that nobody listens", |p| p.says("nobody subscribes")).await;
    assert_eq!(pole.reads_left().len(), 20, "what nobody took is not delivered");
    let server = server(&broker, false);
    pole.drained().await;
    server.until("all reads", |l| l.complete.len() == 20).await;
    assert_eq!(server.log.lock().unwrap().complete, kept);
    pole.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_read_is_marked_historical_and_a_lost_receipt_sends_again() {
    let scratch = tempfile::tempdir().unwrap();
    let broker = Broker::start(scratch.path(), "");
    let settings = config::Uplink { live_window: Duration::from_millis(1), ..broker.uplink() };
    let silent = server(&broker, false);
    silent.until("connected", |l| l.connected > 0).await;
    let pole = pole(scratch.path(), settings);
    let id = pole.keep(1, 1_000);
    silent.until("sent again without a receipt", |l| l.reads.get(&id) >= Some(&2)).await;
    assert_eq!(pole.reads_left().len(), 1);
    pole.until("the health page says that receipts are missing", |p| p.says("no receipt")).await;
    assert!(silent.log.lock().unwrap().historical > 0);
    silent.stop().await;
    let giving = server(&broker, true);
    pole.drained().await;
    pole.stop().await;
    giving.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_photo_over_the_limit_is_refused_once_told_on_the_ledger_and_the_rest_goes_on() {
    let resend_after = Duration::from_secs(2);
    for delivery in [Delivery::Puback, Delivery::Receipt] {
        let scratch = tempfile::tempdir().unwrap();
        let broker = Broker::start(scratch.path(), "max_packet_size 60000");
        let server = server(&broker, delivery == Delivery::Receipt);
        server.until("connected", |l| l.connected > 0).await;
        let pole =
            pole(scratch.path(), config::Uplink { delivery, resend_after, ..broker.uplink() });
        let big = pole.keep(1, 100_000);
        let small: Vec<_> = (2..12).map(|n| pole.keep(n, 1_000)).collect();
        pole.drained().await;
        server.until("the small ones", |l| small.iter().all(|id| l.complete.contains(id))).await;
        assert!(server.log.lock().unwrap().reads.contains_key(&big));
        // Complete without the photo that can't come, as its next sending says: else no receipt.
        let complete = server.log.lock().unwrap().complete.contains(&big);
        assert_eq!(complete, delivery == Delivery::Receipt);
        let metrics = &pole.health.metrics;
        assert_eq!(metrics.outbox_evictions.get(), 1);
        assert_eq!(metrics.uplink_refused_oversize.get(), 1);
        assert_eq!(metrics.uplink_connections.get(), 1, "no reconnect loop");
        pole.stop().await;
        assert_eq!(server.stop().await.bad_photos, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipts_that_are_wrong_unknown_or_doubled_harm_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let broker = Broker::start(scratch.path(), "");
    let silent = server(&broker, false);
    silent.until("connected", |l| l.connected > 0).await;
    let settings = config::Uplink { resend_after: Duration::from_secs(600), ..broker.uplink() };
    let pole = pole(scratch.path(), settings);
    let ids: Vec<_> = (0..4).map(|n| pole.keep(n, 1_000)).collect();
    silent.until("all four", |l| l.complete.len() == 4).await;

    let receipt = |r: Receipt| serde_json::to_vec(&r).unwrap();
    let epoch = Some(pole.outbox.position().epoch);
    let everything = vec![SequenceRange { from: 1, to: u64::MAX }];
    let wrong = [
        b"".to_vec(),
        b"{".to_vec(),
        b"{\"ids\":[\"x\"]}".to_vec(),
        vec![0xFF; 1000],
        vec![b' '; 70_000],
        receipt(Receipt { sequences: everything.clone(), ..Receipt::default() }),
        receipt(Receipt {
            sequences: everything,
            epoch: Some(Uuid::now_v7()),
            ..Receipt::default()
        }),
        receipt(Receipt { ids: vec![Uuid::now_v7()], ..Receipt::default() }),
    ];
    let count = wrong.len() as u64;
    broker.say(wrong.map(|p| (Leaf::Receipts, p)).into()).await.unwrap();
    pole.until("all counted", |p| p.health.metrics.receipts_ignored.get() == count).await;
    assert_eq!(pole.reads_left().len(), 4);

    let right = receipt(Receipt { ids: vec![ids[1], ids[1]], ..Receipt::default() });
    let range = receipt(Receipt {
        sequences: vec![SequenceRange { from: FIRST_ENTRIES + 3, to: FIRST_ENTRIES + 4 }],
        epoch,
        ..Receipt::default()
    });
    let twice = [right.clone(), range, right].map(|p| (Leaf::Receipts, p));
    broker.say(twice.into()).await.unwrap();
    pole.until("one left", |p| p.reads_left() == [ids[0]]).await;
    assert_eq!(pole.health.metrics.uplink_connections.get(), 1);
    pole.stop().await;
    silent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pole_may_not_write_another_poles_topics_and_says_so() {
    let scratch = tempfile::tempdir().unwrap();
    let broker = Broker::start(scratch.path(), "");
    let acl = scratch.path().join("broker/acl");
    let text = std::fs::read_to_string(&acl)
        .unwrap()
        .replace("topic write alpr/v1/demo-pd/main-street/north/reads\n", "");
    std::fs::write(&acl, text).unwrap();
    let mut broker = broker;
    broker.restart();
    let settings = config::Uplink { delivery: Delivery::Puback, ..broker.uplink() };
    let server = server(&broker, false);
    server.until("connected", |l| l.connected > 0).await;
    let pole = pole(scratch.path(), settings);
    pole.keep(1, 100);
    pole.until("the refusal is named", |p| p.says("refuses our messages")).await;
    assert_eq!(pole.reads_left().len(), 1, "a refused read is not delivered");
    pole.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn birth_orderly_stop_and_loss_are_told_apart() {
    let scratch = tempfile::tempdir().unwrap();
    let broker = Broker::start(scratch.path(), "");
    let server = server(&broker, true);
    server.until("connected", |l| l.connected > 0).await;
    let first = pole(scratch.path(), broker.uplink());
    server.until("birth", |l| l.statuses.last() == Some(&(true, false))).await;
    first.stop().await;
    server.until("orderly stop", |l| l.statuses.last() == Some(&(false, false))).await;
    // An agent that is gone without a word: its runtime is dropped under it.
    let second = pole(&scratch.path().join("second"), broker.uplink());
    server.until("second birth", |l| l.statuses.last() == Some(&(true, false))).await;
    second.task.abort();
    server.until("Last-Will", |l| l.statuses.last() == Some(&(false, true))).await;
    server.stop().await;
}
