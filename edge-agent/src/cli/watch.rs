//! `milepost watch`: subscribes like a central server would and shows reads as they come in.
//!
//! Plates are shown in clear: that is what it is for. It needs a certificate that the broker lets
//! read, and what it shows is advisory.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    ops::ControlFlow,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Args;
use milepost_wire::{Alert, Event, Freshness, PhotoKind, Read, StateVerdict, TopicLevel};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::ledger_words::{ledger_json, ledger_line, ledger_words, verdict_words};
use crate::uplink::{
    Address,
    cause::Cause,
    central::{Seen, Summary, verdict::LedgerState},
    tls,
    viewer::{self, Notice},
};

/// A read whose photos have not all come after so long is shown without them.
const EVIDENCE_WAIT: Duration = Duration::from_secs(3);

/// Reads waiting for their photos; more are shown at once.
const MAX_PENDING: usize = 1000;

/// Show the reads that reach the broker, as a central server would see them
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  milepost watch --broker localhost:8883 --ca ca.crt --cert server.crt --key server.key
  milepost watch … --agency demo-pd --receipts            take the server's part: reads are then deleted on the pole
  milepost watch … --json --count 20 --timeout-s 120      for scripts: exit 0 after 20 distinct reads")]
pub struct WatchArgs {
    /// The broker, host:port; the host is checked against its certificate
    #[arg(long, value_name = "HOST:PORT")]
    pub broker: Address,
    /// PEM of the authority that signed the broker's certificate
    #[arg(long, value_name = "FILE")]
    pub ca: PathBuf,
    /// PEM of the certificate to show to the broker
    #[arg(long, value_name = "FILE")]
    pub cert: PathBuf,
    /// PEM of its key
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// PEM of the authority that signs poles, to check their manifests [default: that of --ca]
    #[arg(long, value_name = "FILE")]
    pub pole_ca: Option<PathBuf>,
    /// Only this agency [default: every one]
    #[arg(long)]
    pub agency: Option<TopicLevel>,
    /// Only this site [default: every one]
    #[arg(long)]
    pub site: Option<TopicLevel>,
    /// Only this camera [default: every one]
    #[arg(long)]
    pub camera: Option<TopicLevel>,
    /// One JSON object a line instead of columns
    #[arg(long)]
    pub json: bool,
    /// Give the server's receipts, after the read and its photos have come and their hashes are right
    #[arg(long)]
    pub receipts: bool,
    /// Write records and photos here, each durably before its receipt: plates in clear
    #[arg(long, value_name = "DIR")]
    pub save_evidence: Option<PathBuf>,
    /// Hand out the alert lists of this folder, as `milepost list sign` leaves them
    #[arg(long, value_name = "DIR")]
    pub lists: Option<PathBuf>,
    /// End with exit code 0 after so many distinct reads, each with its photos
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// End after so many seconds; exit code 1 where --count was not reached
    #[arg(long, value_name = "SECONDS")]
    pub timeout_s: Option<u64>,
}

/// Runs until Ctrl-C, `--count` or `--timeout-s`. Exit code 1 where the count was not reached, 2
/// where it could not run.
#[must_use]
pub fn run(args: &WatchArgs) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    match runtime.block_on(watch(args)) {
        Ok(summary) if args.count.is_some_and(|n| summary.complete < n) => ExitCode::FAILURE,
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &io::Error) -> ExitCode {
    eprintln!("milepost watch: {error}");
    ExitCode::from(2)
}

async fn watch(args: &WatchArgs) -> io::Result<Summary> {
    if let Some(folder) = &args.save_evidence {
        std::fs::create_dir_all(folder)?;
    }
    let options = viewer::Options {
        broker: args.broker.clone(),
        files: tls::Files {
            ca: args.ca.clone(),
            certificate: args.cert.clone(),
            key: args.key.clone(),
            crl: None,
        },
        agency: args.agency.clone(),
        site: args.site.clone(),
        camera: args.camera.clone(),
        receipts: args.receipts,
        save_evidence: args.save_evidence.clone(),
        pole_ca: args.pole_ca.clone(),
        lists: args.lists.clone(),
    };
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    tokio::spawn(async move {
        // Without a handler for Ctrl-C, the signal itself ends the process.
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.cancel();
        }
    });
    let until = args.timeout_s.map(|s| Instant::now() + Duration::from_secs(s));
    let mut screen = Screen { json: args.json, pending: BTreeMap::new(), lost: None };
    let summary = viewer::view(&options, &shutdown, |notice, summary| {
        let shown = screen.show(&notice, &mut io::stdout().lock());
        let enough = args.count.is_some_and(|n| summary.complete >= n);
        let over = until.is_some_and(|at| Instant::now() >= at);
        // A closed pipe (`| head`) is an end, too.
        if shown.is_err() || enough || over {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
    .await?;
    let mut out = io::stdout().lock();
    let _ = screen.end(&summary, &mut out);
    Ok(summary)
}

struct Pending {
    event: Box<Event<Read>>,
    since: Instant,
    verified: Vec<PhotoKind>,
    wrong: Vec<PhotoKind>,
}

struct Screen {
    json: bool,
    /// Reads whose photos have not all come.
    pending: BTreeMap<Uuid, Pending>,
    /// Why there is no connection, to say it once.
    lost: Option<Cause>,
}

impl Screen {
    fn show(&mut self, notice: &Notice<'_>, out: &mut impl Write) -> io::Result<()> {
        if matches!(notice, Notice::Connected) {
            self.lost = None;
        }
        match notice {
            Notice::Connected if self.json => Ok(()),
            Notice::Connected => writeln!(
                out,
                "connected\n{:<23}  {:<34}  {:<8}  {:<5}  {:>6}  {:<11}  evidence",
                "captured (UTC)", "camera", "plate", "state", "conf.", "direction"
            ),
            Notice::Lost(cause) => {
                if self.lost.as_ref() != Some(*cause) {
                    eprintln!("not connected, trying again: {cause}");
                    self.lost = Some((*cause).clone());
                }
                Ok(())
            }
            Notice::Over(ledgers) => {
                self.flush(out, |_| true)?;
                self.ledgers(ledgers, out)
            }
            Notice::Tick => self.flush(out, |p| p.since.elapsed() >= EVIDENCE_WAIT),
            Notice::Seen(seen) if self.json => self.json_line(seen, out),
            Notice::Seen(seen) => self.line(seen, out),
        }
    }

    fn json_line(&mut self, seen: &Seen, out: &mut impl Write) -> io::Result<()> {
        let value = match seen {
            Seen::Read { event, duplicate } => {
                json!({ "kind": "read", "duplicate": duplicate, "event": event })
            }
            Seen::Alert { event, duplicate } => {
                json!({ "kind": "alert", "duplicate": duplicate, "event": event })
            }
            Seen::ListRequest { event, .. } => json!({ "kind": "list_request", "event": event }),
            Seen::UnreadPass { event, duplicate } => {
                json!({ "kind": "unread_pass", "duplicate": duplicate, "event": event })
            }
            Seen::Ledger { event, duplicate } => {
                json!({ "kind": event.name(), "duplicate": duplicate, "event": event })
            }
            Seen::Photo { read_id, kind, verified, .. } => {
                json!({ "kind": "evidence", "read_id": read_id, "photo": kind, "verified": verified })
            }
            Seen::Complete { root, id, new_read } => {
                json!({ "kind": "complete", "source": root.source(), "id": id, "new_read": new_read })
            }
            Seen::Manifest { source, epoch, from, to, verdict, ask_for } => {
                let (verdict, why) = verdict_words(verdict);
                json!({ "kind": "manifest_check", "source": source, "epoch": epoch, "from": from,
                        "to": to, "verdict": verdict, "why": why, "ask_for": ask_for })
            }
            Seen::Conflict { source, id, sequence, why } => {
                json!({ "kind": "conflict", "source": source, "id": id, "sequence": sequence,
                        "why": why })
            }
            Seen::Response(event) => json!({ "kind": "response", "event": event }),
            Seen::Status(event) => json!({ "kind": "status", "event": event }),
            Seen::Heartbeat(event) => json!({ "kind": "heartbeat", "event": event }),
            Seen::Bad { topic, why } => json!({ "kind": "bad", "topic": topic, "why": why }),
        };
        writeln!(out, "{value}")?;
        out.flush()
    }

    fn line(&mut self, seen: &Seen, out: &mut impl Write) -> io::Result<()> {
        match seen {
            Seen::Read { event, duplicate: true } => {
                writeln!(out, "{:<23}  duplicate of {}, not counted", time(event), event.id)
            }
            Seen::Read { event, duplicate: false } => {
                let pending = Pending {
                    event: event.clone(),
                    since: Instant::now(),
                    verified: Vec::new(),
                    wrong: Vec::new(),
                };
                self.pending.insert(event.id, pending);
                let crowded = self.pending.len() > MAX_PENDING;
                self.flush(out, |_| crowded)
            }
            Seen::Photo { read_id, kind, verified, .. } => {
                match self.pending.get_mut(read_id) {
                    Some(pending) if *verified => pending.verified.push(*kind),
                    Some(pending) => pending.wrong.push(*kind),
                    None if *verified => {
                        writeln!(out, "{:<23}  {} photo of {read_id} came late", "", kind.name())?;
                    }
                    None => {}
                }
                Ok(())
            }
            Seen::Complete { id, .. } => {
                let id = *id;
                self.flush(out, |p| p.event.id == id)
            }
            Seen::Alert { event, duplicate } => writeln!(out, "{}", alert_line(event, *duplicate)),
            Seen::ListRequest { .. } => Ok(()),
            Seen::UnreadPass { event, duplicate } => {
                let (data, again) = (&event.data, if *duplicate { ", duplicate" } else { "" });
                let (camera, reason) = (event.source.root(), data.reason.name());
                writeln!(
                    out,
                    "{:<23.23}  {camera}  unread: {reason}{again}",
                    event.time.to_string()
                )
            }
            Seen::Ledger { event, .. } => writeln!(out, "{}", ledger_line(event)),
            Seen::Manifest { source, from, to, verdict, .. } => {
                let camera = source.root();
                let (verdict, why) = verdict_words(verdict);
                let why = why.map(|w| format!(": {w}")).unwrap_or_default();
                writeln!(out, "{:<23}  {camera}  manifest of {from} to {to} {verdict}{why}", "")
            }
            Seen::Conflict { source, id, sequence, why } => {
                let camera = source.root();
                writeln!(out, "{:<23}  {camera}  CONFLICT at {sequence}, {id}: {why}", "")
            }
            Seen::Status(event) => writeln!(
                out,
                "{:<23.23}  {}  {:?}{}",
                event.time.to_string(),
                event.source.root(),
                event.data.state,
                if event.data.unexpected { ", lost by the broker" } else { "" }
            ),
            Seen::Response(event) => {
                let why = event.data.why.as_deref().map_or(String::new(), |why| format!(": {why}"));
                let (id, outcome) = (event.data.command_id, event.data.outcome);
                writeln!(
                    out,
                    "{:<23.23}  {}  command {id} {outcome:?}{why}",
                    event.time.to_string(),
                    event.source.root()
                )
            }
            Seen::Heartbeat(_) => Ok(()),
            Seen::Bad { topic, why } => writeln!(out, "not understood on {topic}: {why}"),
        }?;
        out.flush()
    }

    /// Shows the reads that are due, oldest first.
    fn flush(&mut self, out: &mut impl Write, due: impl Fn(&Pending) -> bool) -> io::Result<()> {
        for (_, pending) in self.pending.extract_if(.., |_, p| due(p)) {
            let (event, read) = (&pending.event, &pending.event.data);
            let state = read.state.as_ref().map_or("–", |s| s.code.as_str());
            let late = if event.historical == Some(true) { "  (historical)" } else { "" };
            let camera = event.source.root();
            let camera = format!("{}/{}/{}", camera.agency, camera.site, camera.camera);
            writeln!(
                out,
                "{:<23}  {camera:<34}  {:<8}  {state:<5}  {:>5.1}%  {:<11}  {}{late}",
                time(event),
                read.plate_text,
                read.confidence * 100.0,
                read.direction.name(),
                evidence(&pending),
            )?;
        }
        out.flush()
    }

    fn ledgers(&self, ledgers: &[LedgerState], out: &mut impl Write) -> io::Result<()> {
        ledgers.iter().try_for_each(|ledger| match self.json {
            true => writeln!(out, "{}", ledger_json(ledger)),
            false => writeln!(out, "{}", ledger_words(ledger)),
        })
    }

    fn end(&self, s: &Summary, out: &mut impl Write) -> io::Result<()> {
        if self.json {
            let value = json!({
                "kind": "summary", "reads": s.reads, "distinct": s.distinct, "complete": s.complete,
                "duplicates": s.duplicates, "alerts": s.alerts, "unread_passes": s.unread_passes, "gaps": s.gaps,
                "bad_photos": s.bad_photos, "bad": s.bad, "conflicts": s.conflicts,
                "verified": s.verified, "verified_manifests": s.verified_manifests,
                "wrong_manifests": s.wrong_manifests, "open_manifests": s.open_manifests,
                "unchecked": s.unchecked,
            });
            return writeln!(out, "{value}");
        }
        writeln!(
            out,
            "{} reads, {} distinct ({} with all their photos), {} alerts, {} duplicates, {} unread passes, \
             {} missing in the sequence, {} wrong photos, {} conflicts, {} messages not understood; \
             manifests: {} verified, {} WRONG, {} open",
            s.reads,
            s.distinct,
            s.complete,
            s.alerts,
            s.duplicates,
            s.unread_passes,
            s.gaps,
            s.bad_photos,
            s.conflicts,
            s.bad,
            s.verified_manifests,
            s.wrong_manifests,
            s.open_manifests
        )
    }
}

/// An alert in a line: what was read, what is listed, how old the list is.
fn alert_line(event: &Event<Alert>, duplicate: bool) -> String {
    let Alert { list, entry, comparison, state, plate_text, captured_at, .. } = &event.data;
    let time = captured_at.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string();
    let age = list.age_s.map_or("of unknown age".into(), |s| format!("{:.1} h old", s / 3600.0));
    let freshness = match list.freshness {
        Freshness::Fresh => "fresh",
        Freshness::Aging => "aging",
        Freshness::Stale => "STALE",
    };
    let verdict = match state.verdict {
        StateVerdict::Match => "state agrees",
        StateVerdict::Mismatch => "STATE DIFFERS",
        StateVerdict::Unknown => "state not known",
    };
    let camera = event.source.root();
    let late = if event.historical == Some(true) { "  (historical)" } else { "" };
    let again = if duplicate { "  duplicate" } else { "" };
    let preview = if event.data.preview { "  (preview: still in view)" } else { "" };
    let sure = match comparison.probability * 100.0 {
        ..0.1 => "under 0.1%".to_owned(),
        percent => format!("{percent:.1}%"),
    };
    format!(
        "{time:<23}  {}/{}/{}  ADVISORY {} {}: read {plate_text}, listed {} (look-alikes: {}, {sure}), {verdict}; list version {} {freshness}, {age}; verify before acting{preview}{late}{again}",
        camera.agency,
        camera.site,
        camera.camera,
        list.name,
        entry.kind.as_deref().unwrap_or("entry"),
        comparison.listed_plate,
        comparison.substitutions,
        list.version,
    )
}

/// To the millisecond, without the zone.
fn time(event: &Event<Read>) -> String {
    event.data.captured_at.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

fn evidence(pending: &Pending) -> String {
    let evidence = &pending.event.data.evidence;
    let words = PhotoKind::ALL.into_iter().map(|kind| {
        let word = match evidence.photo(kind) {
            None => "none",
            Some(_) if pending.verified.contains(&kind) => "verified",
            Some(_) if pending.wrong.contains(&kind) => "WRONG HASH",
            Some(_) => "not yet",
        };
        format!("{} {word}", kind.name())
    });
    let words = words.collect::<Vec<_>>().join(", ");
    match &evidence.withheld_reason {
        Some(why) => format!("{words} (withheld: {why})"),
        None => words,
    }
}

#[cfg(test)]
mod tests {
    use milepost_wire::{LedgerEvent, examples};

    use super::*;

    fn shown(screen: &mut Screen, seen: &Seen) -> String {
        let mut out = Vec::new();
        screen.show(&Notice::Seen(seen), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_read_is_one_line_once_its_photos_are_there() {
        let event = Box::new(examples::read());
        let id = event.id;
        let mut screen = Screen { json: false, pending: BTreeMap::new(), lost: None };
        let root = event.source.root().clone();
        assert_eq!(shown(&mut screen, &Seen::Read { event: event.clone(), duplicate: false }), "");
        for kind in PhotoKind::ALL {
            let photo = Seen::Photo { read_id: id, kind, verified: true, early: None };
            assert_eq!(shown(&mut screen, &photo), "");
        }
        let line = shown(&mut screen, &Seen::Complete { root, id, new_read: true });
        for word in ["8MPX402", "US-CA", "94.5%", "approaching", "plate verified, context verified"]
        {
            assert!(line.contains(word), "{word} is missing in {line}");
        }
        assert_eq!(line.lines().count(), 1);
        let again = shown(&mut screen, &Seen::Read { event, duplicate: true });
        assert!(again.contains("duplicate") && !again.contains("8MPX402"));
    }

    #[test]
    fn what_a_pole_says_of_itself_is_one_line() {
        let mut screen = Screen { json: false, pending: BTreeMap::new(), lost: None };
        for (event, words) in [
            (LedgerEvent::Eviction(examples::eviction()), "gave up 10 Records"),
            (LedgerEvent::ClockStep(examples::clock_step()), "+259200.000 s"),
            (LedgerEvent::TimeCorrection(examples::time_correction()), "true time of 1 records"),
        ] {
            let seen = Seen::Ledger { event: Box::new(event), duplicate: false };
            let line = shown(&mut screen, &seen);
            assert!(line.contains(words) && line.lines().count() == 1, "{line}");
        }
    }

    #[test]
    fn an_alert_is_one_line_that_says_that_it_is_advisory_and_what_differs() {
        let mut event = Box::new(examples::alert());
        let line = alert_line(&event, false);
        for words in
            ["ADVISORY svs stolen", "listed BMPX402 (look-alikes: 1, 0.6%)", "fresh", "verify"]
        {
            assert!(line.contains(words), "{words} is missing in {line}");
        }
        assert!(!line.contains("preview"));
        (event.data.preview, event.data.comparison.probability) = (true, 0.0001);
        let line = alert_line(&event, false);
        assert!(line.contains("(preview: still in view)") && line.contains("under 0.1%"), "{line}");
    }

    #[test]
    fn json_is_one_object_a_line() {
        let mut screen = Screen { json: true, pending: BTreeMap::new(), lost: None };
        let event = Box::new(examples::read());
        let line = shown(&mut screen, &Seen::Read { event, duplicate: false });
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["event"]["data"]["plate_text"], "8MPX402");
        assert_eq!(line.lines().count(), 1);
    }
}
