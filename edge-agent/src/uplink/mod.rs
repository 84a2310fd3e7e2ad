//! Out to the central server over MQTT, and its receipts back. The only module that knows MQTT.
//!
//! **The store owns retry, not the client.** Every connection gets a fresh client; what was not
//! acknowledged on the last one is sent again from the outbox, and a record leaves the outbox only
//! by the server's receipt (or the broker's acknowledgement where the configuration says that the
//! server sends none).
//!
//! - [`window`]: the records under way and which message goes next, with [`lanes`] (in which order),
//!   [`allowance`] (caps of bytes per hour) and [`pace`] (how much a slow line takes), all pure;
//! - `age`: whether a record is historical, whatever was done to the clock, pure;
//! - `line` and `session`: one connection from CONNECT to its end;
//! - [`cause`]: what a failed connection means and what to do about it;
//! - [`tls`], [`validity`] and [`witness`]: whom we trust, who we are, until when, and what a
//!   handshake shows;
//! - `keeper`: which of the TLS files a connection is made with, and renewal without restart;
//! - [`takeover`]: another client under this pole's name;
//! - [`central`], [`viewer`] and `saver`: the other end in small, for `milepost watch` and for tests.
//!
//! How it fails: never for good. Whatever ends a connection is named on the health page and tried
//! again after a pause that grows to [`BACKOFF_MAX`]; reading and keeping go on meanwhile.

mod age;
pub mod allowance;
pub mod cause;
pub mod central;
mod keeper;
pub mod lanes;
mod line;
pub mod pace;
mod saver;
mod session;
pub mod takeover;
pub mod tls;
pub mod validity;
pub mod viewer;
pub mod window;
pub mod witness;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use milepost_wire::{Root, TopicError};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    config,
    health::{Component, Health, Status},
    list_store::intake::Link,
    outbox::Outbox,
    suspension::Suspension,
};

/// First pause after a connection was lost.
pub const BACKOFF_MIN: Duration = Duration::from_millis(500);
/// Longest pause.
pub const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// A connection that lasted so long was a good one: the next pause is the first again.
const STEADY: Duration = Duration::from_secs(10);

/// Settings that no retry can mend; `milepost check` finds them beforehand.
#[derive(Debug, thiserror::Error)]
pub enum UplinkError {
    /// A name that can't stand in a topic.
    #[error("[site]: {0}")]
    Name(#[from] TopicError),
    /// Not `host:port`.
    #[error("uplink.broker = {0:?}: write host:port, e.g. broker.example:8883")]
    Broker(String),
}

/// `host:port` taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Checked against the broker's certificate.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl std::str::FromStr for Address {
    type Err = UplinkError;

    fn from_str(text: &str) -> Result<Self, UplinkError> {
        let parts = text.rsplit_once(':').and_then(|(host, port)| {
            // An IPv6 literal can't be checked against a certificate by name here.
            let fits = !host.is_empty() && !host.contains([':', '/', '@', ' ']);
            fits.then_some(Self { host: host.into(), port: port.parse().ok()? })
        });
        parts.filter(|a| a.port > 0).ok_or_else(|| UplinkError::Broker(text.into()))
    }
}

/// Sends what the outbox holds until `shutdown` is cancelled.
///
/// # Errors
/// Only for settings that no retry can mend; everything else is reported to `health` and retried.
pub async fn run(
    config: config::Uplink,
    site: config::Site,
    outbox: Outbox,
    suspension: Arc<Suspension>,
    lists: Option<Link>,
    health: Arc<Health>,
    shutdown: CancellationToken,
) -> Result<(), UplinkError> {
    let checked = Root::new(&site.agency, &site.site, &site.camera)
        .map_err(UplinkError::from)
        .and_then(|root| Ok((root, config.broker.parse::<Address>()?)));
    let (root, address) = match checked {
        Ok(parts) => parts,
        Err(error) => {
            health.set(Component::Uplink, Status::Fail, error.to_string());
            return Err(error);
        }
    };
    let mut window = window::Window::new(config.delivery, config.resend_after, config.caps);
    health.fact("TLS", tls::in_use());
    let files = tls::Files {
        ca: config.ca_file.clone(),
        certificate: config.certificate_file.clone(),
        key: config.key_file.clone(),
        crl: config.crl_file.clone(),
    };
    let keeper = Arc::new(keeper::Keeper::new(files));
    let takeovers = Mutex::default();
    let line =
        line::Line { config, root, address, outbox, suspension, lists, health, keeper, takeovers };
    let mut pause = BACKOFF_MIN;
    loop {
        let started = Instant::now();
        let end = session::run(&line, &mut window, &shutdown).await;
        window.disconnected();
        let was_connected = line.health.metrics.uplink_connected.set(0) == 1;
        line.health.metrics.uplink_backlog_records.set(line.outbox.len().cast_signed());
        let cause = match end {
            session::End::Shutdown => {
                line.health.set(Component::Uplink, Status::Fail, "stopped");
                return Ok(());
            }
            session::End::Renewed => {
                tracing::info!("new TLS files; connecting again with them");
                continue;
            }
            session::End::Lost(cause) => cause,
        };
        if started.elapsed() >= STEADY {
            pause = BACKOFF_MIN;
        }
        let away = line.away_for(&cause, was_connected).unwrap_or(pause);
        // Half to whole: poles that lost the same broker don't come back at the same moment.
        let wait = away.mul_f64(0.5 + 0.5 * rand::random::<f64>());
        tracing::warn!(%cause, retry_in_s = wait.as_secs_f64(), "uplink lost");
        line.say(Status::Fail, cause.to_string());
        tokio::select! {
            () = sleep(wait) => {}
            () = shutdown.cancelled() => {
                line.health.set(Component::Uplink, Status::Fail, "stopped");
                return Ok(());
            }
        }
        pause = (pause * 2).min(BACKOFF_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port_and_nothing_else() {
        let address = |t: &str| t.parse::<Address>().ok().map(|a| (a.host, a.port));
        assert_eq!(address("broker.example:8883"), Some(("broker.example".into(), 8883)));
        for bad in
            ["broker", ":8883", "broker:0", "broker:x", "broker:70000", "mqtts://b:1", "::1:1"]
        {
            assert_eq!(address(bad), None, "{bad}");
        }
    }
}
