//! Promise: on the rendered demo clip at least 95 % of the passes are read exactly, no pass gives
//! two reads, and nothing is read where no vehicle was. Scored by the same scorer as `make evaluate`.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path, process::Command};

use harness::agent::{clip, repository};
use serde_json::Value;

#[test]
fn the_demo_clip_is_read_exactly_without_duplicates_or_inventions() {
    let (repository, clip) = (repository(), clip());
    let scratch = tempfile::tempdir().unwrap();
    let passes = scratch.path().join("passes.jsonl");
    let replay = Command::new(harness::milepost())
        .args([Path::new("replay"), &clip, Path::new("--json")])
        .output()
        .unwrap();
    assert!(replay.status.success(), "{}", String::from_utf8_lossy(&replay.stderr));
    fs::write(&passes, &replay.stdout).unwrap();

    let score = Command::new(repository.join(".cache/python/bin/python"))
        .current_dir(repository)
        .args(["-m", "models.evaluate.score_clip", "--json"])
        .args([clip.with_file_name("truth.json"), passes])
        .output()
        .unwrap();
    assert!(score.status.success(), "{}", String::from_utf8_lossy(&score.stderr));
    let score: Value = serde_json::from_slice(&score.stdout).unwrap();
    let all = &score["kinds"]["all"];
    let (exact, total) = (all["exact"].as_u64().unwrap(), all["passes"].as_u64().unwrap());
    assert!(total >= 20, "{score}");
    assert!(exact * 100 >= total * 95, "{exact} of {total} read exactly: {score}");
    assert_eq!(all["duplicates"], 0, "{score}");
    assert_eq!(score["invented"].as_array().unwrap().len(), 0, "{score}");
}
