//! The same read as an ONVIF Profile M event in JSON, for video systems that subscribe to those.
//!
//! Shape: ONVIF Core ("event JSON": `UtcTime`, `Source`, `Data`) and ONVIF Analytics,
//! `RuleEngine/Recognition/LicensePlate`. A view, not a second contract: no receipt, no ledger.

use serde_json::{Value, json};

use crate::{event::Event, read::Read};

/// The `Rule` token of every event.
pub const RULE: &str = "milepost";

/// The ONVIF event of a read; `VideoSource` is the camera's name.
///
/// `BoundingBox` is in ONVIF's normalised coordinates: −1 to 1, x to the right, **y up**
/// (ONVIF Analytics, "coordinate system"). `Likelihood` is 0 to 1.
#[must_use]
pub fn event(event: &Event<Read>) -> Value {
    let read = &event.data;
    let short = |v: f64| (v * 1e5).round() / 1e5;
    let norm = |v: f32, size: u32| short(f64::from(v) / f64::from(size.max(1)) * 2.0 - 1.0);
    let likelihood = short(read.confidence.into());
    let over = |axis: usize, pick: fn(f32, f32) -> f32| {
        read.plate_corners_px.iter().map(|c| c[axis]).reduce(pick).unwrap_or_default()
    };
    let (width, height) = (read.frame_width_px, read.frame_height_px);
    let mut plate =
        json!({ "PlateNumber": { "Likelihood": likelihood, "Value": read.plate_text } });
    if let Some(state) = &read.state
        && let Some((country, entity)) = state.code.split_once('-')
    {
        let word = |w: &str| json!({ "Likelihood": short(state.confidence.into()), "Value": w });
        plate["CountryCode"] = word(country);
        plate["IssuingEntity"] = word(entity);
    }
    json!({
        "UtcTime": read.captured_at.to_string(),
        "Source": { "VideoSource": event.source.root().camera.as_str(), "Rule": RULE },
        "Data": {
            "ObjectId": read.read_id,
            "Likelihood": likelihood,
            "LicensePlateInfo": plate,
            "BoundingBox": {
                "left": norm(over(0, f32::min), width),
                "right": norm(over(0, f32::max), width),
                "top": -norm(over(1, f32::min), height),
                "bottom": -norm(over(1, f32::max), height),
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use crate::examples;

    #[test]
    fn the_box_is_normalised_with_y_up_and_the_state_is_split() {
        let mut read = examples::read();
        read.data.frame_width_px = 200;
        read.data.frame_height_px = 100;
        read.data.plate_corners_px = [[100.0, 50.0], [150.0, 50.0], [150.0, 75.0], [100.0, 75.0]];
        let view = super::event(&read);
        let corners = &view["Data"]["BoundingBox"];
        assert_eq!(corners["left"], 0.0);
        assert_eq!(corners["right"], 0.5);
        assert_eq!(corners["top"], -0.0);
        assert_eq!(corners["bottom"], -0.5);
        let plate = &view["Data"]["LicensePlateInfo"];
        assert_eq!(plate["CountryCode"]["Value"], "US");
        assert_eq!(plate["IssuingEntity"]["Value"], "CA");
        read.data.state = None;
        assert!(super::event(&read)["Data"]["LicensePlateInfo"].get("CountryCode").is_none());
    }
}
