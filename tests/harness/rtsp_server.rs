//! An RTSP server for the tests: a moving pattern, or a clip over and over, over real RTP.
//!
//! Prints `listening` once clients can come; ends with its standard input.

use std::{io::Read, path::PathBuf, time::Duration};

use gstreamer::{self as gst, glib, prelude::*};
use gstreamer_app::{AppSink, AppSrc};
use gstreamer_rtsp_server::{RTSPAuth, RTSPMediaFactory, RTSPServer, RTSPToken, prelude::*};

type Failure = Box<dyn std::error::Error>;

#[derive(Default)]
struct Args {
    port: String,
    path: String,
    clip: Option<PathBuf>,
    credentials: Option<String>,
    h265: bool,
}

fn args() -> Result<Args, Failure> {
    let mut args = Args { port: "8554".into(), path: "lane".into(), ..Args::default() };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let mut value = || given.next().ok_or(format!("{name} needs a value"));
        match name.as_str() {
            "--port" => args.port = value()?,
            "--path" => args.path = value()?,
            "--clip" => args.clip = Some(value()?.into()),
            "--credentials" => args.credentials = Some(value()?),
            "--h265" => args.h265 = true,
            other => return Err(format!("unknown argument {other}").into()),
        }
    }
    Ok(args)
}

fn main() -> Result<(), Failure> {
    gst::init()?;
    let args = args()?;
    let factory = RTSPMediaFactory::new();
    factory.set_shared(true);
    match &args.clip {
        Some(clip) => serve_clip(&factory, clip)?,
        None => factory.set_launch(pattern(args.h265)),
    }
    let server = RTSPServer::new();
    server.set_address("127.0.0.1");
    server.set_service(&args.port);
    if let Some(credentials) = &args.credentials {
        let (user, password) = credentials.split_once(':').ok_or("user:password")?;
        let auth = RTSPAuth::new();
        let token = RTSPToken::builder().field("media.factory.role", "camera").build();
        auth.add_basic(&RTSPAuth::make_basic(user, password), &token);
        server.set_auth(Some(&auth));
        let role = gst::Structure::builder("camera")
            .field("media.factory.access", true)
            .field("media.factory.construct", true)
            .build();
        factory.add_role_from_structure(&role);
    }
    let mounts = server.mount_points().ok_or("no mount points")?;
    mounts.add_factory(&format!("/{}", args.path), factory);
    let _attached = server.attach(None)?;
    println!("listening");

    let main_loop = glib::MainLoop::new(None, false);
    std::thread::spawn({
        let main_loop = main_loop.clone();
        move || {
            let _ = std::io::stdin().read_to_end(&mut vec![]);
            main_loop.quit();
        }
    });
    main_loop.run();
    Ok(())
}

/// 640 × 360 at 30 frames a second, a key frame every second.
fn pattern(h265: bool) -> &'static str {
    if h265 {
        "( videotestsrc is-live=true pattern=ball ! video/x-raw,width=640,height=360,framerate=30/1 \
         ! x265enc speed-preset=ultrafast tune=zerolatency key-int-max=30 \
         ! rtph265pay name=pay0 config-interval=1 )"
    } else {
        "( videotestsrc is-live=true pattern=ball ! video/x-raw,width=640,height=360,framerate=30/1 \
         ! x264enc speed-preset=ultrafast tune=zerolatency key-int-max=30 \
         ! rtph264pay name=pay0 config-interval=1 )"
    }
}

/// One coded picture of the clip.
struct Unit {
    data: gst::Buffer,
    at: Duration,
}

/// Reads the clip's H.264 once; each viewer's media is fed from memory, at the clip's own pace.
fn serve_clip(factory: &RTSPMediaFactory, clip: &std::path::Path) -> Result<(), Failure> {
    let units = std::sync::Arc::new(read_units(clip)?);
    factory.set_launch(
        "( appsrc name=feed is-live=true format=time max-bytes=8000000 \
         caps=video/x-h264,stream-format=byte-stream,alignment=au \
         ! h264parse ! rtph264pay name=pay0 config-interval=1 )",
    );
    factory.connect_media_configure(move |_, media| {
        let feed = media.element().downcast::<gst::Bin>().ok().and_then(|bin| bin.by_name("feed"));
        let Some(feed) = feed.and_then(|feed| feed.downcast::<AppSrc>().ok()) else { return };
        let (units, feed) = (units.clone(), feed.downgrade());
        std::thread::spawn(move || pace(&units, &feed));
    });
    Ok(())
}

fn read_units(clip: &std::path::Path) -> Result<Vec<Unit>, Failure> {
    let line = "filesrc name=file ! parsebin ! h264parse \
                ! video/x-h264,stream-format=byte-stream,alignment=au \
                ! appsink name=units sync=false";
    let pipeline =
        gst::parse::launch(line)?.downcast::<gst::Pipeline>().map_err(|_| "a pipeline")?;
    pipeline.by_name("file").ok_or("file")?.set_property("location", clip.to_str());
    let sink = pipeline.by_name("units").and_downcast::<AppSink>().ok_or("units")?;
    pipeline.set_state(gst::State::Playing)?;
    let mut units = vec![];
    while let Ok(sample) = sink.pull_sample() {
        let Some(buffer) = sample.buffer_owned() else { continue };
        let at = buffer.dts_or_pts().unwrap_or_default().into();
        units.push(Unit { data: buffer, at });
    }
    pipeline.set_state(gst::State::Null)?;
    let start = units.first().map(|unit| unit.at).ok_or("the clip holds no H.264")?;
    units.iter_mut().for_each(|unit| unit.at -= start);
    Ok(units)
}

/// Feeds the clip over and over until the media is gone.
fn pace(units: &[Unit], feed: &glib::WeakRef<AppSrc>) {
    let began = std::time::Instant::now();
    let length = units.last().map_or(Duration::ZERO, |unit| unit.at) + Duration::from_millis(33);
    for round in 0_u32.. {
        for unit in units {
            let at = length * round + unit.at;
            std::thread::sleep(at.saturating_sub(began.elapsed()));
            let Some(feed) = feed.upgrade() else { return };
            let mut data = unit.data.copy();
            let Some(stamped) = data.get_mut() else { return };
            let shift = |stamp: Option<gst::ClockTime>| {
                let first = units[0].data.dts_or_pts().unwrap_or_default();
                let by = gst::ClockTime::try_from(length * round).unwrap_or_default();
                stamp.map(|stamp| stamp.saturating_sub(first) + by)
            };
            stamped.set_pts(shift(unit.data.pts()));
            stamped.set_dts(shift(unit.data.dts()));
            if feed.push_buffer(data).is_err_and(|e| e == gst::FlowError::Eos) {
                return;
            }
        }
    }
}
