//! Promise: whatever is wrong in a configuration file is named with its key and its line, all of it
//! at once, and nothing makes the program panic.
//!
//! Hundreds of broken files, each made by one change to a good one, so that what must be said is
//! known exactly: this key, this line, and nothing else.

use std::{path::Path, process::Command};

use milepost::config::{
    Config,
    keys::{self, KEYS, Key, Kind, SECTIONS},
};

/// One broken file, and what must be said about it.
struct Case {
    name: String,
    bytes: Vec<u8>,
    line: usize,
    key: String,
}

/// A good file that has every key that may stand beside the selectors' words given. Of the two keys that
/// seal, only one may stand.
fn good(source: &str, board: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for section in SECTIONS {
        lines.push(format!("[{}]", section.name));
        for key in keys::of_section(section.name) {
            let value = match (key.name, key.only_with) {
                ("key_file", _) if section.name == "sealing" => continue,
                ("source", _) => format!("\"{source}\""),
                ("board", _) => format!("\"{board}\""),
                (_, Some((_, word))) if word != source && word != board => continue,
                _ => key.kind.example(),
            };
            lines.push(format!("{} = {value}", key.name));
        }
        lines.push(String::new());
    }
    lines
}

/// The good file in which a key may stand, and the key's line (from 0).
fn good_for(key: &Key) -> (Vec<String>, usize) {
    let mut lines = match key.only_with {
        Some(("source", word)) => good(word, "none"),
        Some((_, word)) => good("test-pattern", word),
        None => good("test-pattern", "none"),
    };
    if key.path() == "sealing.key_file" {
        let other = lines.iter_mut().find(|l| l.starts_with("key = ")).expect("sealing.key");
        *other = format!("{} = {}", key.name, key.kind.example());
    }
    let header = format!("[{}]", key.section);
    let start = lines.iter().position(|l| *l == header).expect("its table");
    let own = |l: &String| l.split(" =").next() == Some(key.name);
    let line = start + lines[start..].iter().position(own).expect("the key");
    (lines, line)
}

fn case(name: String, lines: &[String], line: usize, key: String) -> Case {
    Case { name, bytes: lines.join("\n").into_bytes(), line: line + 1, key }
}

/// Values that a key must refuse.
fn bad_values(kind: Kind) -> Vec<(&'static str, String)> {
    let mut bad = vec![
        ("a table", "{ a = 1 }".into()),
        ("no value", String::new()),
        ("a word without quotes", "unquoted".into()),
        ("a text without end", "\"open".into()),
        ("a date", "2026-11-24".into()),
    ];
    match kind {
        Kind::Whole { min, max, step, .. } => bad.extend([
            ("too small", (min - step).to_string()),
            ("too large", (max + step).to_string()),
            ("a huge number", "99999999999999999999999999".into()),
            ("the largest number", i64::MAX.to_string()),
            ("a fraction", format!("{min}.5")),
            ("a number in quotes", format!("\"{min}\"")),
            ("leading zeros", "007".into()),
        ]),
        Kind::Number { min, max, .. } => bad.extend([
            ("too small", (min - 1.0).to_string()),
            ("too large", (max + 1.0).to_string()),
            ("not a number", "nan".into()),
            ("infinite", "-inf".into()),
            ("beyond doubles", "1e999".into()),
            ("with a unit", "5s".into()),
            ("true", "true".into()),
        ]),
        Kind::Flag(_) => bad.extend([
            ("yes", "\"yes\"".into()),
            ("a number", "1".into()),
            ("capital letters", "True".into()),
        ]),
        Kind::Word { words, .. } => bad.extend([
            ("an unknown word", "\"banana\"".into()),
            ("an empty word", "\"\"".into()),
            ("capital letters", format!("\"{}\"", words[0].to_uppercase())),
            ("a list", format!("[\"{}\"]", words[0])),
        ]),
        Kind::Name => bad.extend([
            ("a topic separator", "\"a/b\"".into()),
            ("a wild card", "\"+\"".into()),
            ("empty", "\"\"".into()),
            ("too long", format!("\"{}\"", "x".repeat(65))),
            ("other letters", "\"pölice\"".into()),
        ]),
        Kind::Path => bad.extend([
            ("empty", "\"\"".into()),
            ("a home", "\"~/file\"".into()),
            ("a NUL", "\"a\\u0000b\"".into()),
            ("a number", "7".into()),
        ]),
        Kind::Device => bad.extend([("relative", "\"video0\"".into()), ("a number", "0".into())]),
        Kind::StreamUrl => bad.extend([
            ("credentials", "\"rtsp://admin:hunter2@192.0.2.1/\"".into()),
            ("another scheme", "\"http://192.0.2.1/\"".into()),
            ("no host", "\"rtsp:///stream\"".into()),
            ("a bad port", "\"rtsp://192.0.2.1:99999/\"".into()),
            ("a password as parameter", "\"rtsp://192.0.2.1/?password=hunter2\"".into()),
        ]),
        Kind::Pipeline => bad.extend([
            ("empty", "\"\"".into()),
            ("credentials", "\"rtspsrc location=rtsp://a:hunter2@h/ ! decodebin\"".into()),
        ]),
        Kind::Credential => bad.extend([
            ("a bare name", "\"milepost-sealing\"".into()),
            ("no name", "\"credential:\"".into()),
            ("a path", "\"credential:../sealing\"".into()),
            ("the key itself", "\"hunter2AgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhs=\"".into()),
        ]),
        Kind::HostPort => bad.extend([
            ("no port", "\"broker\"".into()),
            ("port 0", "\"broker:0\"".into()),
            ("a scheme", "\"mqtts://broker:8883\"".into()),
            ("a space", "\"my broker:8883\"".into()),
            ("credentials", "\"pole:hunter2@broker:8883\"".into()),
        ]),
        Kind::Listen(_) => bad.extend([
            ("a name", "\"localhost:8480\"".into()),
            ("no port", "\"127.0.0.1\"".into()),
            ("a port alone", "8480".into()),
        ]),
        Kind::Providers => bad.extend([
            ("unknown", "[\"gpu\"]".into()),
            ("empty", "[]".into()),
            ("twice", "[\"cpu\", \"cpu\"]".into()),
            ("no list", "\"cpu\"".into()),
            ("numbers", "[1]".into()),
        ]),
        Kind::Text(max) => bad.extend([
            ("empty", "\"\"".into()),
            ("too long", format!("\"{}\"", "x".repeat(max + 1))),
            ("a bell", "\"\\u0007\"".into()),
        ]),
        Kind::Regions => {}
    }
    bad
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for key in KEYS {
        let path = key.path();
        for (what, value) in bad_values(key.kind) {
            let (mut lines, line) = good_for(key);
            lines[line] = format!("{} = {value}", key.name);
            cases.push(case(format!("{path}: {what}"), &lines, line, path.clone()));
        }
        let (mut lines, line) = good_for(key);
        lines[line] = lines[line].replacen('=', "", 1);
        cases.push(case(format!("{path}: no equals sign"), &lines, line, path.clone()));

        let (mut lines, line) = good_for(key);
        lines.insert(line + 1, lines[line].clone());
        cases.push(case(format!("{path}: twice"), &lines, line + 1, path.clone()));

        let (lines, line) = good_for(key);
        let mut broken = case(format!("{path}: no UTF-8"), &lines, line, path.clone());
        let at = lines[..line].iter().map(|l| l.len() + 1).sum::<usize>() + key.name.len() + 3;
        broken.bytes.insert(at, 0xff);
        cases.push(broken);

        let (mut lines, line) = good_for(key);
        lines[line].insert_str(key.name.len(), "_x");
        let misspelt = format!("{path}_x");
        cases.push(case(format!("{path}: misspelt"), &lines, line, misspelt));

        // A selector's absence lets its companions stand without meaning: other tests have that.
        if key.required && key.name != "source" {
            let (mut lines, line) = good_for(key);
            lines.remove(line);
            let header = format!("[{}]", key.section);
            let header = lines.iter().position(|l| *l == header).expect("its table");
            cases.push(case(format!("{path}: missing"), &lines, header, path.clone()));
        }
    }
    for section in SECTIONS.map(|s| s.name) {
        let lines = good("test-pattern", "none");
        let header = format!("[{section}]");
        let line = lines.iter().position(|l| *l == header).expect("the table");
        let end = line + lines[line..].iter().position(String::is_empty).expect("its end");
        let mut with = |what: &str, at: usize, key: &str, change: &dyn Fn(&mut Vec<String>)| {
            let mut lines = lines.clone();
            change(&mut lines);
            cases.push(case(format!("[{section}]: {what}"), &lines, at, key.into()));
        };
        with("unclosed", line, section, &|l| l[line] = format!("[{section}"));
        with("a list of tables", line, section, &|l| l[line] = format!("[[{section}]]"));
        with("twice", end, section, &|l| l.insert(end, header.clone()));
        with("misspelt", line, &format!("{section}z"), &|l| l[line] = format!("[{section}z]"));
        with("an unknown key", end, &format!("{section}.colour"), &|l| {
            l.insert(end, "colour = 1".into());
        });
        with("garbage", end, section, &|l| l.insert(end, "?!".into()));
        let value = |l: &mut Vec<String>| {
            l.drain(line..end);
            l.insert(0, format!("{section} = 1"));
        };
        with("a value", 0, section, &value);
    }
    for (what, value, item) in [
        ("two points", "[[[0, 0], [1, 1]]]", "[0]"),
        ("three numbers", "[[[0, 0], [9, 0], [9, 9, 9]]]", "[0]"),
        ("outside", "[[[0, 0], [9, 0], [9, 99999]]]", "[0]"),
        ("negative", "[[[0, 0], [9, 0], [9, -1]]]", "[0]"),
        ("no area", "[[[0, 0], [5, 5], [9, 9]]]", "[0]"),
        ("texts", "[[[\"a\", \"b\"], [1, 2], [3, 4]]]", "[0]"),
        ("the second", "[[[0, 0], [9, 0], [9, 9]], [[1, 2]]]", "[1]"),
        ("a number", "4", ""),
        ("unclosed", "[[[0, 0], [9, 0], [9, 9]]", ""),
    ] {
        let key = keys::find("vision", "regions").expect("the key");
        let (mut lines, line) = good_for(key);
        lines[line] = format!("regions = {value}");
        cases.push(case(
            format!("vision.regions: {what}"),
            &lines,
            line,
            format!("vision.regions{item}"),
        ));
    }
    cases
}

#[test]
fn every_good_file_that_the_broken_ones_are_made_of_is_good() {
    for source in keys::SOURCES {
        for board in keys::BOARDS {
            let text = good(source, board).join("\n");
            Config::parse(&text, Path::new("/")).unwrap_or_else(|e| panic!("{source}: {e}"));
        }
    }
}

#[test]
fn hundreds_of_broken_configurations_each_name_their_key_and_line_and_nothing_else() {
    let cases = cases();
    assert!(cases.len() >= 200, "{}", cases.len());
    let mut wrong = Vec::new();
    for Case { name, bytes, line, key } in &cases {
        match Config::parse_bytes(bytes, Path::new("/")) {
            Ok(_) => wrong.push(format!("{name}: accepted")),
            Err(errors) => {
                let said: Vec<_> =
                    errors.problems.iter().map(|p| (p.place.line, p.key.as_str())).collect();
                if said != [(*line, key.as_str())] {
                    wrong.push(format!("{name}: expected line {line}, {key}; said\n{errors}"));
                }
                let text = errors.to_string();
                if text.contains("hunter2") {
                    wrong.push(format!("{name}: shows a secret:\n{text}"));
                }
                if errors.problems.iter().any(|p| p.message.is_empty() || p.remedy.is_empty()) {
                    wrong.push(format!("{name}: no message or no remedy:\n{text}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} wrong:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// Cargo puts the tests' binaries into `deps`, beside the program.
fn milepost() -> Command {
    let tests = std::env::current_exe().expect("this test's path");
    let folder = tests.parent().and_then(Path::parent).expect("the build folder");
    Command::new(folder.join("milepost"))
}

#[test]
fn milepost_check_prints_file_line_and_key_and_leaves_with_1() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pole.toml");
    let cases = cases();
    let step = cases.len() / 12;
    for Case { name, bytes, line, key } in cases.iter().step_by(step) {
        std::fs::write(&file, bytes).expect("the file");
        let output = milepost().arg("check").arg("--config").arg(&file).output().expect("milepost");
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{name}: {output:?}");
        let place = format!("{}:{line}:", file.display());
        assert!(said.lines().any(|l| l.starts_with(&place) && l.contains(key)), "{name}: {said}");
        assert!(
            !String::from_utf8_lossy(&output.stderr).contains("panicked"),
            "{name}: {output:?}"
        );
    }
}

#[test]
fn milepost_check_json_is_one_object_on_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pole.toml");
    std::fs::write(&file, "[site]\nagency = 1\n").expect("the file");
    let output =
        milepost().args(["check", "--json", "--config"]).arg(&file).output().expect("milepost");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said.lines().count(), 1);
    let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(said["good"], false);
    let agency = said["problems"].as_array().and_then(|p| p.iter().find(|p| p["line"] == 2));
    assert_eq!(agency.expect("line 2")["key"], "site.agency");
}

#[test]
fn a_file_that_is_not_there_is_a_problem_and_a_missing_option_a_usage_error() {
    let output =
        milepost().args(["check", "--config", "/nowhere.toml"]).output().expect("milepost");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("/nowhere.toml:1:1: "));
    let output = milepost().arg("check").output().expect("milepost");
    assert_eq!(output.status.code(), Some(2));
}
