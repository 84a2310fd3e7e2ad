//! Promise: what is wrong with a certificate is named, and once it is mended the pole is back by
//! itself.
#![allow(clippy::unwrap_used)]

use harness::{
    broker::{Broker, pki},
    pole::pole,
};
use milepost::{
    config,
    health::{Component, Status},
    uplink::cause::Cause,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_certificate_is_named() {
    let scratch = tempfile::tempdir().unwrap();
    let broker = Broker::start(scratch.path(), "");
    let foreign = scratch.path().join("foreign");
    pki(&foreign);
    let good = broker.uplink();
    let cases = [
        (
            config::Uplink { ca_file: foreign.join("ca.crt"), ..good.clone() },
            Cause::UnknownAuthority.to_string(),
        ),
        (
            config::Uplink {
                certificate_file: foreign.join("pole.crt"),
                key_file: foreign.join("pole.key"),
                ..good.clone()
            },
            "refuses our client certificate".into(),
        ),
        (
            config::Uplink { certificate_file: "nowhere.crt".into(), ..good.clone() },
            "certificate_file nowhere.crt".into(),
        ),
        (
            config::Uplink { key_file: foreign.join("pole.key"), ..good.clone() },
            "use the key that this certificate was made for".into(),
        ),
        (config::Uplink { broker: "localhost:1".into(), ..good }, "can't be reached".into()),
    ];
    for (n, (settings, words)) in cases.into_iter().enumerate() {
        let pole = pole(&scratch.path().join(n.to_string()), settings);
        pole.until(&words, |p| p.says(&words)).await;
        let check = pole.health.checks()[&Component::Uplink].clone();
        assert_eq!(check.status, Status::Fail, "{}", check.output);
        pole.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_under_another_name_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let broker = Broker::start(scratch.path(), "");
    // 127.0.0.2 is this machine as well, and not in the certificate; the broker is told to listen
    // there by a forwarder.
    let listener = tokio::net::TcpListener::bind("127.0.0.2:0").await.unwrap();
    let (there, port) = (listener.local_addr().unwrap(), broker.address().port);
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut to = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
            });
        }
    });
    let pole =
        pole(scratch.path(), config::Uplink { broker: there.to_string(), ..broker.uplink() });
    let words = Cause::WrongName.to_string();
    pole.until("the wrong name is named", |p| p.says(&words)).await;
    pole.stop().await;
}
