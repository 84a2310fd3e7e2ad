//! Promise: an agent that is killed at any moment, again and again, loses no read that it had kept,
//! sends none twice under two ids, and leaves no gap that its ledger does not explain.
#![allow(clippy::unwrap_used)]

use std::{thread, time::Duration};

use harness::{
    agent::{Agent, wait_for},
    broker::Broker,
    pole::{Log, server},
};
use milepost_wire::RestartCause;

/// Kills of one run.
const KILLS: u32 = 5;

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_killed_again_and_again_loses_nothing_that_it_kept() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path(), "");
    let central = server(&broker, true);
    let changes = [];
    for n in 0..KILLS {
        let mut agent = Agent::start(folder.path(), &broker, &changes);
        wait_for("a read", || agent.metric("alpr_reads_total") > 0.0);
        // Another moment of a pass, a commit, a sending each time.
        thread::sleep(Duration::from_millis(u64::from(n) * 730));
        agent.kill();
    }
    let mut agent = Agent::start(folder.path(), &broker, &changes);
    wait_for("a read", || agent.metric("alpr_reads_total") > 0.0);
    let waiting = |agent: &Agent| agent.metric("alpr_outbox_records");
    wait_for("the rest to be delivered", || waiting(&agent) <= 3.0);
    assert!(agent.stop().success());
    let kills = |log: &Log| log.starts.iter().filter(|s| **s == RestartCause::ProcessEnded).count();
    central.until("every start", |log| kills(log) == KILLS as usize).await;
    let summary = central.stop().await;
    assert_eq!((summary.gaps, summary.conflicts, summary.bad, summary.bad_photos), (0, 0, 0, 0));
    assert!(summary.distinct > u64::from(KILLS), "{summary:?}");
}
