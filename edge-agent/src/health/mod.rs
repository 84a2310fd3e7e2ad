//! What works and what does not: one check per component, and the counters behind them.
//!
//! Every stage is handed an `Arc<Health>` and says how it is; nothing here asks. No plate text
//! ever goes in.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use prometheus_client::{
    metrics::{family::Family, gauge::Gauge, info::Info},
    registry::Registry,
};

pub mod metrics;
pub mod process;
pub mod traffic;

pub use metrics::Metrics;
pub use traffic::Traffic;

/// Most facts kept; one per subject, so that a loop cannot fill memory.
pub const MAX_FACTS: usize = 16;

/// How a component is, in the words of `application/health+json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Works as configured.
    Pass,
    /// Works, but not as configured or not for long.
    Warn,
    /// Does not work.
    Fail,
}

/// One component's word.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Check {
    /// How it is.
    pub status: Status,
    /// What is the matter and what to do, in a sentence; for `pass`, what is in use.
    pub output: String,
    /// Since when it has had this status.
    pub since: jiff::Timestamp,
}

/// The components that report; each starts as `fail: not started`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Component {
    Capture,
    Vision,
    Outbox,
    Uplink,
    Clock,
    Lamp,
    Sealing,
    Lists,
}

impl Component {
    /// Every component.
    pub const ALL: [Self; 8] = [
        Self::Capture,
        Self::Vision,
        Self::Outbox,
        Self::Uplink,
        Self::Clock,
        Self::Lamp,
        Self::Sealing,
        Self::Lists,
    ];

    /// What people call it.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Capture => "Camera",
            Self::Vision => "Plate reading",
            Self::Outbox => "Queue",
            Self::Uplink => "Central server",
            Self::Clock => "Clock",
            Self::Lamp => "Lamp",
            Self::Sealing => "Storage encryption",
            Self::Lists => "Alert lists",
        }
    }

    /// Whether nothing can be read without it: what `/readyz` asks about. A pole whose server or
    /// lamp is away still reads and keeps.
    #[must_use]
    pub const fn is_essential(self) -> bool {
        matches!(self, Self::Capture | Self::Vision | Self::Outbox)
    }

    /// Its key on the health page and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Vision => "vision",
            Self::Outbox => "outbox",
            Self::Uplink => "uplink",
            Self::Clock => "clock",
            Self::Lamp => "lamp",
            Self::Sealing => "sealing",
            Self::Lists => "lists",
        }
    }
}

/// The checks and the counters of one agent.
#[derive(Debug)]
pub struct Health {
    /// The counters.
    pub metrics: Metrics,
    /// When this agent started, as the clock stood then; see [`Self::uptime`].
    pub started: jiff::Timestamp,
    began: Instant,
    /// Which pole this is, `agency/site/camera`.
    pub service_id: String,
    checks: Mutex<BTreeMap<Component, Check>>,
    facts: Mutex<BTreeMap<&'static str, String>>,
    traffic: Mutex<traffic::Sampler>,
}

impl Default for Health {
    fn default() -> Self {
        Self::new("unnamed")
    }
}

impl Health {
    /// Of a pole named `agency/site/camera`; every component is `fail: not started`.
    #[must_use]
    pub fn new(service_id: impl Into<String>) -> Self {
        let started = jiff::Timestamp::now();
        let waiting = Check { status: Status::Fail, output: "not started".into(), since: started };
        Self {
            metrics: Metrics::default(),
            started,
            began: Instant::now(),
            service_id: service_id.into(),
            checks: Mutex::new(Component::ALL.map(|c| (c, waiting.clone())).into()),
            facts: Mutex::default(),
            traffic: Mutex::new(traffic::Sampler::new(started)),
        }
    }

    /// How long this agent has run, whatever was done to the clock.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.began.elapsed()
    }

    /// Says how a component is; `since` moves only when the status changes.
    pub fn set(&self, component: Component, status: Status, output: impl Into<String>) {
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        let since = match checks.get(&component) {
            Some(check) if check.status == status => check.since,
            _ => jiff::Timestamp::now(),
        };
        checks.insert(component, Check { status, output: output.into(), since });
    }

    /// Every component's word, by component.
    #[must_use]
    pub fn checks(&self) -> BTreeMap<Component, Check> {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every component's word, worst first; among equals, in the order of the data's way.
    #[must_use]
    pub fn ranked(&self) -> Vec<(Component, Check)> {
        let mut checks: Vec<_> = self.checks().into_iter().collect();
        checks.sort_by_key(|(component, check)| (std::cmp::Reverse(check.status), *component));
        checks
    }

    /// The worst status of all.
    #[must_use]
    pub fn status(&self) -> Status {
        self.checks().values().map(|c| c.status).max().unwrap_or(Status::Fail)
    }

    /// Whether passes can be read and kept: no essential component fails.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.checks().iter().all(|(c, check)| !c.is_essential() || check.status != Status::Fail)
    }

    /// States a fact for the status page, e.g. `("Execution provider", "cpu; asked for: cuda, cpu")`.
    /// A later one of the same subject replaces it; subjects above [`MAX_FACTS`] are left out.
    pub fn fact(&self, subject: &'static str, value: impl Into<String>) {
        let mut facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        if facts.len() < MAX_FACTS || facts.contains_key(subject) {
            facts.insert(subject, value.into());
        }
    }

    /// The facts, by subject.
    #[must_use]
    pub fn facts(&self) -> BTreeMap<&'static str, String> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the frame rate, the day's passes and the process's own use; once a second by the
    /// local endpoint.
    pub fn sample(&self, now: jiff::Timestamp) {
        let m = &self.metrics;
        let counted = traffic::Counted {
            frames: m.frames.get(),
            reads: m.reads.get(),
            unread: m.unread_passes.get(),
        };
        let mut sampler = self.traffic.lock().unwrap_or_else(PoisonError::into_inner);
        sampler.sample(now, self.uptime(), counted);
        m.frames_per_second.set(sampler.traffic().frames_per_s);
        process::sample(m);
    }

    /// What went by lately, as of the last [`Self::sample`].
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner).traffic()
    }

    /// Everything that `/metrics` shows: the counters, and one gauge per component.
    #[must_use]
    pub fn registry(&self) -> Registry {
        let mut registry = self.metrics.registry();
        let status = Family::<Vec<(String, String)>, Gauge>::default();
        for (component, check) in self.checks() {
            status
                .get_or_create(&vec![("component".into(), component.name().into())])
                .set(check.status as i64);
        }
        registry.register("component_status", "0 pass, 1 warn, 2 fail", status);
        let started: Gauge = Gauge::default();
        started.set(self.started.as_second());
        registry.register("start_time_seconds", "When the agent started, Unix time", started);
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The agent's version", build);
        registry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_moves_only_when_the_status_changes() {
        let health = Health::default();
        let first = health.checks()[&Component::Lamp].since;
        health.set(Component::Lamp, Status::Fail, "still dark");
        assert_eq!(health.checks()[&Component::Lamp].since, first);
        health.set(Component::Lamp, Status::Pass, "none fitted");
        assert!(health.checks()[&Component::Lamp].since > first);
    }

    #[test]
    fn the_worst_component_comes_first_and_sets_the_status() {
        let health = Health::default();
        for c in Component::ALL {
            health.set(c, Status::Pass, "works");
        }
        health.set(Component::Uplink, Status::Warn, "slow");
        health.set(Component::Lamp, Status::Fail, "dark");
        let order: Vec<_> = health.ranked().into_iter().map(|(c, _)| c).collect();
        assert_eq!(order[..3], [Component::Lamp, Component::Uplink, Component::Capture]);
        assert_eq!(health.status(), Status::Fail);
    }

    #[test]
    fn a_pole_without_its_server_or_lamp_is_ready_and_one_without_camera_is_not() {
        let health = Health::default();
        for c in Component::ALL.into_iter().filter(|c| c.is_essential()) {
            health.set(c, Status::Warn, "works so far");
        }
        assert!(health.is_ready());
        health.set(Component::Capture, Status::Fail, "no frames");
        assert!(!health.is_ready());
    }

    #[test]
    fn ends_of_certificates_and_takeovers_are_metrics() {
        let health = Health::default();
        health.metrics.certificate_expiry.get_or_create(&[("certificate", "own")]).set(1);
        health.metrics.uplink_takeovers.inc();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &health.registry()).unwrap();
        for line in [
            "alpr_certificate_expiry_timestamp_seconds{certificate=\"own\"} 1",
            "alpr_uplink_takeovers_total 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in {text}");
        }
    }

    #[test]
    fn facts_are_replaced_and_bounded() {
        let health = Health::default();
        health.fact("a", "1");
        health.fact("a", "2");
        assert_eq!(health.facts()["a"], "2");
        let subjects: Vec<&'static str> =
            (0..50).map(|i| &*format!("subject {i}").leak()).collect();
        for subject in subjects {
            health.fact(subject, "x");
        }
        assert_eq!(health.facts().len(), MAX_FACTS);
    }
}
