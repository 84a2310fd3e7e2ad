//! A bad line: a TCP proxy that cuts, freezes, slows, refuses and forgets connections on command.
//!
//! Under TLS single packets can't be picked out, so acknowledgements are lost by freezing or cutting
//! the way back after so many bytes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use milepost::uplink::Address;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
    time::sleep,
};

/// Bytes taken at once: small, so that a cut falls into the middle of a message.
const CHUNK: usize = 2048;
/// How long a listener is tried to be had again.
const REBIND: Duration = Duration::from_millis(20);

/// A direction through the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the pole to the broker.
    Out,
    /// From the broker to the pole: acknowledgements and receipts.
    Back,
}

/// How the line is.
#[derive(Debug, Clone, Default)]
struct State {
    frozen: [bool; 2],
    delay: Duration,
    refuse: bool,
    /// Connections with a lower number are closed.
    cut_below: u64,
    /// Connections with a lower number stay open and carry nothing more.
    dead_below: u64,
}

impl State {
    fn carries(&self, number: u64, way: Way) -> bool {
        number >= self.dead_below && !self.frozen[way as usize]
    }
}

#[derive(Debug)]
struct Shared {
    state: watch::Sender<State>,
    connections: AtomicU64,
    /// Bytes that may still go each way before all connections are cut; `u64::MAX`: no limit.
    left: [AtomicU64; 2],
}

/// One proxy; dropped, its connections end.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Starts one before `target`.
    pub async fn start(target: Address) -> Self {
        let shared = Arc::new(Shared {
            state: watch::Sender::default(),
            connections: AtomicU64::new(0),
            left: [const { AtomicU64::new(u64::MAX) }; 2],
        });
        let port = crate::free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a listener");
        let task = tokio::spawn(listen(port, listener, target, shared.clone()));
        Self { port, shared, task }
    }

    /// What to give as `uplink.broker`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// Connections taken until now.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Closes all connections.
    pub fn cut(&self) {
        self.shared.cut();
    }

    /// Closes all connections once so many more bytes have gone that way.
    pub fn cut_after(&self, way: Way, bytes: u64) {
        self.shared.left[way as usize].store(bytes, Ordering::SeqCst);
    }

    /// Carries nothing more one way; both ends stay connected.
    pub fn freeze(&self, way: Way) {
        self.shared.state.send_modify(|s| s.frozen[way as usize] = true);
    }

    /// Leaves the present connections open and dead for ever; new ones work.
    pub fn abandon(&self) {
        let next = self.connections();
        self.shared.state.send_modify(|s| s.dead_below = next);
    }

    /// Refuses new connections and closes the present ones.
    pub fn refuse(&self) {
        self.shared.state.send_modify(|s| s.refuse = true);
        self.cut();
    }

    /// Each chunk waits so long.
    pub fn delay(&self, delay: Duration) {
        self.shared.state.send_modify(|s| s.delay = delay);
    }

    /// A good line again: no limits, no delay. Connections that were cut or abandoned stay so.
    pub fn mend(&self) {
        for left in &self.shared.left {
            left.store(u64::MAX, Ordering::SeqCst);
        }
        self.shared.state.send_modify(|s| {
            (s.frozen, s.delay, s.refuse) = ([false; 2], Duration::ZERO, false);
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        self.task.abort();
    }
}

impl Shared {
    fn cut(&self) {
        let next = self.connections.load(Ordering::SeqCst);
        self.state.send_modify(|s| s.cut_below = next);
    }

    /// Takes up to `wanted` bytes from what may go that way.
    fn take(&self, way: Way, wanted: usize) -> usize {
        let left = &self.left[way as usize];
        let before = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| {
            (n != u64::MAX).then(|| n.saturating_sub(wanted as u64))
        });
        before.map_or(wanted, |n| wanted.min(usize::try_from(n).unwrap_or(wanted)))
    }
}

async fn listen(port: u16, first: TcpListener, target: Address, shared: Arc<Shared>) {
    let mut state = shared.state.subscribe();
    let mut listener = Some(first);
    loop {
        let refuse = state.borrow_and_update().refuse;
        match &listener {
            Some(_) if refuse => listener = None,
            None if !refuse => {
                listener = TcpListener::bind(("127.0.0.1", port)).await.ok();
                if listener.is_none() {
                    sleep(REBIND).await;
                }
            }
            None => drop(state.changed().await),
            Some(open) => tokio::select! {
                _ = state.changed() => {}
                taken = open.accept() => if let Ok((pole, _)) = taken {
                    let number = shared.connections.fetch_add(1, Ordering::SeqCst);
                    tokio::spawn(carry(number, pole, target.clone(), shared.clone()));
                },
            },
        }
    }
}

async fn carry(number: u64, pole: TcpStream, target: Address, shared: Arc<Shared>) {
    let Ok(broker) = TcpStream::connect((target.host.as_str(), target.port)).await else { return };
    let _ = (pole.set_nodelay(true), broker.set_nodelay(true));
    let (from_pole, to_pole) = pole.into_split();
    let (from_broker, to_broker) = broker.into_split();
    // The first way that ends takes the other with it.
    tokio::select! {
        () = pump(number, Way::Out, from_pole, to_broker, &shared) => {}
        () = pump(number, Way::Back, from_broker, to_pole, &shared) => {}
    }
}

async fn pump(
    number: u64,
    way: Way,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    shared: &Shared,
) {
    let mut state = shared.state.subscribe();
    let mut chunk = [0; CHUNK];
    loop {
        let read = tokio::select! {
            read = from.read(&mut chunk) => read,
            _ = state.wait_for(|s| number < s.cut_below) => return,
        };
        let Ok(bytes @ 1..) = read else { return };
        // `wait_for` looks before it waits.
        let may = state.wait_for(|s| number < s.cut_below || s.carries(number, way)).await;
        let (cut, delay) = may.map_or((true, Duration::ZERO), |s| (number < s.cut_below, s.delay));
        if cut {
            return;
        }
        if !delay.is_zero() {
            sleep(delay).await;
        }
        let may_go = shared.take(way, bytes);
        if to.write_all(&chunk[..may_go]).await.is_err() {
            return;
        }
        if may_go < bytes {
            shared.cut();
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A proxy before an echo, and a connection through it.
    async fn line() -> (Proxy, TcpStream) {
        let echo = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Address { host: "127.0.0.1".into(), port: echo.local_addr().unwrap().port() };
        tokio::spawn(async move {
            while let Ok((stream, _)) = echo.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.into_split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        let proxy = Proxy::start(target).await;
        let stream = TcpStream::connect(("127.0.0.1", proxy.port)).await.unwrap();
        (proxy, stream)
    }

    async fn echoes(stream: &mut TcpStream) -> bool {
        let mut back = [0; 4];
        stream.write_all(b"ping").await.is_ok()
            && tokio::time::timeout(Duration::from_millis(500), stream.read_exact(&mut back))
                .await
                .is_ok_and(|read| read.is_ok())
    }

    #[tokio::test]
    async fn a_good_line_carries_and_a_cut_one_ends() {
        let (proxy, mut stream) = line().await;
        assert!(echoes(&mut stream).await);
        proxy.cut();
        assert!(!echoes(&mut stream).await);
        let mut again = TcpStream::connect(("127.0.0.1", proxy.port)).await.unwrap();
        assert!(echoes(&mut again).await);
    }

    #[tokio::test]
    async fn a_way_that_is_frozen_goes_on_when_mended_and_an_abandoned_one_never() {
        let (proxy, mut stream) = line().await;
        proxy.freeze(Way::Back);
        assert!(!echoes(&mut stream).await);
        proxy.mend();
        let mut first = [0; 4];
        stream.read_exact(&mut first).await.unwrap();
        assert!(echoes(&mut stream).await);
        proxy.abandon();
        assert!(!echoes(&mut stream).await);
        proxy.mend();
        assert!(!echoes(&mut stream).await);
    }

    #[tokio::test]
    async fn the_way_back_ends_after_so_many_bytes_and_a_refusing_line_is_no_line() {
        let (proxy, mut stream) = line().await;
        proxy.cut_after(Way::Back, 6);
        assert!(echoes(&mut stream).await && !echoes(&mut stream).await);
        proxy.mend();
        proxy.refuse();
        let until = std::time::Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", proxy.port)).await.is_ok() {
            assert!(std::time::Instant::now() < until, "still taken");
            sleep(REBIND).await;
        }
        proxy.mend();
        while TcpStream::connect(("127.0.0.1", proxy.port)).await.is_err() {
            assert!(std::time::Instant::now() < until, "not taken again");
            sleep(REBIND).await;
        }
    }
}
