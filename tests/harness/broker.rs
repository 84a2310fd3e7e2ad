//! A real mosquitto on a free loopback port, with mutual TLS, an access list by identity and
//! persistence, from the templates that `make run` uses.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use milepost::{
    config::{Caps, Delivery, Uplink},
    uplink::{Address, tls},
};
use milepost_wire::Leaf;
use rumqttc::{
    Transport,
    v5::{AsyncClient, Event, Incoming, MqttOptions, mqttbytes::QoS},
};
use uuid::Uuid;

use crate::pole::root;

/// Longest that a broker may take to listen.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Longest that the broker may take for what it is told.
const SAY_LIMIT: Duration = Duration::from_secs(120);

/// Agency, site and camera that the access list knows.
pub const ROOT: [&str; 3] = ["demo-pd", "main-street", "north"];

/// One broker; dropped, it is killed.
#[derive(Debug)]
pub struct Broker {
    folder: PathBuf,
    port: u16,
    child: Option<Child>,
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts")
}

/// Certificates in `folder`, made by `scripts/pki.sh`.
pub fn pki(folder: &Path) {
    let made = Command::new(scripts().join("pki.sh")).arg(folder).output().expect("pki.sh runs");
    assert!(made.status.success(), "pki.sh: {}", String::from_utf8_lossy(&made.stderr));
}

impl Broker {
    /// Starts one with its data and certificates below `folder`; `extra` lines go into its
    /// configuration.
    #[must_use]
    pub fn start(folder: &Path, extra: &str) -> Self {
        pki(&folder.join("pki"));
        let data = folder.join("broker");
        fs::create_dir_all(&data).expect("the broker's folder");
        let port = crate::free_port();
        let user = Command::new("id").arg("-un").output().expect("id runs").stdout;
        let fill = |template: &str| {
            fs::read_to_string(scripts().join(template))
                .expect("the template")
                .replace("@ROOT@", &format!("alpr/v1/{}", ROOT.join("/")))
                .replace("@PKI@", &folder.join("pki").to_string_lossy())
                .replace("@DIR@", &data.to_string_lossy())
                .replace("@PORT@", &port.to_string())
                .replace("@USER@", String::from_utf8_lossy(&user).trim())
        };
        fs::write(data.join("acl"), fill("acl.in")).expect("the access list");
        let settings = fill("mosquitto.conf.in") + extra + "\n";
        fs::write(data.join("mosquitto.conf"), settings).expect("the configuration");
        let mut broker = Self { folder: folder.into(), port, child: None };
        broker.restart();
        broker
    }

    /// Starts it again on the same port, with what it had persisted.
    pub fn restart(&mut self) {
        self.kill();
        let mut child = Command::new("mosquitto")
            .env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()))
            .arg("-c")
            .arg(self.folder.join("broker/mosquitto.conf"))
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto is installed");
        let until = Instant::now() + START_LIMIT;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = child.try_wait().expect("the broker's state");
            assert!(
                ended.is_none() && Instant::now() < until,
                "mosquitto did not start: {ended:?}"
            );
            thread::sleep(Duration::from_millis(20));
        }
        self.child = Some(child);
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Adds lines to its configuration and starts it again with them.
    pub fn configure(&mut self, extra: &str) {
        let file = self.folder.join("broker/mosquitto.conf");
        let settings = fs::read_to_string(&file).expect("the configuration") + extra + "\n";
        fs::write(file, settings).expect("the configuration");
        self.restart();
    }

    /// Folder of its and its clients' certificates.
    #[must_use]
    pub fn pki(&self) -> PathBuf {
        self.folder.join("pki")
    }

    /// Starts it again as if it had never known anybody: sessions, queues and retained messages
    /// are gone.
    pub fn restart_without_memory(&mut self) {
        self.kill();
        let _ = fs::remove_file(self.folder.join("broker/mosquitto.db"));
        self.restart();
    }

    /// Stops its process where it stands; connections stay and nothing answers.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets a frozen one go on.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        if let Some(child) = &self.child {
            let sent = Command::new("kill").args([signal, &child.id().to_string()]).status();
            assert!(sent.is_ok_and(|s| s.success()), "{signal} could not be sent to mosquitto");
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> Address {
        Address { host: "localhost".into(), port: self.port }
    }

    /// TLS files of a client: `pole` or `server`.
    #[must_use]
    pub fn files(&self, name: &str) -> tls::Files {
        let pki = self.pki();
        tls::Files {
            ca: pki.join("ca.crt"),
            certificate: pki.join(format!("{name}.crt")),
            key: pki.join(format!("{name}.key")),
            crl: None,
        }
    }

    /// Says this to the pole, with the server's certificate, and waits until the broker has it all.
    ///
    /// # Errors
    /// It did not get there.
    pub async fn say(&self, messages: Vec<(Leaf, Vec<u8>)>) -> Result<(), String> {
        let Address { host, port } = self.address();
        let mut options = MqttOptions::new(format!("says-{}", Uuid::now_v7()), host, port);
        let tls = tls::client_config(&self.files("server")).map_err(|e| e.to_string())?;
        options.set_transport(Transport::tls_with_config(tls.into()));
        let (client, mut events) = AsyncClient::new(options, messages.len() + 8);
        let mut waiting = messages.len();
        for (leaf, payload) in messages {
            let topic = root().topic(leaf);
            client
                .try_publish(topic, QoS::AtLeastOnce, false, payload)
                .map_err(|e| e.to_string())?;
        }
        let all = async {
            while waiting > 0 {
                if let Event::Incoming(Incoming::PubAck(_)) =
                    events.poll().await.map_err(|e| e.to_string())?
                {
                    waiting -= 1;
                }
            }
            Ok(())
        };
        tokio::time::timeout(SAY_LIMIT, all).await.map_err(|_| "no acknowledgement".to_owned())?
    }

    /// A pole's settings for it.
    #[must_use]
    pub fn uplink(&self) -> Uplink {
        let tls::Files { ca, certificate, key, crl } = self.files("pole");
        Uplink {
            broker: format!("localhost:{}", self.port),
            ca_file: ca,
            certificate_file: certificate,
            key_file: key,
            crl_file: crl,
            delivery: Delivery::Receipt,
            resend_after: Duration::from_secs(2),
            live_window: Duration::from_secs(300),
            max_packet_bytes: 1 << 20,
            caps: Caps::default(),
            onvif: false,
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}
