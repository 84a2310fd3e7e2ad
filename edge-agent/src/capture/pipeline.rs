//! One GStreamer pipeline from a source to frames that can be taken.
//!
//! Dropping it sets it to NULL and waits, so that threads, sockets and buffers are gone before the
//! next one is built. Errors on the bus come before the end of the stream: GStreamer says "end"
//! after an error as well. No signal handler holds a strong reference to an element (that would
//! be a cycle, and a leak at each rebuild).

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use gstreamer::{self as gst, prelude::*};
use gstreamer_app as gst_app;
use gstreamer_video::{self as gst_video, VideoFrame, VideoInfo, video_frame::Readable};

use super::{
    credentials::Credentials,
    decoder::Decoder,
    error::{CaptureError, from_bus},
    source::{Head, Pace, Part, Plan, package},
};

/// Decoded frames between the decoder and the capture thread, which takes them at once.
const SINK_FRAMES: u32 = 2;
/// How long a pipeline that refused to start has to say why.
const REASON_PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(1);
/// What frames may look like, best first: the decoders' own layouts, whose first plane is luma.
const FORMATS: [&str; 3] = ["NV12", "I420", "GRAY8"];

/// What [`Pipeline::pull`] found.
pub(crate) enum Pulled {
    /// A frame.
    Sample(gst::Sample),
    /// None in time.
    Nothing,
    /// The stream is over and every frame has been taken.
    End,
}

/// A frame's place in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timing {
    /// On the pipeline's clock ([`Pipeline::clock_ns`]), in ns; `None` where the source gives no time.
    pub(crate) clock_ns: Option<u64>,
    /// From the beginning of the clip.
    pub(crate) position: Option<Duration>,
    /// For how long it is shown.
    pub(crate) duration: Option<Duration>,
}

/// A pipeline, playing.
pub(crate) struct Pipeline {
    pipeline: gst::Pipeline,
    sink: gst_app::AppSink,
    bus: gst::Bus,
    clock: gst::Clock,
    secrets: Option<Credentials>,
    missing_codec: Option<String>,
    fault: Option<CaptureError>,
    ended: bool,
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        if let Err(e) = self.pipeline.set_state(gst::State::Null) {
            tracing::error!("a capture pipeline could not be stopped: {e}");
        }
    }
}

impl Pipeline {
    /// Builds and starts what `plan` says. `software` bars hardware decoders; `held` is how many
    /// frames may be held downstream at a time, for decoders with few buffers.
    ///
    /// # Errors
    /// Whatever can be said at once: a missing element, a missing file, a description that is none.
    pub(crate) fn start(
        plan: &Plan,
        software: bool,
        secrets: Option<Credentials>,
        held: u32,
    ) -> Result<Self, CaptureError> {
        let (pipeline, sink) = build(plan, software, secrets.as_ref(), held)?;
        let bus = pipeline.bus().ok_or_else(|| CaptureError::Pipeline("no bus".into()))?;
        // The monotonic clock, whatever the elements offer: its times can be mapped to UTC.
        let clock = gst::SystemClock::obtain();
        pipeline.use_clock(Some(&clock));
        let mut this = Self {
            pipeline,
            sink,
            bus,
            clock,
            secrets,
            missing_codec: None,
            fault: None,
            ended: false,
        };
        if this.pipeline.set_state(gst::State::Playing).is_err() {
            let wanted = [gst::MessageType::Error, gst::MessageType::Element];
            while this.fault.is_none() {
                match this.bus.timed_pop_filtered(REASON_PATIENCE, &wanted) {
                    Some(message) => this.hear(&message),
                    None => this.fault = Some(CaptureError::Pipeline("it does not start".into())),
                }
            }
            return Err(this.fault.take().unwrap_or(CaptureError::EndOfStream));
        }
        Ok(this)
    }

    /// The next frame, waited for at most `patience`.
    ///
    /// # Errors
    /// What the bus says; the pipeline is of no more use then.
    pub(crate) fn pull(&mut self, patience: gst::ClockTime) -> Result<Pulled, CaptureError> {
        let sample = self.sink.try_pull_sample(patience);
        // Always emptied, or it would grow for as long as frames come.
        while let Some(message) = self.bus.pop() {
            self.hear(&message);
        }
        match (sample, self.fault.take()) {
            (Some(sample), fault) => {
                self.fault = fault;
                Ok(Pulled::Sample(sample))
            }
            (None, Some(fault)) => Err(fault),
            (None, None) if self.ended || self.sink.is_eos() => Ok(Pulled::End),
            (None, None) => Ok(Pulled::Nothing),
        }
    }

    fn hear(&mut self, message: &gst::MessageRef) {
        match message.view() {
            gst::MessageView::Error(error) => {
                let secrets = self.secrets.as_ref();
                let secrets = secrets.map_or(vec![], |s| vec![s.password.as_str(), &s.user]);
                let said = from_bus(error, self.missing_codec.take(), &secrets);
                // The first is the cause; what follows are its consequences.
                self.fault.get_or_insert(said);
            }
            gst::MessageView::Eos(_) => self.ended = true,
            gst::MessageView::Element(element) => {
                let missing = element.structure().filter(|s| s.name() == "missing-plugin");
                if let Some(name) = missing.and_then(|s| s.get::<String>("name").ok()) {
                    self.missing_codec = Some(name);
                }
            }
            gst::MessageView::Latency(_) => {
                let _ = self.pipeline.recalculate_latency();
            }
            _ => {}
        }
    }

    /// Back to the beginning of the clip.
    ///
    /// # Errors
    /// [`CaptureError::Pipeline`] where the container cannot seek.
    pub(crate) fn rewind(&mut self) -> Result<(), CaptureError> {
        self.ended = false;
        self.pipeline
            .seek_simple(gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE, gst::ClockTime::ZERO)
            .map_err(|_| CaptureError::Pipeline("the clip cannot be started again".into()))
    }

    /// The length that the clip's container states.
    pub(crate) fn stated_length(&self) -> Option<Duration> {
        self.pipeline.query_duration::<gst::ClockTime>().map(Into::into)
    }

    /// The pipeline's clock (monotonic), now, in ns.
    pub(crate) fn clock_ns(&self) -> u64 {
        self.clock.time().nseconds()
    }

    /// When a frame was taken by its source.
    pub(crate) fn timing(&self, sample: &gst::Sample) -> Timing {
        let segment = sample.segment().and_then(|s| s.downcast_ref::<gst::ClockTime>());
        let pts = sample.buffer().and_then(gst::BufferRef::pts);
        let running = segment.zip(pts).and_then(|(s, pts)| s.to_running_time(pts));
        let position = segment.zip(pts).and_then(|(s, pts)| s.to_stream_time(pts));
        let base = self.sink.base_time();
        Timing {
            clock_ns: base.zip(running).map(|(base, running)| (base + running).nseconds()),
            position: position.map(Into::into),
            duration: sample.buffer().and_then(gst::BufferRef::duration).map(Into::into),
        }
    }

    /// The decoder in use; `None` for a source of raw frames.
    pub(crate) fn decoder(&self) -> Option<Decoder> {
        Decoder::in_use(self.pipeline.upcast_ref())
    }
}

/// The picture in a sample, borrowed; `None` where it is not one.
pub(crate) fn map(sample: &gst::Sample) -> Option<VideoFrame<Readable>> {
    let info = VideoInfo::from_caps(sample.caps()?).ok()?;
    VideoFrame::from_buffer_readable(sample.buffer_owned()?, &info).ok()
}

/// Frames a second that a sample's caps state; `None` where they state none.
pub(crate) fn stated_rate(sample: &gst::Sample) -> Option<f64> {
    let fps = VideoInfo::from_caps(sample.caps()?).ok()?.fps();
    (fps.numer() > 0).then(|| f64::from(fps.numer()) / f64::from(fps.denom()))
}

/// An element, or which package brings it.
pub(crate) fn make(factory: &str) -> Result<gst::Element, CaptureError> {
    gst::ElementFactory::make(factory).build().map_err(|_| CaptureError::MissingElement {
        element: factory.into(),
        package: package(factory),
    })
}

fn build(
    plan: &Plan,
    software: bool,
    secrets: Option<&Credentials>,
    held: u32,
) -> Result<(gst::Pipeline, gst_app::AppSink), CaptureError> {
    let pipeline = gst::Pipeline::new();
    let add = |element: &gst::Element| pipeline.add(element).map_err(unlinkable);
    // Passes frames on untouched where they have one of the layouts already: no copy then.
    let convert = make("videoconvert")?;
    let sink = gst_app::AppSink::builder()
        .caps(&gst::Caps::builder("video/x-raw").field("format", gst::List::new(FORMATS)).build())
        .max_buffers(SINK_FRAMES)
        .drop(false)
        .sync(plan.pace == Pace::Timestamps)
        .enable_last_sample(false)
        .build();
    allow_padded_rows(&sink, held);
    add(&convert)?;
    add(sink.upcast_ref())?;
    convert.link(&sink).map_err(unlinkable)?;

    let entry = if plan.decode {
        let decode = decodebin(software, &convert)?;
        add(&decode)?;
        decode
    } else {
        convert
    };
    match &plan.head {
        Head::Chain(parts) => {
            let elements = parts.iter().map(part).collect::<Result<Vec<_>, _>>()?;
            for element in &elements {
                add(element)?;
            }
            let next = elements.iter().skip(1).chain([&entry]);
            for (element, next) in elements.iter().zip(next) {
                link(element, next)?;
            }
            if let (Some(source), Some(secrets)) = (elements.first(), secrets) {
                source.set_property("user-id", &secrets.user);
                source.set_property("user-pw", &secrets.password);
            }
        }
        Head::Description(description) => {
            let bin = parse(description)?;
            add(bin.upcast_ref())?;
            bin.link(&entry).map_err(|_| {
                CaptureError::Description("what comes out of it is not raw video".into())
            })?;
        }
    }
    Ok((pipeline, sink))
}

/// A free description as a bin with one source pad.
pub(crate) fn parse(description: &str) -> Result<gst::Bin, CaptureError> {
    let bin = gst::parse::bin_from_description(description, true)
        .map_err(|e| CaptureError::Description(super::error::redact(e.message(), &[])))?;
    match bin.static_pad("src") {
        Some(_) => Ok(bin),
        None => Err(CaptureError::Description("it has no source pad left to link".into())),
    }
}

fn unlinkable(e: gst::glib::BoolError) -> CaptureError {
    CaptureError::Pipeline(format!("its elements do not fit together: {}", e.message))
}

fn part(part: &Part) -> Result<gst::Element, CaptureError> {
    let element = make(part.factory)?;
    for (name, value) in &part.properties {
        // Older or vendor-built plug-ins may lack a property; setting it would abort the process.
        if !element.has_property(name) {
            tracing::warn!("{} has no property '{name}': left out", part.factory);
            continue;
        }
        element.set_property_from_str(name, value);
    }
    Ok(element)
}

/// Links now, or when the first video pad appears.
fn link(element: &gst::Element, next: &gst::Element) -> Result<(), CaptureError> {
    if element.static_pad("src").is_some() {
        return element.link(next).map_err(unlinkable);
    }
    // rtspsrc: one video stream is set up; sound and ONVIF metadata are never asked for.
    let taken = AtomicBool::new(false);
    element.connect("select-stream", false, move |args| {
        let caps = args.get(2).and_then(|caps| caps.get::<gst::Caps>().ok());
        let media =
            caps.and_then(|caps| Some(caps.structure(0)?.get::<String>("media").ok()? == "video"));
        let wanted = media.unwrap_or(true) && !taken.swap(true, Ordering::Relaxed);
        Some(wanted.to_value())
    });
    let next = next.downgrade();
    element.connect_pad_added(move |_, pad| {
        let sink = next.upgrade().and_then(|next| next.static_pad("sink"));
        if let Some(sink) = sink.filter(|sink| !sink.is_linked())
            && let Err(e) = pad.link(&sink)
        {
            tracing::warn!("the stream cannot be linked: {e:?}");
        }
    });
    Ok(())
}

/// Whatever decodes what comes, by rank; what it gives goes to `next`.
fn decodebin(software: bool, next: &gst::Element) -> Result<gst::Element, CaptureError> {
    let decode = make("decodebin")?;
    decode.set_property("force-sw-decoders", software);
    // Only video is decoded; sound tracks stay as they are, unlinked.
    decode.set_property("caps", gst::Caps::builder("video/x-raw").any_features().build());
    decode.set_property("expose-all-streams", false);
    let next = next.downgrade();
    decode.connect_pad_added(move |decode, pad| {
        let Some(next) = next.upgrade() else { return };
        let Some(sink) = next.static_pad("sink").filter(|sink| !sink.is_linked()) else { return };
        let linked = match device_memory(pad) {
            true => through_nvvidconv(decode, pad, &sink),
            false => pad.link(&sink).map(drop).map_err(|e| format!("{e:?}")),
        };
        if let Err(e) = linked {
            gst::element_error!(
                decode,
                gst::CoreError::Pad,
                ("decoded video cannot be linked: {e}")
            );
        }
    });
    Ok(decode)
}

/// Whether a pad gives frames in a Jetson's device memory only.
fn device_memory(pad: &gst::Pad) -> bool {
    let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
    caps.features(0).is_some_and(|features| features.contains("memory:NVMM"))
}

fn through_nvvidconv(decode: &gst::Element, pad: &gst::Pad, sink: &gst::Pad) -> Result<(), String> {
    let copy = make("nvvidconv").map_err(|e| e.to_string())?;
    let bin = decode.parent().and_downcast::<gst::Bin>().ok_or("the pipeline is gone")?;
    bin.add(&copy).map_err(|e| e.to_string())?;
    let (inlet, outlet) = (copy.static_pad("sink"), copy.static_pad("src"));
    let (inlet, outlet) = inlet.zip(outlet).ok_or("nvvidconv has no pads")?;
    outlet.link(sink).map_err(|e| format!("{e:?}"))?;
    pad.link(&inlet).map_err(|e| format!("{e:?}"))?;
    copy.sync_state_with_parent().map_err(|e| e.to_string())
}

/// Tells decoders that padded rows are welcome, or libav would copy every frame into packed ones,
/// and how many frames we hold at a time. (appsink's own call-back for this needs GStreamer 1.24.)
fn allow_padded_rows(sink: &gst_app::AppSink, held: u32) {
    let Some(pad) = sink.static_pad("sink") else { return };
    pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, move |_, info| {
        let Some(query) = info.query_mut() else { return gst::PadProbeReturn::Ok };
        let gst::QueryViewMut::Allocation(allocation) = query.view_mut() else {
            return gst::PadProbeReturn::Ok;
        };
        let info = allocation.get_owned().0.and_then(|caps| VideoInfo::from_caps(&caps).ok());
        if let Some(size) = info.and_then(|info| u32::try_from(info.size()).ok()) {
            allocation.add_allocation_pool(gst::BufferPool::NONE, size, held, 0);
        }
        allocation.add_allocation_meta::<gst_video::VideoMeta>(None);
        gst::PadProbeReturn::Handled
    });
}
