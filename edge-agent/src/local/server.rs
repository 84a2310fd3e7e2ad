//! Connections: accepted, bounded in number and time, ended in order.
//!
//! axum alone sets no limit: 300 half-open sockets kept the page dead for 45 s. Here the number of
//! connections is bounded, and above the bound the **oldest that asks for nothing** makes room, so
//! that sockets which never send a request cannot lock out one that does. Headers must arrive
//! within [`HEADER_TIMEOUT`], a connection ends after [`CONNECTION_LIFETIME`] in any case.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind},
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::routes;
use crate::{config, health::Health};

/// A request's headers must have arrived after this; also how long an idle connection is kept.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// No connection lives longer, however slowly it reads.
pub const CONNECTION_LIFETIME: Duration = Duration::from_secs(60);

/// How long answers under way may take once the agent stops.
pub const STOP_GRACE: Duration = Duration::from_secs(2);

/// Request line and headers together.
const MAX_HEADER_BYTES: usize = 16 << 10;

/// Pause after a failed accept (out of file descriptors): a busy loop would make it worse.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// How often the health's rates are taken.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// Why the endpoint cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("the local endpoint cannot listen on {address}: {source} — {remedy}")]
pub struct LocalError {
    /// Where it should have.
    pub address: SocketAddr,
    /// What the kernel said.
    pub source: io::Error,
    /// What to do.
    pub remedy: &'static str,
}

/// Listens where the configuration says; the first half of [`serve`].
///
/// # Errors
/// The address is taken, not this machine's, or not allowed.
pub async fn bind(config: &config::Local) -> Result<TcpListener, LocalError> {
    TcpListener::bind(config.listen).await.map_err(|source| LocalError {
        address: config.listen,
        remedy: match source.kind() {
            ErrorKind::AddrInUse => {
                "another program (a second agent?) listens there: stop it, or choose another `local.listen`"
            }
            ErrorKind::AddrNotAvailable => {
                "no interface of this machine has that address: choose another `local.listen`, e.g. 127.0.0.1:8480"
            }
            ErrorKind::PermissionDenied => {
                "ports below 1024 need a privilege: choose a higher one in `local.listen`"
            }
            _ => "check `local.listen`",
        },
        source,
    })
}

/// Listens and answers until `shutdown`; then lets answers under way finish.
///
/// # Errors
/// As [`bind`]; never later.
pub async fn serve(
    config: &config::Local,
    health: Arc<Health>,
    shutdown: CancellationToken,
) -> Result<(), LocalError> {
    let listener = bind(config).await?;
    serve_on(listener, config, health, shutdown).await;
    Ok(())
}

/// Answers on a listener from [`bind`] until `shutdown`; then lets answers under way finish.
pub async fn serve_on(
    listener: TcpListener,
    config: &config::Local,
    health: Arc<Health>,
    shutdown: CancellationToken,
) {
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "local endpoint listens");
    }
    let router = routes::router(Arc::clone(&health));
    let mut open = Open { limit: config.max_connections, list: VecDeque::new() };
    let mut tasks = JoinSet::new();
    let mut samples = interval(SAMPLE_EVERY);
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            _ = samples.tick() => {
                health.sample(jiff::Timestamp::now());
                open.forget_ended();
                health.metrics.local_connections.set(open.count());
                continue;
            }
            Some(_) = tasks.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let Some(connection) = open.admit(&health) else { continue };
                let task = answer(stream, router.clone(), connection, shutdown.clone());
                tasks.spawn(task);
            }
            Err(error) => {
                tracing::warn!(%error, "local endpoint cannot accept a connection");
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
    drop(listener);
    let all_ended = async { while tasks.join_next().await.is_some() {} };
    if timeout(STOP_GRACE, all_ended).await.is_err() {
        tracing::debug!("local connections cut at the stop");
    }
}

/// What the acceptor knows of one connection.
#[derive(Debug, Default)]
struct Connection {
    /// A request has arrived and is being answered.
    answering: AtomicBool,
    evicted: CancellationToken,
}

/// The open connections, oldest first.
struct Open {
    limit: usize,
    list: VecDeque<Weak<Connection>>,
}

impl Open {
    /// Makes room and takes a new connection in; `None` where all others are being answered.
    fn admit(&mut self, health: &Health) -> Option<Arc<Connection>> {
        self.forget_ended();
        if self.list.len() >= self.limit {
            let oldest_silent = self
                .list
                .iter()
                .position(|c| c.upgrade().is_none_or(|c| !c.answering.load(Ordering::Relaxed)));
            let Some(silent) = oldest_silent.and_then(|i| self.list.remove(i)) else {
                health.metrics.local_connections_refused.inc();
                return None;
            };
            if let Some(silent) = silent.upgrade() {
                silent.evicted.cancel();
                health.metrics.local_connections_evicted.inc();
            }
        }
        let connection = Arc::default();
        self.list.push_back(Arc::downgrade(&connection));
        Some(connection)
    }

    fn forget_ended(&mut self) {
        self.list.retain(|c| c.strong_count() > 0);
    }

    fn count(&self) -> i64 {
        i64::try_from(self.list.len()).unwrap_or(i64::MAX)
    }
}

async fn answer(
    stream: TcpStream,
    router: Router,
    connection: Arc<Connection>,
    shutdown: CancellationToken,
) {
    let state = &connection;
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        state.answering.store(true, Ordering::Relaxed);
        let answer = router.clone().oneshot(request.map(Body::new));
        async move {
            let answer = answer.await;
            state.answering.store(false, Ordering::Relaxed);
            answer
        }
    });
    let mut served = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(MAX_HEADER_BYTES)
            .serve_connection(TokioIo::new(stream), service)
    );
    let mut lifetime = pin!(sleep(CONNECTION_LIFETIME));
    let mut stopping = false;
    loop {
        tokio::select! {
            biased;
            // An error here is the client's: gone away, no HTTP, too slow. It has seen it already.
            _ = served.as_mut() => return,
            () = connection.evicted.cancelled() => return,
            () = lifetime.as_mut() => return,
            () = shutdown.cancelled(), if !stopping => {
                stopping = true;
                served.as_mut().graceful_shutdown();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_silent_connection_makes_room_and_one_being_answered_never_does() {
        let health = Health::default();
        let mut open = Open { limit: 2, list: VecDeque::new() };
        let busy = open.admit(&health).unwrap();
        busy.answering.store(true, Ordering::Relaxed);
        let silent = open.admit(&health).unwrap();
        let third = open.admit(&health).unwrap();
        assert!(silent.evicted.is_cancelled() && !busy.evicted.is_cancelled());
        third.answering.store(true, Ordering::Relaxed);
        assert!(open.admit(&health).is_none(), "all are being answered");
        assert_eq!(health.metrics.local_connections_evicted.get(), 1);
        assert_eq!(health.metrics.local_connections_refused.get(), 1);
        drop(busy);
        assert!(open.admit(&health).is_some(), "an ended one leaves its place");
    }

    #[tokio::test]
    async fn a_taken_address_is_refused_with_a_remedy() {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let first = bind(&config::Local { listen, max_connections: 4 }).await.unwrap();
        let listen = first.local_addr().unwrap();
        let error = bind(&config::Local { listen, max_connections: 4 }).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&listen.to_string()) && text.contains("local.listen"), "{text}");
    }
}
