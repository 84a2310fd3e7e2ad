//! Promise: the local endpoint says how the pole is, to people and to machines, shows no plate, and
//! cannot be locked up by clients that connect and say nothing.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use milepost::{
    config,
    health::{Component, Health, Status},
    local,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// Generous: these tests ask whether an answer comes at all.
const PATIENCE: Duration = Duration::from_secs(20);

struct Endpoint {
    address: SocketAddr,
    health: Arc<Health>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Endpoint {
    async fn start() -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = config::Local { listen, max_connections: 16 };
        let listener = local::bind(&config).await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let health = Arc::new(Health::new("demo-pd/main-st/north"));
        for component in Component::ALL {
            health.set(component, Status::Pass, "works");
        }
        let stop = CancellationToken::new();
        let (served, token) = (Arc::clone(&health), stop.clone());
        let task =
            tokio::spawn(async move { local::serve_on(listener, &config, served, token).await });
        Self { address, health, stop, task }
    }

    /// Status code, headers (in small letters) and body.
    async fn ask(&self, method: &str, path: &str) -> (u16, String, String) {
        let exchange = async {
            let mut stream = TcpStream::connect(self.address).await.expect("a connection");
            let request =
                format!("{method} {path} HTTP/1.1\r\nhost: pole\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.expect("sent");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.expect("an answer");
            answer
        };
        let answer = timeout(PATIENCE, exchange).await.expect("an answer in time");
        let (head, body) = answer.split_once("\r\n\r\n").expect("headers");
        let code = head.split(' ').nth(1).and_then(|c| c.parse().ok()).expect("a status");
        (code, head.to_lowercase(), body.into())
    }

    async fn end(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.task).await.expect("an end").expect("no panic");
    }
}

#[tokio::test]
async fn every_route_answers_with_its_own_type_and_is_locked_down() {
    let endpoint = Endpoint::start().await;
    for (path, content_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/livez", "text/plain; charset=utf-8"),
        ("/readyz", "text/plain; charset=utf-8"),
        ("/health", "application/health+json"),
        ("/metrics", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
    ] {
        let (code, head, body) = endpoint.ask("GET", path).await;
        assert_eq!(code, 200, "{path}: {body}");
        for header in [
            &format!("content-type: {content_type}") as &str,
            "cache-control: no-store",
            "x-content-type-options: nosniff",
            "content-security-policy: default-src 'none'; style-src 'sha256-",
        ] {
            assert!(head.contains(header), "{path}: no {header} in {head}");
        }
        assert!(!body.is_empty());
        let (code, _, body) = endpoint.ask("HEAD", path).await;
        assert_eq!((code, body.as_str()), (200, ""), "HEAD {path}");
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            assert_eq!(endpoint.ask(method, path).await.0, 405, "{method} {path}");
        }
    }
    assert_eq!(endpoint.ask("GET", "/plates").await.0, 404);
    endpoint.end().await;
}

#[tokio::test]
async fn readiness_follows_camera_reader_and_queue_but_not_server_or_lamp() {
    let endpoint = Endpoint::start().await;
    for component in Component::ALL {
        endpoint.health.set(component, Status::Fail, "broken: mend it");
        let code = if component.is_essential() { 503 } else { 200 };
        let (said, _, body) = endpoint.ask("GET", "/readyz").await;
        assert_eq!(said, code, "{component:?}: {body}");
        assert_eq!(endpoint.ask("GET", "/health").await.0, 503, "any fault is one of the whole");
        assert_eq!(endpoint.ask("GET", "/livez").await.0, 200, "it lives in any case");
        endpoint.health.set(component, Status::Pass, "works");
    }
    endpoint.health.set(Component::Uplink, Status::Warn, "slow");
    let (code, _, body) = endpoint.ask("GET", "/health").await;
    let report: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((code, report["status"].as_str()), (200, Some("warn")));
    endpoint.end().await;
}

#[tokio::test]
async fn metrics_are_openmetrics_text_with_our_prefix() {
    let endpoint = Endpoint::start().await;
    endpoint.health.metrics.frames.inc_by(7);
    endpoint.health.metrics.detect_seconds.observe(0.003);
    endpoint.health.set(Component::Lamp, Status::Fail, "dark");
    let (_, _, text) = endpoint.ask("GET", "/metrics").await;
    assert!(text.ends_with("# EOF\n"));
    let mut described = Vec::new();
    for line in text.lines().filter(|l| *l != "# EOF") {
        if let Some(meta) = line.strip_prefix("# ") {
            let mut words = meta.splitn(3, ' ');
            let (kind, name) = (words.next(), words.next().expect("a name"));
            assert!(matches!(kind, Some("HELP" | "TYPE" | "UNIT")), "{line}");
            described.push(name.to_owned());
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect(line);
        let name = series.split('{').next().expect(line);
        assert!(name.starts_with("alpr_"), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(described.iter().any(|d| name.starts_with(d.as_str())), "{line} is not described");
    }
    for line in [
        "alpr_frames_total 7",
        "alpr_detect_seconds_count 1",
        "alpr_component_status{component=\"lamp\"} 2",
        "alpr_component_status{component=\"capture\"} 0",
    ] {
        assert!(text.lines().any(|l| l == line), "no {line} in\n{text}");
    }
    endpoint.end().await;
}

#[tokio::test]
async fn three_hundred_half_open_sockets_neither_stop_the_answers_nor_stay() {
    let endpoint = Endpoint::start().await;
    let mut half_open = Vec::new();
    for i in 0..300 {
        let mut stream = TcpStream::connect(endpoint.address).await.expect("a connection");
        // Some say nothing at all, some stop in the middle of their headers.
        if i % 2 == 0 {
            stream.write_all(b"GET /livez HTTP/1.1\r\nx-slow: ").await.expect("sent");
        }
        half_open.push(stream);
    }
    for path in ["/livez", "/", "/metrics"] {
        assert_eq!(endpoint.ask("GET", path).await.0, 200, "{path}");
    }
    assert!(endpoint.health.metrics.local_connections_evicted.get() >= 300 - 16);
    // The rest is closed by the time limit on headers, at most a little after it.
    let started = Instant::now();
    for mut stream in half_open {
        let mut rest = Vec::new();
        let closed = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "still open after {:?}", started.elapsed());
    }
    endpoint.end().await;
}

#[tokio::test]
async fn it_stops_in_order_while_clients_are_connected() {
    let endpoint = Endpoint::start().await;
    let _silent = TcpStream::connect(endpoint.address).await.expect("a connection");
    let address = endpoint.address;
    assert_eq!(endpoint.ask("GET", "/livez").await.0, 200);
    endpoint.end().await;
    assert!(TcpStream::connect(address).await.is_err(), "nothing listens any more");
}

#[tokio::test]
async fn what_a_component_says_cannot_become_html() {
    let endpoint = Endpoint::start().await;
    endpoint.health.set(Component::Capture, Status::Fail, "<script>alert(1)</script>");
    let (_, _, page) = endpoint.ask("GET", "/").await;
    assert!(!page.contains("<script"), "{page}");
    assert!(page.contains("&lt;script&gt;"));
    assert!(page.len() < 50_000);
    endpoint.end().await;
}
