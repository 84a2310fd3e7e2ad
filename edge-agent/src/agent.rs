//! The whole data flow on one page.
//!
//! ```text
//!            thread "vision"                      thread "keep"           task "uplink"
//! camera ─► capture ─► detect ─ read ─ follow ─► photos ─ outbox.keep ─► MQTT ─► server
//!              frames: drops the oldest    passes: never drops    records: durable
//! ```
//!
//! A stage that can't work says so on the health page and is tried again with back-off; the others
//! go on. A stop drains in the order of the flow: the camera ends, open passes are finished, all
//! of them are kept, and the uplink gets a moment to send what it can.

use std::{
    path::Path,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use milepost_wire as wire;
use tokio_util::sync::CancellationToken;

use crate::{
    board,
    capture::{Camera, CaptureError, Next},
    config::Config,
    health::{Component, Health, Status},
    local,
    outbox::{Entry, Outbox, OutboxError, Photo},
    recognise::{Finished, Recogniser},
    report::{self, Origin, Report},
    supervise::Backoff,
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
    let health = Arc::new(Health::default());
    let stop = CancellationToken::new();
    let config = Arc::new(config);

    runtime.block_on(async {
        let server = local::bind(&config.local).await?;
        tracing::info!(address = %config.local.listen, "local page");
        let endpoint = tokio::spawn(local::serve(server, config.local.clone(), health.clone(), stop.clone()));
        light(&config, &health);

        let (passes, to_keep) = mpsc::sync_channel(PASSES_WAITING);
        let vision = {
            let (config, health, stop) = (config.clone(), health.clone(), stop.clone());
            spawn("vision", move || watch(&config, &health, &passes, &stop))?
        };
        let (opened, outbox) = tokio::sync::oneshot::channel();
        let keep = {
            let (config, health, stop) = (config.clone(), health.clone(), stop.clone());
            spawn("keep", move || keep(&config, &health, opened, &to_keep, &stop))?
        };
        let sending = CancellationToken::new();
        let uplink = tokio::spawn(send(config.clone(), health.clone(), outbox, sending.clone()));

        stop_signal().await;
        tracing::info!("stopping");
        stop.cancel();
        let threads = tokio::task::spawn_blocking(move || (vision.join(), keep.join()));
        let _ = threads.await;
        drained(&health).await;
        sending.cancel();
        let _ = uplink.await;
        let _ = endpoint.await;
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

/// Camera → frames → finished passes, for ever.
fn watch(
    config: &Config,
    health: &Arc<Health>,
    passes: &mpsc::SyncSender<(Finished, Origin)>,
    stop: &CancellationToken,
) {
    let mut backoff = Backoff::default();
    while !stop.is_cancelled() {
        let Err(error) = look(config, health, passes, stop, &mut backoff) else { return };
        let component = match &error {
            StageError::Vision(_) => Component::Vision,
            StageError::Capture(_) => Component::Capture,
        };
        tracing::error!(component = component.name(), %error, "stage failed, trying again");
        health.set(component, Status::Fail, error.to_string());
        sleep(backoff.wait(), stop);
    }
}

fn look(
    config: &Config,
    health: &Arc<Health>,
    passes: &mpsc::SyncSender<(Finished, Origin)>,
    stop: &CancellationToken,
    backoff: &mut Backoff,
) -> Result<(), StageError> {
    let mut recogniser = Recogniser::load(config, health.clone())?;
    let origin = Origin::new(config, recogniser.versions(), recogniser.provider());
    let camera = Camera::start(&config.capture, health.clone())?;
    // Only the keep thread's end closes the channel, and it ends after this one.
    let give = |finished: Vec<Finished>| {
        finished.into_iter().for_each(|pass| drop(passes.send((pass, origin.clone()))));
    };
    while !stop.is_cancelled() {
        match camera.next(FRAME_WAIT) {
            Next::Frame(frame) => {
                backoff.reset();
                give(recogniser.look(&frame));
            }
            Next::Idle => {}
            Next::Ended => {
                give(recogniser.finish());
                health.set(Component::Capture, Status::Warn, "the clip was played to its end");
                sleep(Duration::MAX, stop);
            }
        }
    }
    camera.stop();
    give(recogniser.finish());
    Ok(())
}

/// Finished passes → durable records with their photos.
fn keep(
    config: &Config,
    health: &Arc<Health>,
    opened: tokio::sync::oneshot::Sender<Outbox>,
    passes: &mpsc::Receiver<(Finished, Origin)>,
    stop: &CancellationToken,
) {
    let mut backoff = Backoff::default();
    let outbox = loop {
        match Outbox::open(&config.outbox, &config.site, health.clone()) {
            Ok(outbox) => break outbox,
            Err(error) => {
                tracing::error!(%error, "the outbox can't be opened, trying again");
                health.set(Component::Outbox, Status::Fail, error.to_string());
                if stop.is_cancelled() {
                    return;
                }
                sleep(backoff.wait(), stop);
            }
        }
    };
    let _ = opened.send(outbox.clone());
    for (finished, origin) in passes {
        let entry = entry(report::report(&finished, &origin), health);
        // Nothing that was read is given up while the process lives.
        let mut backoff = Backoff::default();
        while let Err(error) = outbox.keep(&entry) {
            tracing::error!(%error, "a pass could not be kept, trying again");
            health.set(Component::Outbox, Status::Fail, error.to_string());
            if stop.is_cancelled() {
                break;
            }
            sleep(backoff.wait(), stop);
        }
    }
}
