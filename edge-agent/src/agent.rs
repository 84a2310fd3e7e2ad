//! The whole data flow on one page.
//!
//! ```text
//!            thread "vision"                      thread "keep"           task "uplink"
//! camera ─► capture ─► detect ─ read ─ follow ─► photos ─ match ─ outbox.keep ─► MQTT ─► server
//!              frames: drops the oldest    passes: never drops          records: durable
//!            thread "clock": is it kept, was it set ─► ledger and corrections, by "keep"
//!            thread "lists": announced by the server, asked for, taken in ─► "match", ledger
//!            thread "suspension": no frame is looked at by the server's order ─► ledger, by "keep"
//! ```
//!
//! A stage that can't work says so on the health page and is tried again with back-off; the others
//! go on. A stop drains in the order of the flow: the camera ends, open passes are finished, all
//! of them are kept, and the uplink gets a moment to send what it can.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use milepost_wire as wire;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::{
    board,
    capture::{Camera, CaptureError, Next},
    clock::{self, Keeper, LastLook, News},
    config::Config,
    health::{Component, Health, Status},
    keep::{self, Opened, ToKeep},
    local,
    recognise::{Finished, Recogniser},
    report::Origin,
    sealing::Watchdog,
    supervise::{Backoff, sleep},
    suspension::Suspension,
    uplink,
    vision::VisionError,
};

/// Finished passes that wait to be kept. Full, it holds the vision thread up: a pass is never
/// dropped, the frames before it are.
const PASSES_WAITING: usize = 64;
/// How long the vision thread waits for a frame before it looks whether it is to stop.
const FRAME_WAIT: Duration = Duration::from_millis(250);
/// How long an orderly stop waits for the uplink to send what is left.
const LAST_SENDING: Duration = Duration::from_secs(5);

/// Why the agent can't run at all. What can be mended while it runs is on the health page instead.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// No runtime or thread.
    #[error("could not start {what}: {source}")]
    Start {
        /// Which part.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The site's names can't be topics.
    #[error(transparent)]
    Site(#[from] wire::TopicError),
    /// The local endpoint can't listen: nobody could see what else is wrong.
    #[error(transparent)]
    Local(#[from] local::LocalError),
}

/// What one attempt of the vision thread ended with.
#[derive(Debug, thiserror::Error)]
enum StageError {
    #[error(transparent)]
    Vision(#[from] VisionError),
    #[error(transparent)]
    Capture(#[from] CaptureError),
}

/// Runs until `SIGINT` or `SIGTERM`, then stops in order.
///
/// # Errors
/// Where the runtime or the local endpoint can't start.
pub fn run(config: Config) -> Result<(), AgentError> {
    let start = |what| move |source| AgentError::Start { what, source };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(start("the runtime"))?;
    let site = &config.site;
    let health = Arc::new(Health::new(format!("{}/{}/{}", site.agency, site.site, site.camera)));
    let stop = CancellationToken::new();
    let config = Arc::new(config);

    runtime.block_on(async {
        let listener = local::bind(&config.local).await?;
        let endpoint = {
            let (config, health, stop) = (config.clone(), health.clone(), stop.clone());
            tokio::spawn(
                async move { local::serve_on(listener, &config.local, health, stop).await },
            )
        };
        let retention =
            Watchdog::start(&config, health.clone()).map_err(start("the retention watchdog"))?;
        let lamp = board::light(&config.lamp, &health);

        let root = config.site.root()?;
        // Before the camera: a restart stays suspended.
        let directory = &config.outbox.directory;
        let suspension = Arc::new(Suspension::open(directory, root.source(), health.clone()));
        let (passes, to_keep) = mpsc::sync_channel(PASSES_WAITING);
        let keeper = Keeper::new(config.clock);
        let clock = {
            let (keeper, health, stop) = (keeper.clone(), health.clone(), stop.clone());
            let news = passes.clone();
            // Never waits: what is not taken comes again.
            let give = move |n: &News| news.try_send(ToKeep::Clock(n.clone())).is_ok();
            let last_look = LastLook::new(directory.join(clock::last_look::FILE), clock::boot_id());
            spawn("clock", move || clock::watch(&keeper, &health, last_look, &stop, give))?
        };
        let suspending = {
            let (suspension, stop, news) = (suspension.clone(), stop.clone(), passes.clone());
            // Never waits: it nudges again.
            let nudge = move || drop(news.try_send(ToKeep::Suspension));
            spawn("suspension", move || suspension.watch(&stop, nudge))?
        };
        let vision = {
            let (config, health, stop) = (config.clone(), health.clone(), stop.clone());
            let stage =
                Stage { config, keeper, suspension: suspension.clone(), health, passes, stop };
            spawn("vision", move || stage.watch())?
        };
        let (opened, outbox) = oneshot::channel();
        let keep = {
            let (config, health, stop) = (config.clone(), health.clone(), stop.clone());
            let suspension = suspension.clone();
            spawn("keep", move || {
                keep::keep(&config, &health, &root, &suspension, opened, &to_keep, &stop);
            })?
        };
        let sending = CancellationToken::new();
        let uplink =
            tokio::spawn(send(config.clone(), health.clone(), suspension, outbox, sending.clone()));

        stop_signal().await.map_err(start("the signal handler"))?;
        tracing::info!("stopping");
        stop.cancel();
        let threads = tokio::task::spawn_blocking(move || {
            (vision.join(), clock.join(), suspending.join(), keep.join())
        });
        let _ = threads.await;
        drained(&health).await;
        sending.cancel();
        let _ = uplink.await;
        let _ = endpoint.await;
        // Dark again: dropping the lamp is its safe off.
        drop(lamp);
        drop(retention);
        Ok(())
    })
}

fn spawn<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<thread::JoinHandle<T>, AgentError> {
    let spawned = thread::Builder::new().name(what.into()).spawn(work);
    spawned.map_err(|source| AgentError::Start { what, source })
}

/// What the vision thread works with.
struct Stage {
    config: Arc<Config>,
    keeper: Keeper,
    suspension: Arc<Suspension>,
    health: Arc<Health>,
    passes: mpsc::SyncSender<ToKeep>,
    stop: CancellationToken,
}

impl Stage {
    /// Camera → frames → finished passes, for ever.
    fn watch(&self) {
        let mut backoff = Backoff::default();
        while !self.stop.is_cancelled() {
            let Err(error) = self.look(&mut backoff) else { return };
            let component = match &error {
                StageError::Vision(_) => Component::Vision,
                StageError::Capture(_) => Component::Capture,
            };
            tracing::error!(component = component.name(), %error, "stage failed, trying again");
            self.health.set(component, Status::Fail, error.to_string());
            sleep(backoff.wait(), &self.stop);
        }
    }

    fn look(&self, backoff: &mut Backoff) -> Result<(), StageError> {
        let Self { config, suspension, health, stop, .. } = self;
        let mut recogniser = Recogniser::load(config, health.clone())?;
        let origin = Origin::new(config, recogniser.versions(), recogniser.provider());
        // Only the keep thread's end closes the channel, and it ends after this one.
        let give = |finished: Vec<Finished>| {
            let to_keep = |pass| ToKeep::Pass(Box::new(pass), origin.clone());
            finished.into_iter().for_each(|pass| drop(self.passes.send(to_keep(pass))));
        };
        loop {
            suspension.wait(stop);
            if stop.is_cancelled() {
                return Ok(());
            }
            let camera = Camera::start(&config.capture, self.keeper.clone(), health.clone())?;
            loop {
                let next = camera.next(FRAME_WAIT);
                // Asked after the frame was taken: none that was exposed in a suspension is looked at.
                if stop.is_cancelled() || suspension.is_in_force() {
                    break;
                }
                match next {
                    Next::Frame(frame) => {
                        backoff.reset();
                        give(recogniser.look(&frame));
                        for pass in recogniser.previews() {
                            // Never waits: the pass itself comes.
                            let preview = ToKeep::Preview(Box::new(pass), origin.clone());
                            let _ = self.passes.try_send(preview);
                        }
                    }
                    Next::Idle => {}
                    Next::Ended => {
                        give(recogniser.finish());
                        if let Some(error) = camera.failure() {
                            return Err(error.into());
                        }
                        let output = "the clip was played to its end";
                        health.set(Component::Capture, Status::Warn, output);
                        sleep(Duration::MAX, stop);
                    }
                }
            }
            camera.stop();
            give(recogniser.finish());
        }
    }
}

/// Records → the server, for ever; starts once the outbox is open.
async fn send(
    config: Arc<Config>,
    health: Arc<Health>,
    suspension: Arc<Suspension>,
    opened: oneshot::Receiver<Opened>,
    stop: CancellationToken,
) {
    let opened = tokio::select! {
        opened = opened => opened,
        () = stop.cancelled() => return,
    };
    let Ok(Opened { outbox, lists }) = opened else { return };
    let (uplink, site) = (config.uplink.clone(), config.site.clone());
    let ended = uplink::run(uplink, site, outbox, suspension, lists, health.clone(), stop).await;
    if let Err(error) = ended {
        tracing::error!(%error, "the uplink ended");
        health.set(Component::Uplink, Status::Fail, error.to_string());
    }
}

/// Waits until nothing is left to send, or no longer than [`LAST_SENDING`].
async fn drained(health: &Health) {
    let metrics = &health.metrics;
    let idle = async {
        while metrics.outbox_records.get() > 0 && metrics.uplink_connected.get() > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let _ = tokio::time::timeout(LAST_SENDING, idle).await;
}

/// Returns at `SIGINT` or `SIGTERM`.
async fn stop_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}
