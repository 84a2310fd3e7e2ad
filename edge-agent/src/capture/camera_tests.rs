//! What a camera promises, kept against GStreamer's own sources and clips made here.

use std::{
    fs,
    io::Write,
    net::TcpListener,
    path::{Path, PathBuf},
};

use super::*;
use crate::{
    capture::Plane,
    clock::{ClockSource, Keeper},
    config::{Decode, Source},
};
use gstreamer::{self as gst, prelude::*};

/// Generous: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);
/// Frames in the clip: 3 s.
const CLIP_FRAMES: u64 = 90;

fn config(source: Source) -> Capture {
    Capture {
        source,
        silence_timeout: Duration::from_secs(2),
        queue_frames: 4,
        decode: Decode::Auto,
    }
}

fn start(config: &Capture) -> (Camera, Arc<Health>) {
    let health = Arc::new(Health::default());
    (Camera::start(config, Keeper::default(), health.clone()).unwrap(), health)
}

fn frame(camera: &Camera) -> Frame {
    match camera.next(PATIENCE) {
        Next::Frame(frame) => frame,
        other => panic!("no frame: {other:?}, {:?}", camera.health.checks()[&Component::Capture]),
    }
}

/// Every frame up to the end.
fn all(camera: &Camera) -> Vec<(u64, jiff::Timestamp)> {
    let mut frames = vec![];
    loop {
        match camera.next(PATIENCE) {
            Next::Frame(frame) => frames.push((frame.sequence, frame.exposure.utc)),
            Next::Ended => return frames,
            Next::Idle => panic!("{:?}", camera.health.checks()[&Component::Capture]),
        }
    }
}

fn capture_check(health: &Health) -> (Status, String) {
    let check = health.checks().remove(&Component::Capture).unwrap();
    (check.status, check.output)
}

/// 90 frames of 8×8 squares, 322 × 180 (rows that no decoder packs), with a sound track.
fn clip(dir: &Path, name: &str, muxer: &str) -> PathBuf {
    gst::init().unwrap();
    let path = dir.join(name);
    let line = format!(
        "videotestsrc pattern=checkers-8 num-buffers={CLIP_FRAMES} \
         ! video/x-raw,format=I420,width=322,height=180,framerate=30/1 \
         ! x264enc tune=zerolatency quantizer=4 key-int-max=15 ! h264parse ! queue ! m. \
         audiotestsrc num-buffers=120 ! avenc_aac ! queue ! m. \
         {muxer} name=m ! filesink location={}",
        path.display()
    );
    let pipeline = gst::parse::launch(&line).unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let wanted = [gst::MessageType::Eos, gst::MessageType::Error];
    let bus = pipeline.bus().unwrap();
    let end = bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &wanted).unwrap();
    assert_eq!(end.type_(), gst::MessageType::Eos, "{end:?}");
    pipeline.set_state(gst::State::Null).unwrap();
    path
}

fn file(path: &Path, repeat: bool, realtime: bool) -> Capture {
    config(Source::File { path: path.into(), repeat, realtime })
}

/// The test pattern's two colours in BT.601: (luma, Cb, Cr).
const RED: (u8, u8, u8) = (81, 90, 240);
const GREEN: (u8, u8, u8) = (145, 54, 34);

/// Which of the two colours stands at a pixel of 8×8 squares.
fn checker(x: usize, y: usize, first: (u8, u8, u8)) -> (u8, u8, u8) {
    let second = if first == RED { GREEN } else { RED };
    if (x / 8 + y / 8).is_multiple_of(2) { first } else { second }
}

/// How far on average a plane is from what `expected` says of its bytes.
fn off(plane: Plane<'_>, expected: impl Fn(usize, usize) -> u8) -> f64 {
    let mut off = 0_u64;
    for y in 0..plane.height {
        for x in 0..plane.width {
            off += u64::from(plane.data[y * plane.stride + x].abs_diff(expected(x, y)));
        }
    }
    off as f64 / (plane.width * plane.height) as f64
}

#[test]
fn a_live_source_gives_frames_in_order_with_the_time_of_now() {
    let source = Source::TestPattern { width: 320, height: 180, frames_per_s: 30 };
    let (camera, health) = start(&config(source));
    let frames: Vec<Frame> = (0..20).map(|_| frame(&camera)).collect();
    for pair in frames.windows(2) {
        assert!(pair[0].sequence < pair[1].sequence);
        assert!(pair[0].exposure.utc < pair[1].exposure.utc);
    }
    let last = &frames[19];
    let age = jiff::Timestamp::now().duration_since(last.exposure.utc);
    assert!(age.unsigned_abs() < Duration::from_secs(5), "{age}");
    assert_ne!(last.exposure.source, ClockSource::Recording);
    assert!(last.has_colour() && last.luma().width == 320);
    let (status, output) = capture_check(&health);
    assert_eq!((status, output.as_str()), (Status::Pass, "test-pattern, 320x180 30 fps"));
    camera.stop();
}

#[test]
fn a_decoded_clip_has_the_luma_that_went_in_and_a_kept_frame_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (camera, health) = start(&file(&clip(dir.path(), "a.mp4", "mp4mux"), false, false));
    let frame = frame(&camera);
    let luma = frame.luma();
    assert_eq!((luma.width, luma.height), (322, 180));
    let first = if luma.data[4 * luma.stride + 4] < 113 { RED } else { GREEN };
    let luma_off = off(luma, |x, y| checker(x, y, first).0);
    assert!(luma_off < 3.0, "off by {luma_off}");
    let kept = frame.keep();
    for y in 0..180 {
        let row = &luma.data[y * luma.stride..][..322];
        assert_eq!(row, &kept.luma().data[y * 322..][..322], "row {y}");
    }
    let chroma = kept.chroma().unwrap();
    assert_eq!((chroma.width, chroma.height), (322, 90));
    let chroma_off = off(chroma, |x, y| {
        let (_, cb, cr) = checker(x / 2 * 2, y * 2, first);
        if x % 2 == 0 { cb } else { cr }
    });
    assert!(chroma_off < 6.0, "off by {chroma_off}");
    let (status, output) = capture_check(&health);
    assert_eq!(status, Status::Pass, "{output}");
    assert!(output.contains("322x180 30 fps"), "{output}");
    assert!(output.contains("ware"), "it says whether hardware or software decodes: {output}");
}

#[test]
fn a_decoders_padded_rows_are_borrowed_and_not_repacked() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = file(&clip(dir.path(), "a.mp4", "mp4mux"), false, false);
    config.decode = Decode::Software;
    let (camera, health) = start(&config);
    assert!(frame(&camera).luma().stride > 328, "rows of 322 are packed into 324 when copied");
    assert!(capture_check(&health).1.contains("software, as configured"));
}

#[test]
fn a_clip_read_as_fast_as_it_goes_loses_no_frame_to_a_slow_reader() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = file(&clip(dir.path(), "a.mp4", "mp4mux"), false, false);
    config.queue_frames = 1;
    let (camera, health) = start(&config);
    std::thread::sleep(Duration::from_millis(500));
    let frames = all(&camera);
    assert_eq!(
        frames.iter().map(|f| f.0).collect::<Vec<_>>(),
        (0..CLIP_FRAMES).collect::<Vec<_>>()
    );
    let length = frames[89].1.duration_since(frames[0].1).as_millis();
    assert!((2960..=2970).contains(&length), "{length}");
    assert_eq!(health.metrics.frames_dropped.get(), 0);
    assert_eq!((camera.failure(), health.metrics.pipeline_rebuilds.get()), (None, 0));
    assert!(matches!(camera.next(PATIENCE), Next::Ended), "the end stays the end");
}

#[test]
fn a_slow_reader_of_a_live_source_gets_the_newest_frames_and_each_drop_is_counted() {
    let source = Source::TestPattern { width: 64, height: 48, frames_per_s: 60 };
    let (camera, health) = start(&config(source));
    let first = frame(&camera).sequence;
    let until = Instant::now() + PATIENCE;
    while health.metrics.frames.get() < 40 {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(10));
    }
    let next = frame(&camera).sequence;
    assert!(next > first + 20, "{first} {next}");
    camera.shared.stop.store(true, Ordering::Relaxed);
    let mut taken = 2;
    while let Next::Frame(_) = camera.next(PATIENCE) {
        taken += 1;
    }
    let metrics = &health.metrics;
    assert_eq!(metrics.frames.get(), metrics.frames_dropped.get() + taken);
}

#[test]
fn a_repeated_clip_goes_on_without_a_rebuild_and_its_times_never_go_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = clip(dir.path(), "a.mkv", "matroskamux");
    for realtime in [false, true] {
        let (camera, health) = start(&file(&path, true, realtime));
        let mut last = jiff::Timestamp::MIN;
        let mut sequence = 0;
        while sequence < CLIP_FRAMES + 30 {
            let frame = frame(&camera);
            assert!(frame.exposure.utc > last, "{} after {last}", frame.exposure.utc);
            assert_eq!(frame.exposure.source, ClockSource::Recording);
            (last, sequence) = (frame.exposure.utc, frame.sequence);
        }
        assert_eq!(health.metrics.pipeline_rebuilds.get(), 0);
    }
}

#[test]
fn a_clip_that_is_cut_off_gives_what_it_has_and_then_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = clip(dir.path(), "a.mp4", "mp4mux faststart=true");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 3]).unwrap();
    let (camera, health) = start(&file(&path, false, false));
    let frames = all(&camera);
    assert!(!frames.is_empty() && frames.len() < CLIP_FRAMES as usize, "{}", frames.len());
    assert!(camera.failure().is_some());
    let (status, output) = capture_check(&health);
    assert!(status == Status::Fail && output.contains("cut off"), "{output}");
}

#[test]
fn garbage_and_nothing_and_text_are_no_clip_and_the_error_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clip.mp4");
    let garbage: Vec<u8> =
        (0..200_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for content in [garbage.as_slice(), b"", b"no video, only words\n"] {
        fs::write(&path, content).unwrap();
        let (camera, health) = start(&file(&path, false, false));
        assert!(all(&camera).is_empty());
        let failure = camera.failure().expect("a failure");
        assert!(
            matches!(
                failure,
                CaptureError::NotVideo(_) | CaptureError::NoFrames | CaptureError::Pipeline(_)
            ),
            "{failure:?}"
        );
        assert_eq!(capture_check(&health), (Status::Fail, failure.to_string()));
    }
}

#[test]
fn what_no_waiting_mends_is_refused_at_once_with_its_remedy() {
    let refusal = |source| {
        let refused = Camera::start(&config(source), Keeper::default(), Arc::default());
        refused.map(drop).unwrap_err().to_string()
    };
    let missing = Source::File { path: "/nonexistent/a.mp4".into(), repeat: true, realtime: true };
    assert!(refusal(missing).contains("/nonexistent/a.mp4"));
    let folder = Source::File { path: "/".into(), repeat: false, realtime: false };
    assert!(refusal(folder).contains("not a regular file"));
    for (description, expected) in [
        ("nosuchelement ! videoconvert", "nosuchelement"),
        ("fakesrc ! fakesink", "no source pad"),
        ("videotestsrc ! ! x", "not a pipeline"),
    ] {
        let said = refusal(Source::Gstreamer { description: description.into() });
        assert!(said.contains(expected), "{said}");
    }
    if gst::ElementFactory::find("nvarguscamerasrc").is_none() {
        assert!(refusal(Source::NvArgus { sensor_id: 0 }).contains("JetPack"));
    }
}

#[test]
fn a_check_lists_every_problem_at_once() {
    let config = config(Source::Rtsp {
        url: "rtsp://user:hunter2@camera/".into(),
        transport: crate::config::Transport::Tcp,
        credentials_file: Some("/nonexistent/camera".into()),
    });
    let problems = check::check(&config);
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems.iter().all(|p| !p.1.contains("hunter2")), "{problems:?}");
    let fine = Source::TestPattern { width: 64, height: 48, frames_per_s: 10 };
    assert_eq!(check::check(&self::config(fine)), []);
}

#[test]
fn a_source_that_falls_silent_or_ends_is_built_again_and_frames_go_on() {
    // A camera of raw 64 × 48 frames: it falls silent after 8 frames, then ends, then lives.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let mut visits = vec![];
        for visit in 0..3 {
            let (mut stream, _) = listener.accept().unwrap();
            let frames = if visit == 2 { 1000 } else { 8 };
            for _ in 0..frames {
                if stream.write_all(&[128; 64 * 48]).is_err() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            // Kept open: silence is no end. The second is closed.
            if visit == 0 {
                visits.push(stream);
            }
        }
    });
    let (camera, health) = start(&config(Source::Gstreamer {
        description: format!(
            "tcpclientsrc host=127.0.0.1 port={port} do-timestamp=true \
             ! rawvideoparse width=64 height=48 format=gray8 framerate=50/1"
        ),
    }));
    let mut told = vec![];
    while health.metrics.pipeline_rebuilds.get() < 2 {
        match camera.next(Duration::from_millis(5)) {
            Next::Frame(frame) => assert!(!frame.has_colour()),
            Next::Idle => told.push(capture_check(&health).1),
            Next::Ended => panic!("ended"),
        }
    }
    let told = told.join("\n");
    assert!(told.contains("no frame for"), "{told}");
    assert!(frame(&camera).sequence < 20);
    let until = Instant::now() + PATIENCE;
    while frame(&camera).sequence < 40 {
        assert!(Instant::now() < until);
    }
    assert_eq!(capture_check(&health).0, Status::Pass);
    camera.stop();
    server.join().unwrap();
}

#[test]
fn a_stop_ends_a_thread_that_waits_for_room_and_one_that_waits_for_a_camera() {
    let dir = tempfile::tempdir().unwrap();
    let (waits_for_room, _) = start(&file(&clip(dir.path(), "a.mp4", "mp4mux"), true, false));
    frame(&waits_for_room);
    let (waits_for_camera, _) = start(&config(Source::Rtsp {
        url: "rtsp://127.0.0.1:1/".into(),
        transport: crate::config::Transport::Tcp,
        credentials_file: None,
    }));
    std::thread::sleep(Duration::from_millis(300));
    for camera in [waits_for_room, waits_for_camera] {
        let shared = camera.shared.clone();
        camera.stop();
        assert_eq!(Arc::strong_count(&shared), 1, "the thread is gone");
    }
}

#[test]
fn a_refused_connection_is_a_reason_that_names_what_to_check() {
    let (camera, health) = start(&config(Source::Rtsp {
        url: "rtsp://127.0.0.1:1/".into(),
        transport: crate::config::Transport::Tcp,
        credentials_file: None,
    }));
    let until = Instant::now() + PATIENCE;
    while health.metrics.pipeline_rebuilds.get() < 2 {
        assert!(Instant::now() < until);
        assert!(matches!(camera.next(Duration::from_millis(50)), Next::Idle));
    }
    let (status, output) = capture_check(&health);
    assert!(status == Status::Fail && output.contains("cable"), "{output}");
    assert!(!camera.is_stuck());
}
