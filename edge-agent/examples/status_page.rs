//! The local endpoint with made-up states: for looking at the status page without a pole.
//!
//!     cargo run -p milepost --example status_page -- good|trouble [ADDRESS:PORT]

use std::{error::Error, net::SocketAddr, sync::Arc};

use milepost::{
    config,
    health::{Component, Health, Status},
    local,
};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let trouble = args.next().as_deref() == Some("trouble");
    let listen: SocketAddr = args.next().as_deref().unwrap_or("127.0.0.1:8480").parse()?;
    let health = Arc::new(Health::new("demo-pd/main-st/north"));
    let says = [
        (Component::Capture, "RTSP over TCP, 1920×1080 at 30 frames/s, decoded in software"),
        (
            Component::Vision,
            "detector: cpu in use. aligner: cpu in use. reader: cpu in use. Golden plates: 8 of 8 read.",
        ),
        (Component::Outbox, "12 records waiting, 0.4 GB of 2 GB for photos"),
        (Component::Uplink, "connected to broker.example.org:8883, last receipt 2 s ago"),
        (Component::Clock, "disciplined by the kernel, off by at most 4 ms"),
        (Component::Lamp, "none fitted"),
        (Component::Sealing, "AES-256-GCM, key from the systemd credential milepost-sealing"),
    ];
    for (component, output) in says {
        health.set(component, Status::Pass, output);
    }
    if trouble {
        for (component, status, output) in [
            (
                Component::Lamp,
                Status::Fail,
                "the lamp's PWM channel 0 cannot be used: permission denied — allow the agent's user /sys/class/pwm",
            ),
            (
                Component::Vision,
                Status::Warn,
                "runs on cpu, asked for cuda: the ONNX Runtime library lacks it — install onnxruntime-gpu",
            ),
        ] {
            health.set(component, status, output);
        }
        health.metrics.pipeline_rebuilds.inc_by(3);
    }
    health.fact("Execution provider", "cpu (asked for: cuda, cpu)");
    health.fact("Camera stream", "rtsp://192.0.2.10/stream1");
    health.metrics.reads.inc_by(1284);
    health.metrics.unread_passes.inc_by(17);
    health.metrics.outbox_records.set(12);
    health.metrics.uplink_connected.set(1);
    let counted = Arc::clone(&health);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            counted.metrics.frames.inc_by(3);
        }
    });
    local::serve(&config::Local { listen, max_connections: 64 }, health, CancellationToken::new())
        .await?;
    Ok(())
}
