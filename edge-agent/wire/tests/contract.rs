//! The committed contract is what the types say, and the examples keep it.
//!
//! `MILEPOST_UPDATE=1 cargo test -p milepost-wire --test contract` writes the files anew.

#![allow(clippy::unwrap_used)]

use std::{fs, path::PathBuf};

use milepost_wire::{
    Chain, Data, Event, asyncapi, event::kept, event::sending, examples, onvif, schema,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/wire")
}

/// Anything serialisable as it goes over the wire: through text, so that a 32-bit probability is
/// the short number that it is there.
fn wire(value: &impl serde::Serialize) -> Value {
    serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
}

/// An event of the ledger as it is sent.
fn sent<T: Data>(event: Event<T>) -> Value {
    wire(&Event { historical: Some(false), ..event })
}

/// (schema's name, example).
fn all_examples() -> Vec<(&'static str, Value)> {
    vec![
        ("read", sent(examples::read())),
        ("alert", sent(examples::alert())),
        ("list_version", wire(&examples::list_version())),
        ("list_announcement", wire(&examples::list_announcement())),
        ("list_request", wire(&examples::list_request())),
        ("access", sent(examples::access())),
        ("dropped_reads", sent(examples::dropped_reads())),
        ("list_change", sent(examples::list_change())),
        ("disposition", wire(&examples::disposition())),
        ("mute", sent(examples::mute())),
        ("unread_pass", sent(examples::unread_pass())),
        ("eviction", sent(examples::eviction())),
        ("epoch", sent(examples::epoch())),
        ("salvage", sent(examples::salvage())),
        ("restart", sent(examples::restart())),
        ("manifest", sent(examples::manifest())),
        ("manifest_claims", wire(&examples::manifest_claims())),
        ("clock_step", sent(examples::clock_step())),
        ("time_correction", sent(examples::time_correction())),
        ("hold", sent(examples::hold())),
        ("suspension", sent(examples::suspension())),
        ("response", wire(&examples::response())),
        ("command", wire(&examples::command())),
        ("status", wire(&examples::status())),
        ("heartbeat", wire(&examples::heartbeat())),
        ("receipt", wire(&examples::receipt())),
    ]
}

#[test]
fn the_committed_contract_is_what_the_types_say() {
    let mut files = asyncapi::schema_files();
    files.push(("asyncapi.json".into(), asyncapi::document()));
    files.extend(all_examples().into_iter().map(|(name, v)| (format!("examples/{name}.json"), v)));
    files.push(("examples/onvif.json".into(), onvif::event(&examples::read())));
    let update = std::env::var_os("MILEPOST_UPDATE").is_some();
    for (name, value) in files {
        let path = folder().join(&name);
        if update {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, serde_json::to_string_pretty(&value).unwrap() + "\n").unwrap();
            continue;
        }
        // As values: the order of members depends on a feature that other crates may switch on.
        let committed = fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok());
        assert!(
            committed == Some(value),
            "docs/reference/wire/{name} is not what the types say: run \
             MILEPOST_UPDATE=1 cargo test -p milepost-wire --test contract and look at the change"
        );
    }
}

/// The README's worked example of a chain: two records of one ledger as they are sent.
fn chain_example() -> String {
    let (first, second) = (examples::epoch(), examples::restart());
    let epoch = first.epoch.unwrap();
    let mut chain = Chain::start(epoch);
    let mut text = format!("epoch     {epoch}\nchain(0)  {chain}\n");
    for (n, body) in [(1, first.to_json().unwrap()), (2, second.to_json().unwrap())] {
        let sent = sending(&body, &[], n == 1);
        assert_eq!(kept(&sent).unwrap(), body);
        chain = chain.then(&body);
        let hash: String = Sha256::digest(&body).iter().map(|b| format!("{b:02x}")).collect();
        let sent = String::from_utf8(sent).unwrap();
        text += &format!("\nmessage {n} {sent}\nSHA-256(body {n})  {hash}\nchain({n})  {chain}\n");
    }
    format!("\n```\n{text}```\n")
}

#[test]
fn the_worked_example_of_a_chain_is_true() {
    let path = folder().join("README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once("--test contract -->").unwrap();
    let (committed, after) = rest.split_once("<!-- end of chain example -->").unwrap();
    let example = chain_example();
    if std::env::var_os("MILEPOST_UPDATE").is_some() {
        let anew =
            format!("{before}--test contract -->{example}<!-- end of chain example -->{after}");
        return fs::write(&path, anew).unwrap();
    }
    assert_eq!(committed, example, "MILEPOST_UPDATE=1 cargo test -p milepost-wire --test contract");
}

fn validator(schema: &Value) -> jsonschema::Validator {
    jsonschema::options().should_validate_formats(true).build(schema).unwrap()
}

#[test]
fn every_example_is_valid_by_its_schema() {
    let schemas = schema::all();
    let examples = all_examples();
    assert_eq!(schemas.len(), examples.len(), "an example for every schema");
    for (name, example) in examples {
        let named = schemas.iter().find(|s| s.name == name).unwrap();
        let errors: Vec<_> = validator(&named.schema)
            .iter_errors(&example)
            .map(|e| format!("{e} at {}", e.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
    }
}

#[test]
fn a_schema_refuses_what_breaks_the_contract() {
    let schemas = schema::all();
    let (_, read) = all_examples().swap_remove(0);
    let read_schema = validator(&schemas.iter().find(|s| s.name == "read").unwrap().schema);
    let broken = |path: &str, value: Value| {
        let mut copy = read.clone();
        *copy.pointer_mut(path).unwrap() = value;
        copy
    };
    assert!(read_schema.is_valid(&read));
    for (path, value) in [
        ("/type", json!("org.milepost.alpr.status.v1")),
        ("/specversion", json!("0.3")),
        ("/source", json!("urn:milepost:a:b")),
        ("/sequence", json!("41")),
        ("/historical", json!("no")),
        ("/id", json!("not a uuid")),
        ("/data/confidence", json!(1.5)),
        ("/data/characters/0/text", json!("ab")),
        ("/data/direction", json!("left")),
        ("/data/captured_at", json!("yesterday")),
        ("/data/evidence/plate/sha256", json!("00")),
        ("/data/position/latitude_deg", json!(91)),
        ("/data/plate_corners_px", json!([[1, 2]])),
    ] {
        assert!(!read_schema.is_valid(&broken(path, value)), "{path} was not refused");
    }
}

#[test]
fn every_reference_in_the_asyncapi_document_is_there() {
    let document = asyncapi::document();
    let files: Vec<_> = asyncapi::schema_files().into_iter().map(|(name, _)| name).collect();
    let mut seen = 0;
    let mut queue = vec![&document];
    while let Some(value) = queue.pop() {
        if let Some(target) = value.get("$ref").and_then(Value::as_str) {
            seen += 1;
            match target.strip_prefix('#') {
                Some(pointer) => assert!(document.pointer(pointer).is_some(), "{target}"),
                None => assert!(files.iter().any(|f| f == target), "{target}"),
            }
        }
        match value {
            Value::Array(items) => queue.extend(items),
            Value::Object(map) => queue.extend(map.values()),
            _ => {}
        }
    }
    assert!(seen > 16, "only {seen} references found");
}
