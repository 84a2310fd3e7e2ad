//! What works and what does not: one check per component, and the counters behind them.
//!
//! Every stage is handed an `Arc<Health>` and says how it is; nothing here asks. No plate text
//! ever goes in.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

pub mod metrics;

pub use metrics::Metrics;

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
}

impl Component {
    /// Every component.
    pub const ALL: [Self; 6] =
        [Self::Capture, Self::Vision, Self::Outbox, Self::Uplink, Self::Clock, Self::Lamp];

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
        }
    }
}

/// The checks and the counters of one agent.
#[derive(Debug)]
pub struct Health {
    /// The counters.
    pub metrics: Metrics,
    /// When this agent started.
    pub started: jiff::Timestamp,
    checks: Mutex<BTreeMap<Component, Check>>,
}

impl Default for Health {
    fn default() -> Self {
        let started = jiff::Timestamp::now();
        let waiting = Check { status: Status::Fail, output: "not started".into(), since: started };
        Self {
            metrics: Metrics::default(),
            started,
            checks: Mutex::new(Component::ALL.map(|c| (c, waiting.clone())).into()),
        }
    }
}

impl Health {
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

    /// The worst status of all.
    #[must_use]
    pub fn status(&self) -> Status {
        self.checks().values().map(|c| c.status).max().unwrap_or(Status::Fail)
    }
}
