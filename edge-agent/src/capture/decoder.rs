//! Which decoder is in use, and whether a hardware one was passed over.

use gstreamer::{self as gst, ElementFactoryType, prelude::*};

/// Decoders in hardware that are to win over software wherever they exist, whatever rank the
/// distribution gave them (several ship with rank "none"): Raspberry Pi and other V4L2 boards,
/// VA-API (Intel, AMD), NVIDIA desktop and Jetson.
const HARDWARE: [&str; 9] = [
    "v4l2h264dec",
    "v4l2h265dec",
    "v4l2slh264dec",
    "v4l2slh265dec",
    "vah264dec",
    "vah265dec",
    "nvh264dec",
    "nvh265dec",
    "nvv4l2decoder",
];

/// The decoder that a pipeline uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decoder {
    /// Its factory name.
    pub(crate) name: String,
    /// Whether it is hardware.
    pub(crate) hardware: bool,
    /// A hardware decoder for the same stream that is installed and not in use.
    pub(crate) passed_over: Option<String>,
}

/// Ranks the hardware decoders that exist above the software ones. Once a process.
pub(crate) fn prefer_hardware() {
    let above_software = gst::Rank::PRIMARY + 1;
    for factory in HARDWARE.iter().filter_map(|name| gst::ElementFactory::find(name)) {
        if factory.rank() < above_software {
            factory.set_rank(above_software);
        }
    }
}

fn is_hardware(factory: &gst::ElementFactory) -> bool {
    factory.has_type(ElementFactoryType::HARDWARE) || HARDWARE.contains(&factory.name().as_str())
}

impl Decoder {
    /// The video decoder in `bin`; `None` where there is none (yet).
    pub(crate) fn in_use(bin: &gst::Bin) -> Option<Self> {
        let video_decoder = ElementFactoryType::DECODER | ElementFactoryType::MEDIA_VIDEO;
        // An element that leaves while we look starts the walk over; it is short.
        let elements = bin.iterate_recurse().into_iter().flatten();
        let (decoder, factory) = elements
            .filter_map(|element| element.factory().map(|factory| (element, factory)))
            .find(|(element, factory)| {
                factory.has_type(video_decoder) && !element.is::<gst::Bin>()
            })?;
        let hardware = is_hardware(&factory);
        let caps = decoder.static_pad("sink").and_then(|pad| pad.current_caps());
        let passed_over = caps.filter(|_| !hardware).and_then(|caps| {
            gst::ElementFactory::factories_with_type(video_decoder, gst::Rank::MARGINAL)
                .into_iter()
                .find(|other| is_hardware(other) && other.can_sink_any_caps(&caps))
                .map(|other| other.name().to_string())
        });
        Some(Self { name: factory.name().to_string(), hardware, passed_over })
    }

    /// For the health page: `avdec_h264 (software; no hardware decoder found)`.
    pub(crate) fn describe(&self, software_only: bool) -> String {
        let name = &self.name;
        match (&self.passed_over, software_only) {
            _ if self.hardware => format!("{name} (hardware)"),
            (None, false) => format!("{name} (software; no hardware decoder found)"),
            (_, true) => format!("{name} (software, as configured)"),
            (Some(other), false) => {
                format!("{name} (software; the hardware decoder {other} could not be used)")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_health_page_tells_a_fallback_from_a_choice() {
        let software = Decoder { name: "avdec_h264".into(), hardware: false, passed_over: None };
        let fallback = Decoder { passed_over: Some("v4l2h264dec".into()), ..software.clone() };
        let hardware = Decoder { name: "vah264dec".into(), hardware: true, passed_over: None };
        assert!(software.describe(false).contains("no hardware decoder found"));
        assert!(fallback.describe(false).contains("v4l2h264dec could not be used"));
        assert!(fallback.describe(true).contains("as configured"));
        assert_eq!(hardware.describe(false), "vah264dec (hardware)");
    }
}
