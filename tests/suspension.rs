//! Promise: while the server has capture suspended nothing is captured, also where the clock is set and the
//! agent killed in that time; the ledger says from when to when, by whom and why; and capture goes on by itself when
//! the time is over, or sooner by command.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    ops::Range,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use harness::{
    agent::{Agent, clip, wait_for, watch},
    broker::Broker,
    clock::Clock,
    rtsp::{Serve, Server},
};
use jiff::{SignedDuration, Timestamp};
use milepost_wire::{
    Action, Command, Event, Leaf, Outcome, Response, Suspension, SuspensionEnd,
    ledger::LEDGER_TYPES,
};
use serde_json::Value;
use uuid::Uuid;

/// Long enough for the agent to be killed and started in it.
const WINDOW: SignedDuration = SignedDuration::from_secs(30);

/// A central server: gives commands, and has what comes.
struct Central {
    runtime: tokio::runtime::Runtime,
    broker: Broker,
    out: PathBuf,
}

impl Central {
    fn command(action: Action) -> Command {
        Command {
            command_id: Uuid::now_v7(),
            by: "lt.okafor@demo-pd.example".into(),
            reason: "permitted march on Main Street".into(),
            case_number: None,
            action,
        }
    }

    /// The answer to a command that is sent now.
    fn ask(&self, command: &Command) -> Response {
        let answers = || {
            let all = self.seen("response").into_iter();
            let all = all.map(|e| serde_json::from_value::<Response>(e["data"].clone()).unwrap());
            all.filter(|r| r.command_id == command.command_id).collect::<Vec<_>>()
        };
        let before = answers().len();
        let json = serde_json::to_vec(command).unwrap();
        self.runtime.block_on(self.broker.say(vec![(Leaf::Commands, json)])).unwrap();
        wait_for("the answer", || answers().len() > before);
        answers().pop().unwrap()
    }

    /// Events of a kind in the order in which they came, each once.
    fn seen(&self, kind: &str) -> Vec<Value> {
        let text = fs::read_to_string(&self.out).unwrap();
        // The last line may be half written.
        let seen = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let seen = seen.filter(|s| s["kind"] == kind && s["duplicate"] != true);
        seen.map(|mut s| s["event"].take()).collect()
    }

    /// The ledger's words on suspensions, in its order.
    fn suspensions(&self) -> Vec<Event<Suspension>> {
        let seen = self.seen("suspension").into_iter();
        let mut events: Vec<Event<Suspension>> =
            seen.map(|e| serde_json::from_value(e).unwrap()).collect();
        events.sort_by_key(|e| e.ledger().unwrap().sequence);
        events
    }
}

#[test]
fn nothing_is_captured_in_a_suspension_and_capture_goes_on_by_itself_or_by_command() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path(), "");
    let (_watch, out) = watch(folder.path(), &broker, &["--receipts"]);
    let camera = Server::start(Serve { clip: Some(clip()), ..Serve::default() });
    let source = format!("source = \"rtsp\"\nurl = \"{}\"", camera.url());
    let path = format!("path = \"{}\"\n", clip().display());
    let changes = [("source = \"file\"", source.as_str()), (path.as_str(), "")];
    let central = Central { runtime: tokio::runtime::Runtime::new().unwrap(), broker, out };
    let clock = Clock::new(folder.path());
    let environment = clock.environment();
    let start = || Agent::start_in(folder.path(), &central.broker, &changes, &environment);
    let suspended = |agent: &Agent| agent.metric("alpr_capture_suspended") > 0.0;
    let read = |agent: &Agent| {
        let before = agent.metric("alpr_reads_total");
        wait_for("a read", || agent.metric("alpr_reads_total") > before);
    };
    let mut agent = start();
    read(&agent);
    wait_for("a connection", || agent.metric("alpr_uplink_connected") > 0.0);

    // What may not be is refused with the reason, and nothing is done.
    let now = Timestamp::now();
    let month = SignedDuration::from_hours(31 * 24);
    for (until, why) in [(now - WINDOW, "has passed"), (now + month, "longer than")] {
        let refused = central.ask(&Central::command(Action::Suspend { from: None, until }));
        assert_eq!(refused.outcome, Outcome::Refused);
        assert!(refused.why.unwrap().contains(why));
    }
    assert!(!suspended(&agent) && central.suspensions().is_empty());

    // Suspended, and no frame is taken.
    let until = Timestamp::now() + WINDOW;
    let first = Central::command(Action::Suspend { from: None, until });
    let done = central.ask(&first);
    assert_eq!((done.outcome, &done.why), (Outcome::Done, &None));
    assert!(suspended(&agent));
    wait_for("the reason", || agent.get("/health").contains("suspended by command"));
    let health = agent.get("/health");
    assert!(!health.contains("okafor") && !health.contains("march"), "{health}");
    let frames = |agent: &Agent| agent.metric("alpr_frames_total");
    let before = frames(&agent);
    thread::sleep(Duration::from_secs(2));
    let days = SignedDuration::from_hours(72);
    for off in [days, -days, SignedDuration::ZERO] {
        let steps = agent.metric("alpr_clock_steps_total");
        clock.off_by(off);
        wait_for("the step", || agent.metric("alpr_clock_steps_total") > steps);
        assert!(suspended(&agent), "ended by its clock");
    }
    assert!((frames(&agent) - before).abs() < 0.5, "frames are taken");

    // Killed, and the same command once more.
    agent.kill();
    let mut agent = start();
    wait_for("the suspension again", || suspended(&agent));
    wait_for("a connection", || agent.metric("alpr_uplink_connected") > 0.0);
    let again = central.ask(&first);
    assert_eq!((again.outcome, again.sequence), (Outcome::Done, done.sequence));
    let taken = Instant::now();
    loop {
        let frames = frames(&agent);
        if !suspended(&agent) {
            break;
        }
        assert!(frames < 0.5, "frames are taken");
        assert!(taken.elapsed() < Duration::from_secs(120), "it does not end");
        thread::sleep(Duration::from_millis(100));
    }
    assert!(Timestamp::now() >= until, "it ended before its time");
    read(&agent);

    // A longer one ends by command.
    let hour = Timestamp::now() + SignedDuration::from_hours(1);
    let second = Central::command(Action::Suspend { from: None, until: hour });
    assert_eq!(central.ask(&second).outcome, Outcome::Done);
    assert!(suspended(&agent));
    let resume = Central::command(Action::Resume);
    assert_eq!(central.ask(&resume).outcome, Outcome::Done);
    assert!(!suspended(&agent));
    read(&agent);
    let refused = central.ask(&Central::command(Action::Resume));
    assert!(refused.why.unwrap().contains("not suspended"));

    drop(camera);
    wait_for("an empty outbox", || agent.metric("alpr_outbox_records") < 0.5);
    assert!(agent.stop().success());
    on_the_ledger(&central, &first, done.sequence.unwrap());
}

/// Who, why and when; and no capture between.
fn on_the_ledger(central: &Central, first: &Command, begun: u64) {
    let said = central.suspensions();
    let [ordered, began, expired, _, began_again, recalled, resumed] = &said[..] else {
        panic!("{said:?}")
    };
    let Suspension::Ordered { suspension_id, by, reason, .. } = &ordered.data else {
        panic!("{ordered:?}")
    };
    assert_eq!((suspension_id, by, reason), (&first.command_id, &first.by, &first.reason));
    assert_eq!(began.ledger().unwrap().sequence, begun);
    let ends = |event: &Event<Suspension>, why| matches!(event.data, Suspension::Ended { cause, .. } if cause == why);
    assert!(ends(expired, SuspensionEnd::Expired) && ends(resumed, SuspensionEnd::Resumed));
    assert!(matches!(recalled.data, Suspension::Recalled { .. }));
    let begins = |event: &Event<Suspension>| matches!(event.data, Suspension::Begun { .. });
    assert!(begins(began) && begins(began_again));

    let suspended: [Range<Timestamp>; 2] =
        [began.time..expired.time, began_again.time..resumed.time];
    let captures = || [central.seen("read"), central.seen("unread_pass")].concat();
    let times: Vec<Timestamp> = captures()
        .iter()
        .flat_map(|e| {
            ["captured_at", "first_seen_at", "last_seen_at"]
                .map(|t| e["data"][t].as_str().unwrap().parse().unwrap())
        })
        .collect();
    for time in &times {
        assert!(!suspended.iter().any(|s| s.contains(time)), "{time} in {suspended:?}");
    }
    let any = |range: Range<Timestamp>| times.iter().any(|time| range.contains(time));
    assert!(any(Timestamp::MIN..began.time), "none before");
    assert!(any(expired.time..began_again.time), "none between");
    assert!(any(resumed.time..Timestamp::MAX), "none after");

    // Nothing is missing in the sequence.
    let mut sequences: Vec<u64> = LEDGER_TYPES
        .iter()
        .flat_map(|(kind, _)| central.seen(kind))
        .chain(captures())
        .map(|e| e["sequence"].as_str().unwrap().parse().unwrap())
        .collect();
    sequences.sort_unstable();
    assert_eq!(sequences, (1..=sequences.len() as u64).collect::<Vec<_>>());
}
