//! The stream goes away in every way that streams go away, and frames come back by themselves,
//! without a thread, an open file or memory more than before.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    sync::Arc,
    time::{Duration, Instant},
};

use harness::rtsp::{Serve, Server};
use milepost::{
    capture::{Camera, Next},
    clock::Keeper,
    config::{Capture, Decode, Source, Transport},
    health::{Component, Health, Status},
};

/// Outages of one run.
const ROUNDS: usize = 20;
/// Frames are back so soon after the server is (the product's own limit).
const RESUME_WITHIN: Duration = Duration::from_secs(10);
/// Silence that counts as an outage.
const SILENCE: Duration = Duration::from_secs(2);
/// A round's outage, longer than the silence.
const OUTAGE: Duration = Duration::from_millis(2500);
/// Frames seen before the next outage.
const FRAMES_BETWEEN: u64 = 30;
/// First rounds, after which everything that is made once has been made.
const WARM_UP: usize = 3;
/// Files and threads that may come and go by the moment (GLib's pool threads).
const SLACK: usize = 3;
/// Memory that the rest of the rounds may add. A leaked pipeline is several MB a round.
const RSS_SLACK_KB: usize = 24 * 1024;

/// Generous: for what has no promise.
const PATIENCE: Duration = Duration::from_secs(40);

fn config(server: &Server, transport: Transport) -> Capture {
    Capture {
        source: Source::Rtsp { url: server.url(), transport, credentials_file: None },
        silence_timeout: SILENCE,
        queue_frames: 4,
        decode: Decode::Auto,
    }
}

/// Takes `n` frames exposed after `since`, within `limit`; how long the first took.
fn frames(camera: &Camera, health: &Health, n: u64, limit: Duration) -> Duration {
    let began = Instant::now();
    let since = jiff::Timestamp::now();
    let mut first = None;
    let mut seen = 0;
    while seen < n {
        assert!(first.is_some() || began.elapsed() < limit, "{:?}", health.checks());
        assert!(began.elapsed() < limit + PATIENCE, "{:?}", health.checks());
        match camera.next(Duration::from_millis(100)) {
            // One that was on its way when the server went proves nothing.
            Next::Frame(frame) if frame.exposure.utc < since => {}
            Next::Frame(_) => {
                first.get_or_insert_with(|| began.elapsed());
                seen += 1;
            }
            Next::Idle => {}
            Next::Ended => panic!("{:?}", health.checks()),
        }
    }
    first.unwrap_or_default()
}

/// Empties the queue for a time, as the detector would.
fn look_on(camera: &Camera, time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        let _ = camera.next(Duration::from_millis(50));
    }
}

#[derive(Debug, Clone, Copy)]
struct Held {
    files: usize,
    threads: usize,
    rss_kb: usize,
}

fn held() -> Held {
    let count = |dir| fs::read_dir(dir).unwrap().count();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    Held {
        files: count("/proc/self/fd"),
        threads: count("/proc/self/task"),
        rss_kb: rss.trim().trim_end_matches(" kB").parse().unwrap(),
    }
}

#[test]
fn frames_resume_after_twenty_kills_freezes_and_restarts_and_nothing_leaks() {
    let mut server = Server::start(Serve::default());
    let health = Arc::new(Health::default());
    let camera =
        Camera::start(&config(&server, Transport::Tcp), Keeper::default(), health.clone()).unwrap();
    frames(&camera, &health, FRAMES_BETWEEN, PATIENCE);
    let mut warm = held();
    let mut times = vec![];
    for round in 0..ROUNDS {
        let how = match round % 3 {
            0 => {
                server.kill();
                look_on(&camera, OUTAGE);
                server.restart();
                "killed"
            }
            1 => {
                server.freeze();
                look_on(&camera, OUTAGE);
                server.thaw();
                "frozen"
            }
            _ => {
                server.terminate();
                server.restart();
                "restarted"
            }
        };
        let resumed = frames(&camera, &health, FRAMES_BETWEEN, RESUME_WITHIN);
        let now = held();
        println!(
            "round {:2}: {how:9} frames after {:5.2} s, {now:?}",
            round + 1,
            resumed.as_secs_f32()
        );
        assert!(resumed <= RESUME_WITHIN, "{how}: {resumed:?}");
        times.push(resumed);
        if round + 1 == WARM_UP {
            warm = now;
        }
        assert_eq!(health.checks()[&Component::Capture].status, Status::Pass);
    }
    let now = held();
    println!("longest {:?}, warm {warm:?}, at the end {now:?}", times.iter().max());
    let rebuilds = health.metrics.pipeline_rebuilds.get();
    assert!(rebuilds >= ROUNDS as u64 * 2 / 3, "outages must have been seen: {rebuilds} rebuilds");
    assert!(now.files <= warm.files + SLACK, "files: {warm:?} → {now:?}");
    assert!(now.threads <= warm.threads + SLACK, "threads: {warm:?} → {now:?}");
    assert!(now.rss_kb <= warm.rss_kb + RSS_SLACK_KB, "memory: {warm:?} → {now:?}");

    camera.stop();
    let stopped = held();
    assert!(stopped.threads < now.threads, "{now:?} → {stopped:?}");
}

#[test]
fn datagrams_that_stop_coming_are_noticed_and_come_back() {
    let mut server = Server::start(Serve::default());
    let health = Arc::new(Health::default());
    let camera =
        Camera::start(&config(&server, Transport::Udp), Keeper::default(), health.clone()).unwrap();
    frames(&camera, &health, FRAMES_BETWEEN, PATIENCE);
    assert!(health.checks()[&Component::Capture].output.starts_with("rtsp udp, "));
    server.kill();
    look_on(&camera, OUTAGE);
    server.restart();
    frames(&camera, &health, FRAMES_BETWEEN, RESUME_WITHIN);
    server.freeze();
    look_on(&camera, OUTAGE);
    server.thaw();
    frames(&camera, &health, FRAMES_BETWEEN, RESUME_WITHIN);
    assert!(health.metrics.pipeline_rebuilds.get() >= 1);
}

#[test]
fn credentials_open_the_stream_wrong_ones_are_named_and_a_corrected_file_needs_no_restart() {
    let password = "s3same@:/x";
    let credentials = Some(format!("pole:{password}"));
    let server = Server::start(Serve { credentials, ..Serve::default() });
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("camera");
    fs::write(&file, "pole:wr0ngword\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let mut config = config(&server, Transport::Tcp);
    config.source = Source::Rtsp {
        url: server.url(),
        transport: Transport::Tcp,
        credentials_file: Some(file.clone()),
    };
    let health = Arc::new(Health::default());
    let camera = Camera::start(&config, Keeper::default(), health.clone()).unwrap();
    let until = Instant::now() + PATIENCE;
    let mut said = BTreeSet::new();
    while health.metrics.pipeline_rebuilds.get() < 2 {
        assert!(Instant::now() < until);
        assert!(matches!(camera.next(Duration::from_millis(20)), Next::Idle));
        said.insert(health.checks()[&Component::Capture].output.clone());
    }
    assert!(said.iter().any(|s| s.contains("refuses the credentials")), "{said:?}");
    fs::write(&file, format!("pole:{password}")).unwrap();
    frames(&camera, &health, 5, PATIENCE);
    said.insert(health.checks()[&Component::Capture].output.clone());
    assert!(said.iter().all(|s| !s.contains("s3same") && !s.contains("wr0ng")), "{said:?}");
}

#[test]
fn h265_and_a_looped_clip_are_decoded_like_any_stream() {
    let dir = tempfile::tempdir().unwrap();
    let clip = dir.path().join("lane.mp4");
    make_clip(&clip);
    for serve in
        [Serve { h265: true, ..Serve::default() }, Serve { clip: Some(clip), ..Serve::default() }]
    {
        let looped = serve.clip.is_some();
        let server = Server::start(serve);
        let health = Arc::new(Health::default());
        let camera =
            Camera::start(&config(&server, Transport::Tcp), Keeper::default(), health.clone())
                .unwrap();
        // The clip has 45 frames.
        frames(&camera, &health, if looped { 100 } else { 20 }, PATIENCE);
        let said = health.checks()[&Component::Capture].output.clone();
        assert!(said.contains(if looped { "264" } else { "265" }), "{said}");
        assert_eq!(health.metrics.pipeline_rebuilds.get(), 0, "{said}");
    }
}

/// 1.5 s of H.264 with B-frames.
fn make_clip(path: &std::path::Path) {
    use gstreamer::{self as gst, prelude::*};
    gst::init().unwrap();
    let line = format!(
        "videotestsrc num-buffers=45 ! video/x-raw,width=320,height=180,framerate=30/1 \
         ! x264enc bframes=2 key-int-max=15 ! mp4mux ! filesink location={}",
        path.display()
    );
    let pipeline = gst::parse::launch(&line).unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let wanted = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = pipeline.bus().unwrap();
    let end = end.timed_pop_filtered(gst::ClockTime::from_seconds(60), &wanted).unwrap();
    assert_eq!(end.type_(), gst::MessageType::Eos, "{end:?}");
    pipeline.set_state(gst::State::Null).unwrap();
}
