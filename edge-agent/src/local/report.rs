//! Health for machines: `application/health+json` (IETF draft-inadarei-api-health-check-06).

use serde_json::{Value, json};

use crate::health::{Component, Health};

/// Version of the contract of this document, not of the agent.
const CONTRACT_VERSION: &str = "1";

/// The whole document. Each component is one key of `checks`, with its main number where it has
/// one; `uptime` is a key of its own, as in the draft.
#[must_use]
pub fn health_json(health: &Health, now: jiff::Timestamp) -> Value {
    let mut checks = serde_json::Map::new();
    for (component, check) in health.checks() {
        let mut entry = json!({
            "componentType": "component",
            "status": check.status,
            "time": check.since,
            "output": check.output,
        });
        if let Some((value, unit)) = observed(health, component) {
            entry["observedValue"] = value;
            entry["observedUnit"] = unit.into();
        }
        checks.insert(component.name().into(), json!([entry]));
    }
    let uptime = health.uptime().as_secs();
    checks.insert(
        "uptime".into(),
        json!([{
            "componentType": "system",
            "observedValue": uptime,
            "observedUnit": "s",
            "status": "pass",
            "time": now,
        }]),
    );
    let notes: Vec<String> =
        health.facts().into_iter().map(|(subject, value)| format!("{subject}: {value}")).collect();
    json!({
        "status": health.status(),
        "version": CONTRACT_VERSION,
        "releaseId": env!("CARGO_PKG_VERSION"),
        "serviceId": health.service_id,
        "description": "Milepost edge agent",
        "notes": notes,
        "checks": checks,
    })
}

/// The number that says most about a component, and its unit.
fn observed(health: &Health, component: Component) -> Option<(Value, &'static str)> {
    let m = &health.metrics;
    match component {
        Component::Capture => {
            let rate = (health.traffic().frames_per_s * 10.0).round() / 10.0;
            Some((rate.into(), "frames/s"))
        }
        Component::Vision => Some((m.readings.get().into(), "readings")),
        Component::Outbox => Some((m.outbox_records.get().into(), "records")),
        Component::Uplink => Some((m.uplink_published.get().into(), "messages")),
        Component::Clock | Component::Lamp | Component::Sealing | Component::Lists => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Status;

    #[test]
    fn the_document_has_the_drafts_members_and_every_component() {
        let health = Health::new("demo-pd/main-st/north");
        for c in Component::ALL {
            health.set(c, Status::Pass, "works");
        }
        health.set(Component::Uplink, Status::Warn, "no receipt since 02:10");
        health.fact("Execution provider", "cpu");
        let report = health_json(&health, jiff::Timestamp::now());
        assert_eq!(report["status"], "warn");
        assert_eq!(report["serviceId"], "demo-pd/main-st/north");
        assert_eq!(report["notes"][0], "Execution provider: cpu");
        for c in Component::ALL {
            let check = &report["checks"][c.name()][0];
            assert!(check["status"].is_string() && check["output"].is_string(), "{c:?}: {check}");
            assert!(check["time"].as_str().is_some_and(|t| t.ends_with('Z')), "{check}");
        }
        assert_eq!(report["checks"]["uptime"][0]["observedUnit"], "s");
    }
}
