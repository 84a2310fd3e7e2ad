//! A real RTSP server in a process of its own: it can be killed, frozen and started again.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

/// What the server serves and how.
#[derive(Debug, Clone, Default)]
pub struct Serve {
    /// A clip (MP4 or Matroska with H.264), looped at its own pace; none: a moving test pattern of
    /// 640 × 360 at 30 frames a second.
    pub clip: Option<PathBuf>,
    /// `user:password` that clients must show.
    pub credentials: Option<String>,
    /// H.265 instead of H.264 (test pattern only).
    pub h265: bool,
}

/// A running server; it dies with this.
#[derive(Debug)]
pub struct Server {
    child: Child,
    serve: Serve,
    port: u16,
}

/// The path that streams stand under.
const PATH: &str = "lane";

impl Server {
    /// Starts a server on a free port of the loopback and waits until it listens.
    ///
    /// # Panics
    /// Where it does not come up.
    #[must_use]
    pub fn start(serve: Serve) -> Self {
        let port = crate::free_port();
        Self { child: spawn(&serve, port), serve, port }
    }

    /// The stream's address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("rtsp://127.0.0.1:{}/{PATH}", self.port)
    }

    /// Kills it as a power cut would (SIGKILL): no goodbye to any client.
    pub fn kill(&mut self) {
        // It may be dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Ends it in order (SIGTERM): sockets are closed.
    pub fn terminate(&mut self) {
        self.signal("TERM");
        let _ = self.child.wait();
    }

    /// Freezes it (SIGSTOP): its sockets stay open and say nothing.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets it go on after [`Server::freeze`].
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Starts it again on the same port and waits until it listens.
    pub fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.serve, self.port);
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id();
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status();
        assert!(sent.is_ok_and(|status| status.success()), "SIG{name} was not sent");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The server's program, which cargo builds beside the tests' folder.
fn program() -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let profile = test.ancestors().nth(2).expect("target/<profile>/deps/<test>");
    profile.join("rtsp-server")
}

fn spawn(serve: &Serve, port: u16) -> Child {
    let mut command = Command::new(program());
    command.args(["--port", &port.to_string(), "--path", PATH]);
    if let Some(clip) = &serve.clip {
        command.arg("--clip").arg(clip);
    }
    if let Some(credentials) = &serve.credentials {
        command.args(["--credentials", credentials]);
    }
    if serve.h265 {
        command.arg("--h265");
    }
    // It ends when its standard input does, so that no server outlives a killed test.
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the rtsp-server program: build the package milepost-tests with its binaries");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("a pipe");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    assert_eq!(line.trim(), "listening", "the server did not come up");
    child
}
