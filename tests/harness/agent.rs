//! The agent as a process: the embedded default configuration on a test's own broker, outbox and
//! page.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::broker::Broker;

/// Generous: nothing that is waited for takes minutes on a machine that is not overloaded.
pub const LIMIT: Duration = Duration::from_secs(300);

/// The root of the repository.
#[must_use]
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a parent folder")
}

/// The demo clip that `scripts/setup.sh clip` makes.
#[must_use]
pub fn clip() -> PathBuf {
    repository().join(".cache/clip/demo.mp4")
}

/// A process that does not outlive its test.
#[derive(Debug)]
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A central server's part as a process: `milepost watch --json` with these arguments, and the file
/// that it writes.
#[must_use]
pub fn watch(folder: &Path, broker: &Broker, arguments: &[&str]) -> (Process, PathBuf) {
    let (server, out) = (broker.files("server"), folder.join("watch.jsonl"));
    let process = Command::new(crate::milepost())
        .args(["watch", "--json", "--broker", &broker.address().to_string()])
        .args([Path::new("--ca"), &server.ca, Path::new("--cert"), &server.certificate])
        .args([Path::new("--key"), &server.key])
        .args(arguments)
        .stdout(fs::File::create(&out).expect("a file"))
        .stderr(Stdio::null())
        .spawn()
        .expect("milepost watch starts");
    (Process(process), out)
}

/// What a watch's output has of a kind of event, each once, in the order in which they came.
///
/// # Panics
/// Where there is no such file.
#[must_use]
pub fn events(out: &Path, kind: &str) -> Vec<Value> {
    let text = fs::read_to_string(out).expect("a watch's output");
    let seen = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let seen = seen.filter(|e| e["kind"] == kind && e["duplicate"] != true);
    seen.map(|mut e| e["event"].take()).collect()
}

/// Waits until `there`.
///
/// # Panics
/// After [`LIMIT`].
pub fn wait_for(what: &str, mut there: impl FnMut() -> bool) {
    let until = Instant::now() + LIMIT;
    while !there() {
        assert!(Instant::now() < until, "waited too long for {what}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    process: Process,
    /// Address of its local page.
    pub page: String,
    /// Its log.
    pub log: PathBuf,
}

impl Agent {
    /// Starts one with its files in `folder`; each of `changes` replaces a text of the default
    /// configuration. Waits until its page answers.
    #[must_use]
    pub fn start(folder: &Path, broker: &Broker, changes: &[(&str, &str)]) -> Self {
        Self::start_in(folder, broker, changes, &[])
    }

    /// As [`Self::start`], with more in its environment.
    #[must_use]
    pub fn start_in(
        folder: &Path,
        broker: &Broker,
        changes: &[(&str, &str)],
        environment: &[(&str, PathBuf)],
    ) -> Self {
        let page = format!("127.0.0.1:{}", crate::free_port());
        let file = folder.join("milepost.toml");
        fs::write(&file, configuration(folder, broker, &page, changes)).expect("configuration");
        let log = folder.join("agent.log");
        let process = Process(
            Command::new(crate::milepost())
                .args([Path::new("run"), Path::new("--config"), &file])
                .envs(environment.iter().map(|(name, value)| (name, value)))
                .stderr(fs::File::create(&log).expect("log"))
                .spawn()
                .expect("the agent starts"),
        );
        let agent = Self { process, page, log };
        wait_for("the page", || TcpStream::connect(&agent.page).is_ok());
        agent
    }

    /// A page of the local endpoint, headers and all.
    #[must_use]
    pub fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.page).expect("the page");
        let host = &self.page;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
            .expect("asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        answer
    }

    /// A metric without labels.
    #[must_use]
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics");
        let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
        let value = line.and_then(|v| v.split(' ').next()?.parse().ok());
        value.unwrap_or_else(|| panic!("{name} is not in {text}"))
    }

    /// Asks it to stop, as a service manager does, and waits for its end.
    pub fn stop(&mut self) -> ExitStatus {
        let pid = self.process.0.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().expect("kill");
        wait_for("the agent's end", || self.process.0.try_wait().expect("its state").is_some());
        self.process.0.wait().expect("its state")
    }

    /// `kill -9`, and waits for its end.
    pub fn kill(&mut self) {
        self.process.0.kill().expect("killed");
        self.process.0.wait().expect("its state");
    }
}

fn configuration(folder: &Path, broker: &Broker, page: &str, changes: &[(&str, &str)]) -> String {
    let files = broker.files("pole");
    let set = |text: String, key: &str, value: &str| {
        let line = text.lines().find(|l| l.starts_with(&format!("{key} ="))).expect(key).to_owned();
        text.replace(&line, &format!("{key} = \"{value}\""))
    };
    let file = repository().join("edge-agent/default.toml");
    let mut text = fs::read_to_string(file).expect("the default configuration");
    text = set(text, "path", &clip().display().to_string());
    text = set(text, "models_dir", &repository().join("models").display().to_string());
    text = set(text, "directory", &folder.join("outbox").display().to_string());
    text = set(text, "broker", &broker.address().to_string());
    text = set(text, "ca_file", &files.ca.display().to_string());
    text = set(text, "certificate_file", &files.certificate.display().to_string());
    text = set(text, "key_file", &files.key.display().to_string());
    text = set(text, "listen", page);
    for (from, to) in changes {
        assert!(text.contains(from), "the default configuration has no {from:?}");
        text = text.replace(from, to);
    }
    text
}
