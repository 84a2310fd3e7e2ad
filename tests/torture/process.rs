//! A child as its parent sees it: lines until it ends, and `kill -9`.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use crate::{child::Options, line::Line, model::Model};

/// A child that says nothing for so long hangs.
pub const HUNG: Duration = Duration::from_secs(60);

/// What came of waiting for a line.
#[derive(Debug)]
pub enum Next {
    /// A line.
    Line(Line),
    /// It has ended and said everything.
    Ended,
    /// The time was up.
    Time,
}

/// A running child.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    lines: Receiver<Line>,
}

impl Child {
    /// Starts one; what it complains of (a panic) goes to the end of `log`.
    pub fn start(options: &Options, log: &Path) -> Self {
        Self::start_with(options, log, &[])
    }

    /// As [`Self::start`], with more in its environment.
    pub fn start_with(options: &Options, log: &Path, environment: &[(&str, String)]) -> Self {
        let log = File::options().create(true).append(true).open(log).expect("the child's log");
        let mut process = Command::new(std::env::current_exe().expect("this program's path"))
            .args(options.arguments())
            .envs(environment.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the child starts");
        let out = BufReader::new(process.stdout.take().expect("its output"));
        let (tell, lines) = channel();
        thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                // Half a line can only be the last of a child that was killed.
                if let Ok(line) = line.parse()
                    && tell.send(line).is_err()
                {
                    return;
                }
            }
        });
        Self { process, lines }
    }

    /// The next line, waited for until `until`.
    pub fn next(&self, until: Instant) -> Next {
        match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => Next::Line(line),
            Err(RecvTimeoutError::Timeout) => Next::Time,
            Err(RecvTimeoutError::Disconnected) => Next::Ended,
        }
    }

    /// Gives its lines to `model` until one makes `holds` true; `false` at the time or its end.
    pub fn until(
        &self,
        model: &mut Model,
        limit: Duration,
        mut holds: impl FnMut(&Line) -> bool,
    ) -> bool {
        let until = Instant::now() + limit;
        while let Next::Line(line) = self.next(until) {
            model.take(&line);
            if holds(&line) {
                return true;
            }
        }
        false
    }

    /// Whether its process is over, or is within the time: one that panics takes a moment.
    pub fn ends(&mut self, within: Duration) -> bool {
        let until = Instant::now() + within;
        loop {
            match self.process.try_wait() {
                Ok(None) if Instant::now() < until => thread::sleep(Duration::from_millis(20)),
                ended => return matches!(ended, Ok(Some(_))),
            }
        }
    }

    /// What its threads wait for, or how it ended: for the word on a failing run.
    pub fn doing(&mut self) -> String {
        if let Ok(Some(status)) = self.process.try_wait() {
            return format!("ended with {status}");
        }
        let read = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap_or_default();
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.process.id()));
        let tasks = tasks.into_iter().flatten().map_while(Result::ok).map(|t| t.path());
        let threads = tasks.map(|t| {
            let (name, at) = (read(t.join("comm")), read(t.join("wchan")));
            format!("{} in {}", name.trim(), at.trim())
        });
        // sled's idle threads say nothing.
        threads.filter(|t| !t.starts_with("sled")).collect::<Vec<_>>().join(", ")
    }

    /// `kill -9`; what it had said before goes to `model`. How it had ended, where it had.
    pub fn kill(mut self, model: &mut Model) -> std::process::ExitStatus {
        let _ = self.process.kill();
        let status = self.process.wait().expect("its end");
        while let Next::Line(line) = self.next(Instant::now() + HUNG) {
            model.take(&line);
        }
        status
    }
}

/// Opens the outbox once more, only to look; what does not fit is in the model's tally.
pub fn look(options: &Options, log: &Path, model: &mut Model) {
    let options = Options { threads: 0, stay: 0, no_fsync: false, ..options.clone() };
    let child = Child::start(&options, log);
    let unopened = model.tally.unopened;
    if !child.until(model, HUNG, |l| *l == Line::Done) && model.tally.unopened == unopened {
        model.tally.unopened += 1;
        model.tally.texts.push("the last look ended or hung before it was done".into());
    }
    child.kill(model);
}
