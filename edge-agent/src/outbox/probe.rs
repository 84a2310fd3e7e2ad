//! Opening a store in a process of its own first.
//!
//! sled was seen to panic and to hang for minutes on damage. So the agent starts itself with a hidden
//! verb that opens the store and goes through it; a process that panics, hangs or is killed says as
//! much as one that names the damage. The same way, what can still be read of a store that was set
//! aside comes over a pipe.

use std::{
    fs,
    io::{self, BufReader, Read, Write},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{
    MAX_RECORD_BYTES, mark,
    sled_state::opening_time,
    sled_store::SledStore,
    store::{Record, Store, StoreError, Stored},
};
use crate::{
    config::{Sealing, SealingKey},
    sealing::{KeyId, Keyring},
};

/// The hidden verb.
pub const VERB: &str = "store-probe";
/// Longest that going through a small store may take; twice, without its snapshots, it leaves a pole that
/// runs again within 10 s.
const LIMIT: Duration = Duration::from_secs(4);
/// A salvage that hands over nothing for so long hangs.
const QUIET: Duration = Duration::from_secs(60);
/// `SIGKILL`: by the kernel where memory is short, or with the agent.
const KILLED: i32 = 9;
/// How often the child is looked after.
const POLL: Duration = Duration::from_millis(5);
/// Longest answer that is read.
const MAX_ANSWER_BYTES: u64 = 64 << 10;
/// Records asked for at once.
const PAGE: usize = 64;

/// What the child is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Task {
    /// Open the store of this outbox's folder and go through it.
    Check(PathBuf),
    /// Write every record of this store that can be read to the standard output.
    Salvage(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Request {
    task: Task,
    /// The folder of the data keys.
    keys: PathBuf,
    credential: Option<String>,
    key_file: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Sound { unreadable: u64 },
    InUse,
    Damaged(String),
    Io { path: PathBuf, why: String },
    Failed(String),
}

/// Starts the children.
#[derive(Debug, Clone)]
pub(super) struct Probe {
    /// The agent's own program; without it everything is done in this process.
    pub(super) program: Option<PathBuf>,
    pub(super) sealing: Sealing,
    pub(super) keyring: Keyring,
}

impl Probe {
    /// Goes through the store of an outbox's folder; says how many records can't be read.
    pub(super) fn check(&self, place: &Path, bytes: u64) -> Result<u64, StoreError> {
        let Some(program) = &self.program else { return check(place, self.keyring.clone()) };
        let mut child = self.start(program, Task::Check(place.into()))?;
        let limit = LIMIT + opening_time(bytes);
        let ended = wait(&mut child, limit).map_err(|e| failed(&e))?;
        let mut answer = Vec::new();
        if let Some(out) = child.stdout.take() {
            out.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).map_err(|e| failed(&e))?;
        }
        let answer = serde_json::from_slice(&answer).ok();
        match (ended, answer) {
            (None, _) => {
                let why = format!("opening it took longer than {} s", limit.as_secs());
                Err(StoreError::Damaged(why))
            }
            (Some(_), Some(Answer::Sound { unreadable })) => Ok(unreadable),
            (Some(_), Some(Answer::InUse)) => Err(StoreError::InUse),
            (Some(_), Some(Answer::Damaged(why))) => Err(StoreError::Damaged(why)),
            (Some(_), Some(Answer::Io { path, why })) => Err(StoreError::Io { path, why }),
            (Some(_), Some(Answer::Failed(why))) => Err(StoreError::Failed(why)),
            (Some(status), None) => {
                Err(StoreError::Damaged(format!("opening it ended with {status}")))
            }
        }
    }

    /// Gives every record of a store that was set aside to `take`, until it says stop; whether the
    /// whole of it could be gone through. One that hangs is ended.
    ///
    /// # Errors
    /// Where it could not be begun, or was cut off by something else than damage: it is to be done again.
    pub(super) fn salvage(
        &self,
        aside: &Path,
        mut take: impl FnMut(Record) -> bool,
    ) -> Result<bool, StoreError> {
        let Some(program) = &self.program else {
            return match SledStore::open_aside(aside, self.keyring.clone()) {
                Ok(store) => Ok(each(&store, |record| Ok(take(record))).unwrap_or(false)),
                Err(StoreError::Damaged(_)) => Ok(false),
                Err(error) => Err(error),
            };
        };
        let bytes = fs::metadata(aside.join("db")).map_or(0, |f| f.len());
        // Opening comes before the first record.
        let quiet = QUIET + opening_time(bytes);
        let mut child = self.start(program, Task::Salvage(aside.into()))?;
        let Some(out) = child.stdout.take() else { return Ok(false) };
        let (heard, silence) = mpsc::channel();
        let taking = Arc::new(AtomicBool::new(false));
        let taken = taking.clone();
        let watch = thread::Builder::new().name("salvage-watch".into()).spawn(move || {
            loop {
                match silence.recv_timeout(quiet) {
                    Ok(()) => {}
                    // The child is not to blame for what is done with a record.
                    Err(RecvTimeoutError::Timeout) if taking.load(Ordering::Relaxed) => {}
                    Err(RecvTimeoutError::Timeout) => {
                        return wait(&mut child, Duration::ZERO).map(|_| None);
                    }
                    Err(RecvTimeoutError::Disconnected) => return wait(&mut child, LIMIT),
                }
            }
        });
        let watch = watch.map_err(|e| failed(&e))?;
        let received = receive(out, |record| {
            taken.store(true, Ordering::Relaxed);
            let goes_on = take(record);
            taken.store(false, Ordering::Relaxed);
            let _ = heard.send(());
            goes_on
        });
        drop(heard);
        let ended = watch.join().ok().and_then(Result::ok).flatten();
        match (received, ended) {
            (Received::Whole, _) => Ok(true),
            // It names no damage and was not ended for hanging.
            (Received::Cut, Some(status))
                if status.signal() == Some(KILLED) || status.code() == Some(1) =>
            {
                let why = format!("the process that reads what was set aside ended with {status}");
                Err(StoreError::Failed(why))
            }
            _ => Ok(false),
        }
    }

    fn start(&self, program: &Path, task: Task) -> Result<Child, StoreError> {
        let (credential, key_file) = match &self.sealing.key {
            SealingKey::Credential(name) => (Some(name.clone()), None),
            SealingKey::File(path) => (None, Some(path.clone())),
        };
        let request = Request { task, keys: self.keyring.folder().into(), credential, key_file };
        let request =
            serde_json::to_vec(&request).map_err(|e| StoreError::Failed(e.to_string()))?;
        let mut child = Command::new(program)
            .arg(VERB)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| StoreError::Failed(format!("{}: {e}", program.display())))?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(&request).map_err(|e| failed(&e))?;
        }
        Ok(child)
    }
}

fn failed(error: &io::Error) -> StoreError {
    StoreError::Failed(format!("the process that opens the store first: {error}"))
}

fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<std::process::ExitStatus>> {
    let until = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= until {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(POLL);
    }
}

/// How what the child hands over ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Received {
    /// All of it.
    Whole,
    /// Damage or whoever takes it stopped it.
    Stopped,
    /// In the middle.
    Cut,
}

/// Bytes before each record.
const HEAD_BYTES: usize = 8 + KeyId::BYTES + 4;

/// What stands before a record: sequence (8 bytes), data key (8 bytes, zeros where there is none), length
/// (4 bytes), numbers big-endian.
fn head(sequence: u64, key: Option<KeyId>, length: u32) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..8].copy_from_slice(&sequence.to_be_bytes());
    head[8..16].copy_from_slice(&key.map_or([0; KeyId::BYTES], KeyId::to_bytes));
    head[16..].copy_from_slice(&length.to_be_bytes());
    head
}

/// The end of what the child hands over, in place of a record: nothing more, and whether that is all.
fn end_frame(whole: bool) -> [u8; HEAD_BYTES] {
    head(u64::from(!whole), None, 0)
}

/// Records as the child writes them, a [`head`] before each; then an [`end_frame`].
fn receive(out: ChildStdout, mut take: impl FnMut(Record) -> bool) -> Received {
    let mut out = BufReader::new(out);
    loop {
        let mut head = [0; HEAD_BYTES];
        if out.read_exact(&mut head).is_err() {
            return Received::Cut;
        }
        if head == end_frame(true) {
            return Received::Whole;
        }
        if head == end_frame(false) {
            return Received::Stopped;
        }
        let (sequence, rest) = head.split_at(8);
        let (key, length) = rest.split_at(KeyId::BYTES);
        let sequence = u64::from_be_bytes(sequence.try_into().unwrap_or_default());
        let key = key.try_into().ok().and_then(KeyId::from_bytes);
        let length = u32::from_be_bytes(length.try_into().unwrap_or_default()) as usize;
        let mut bytes = vec![0; length.min(MAX_RECORD_BYTES)];
        let record = out.read_exact(&mut bytes).ok();
        let record = record.and_then(|()| Record::decode(sequence, &bytes).ok());
        let record = record.map(|record| Record { key, ..record });
        let Some(record) = record else { return Received::Cut };
        if !take(record) {
            return Received::Stopped;
        }
    }
}

fn check(place: &Path, keyring: Keyring) -> Result<u64, StoreError> {
    SledStore::open(place, keyring, mark::may_begin(place))?.check()
}

/// Every readable record; `Ok(false)` where `take` stopped it.
fn each(
    store: &SledStore,
    mut take: impl FnMut(Record) -> io::Result<bool>,
) -> Result<bool, StoreError> {
    let mut next = 0;
    loop {
        let page = store.stored(next, PAGE)?;
        let Some(end) = page.last() else { return Ok(true) };
        next = end.sequence().saturating_add(1);
        for record in page.into_iter().filter_map(Stored::record) {
            if !take(record).map_err(|e| failed(&e))? {
                return Ok(false);
            }
        }
    }
}

/// The child: reads its request from `input`, answers on `output`; whether all went well.
///
/// # Errors
/// Where it can't answer.
pub fn child(input: impl Read, mut output: impl Write) -> io::Result<bool> {
    // A store that its agent has left must not be held, nor written, by what it started.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let request: Request = serde_json::from_reader(input.take(MAX_ANSWER_BYTES))?;
    let key = match (request.credential, request.key_file) {
        (Some(name), _) => SealingKey::Credential(name),
        (None, file) => SealingKey::File(file.unwrap_or_default()),
    };
    let keyring = Keyring::open_to_read(&Sealing { key }, &request.keys).map_err(io::Error::other);
    match request.task {
        Task::Check(place) => {
            let answer = match keyring.map(|keyring| check(&place, keyring)) {
                Ok(Ok(unreadable)) => Answer::Sound { unreadable },
                Ok(Err(StoreError::InUse)) => Answer::InUse,
                Ok(Err(StoreError::Damaged(why))) => Answer::Damaged(why),
                Ok(Err(StoreError::Io { path, why })) => Answer::Io { path, why },
                Ok(Err(StoreError::Failed(why))) => Answer::Failed(why),
                Err(error) => Answer::Failed(error.to_string()),
            };
            serde_json::to_writer(&mut output, &answer)?;
            output.flush()?;
            Ok(matches!(answer, Answer::Sound { .. }))
        }
        Task::Salvage(aside) => {
            let store = match SledStore::open_aside(&aside, keyring?) {
                Err(StoreError::Damaged(_)) => {
                    output.write_all(&end_frame(false))?;
                    return Ok(true);
                }
                store => store.map_err(io::Error::other)?,
            };
            let whole = each(&store, |record| {
                let bytes = record.encode().map_err(io::Error::other)?;
                let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
                output.write_all(&head(record.sequence, record.key, length))?;
                output.write_all(&bytes)?;
                Ok(true)
            });
            output.write_all(&end_frame(whole.is_ok()))?;
            output.flush()?;
            whole.map_err(io::Error::other)
        }
    }
}
