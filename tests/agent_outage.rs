//! Promise: the camera goes away in every way that cameras go away, twenty times, and *reads* resume
//! within 10 s each time, without an open file or a thread more than before.
#![allow(clippy::unwrap_used)]

use std::{
    thread,
    time::{Duration, Instant},
};

use harness::{
    agent::{Agent, clip, wait_for},
    broker::Broker,
    rtsp::{Serve, Server},
};

/// Outages of one run.
const ROUNDS: usize = 20;
/// The product's own limit.
const RESUME_WITHIN: Duration = Duration::from_secs(10);
/// Longer than the silence that the agent bears.
const OUTAGE: Duration = Duration::from_millis(2500);
/// Rounds after which everything that is made once has been made.
const WARM_UP: usize = 3;
/// Files and threads that come and go by the moment: a connection to the page, GLib's pool.
const SLACK: f64 = 4.0;

#[test]
fn reads_resume_within_ten_seconds_of_each_of_twenty_outages() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path(), "");
    let mut camera = Server::start(Serve { clip: Some(clip()), ..Serve::default() });
    let source = format!("source = \"rtsp\"\nurl = \"{}\"", camera.url());
    let path = format!("path = \"{}\"\n", clip().display());
    let mut agent = Agent::start(
        folder.path(),
        &broker,
        &[
            ("source = \"file\"", &source),
            (&path, ""),
            ("# silence_timeout_s = 5", "silence_timeout_s = 2"),
        ],
    );
    let reads = |agent: &Agent| agent.metric("alpr_reads_total");
    wait_for("the first read", || reads(&agent) > 0.0);

    let mut steady = None;
    for round in 0..ROUNDS {
        match round % 3 {
            0 => {
                camera.kill();
                thread::sleep(OUTAGE);
                camera.restart();
            }
            1 => {
                camera.freeze();
                thread::sleep(OUTAGE);
                camera.thaw();
            }
            _ => {
                camera.terminate();
                camera.restart();
            }
        }
        let (back, before) = (Instant::now(), reads(&agent));
        wait_for("reads after an outage", || reads(&agent) > before);
        let took = back.elapsed();
        println!("round {round}: reads after {:.1} s", took.as_secs_f32());
        assert!(took <= RESUME_WITHIN, "round {round}: {took:?}");
        let held = ["alpr_process_open_fds", "alpr_process_threads"].map(|m| agent.metric(m));
        if round == WARM_UP {
            steady = Some(held);
        }
        if let Some(steady) = steady {
            let grown = held[0] > steady[0] + SLACK || held[1] > steady[1] + SLACK;
            assert!(!grown, "round {round}: files and threads {held:?}, {steady:?} before");
        }
    }
    assert!(agent.metric("alpr_pipeline_rebuilds_total") >= ROUNDS as f64);
    assert!(agent.stop().success());
}
