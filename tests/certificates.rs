//! Promise: what is wrong with a certificate is named, and once it is mended the pole is back within
//! a minute, without a restart. Renewal costs no read, and nobody takes a pole's name unseen.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use harness::{
    authority::{Authority, FINE},
    broker::{Broker, ROOT, pki},
    pole::{Pole, pole, server},
};
use milepost::{
    config::Uplink,
    health::{Component, Status},
    uplink::{cause, tls},
};
use rumqttc::{
    Transport,
    v5::{AsyncClient, Event, EventLoop, Incoming, MqttOptions},
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncWriteExt as _, copy, split},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// From mending to connected.
const RECOVERY: Duration = Duration::from_secs(60);

/// A broker, its authority and another, and a pole's own files.
struct Scene {
    scratch: tempfile::TempDir,
    broker: Broker,
    authority: Authority,
    /// Nobody here trusts this one.
    foreign: Authority,
    settings: Uplink,
}

impl Scene {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let broker = Broker::start(scratch.path(), "");
        let foreign = scratch.path().join("foreign");
        pki(&foreign);
        let own = scratch.path().join("pole");
        fs::create_dir(&own).unwrap();
        for name in ["ca.crt", "pole.crt", "pole.key"] {
            fs::copy(broker.pki().join(name), own.join(name)).unwrap();
        }
        let settings = Uplink {
            ca_file: own.join("ca.crt"),
            certificate_file: own.join("pole.crt"),
            key_file: own.join("pole.key"),
            ..broker.uplink()
        };
        let authority = Authority::of(&broker.pki());
        Self { broker, authority, foreign: Authority::of(&foreign), settings, scratch }
    }

    /// Where the pole's files are.
    fn own(&self) -> PathBuf {
        self.scratch.path().join("pole")
    }

    fn crl(&mut self, name: &str) -> PathBuf {
        let path = self.own().join(name);
        self.settings.crl_file = Some(path.clone());
        path
    }

    fn pole(&self) -> Pole {
        pole(self.scratch.path(), self.settings.clone())
    }
}

fn status(pole: &Pole) -> Status {
    pole.health.checks()[&Component::Uplink].status
}

fn connections(pole: &Pole) -> u64 {
    pole.health.metrics.uplink_connections.get()
}

fn is_connected(pole: &Pole) -> bool {
    pole.health.metrics.uplink_connected.get() == 1
}

fn end(pole: &Pole, whose: &'static str) -> i64 {
    pole.health.metrics.certificate_expiry.get_or_create(&[("certificate", whose)]).get()
}

/// With something spoilt a pole makes no connection and says `words`; once that is mended it is back
/// by itself, and delivers.
async fn refused_until_mended(
    words: &str,
    spoil: impl FnOnce(&mut Scene),
    mend: impl FnOnce(&mut Scene),
) {
    let mut scene = Scene::new();
    spoil(&mut scene);
    let pole = scene.pole();
    pole.keep(1, 1_000);
    pole.until(words, |p| p.says(words)).await;
    assert_eq!((status(&pole), connections(&pole)), (Status::Fail, 0));
    mend(&mut scene);
    let mended = Instant::now();
    pole.until("connected", is_connected).await;
    assert!(mended.elapsed() < RECOVERY, "took {:?}", mended.elapsed());
    let server = server(&scene.broker, true);
    pole.drained().await;
    pole.stop().await;
    server.stop().await;
}

macro_rules! refused {
    ($($name:ident: $words:expr, $spoil:expr, $mend:expr;)*) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            refused_until_mended($words, $spoil, $mend).await;
        }
    )* };
}

fn renew_broker(scene: &mut Scene) {
    scene.authority.issue(&scene.broker.pki(), "broker", FINE);
    scene.broker.restart();
}

fn renew_pole(scene: &mut Scene) {
    scene.authority.issue(&scene.own(), "pole", FINE);
}

fn put(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap();
}

refused! {
    a_broker_of_another_authority_is_refused_until_ca_file_is_right:
        "not signed by the authority in ca_file",
        |s| put(&s.foreign.certificate(), &s.settings.ca_file),
        |s| put(&s.authority.certificate(), &s.settings.ca_file);

    a_broker_under_another_name_is_refused_until_its_certificate_is_right:
        "is for another name",
        |s| {
            s.authority.issue_for(&s.broker.pki(), "broker", FINE, &["elsewhere.example"]);
            s.broker.restart();
        },
        renew_broker;

    an_expired_broker_certificate_is_refused_until_renewed:
        "the broker's certificate ended on ",
        |s| {
            s.authority.issue(&s.broker.pki(), "broker", -60..-2);
            s.broker.restart();
        },
        renew_broker;

    a_broker_certificate_of_the_future_is_refused_until_renewed:
        "not yet valid, it begins on ",
        |s| {
            s.authority.issue(&s.broker.pki(), "broker", 2..60);
            s.broker.restart();
        },
        renew_broker;

    a_revoked_broker_certificate_is_refused_until_it_has_another:
        "the broker's certificate is revoked",
        |s| {
            let serial = s.authority.issue(&s.broker.pki(), "broker", FINE);
            s.broker.restart();
            let list = s.crl("list.pem");
            s.authority.revoke(&list, &[serial], FINE);
        },
        renew_broker;

    a_revocation_list_past_its_end_refuses_until_there_is_a_new_one:
        "the revocation list in crl_file ended on ",
        |s| {
            let list = s.crl("list.der");
            s.authority.revoke(&list, &[], -30..-1);
        },
        |s| {
            let list = s.crl("list.der");
            s.authority.revoke(&list, &[], FINE);
        };

    a_missing_revocation_list_refuses_until_it_is_there:
        "crl_file ",
        |s| drop(s.crl("list.pem")),
        |s| {
            let list = s.crl("list.pem");
            s.authority.revoke(&list, &[], FINE);
        };

    a_revocation_list_that_is_none_refuses_until_it_is_one:
        "holds no revocation list in PEM or DER",
        |s| {
            let list = s.crl("list.pem");
            fs::write(list, "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n").unwrap();
        },
        |s| {
            let list = s.crl("list.pem");
            s.authority.revoke(&list, &[], FINE);
        };

    a_revocation_list_of_another_authority_refuses_until_it_is_the_right_one:
        "crl_file says nothing of the broker's certificate",
        |s| {
            let list = s.crl("list.pem");
            s.foreign.revoke(&list, &[], FINE);
        },
        |s| {
            let list = s.crl("list.pem");
            s.authority.revoke(&list, &[], FINE);
        };

    our_own_expired_certificate_is_named_until_renewed:
        "our certificate (certificate_file) ended on ",
        |s| drop(s.authority.issue(&s.own(), "pole", -60..-2)),
        renew_pole;

    our_own_certificate_of_the_future_is_named_until_renewed:
        "our certificate (certificate_file) does not hold before ",
        |s| drop(s.authority.issue(&s.own(), "pole", 2..60)),
        renew_pole;

    a_key_of_another_certificate_is_named_until_it_is_the_right_one:
        "use the key that this certificate was made for",
        |s| {
            let key = s.own().join("pole.key");
            let other = s.broker.pki().join("server.key");
            put(&other, &key);
        },
        renew_pole;

    a_certificate_that_the_broker_does_not_trust_is_refused_until_it_is_of_its_authority:
        "the broker refuses our client certificate (",
        |s| drop(s.foreign.issue(&s.own(), "pole", FINE)),
        renew_pole;

    a_certificate_that_the_broker_finds_revoked_is_refused_until_there_is_another:
        "the broker refuses our client certificate (it is revoked)",
        |s| {
            let serial = s.authority.issue(&s.own(), "pole", FINE);
            let list = s.broker.pki().join("revoked.pem");
            s.authority.revoke(&list, &[serial], FINE);
            s.broker.configure(&format!("crlfile {}", list.display()));
        },
        renew_pole;

    a_missing_certificate_is_named_until_it_is_there:
        "certificate_file ",
        |s| fs::remove_file(s.own().join("pole.crt")).unwrap(),
        renew_pole;

    an_empty_certificate_file_is_named_until_it_holds_one:
        "holds no certificate in PEM",
        |s| fs::write(s.own().join("pole.crt"), "").unwrap(),
        renew_pole;
}

/// A client that connects as the pole does, with `tls`.
fn client(broker: &Broker, tls: rustls::ClientConfig) -> (AsyncClient, EventLoop) {
    let address = broker.address();
    let name = format!("milepost-{}", ROOT.join("-"));
    let mut options = MqttOptions::new(name, address.host, address.port);
    options.set_transport(Transport::tls_with_config(tls.into()));
    options.set_keep_alive(Duration::from_secs(5));
    AsyncClient::new(options, 16)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_without_a_certificate_is_refused_and_told_so() {
    let scene = Scene::new();
    let mut roots = rustls::RootCertStore::empty();
    let ca = fs::read(scene.authority.certificate()).unwrap();
    roots.add(CertificateDer::from_pem_slice(&ca).unwrap()).unwrap();
    let nobody = rustls::ClientConfig::builder_with_provider(tls::provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let start = Instant::now();
    loop {
        let (_client, mut events) = client(&scene.broker, nobody.clone());
        // The refusal may come as a plain end where the broker's word is overtaken by it.
        let error = events.poll().await.unwrap_err();
        if cause::explain(&error).to_string().contains("(it got none)") {
            break;
        }
        assert!(start.elapsed() < RECOVERY, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_asks_for_no_certificate_is_reported() {
    let mut scene = Scene::new();
    scene.broker.configure(
        "require_certificate false\nuse_identity_as_username false\nallow_anonymous true",
    );
    let pole = scene.pole();
    pole.until("named", |p| p.says("does not ask for our certificate")).await;
    assert_eq!(status(&pole), Status::Warn);
    pole.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_that_end_within_thirty_days_are_warned_of_while_reads_go_on() {
    let mut scene = Scene::new();
    scene.authority.issue(&scene.own(), "pole", -300..20);
    scene.authority.issue(&scene.broker.pki(), "broker", -300..10);
    scene.broker.restart();
    let list = scene.crl("list.pem");
    scene.authority.revoke(&list, &[], -6..1);
    let server = server(&scene.broker, true);
    let pole = scene.pole();
    pole.keep(1, 1_000);
    pole.drained().await;
    for words in [
        "our certificate (certificate_file) ends on ",
        "(19 days left)",
        "the broker's certificate ends on ",
        "(9 days left)",
        "the revocation list in crl_file ends on ",
        "(less than a day left)",
    ] {
        assert!(pole.says(words), "{words}: {:?}", pole.health.checks()[&Component::Uplink]);
    }
    assert_eq!(status(&pole), Status::Warn);
    let now = jiff::Timestamp::now().as_second();
    for (whose, days) in [("own", 20), ("broker", 10), ("revocation_list", 1), ("authority", 30)] {
        let left = end(&pole, whose) - now;
        assert!((days * 86_400 - left).abs() < 600, "{whose}: {left} s");
    }
    pole.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_certificate_is_taken_up_while_connected_and_costs_no_read() {
    let scene = Scene::new();
    let server = server(&scene.broker, true);
    let pole = scene.pole();
    pole.until("connected", is_connected).await;
    let before = end(&pole, "own");
    let mut kept = Vec::new();
    scene.authority.issue(&scene.own(), "pole", FINE);
    while connections(&pole) < 2 {
        kept.push(pole.keep(kept.len() as u32, 20_000));
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(kept.len() < 3_000, "never taken up");
    }
    pole.drained().await;
    assert!(end(&pole, "own") > before);
    assert_eq!((connections(&pole), status(&pole)), (2, Status::Pass));
    server.until("all reads", |l| l.complete.len() == kept.len()).await;
    {
        let log = server.log.lock().unwrap();
        assert!(kept.iter().all(|id| log.complete.contains(id)));
        assert_eq!(log.sequences.len(), kept.len());
        assert!(log.statuses.iter().all(|&(_, unexpected)| !unexpected), "{:?}", log.statuses);
    }
    pole.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_new_files_cost_no_connection_and_are_reported_until_mended() {
    let scene = Scene::new();
    let server = server(&scene.broker, true);
    let pole = scene.pole();
    pole.until("connected", is_connected).await;
    let old_key = fs::read(scene.own().join("pole.key")).unwrap();
    scene.authority.issue(&scene.own(), "pole", FINE);
    let new_key = fs::read(scene.own().join("pole.key")).unwrap();
    fs::write(scene.own().join("pole.key"), old_key).unwrap();
    pole.until("the wrong key is named", |p| p.says("the new certificate can't be used")).await;
    assert!(pole.says("use the key that this certificate was made for"));
    assert_eq!((connections(&pole), status(&pole)), (1, Status::Warn));

    // Cut off, it comes back with the identity that it had.
    let mut scene = scene;
    scene.broker.restart();
    pole.until("back", |p| connections(p) == 2).await;
    pole.until("still named", |p| p.says("the earlier one is in use")).await;

    fs::write(scene.own().join("pole.key"), new_key).unwrap();
    pole.until("taken up", |p| connections(p) == 3 && status(p) == Status::Pass).await;

    fs::write(scene.own().join("ca.crt"), "").unwrap();
    pole.until("the empty ca_file is named", |p| p.says("this connection goes on")).await;
    pole.keep(1, 1_000);
    pole.drained().await;
    assert_eq!(connections(&pole), 3);
    put(&scene.authority.certificate(), &scene.own().join("ca.crt"));
    pole.until("well again", |p| status(p) == Status::Pass).await;
    assert_eq!(connections(&pole), 3, "the same files are no reason to connect again");
    pole.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_certificate_that_the_broker_refuses_does_not_cut_the_pole_off() {
    let scene = Scene::new();
    let server = server(&scene.broker, true);
    let pole = scene.pole();
    pole.until("connected", is_connected).await;
    scene.foreign.issue(&scene.own(), "pole", FINE);
    pole.until("back with the earlier one", |p| is_connected(p) && p.says("the broker refused it"))
        .await;
    assert_eq!(status(&pole), Status::Warn);
    pole.keep(1, 1_000);
    pole.drained().await;
    let before = connections(&pole);
    scene.authority.issue(&scene.own(), "pole", FINE);
    pole.until("mended", |p| connections(p) > before && status(p) == Status::Pass).await;
    pole.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_revoked_while_connected_is_left() {
    let mut scene = Scene::new();
    let serial = scene.authority.issue(&scene.broker.pki(), "broker", FINE);
    scene.broker.restart();
    let list = scene.crl("list.pem");
    scene.authority.revoke(&list, &[], FINE);
    let pole = scene.pole();
    pole.until("connected", is_connected).await;
    scene.authority.revoke(&list, &[serial], FINE);
    pole.until("left", |p| !is_connected(p) && p.says("certificate is revoked")).await;
    assert_eq!(connections(&pole), 1);
    pole.stop().await;
}

fn files(settings: &Uplink) -> tls::Files {
    tls::Files {
        ca: settings.ca_file.clone(),
        certificate: settings.certificate_file.clone(),
        key: settings.key_file.clone(),
        crl: None,
    }
}

/// What mosquitto does from 2.0.15 on, before an older one: where the broker closes a connection in
/// order, the client is told first that its session was taken over.
async fn telling(scene: &Scene) -> String {
    let pem = |name: &str| fs::read(scene.broker.pki().join(name)).unwrap();
    let server = rustls::ServerConfig::builder_with_provider(tls::provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(&pem("broker.crt")).unwrap()],
            PrivateKeyDer::from_pem_slice(&pem("broker.key")).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let client = tls::client_config(&files(&scene.settings)).unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let here = format!("localhost:{}", listener.local_addr().unwrap().port());
    let port = scene.broker.address().port;
    tokio::spawn(async move {
        while let Ok((pole, _)) = listener.accept().await {
            let (acceptor, connector) = (acceptor.clone(), connector.clone());
            tokio::spawn(async move {
                let (mut from_pole, mut to_pole) = split(acceptor.accept(pole).await?);
                let broker = TcpStream::connect(("127.0.0.1", port)).await?;
                let name = ServerName::try_from("localhost").unwrap();
                let (mut from_broker, mut to_broker) =
                    split(connector.connect(name, broker).await?);
                tokio::select! {
                    _ = copy(&mut from_pole, &mut to_broker) => {}
                    _ = copy(&mut from_broker, &mut to_pole) => {
                        to_pole.write_all(&[0xE0, 2, 0x8E, 0]).await?;
                    }
                }
                to_pole.shutdown().await
            });
        }
    });
    here
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_client_under_our_name_is_reported_counted_and_not_fought_with() {
    let mut scene = Scene::new();
    let server = server(&scene.broker, true);
    scene.settings.broker = telling(&scene).await;
    let pole = scene.pole();
    pole.until("connected", is_connected).await;
    let tls = tls::client_config(&files(&scene.settings)).unwrap();
    let (copied, mut events) = client(&scene.broker, tls);
    let first = events.poll().await.unwrap();
    assert!(matches!(first, Event::Incoming(Incoming::ConnAck(_))));
    pole.until("named", |p| p.says("another client connected under this pole's name")).await;
    assert_eq!((status(&pole), pole.health.metrics.uplink_takeovers.get()), (Status::Fail, 1));
    let id = pole.keep(1, 1_000);
    // It is left alone for a while, then put out in turn.
    let alone = timeout(Duration::from_secs(5), async { while events.poll().await.is_ok() {} });
    assert!(alone.await.is_err(), "fought with at once");
    drop((copied, events));
    pole.until("back", |p| connections(p) == 2).await;
    pole.drained().await;
    server.until("the read", |l| l.complete.contains(&id)).await;
    assert!(pole.says("another client used this pole's name once"));
    assert_eq!(status(&pole), Status::Warn);
    pole.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_client_under_our_name_is_suspected_where_the_broker_does_not_tell() {
    let scene = Scene::new();
    let pole = scene.pole();
    pole.until("connected", is_connected).await;
    let tls = tls::client_config(&files(&scene.settings)).unwrap();
    let (_copied, mut events) = client(&scene.broker, tls);
    let fighter = tokio::spawn(async move {
        loop {
            if events.poll().await.is_err() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    });
    pole.until("suspected", |p| p.says("another client may use this pole's name")).await;
    fighter.abort();
    pole.until("back", |p| is_connected(p) && status(p) == Status::Warn).await;
    pole.stop().await;
}
