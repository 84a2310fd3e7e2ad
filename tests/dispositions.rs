//! Promise: what the server says became of alerts is on the pole's health page and in its metrics; an entry
//! that it mutes gives no alert, through a kill, while its reads come as always, and gives alerts again when its
//! time is over or the server says so; all of it on the ledger, and no plate anywhere on the page.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, fs, path::PathBuf, thread, time::Duration};

use harness::{
    agent::{Agent, events, wait_for, watch},
    broker::Broker,
    lists::{Believing, sign},
};
use jiff::{SignedDuration, Timestamp};
use milepost_wire::{Action, Command, Disposition, Leaf, Outcome, Response, Verdict};
use serde_json::Value;
use uuid::Uuid;

/// Plates of the demo clip; the last entry has no id of its own.
const LIST: &str = "plate,state,kind,id\n\
    3OYH713,CA,stolen,first\n\
    3BMQ664,NV,stolen,second\n\
    6JVI659,ID,stolen,\n";

/// A central server, and what came to it.
struct Central {
    runtime: tokio::runtime::Runtime,
    broker: Broker,
    out: PathBuf,
}

impl Central {
    /// Events of a kind, each once, in the order in which they came.
    fn seen(&self, kind: &str) -> Vec<Value> {
        events(&self.out, kind)
    }

    fn say(&self, leaf: Leaf, json: Vec<u8>) {
        self.runtime.block_on(self.broker.say(vec![(leaf, json)])).unwrap();
    }

    /// The answer to a command that is sent now.
    fn ask(&self, command: &Command) -> Response {
        let answers = || {
            let all = self.seen("response").into_iter();
            let all = all.map(|e| serde_json::from_value::<Response>(e["data"].clone()).unwrap());
            all.filter(|r| r.command_id == command.command_id).collect::<Vec<_>>()
        };
        let before = answers().len();
        self.say(Leaf::Commands, serde_json::to_vec(command).unwrap());
        wait_for("the answer", || answers().len() > before);
        answers().pop().unwrap()
    }
}

fn command(action: Action) -> Command {
    Command {
        command_id: Uuid::now_v7(),
        by: "alpr.admin@demo-pd.example".into(),
        reason: "another vehicle's plate is read as this one".into(),
        case_number: None,
        action,
    }
}

fn mute(entry_id: &str, until: Timestamp) -> Command {
    command(Action::Mute { list: "svs".into(), entry_id: entry_id.into(), until })
}

fn entry_of(alert: &Value) -> String {
    alert["data"]["entry"]["id"].as_str().unwrap().to_owned()
}

#[test]
fn dispositions_are_counted_and_a_muted_entry_gives_no_alert_until_its_time_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path(), "");
    let lists = sign(folder.path(), &broker, "svs", LIST, &["--audience", "demo-pd"]);
    let (_watch, out) =
        watch(folder.path(), &broker, &["--receipts", "--lists", lists.to_str().unwrap()]);
    let believing = Believing::of(&broker);
    let central = Central { runtime: tokio::runtime::Runtime::new().unwrap(), broker, out };
    let start = |changes: &[(&str, &str)]| {
        let agent = Agent::start(folder.path(), &central.broker, changes);
        wait_for("a connection", || agent.metric("alpr_uplink_connected") > 0.0);
        agent
    };
    // The entries that give alerts as the clip goes by once.
    let once = |agent: &Agent, before: usize| -> BTreeSet<String> {
        wait_for("the clip's end", || agent.get("/health").contains("played to its end"));
        wait_for("an empty outbox", || agent.metric("alpr_outbox_records") < 0.5);
        central.seen("alert")[before..].iter().map(entry_of).collect()
    };
    let mut agent = start(&believing.waiting());
    wait_for("the list in force", || agent.get("/health").contains("svs version 1"));
    agent.kill();

    let mut agent = start(&believing.road());
    let all = once(&agent, 0);
    let unnamed = all.iter().find(|id| !["first", "second"].contains(&id.as_str()));
    let unnamed = unnamed.expect("an alert by the entry without an id").clone();
    assert_eq!(all.len(), 3, "{all:?}");

    // What became of them is said, the last word twice; and of eighteen more that nobody ever had.
    let alerts = central.seen("alert");
    let of = |entry: &str| alerts.iter().find(|a| entry_of(a) == entry).unwrap()["data"].clone();
    let at = Timestamp::now();
    let said = |alert: &Value, verdict| Disposition {
        alert_id: alert["alert_id"].as_str().unwrap().parse().unwrap(),
        list: "svs".into(),
        verdict,
        at,
        plate_read: None,
        plate_shown: None,
    };
    let read = of("first")["plate_text"].as_str().unwrap().to_owned();
    let shown = read.replace('O', "Q");
    let misread = Disposition {
        plate_read: Some(read.clone()),
        plate_shown: Some(shown.clone()),
        at: at + SignedDuration::from_secs(1),
        ..said(&of("first"), Verdict::IncorrectRead)
    };
    let mut dispositions = vec![
        said(&of("first"), Verdict::Correct),
        misread.clone(),
        misread,
        said(&of("second"), Verdict::WrongState),
        said(&of(&unnamed), Verdict::Dismissed),
    ];
    dispositions.extend(
        (0..18).map(|_| Disposition {
            alert_id: Uuid::now_v7(),
            ..said(&of("first"), Verdict::Correct)
        }),
    );
    let mut messages: Vec<_> = dispositions
        .iter()
        .map(|said| (Leaf::Dispositions, serde_json::to_vec(said).unwrap()))
        .collect();
    messages.push((Leaf::Dispositions, b"{\"verdict\":\"arrest\"}".to_vec()));
    central.runtime.block_on(central.broker.say(messages)).unwrap();
    wait_for("the nonsense to be counted", || {
        agent.metric("alpr_alert_dispositions_ignored_total") > 0.0
    });
    let rate = "svs: 10 % of 20 alerts false (1 wrong state, 1 incorrect read, 1 dismissed); \
                mostly misread: O for Q (1)";
    let counted = |verdict| {
        let name = format!("alpr_alert_dispositions_total{{list=\"svs\",verdict=\"{verdict}\"}}");
        agent.metric(&name)
    };
    assert!(
        (counted("incorrect_read") - 1.0).abs() < 0.1 && (counted("correct") - 19.0).abs() < 0.1
    );
    let confused = agent.metric("alpr_alert_confusions_total{read=\"O\",shown=\"Q\"}");
    assert!((confused - 1.0).abs() < 0.1);
    let pages = [agent.get("/health"), agent.get("/metrics"), agent.get("/")].concat();
    assert!(pages.contains(rate), "{pages}");
    assert!(!pages.contains(&read) && !pages.contains(&shown), "a plate is on the page");
    thread::sleep(Duration::from_secs(3));

    // Two are muted; what may not be is refused.
    let tomorrow = Timestamp::now() + SignedDuration::from_hours(24);
    let muting = [mute("first", tomorrow), mute(&unnamed, tomorrow)];
    for command in &muting {
        let done = central.ask(command);
        assert_eq!((done.outcome, done.why), (Outcome::Done, None));
        wait_for("the ledger's word", || {
            let sequence = done.sequence.unwrap().to_string();
            central.seen("mute").iter().any(|e| {
                e["data"]["command_id"] == command.command_id.to_string()
                    && e["sequence"].as_str().unwrap().trim_start_matches('0') == sequence
            })
        });
    }
    let far = mute("second", Timestamp::now() + SignedDuration::from_hours(91 * 24));
    let refused = central.ask(&far);
    assert_eq!(refused.outcome, Outcome::Refused);
    assert!(refused.why.unwrap().contains("ahead"));
    assert!(agent.get("/health").contains("3 entries (2 muted)"));

    // Killed, and the clip once more: reads as before, and one alert.
    let reads = central.seen("read").len();
    agent.kill();
    let mut agent = start(&believing.road());
    assert!(agent.get("/health").contains(rate), "{}", agent.get("/health"));
    let left = once(&agent, alerts.len());
    assert_eq!(left, BTreeSet::from(["second".to_owned()]));
    assert!((agent.metric("alpr_alerts_muted_total") - 2.0).abs() < 0.1);
    assert_eq!(central.seen("read").len(), 2 * reads);

    // One by command, the other by itself, and a command that the broker brings again does nothing.
    let unmute = command(Action::Unmute { list: "svs".into(), entry_id: "first".into() });
    assert_eq!(central.ask(&unmute).outcome, Outcome::Done);
    assert_eq!(central.ask(&muting[0]).outcome, Outcome::Done);
    let until = Timestamp::now() + SignedDuration::from_secs(10);
    assert_eq!(central.ask(&mute(&unnamed, until)).outcome, Outcome::Done);
    assert!(agent.get("/health").contains("3 entries (1 muted)"));
    wait_for("its end", || Timestamp::now() > until && !agent.get("/health").contains("muted)"));
    let before = central.seen("alert").len();
    assert!(agent.stop().success());
    let mut agent = start(&believing.road());
    assert_eq!(once(&agent, before), all);
    assert!(agent.stop().success());
    assert_eq!(central.seen("mute").len(), 4);
    let log = fs::read_to_string(&agent.log).unwrap();
    assert!(!log.contains(&read));
}
