//! `milepost read`: every photo is answered, in order, and a broken one spoils no other.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The golden pictures of the models, which hold plates that the models must read.
fn golden() -> Vec<PathBuf> {
    let folder = root().join("models/golden");
    let mut pictures: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("this test needs the models: {}: {e}", folder.display()))
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "png" || e == "jpg"))
        .collect();
    pictures.sort();
    assert!(!pictures.is_empty(), "no pictures in {}", folder.display());
    pictures
}

fn read(arguments: &[&str], images: &[PathBuf]) -> Output {
    Command::new(harness::milepost())
        .arg("read")
        .args(arguments)
        .arg("--models")
        .arg(root().join("models"))
        .args(images)
        .output()
        .expect("milepost starts")
}

fn lines(output: &Output) -> Vec<Value> {
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect()
}

fn check_plate(plate: &Value, width: f64, height: f64) {
    let share = |v: &Value| v.as_f64().is_some_and(|p| (0.0..=1.0).contains(&p));
    let text = plate["text"].as_str().expect("text");
    let characters = plate["characters"].as_array().expect("characters");
    let joined: String = characters.iter().filter_map(|c| c["text"].as_str()).collect();
    assert_eq!(text, joined);
    assert!(text.chars().all(|c| c.is_ascii_digit() || c.is_ascii_uppercase()), "{text}");
    assert!(share(&plate["confidence"]) && share(&plate["score"]), "{plate}");
    for c in characters {
        assert!(share(&c["probability"]), "{c}");
        for other in c["alternatives"].as_array().expect("alternatives") {
            assert!(share(&other["probability"]) && other["text"].as_str() != c["text"].as_str());
        }
    }
    let corners = plate["corners"].as_array().expect("corners");
    assert_eq!(corners.len(), 4);
    assert!(corners.iter().all(|p| p.as_array().is_some_and(|p| p.len() == 2)));
    let b: Vec<f64> =
        plate["box"].as_array().expect("box").iter().filter_map(Value::as_f64).collect();
    let &[x, y, w, h] = b.as_slice() else { panic!("box {b:?}") };
    assert!(w > 0.0 && h > 0.0 && x + w / 2.0 < width && y + h / 2.0 < height, "{b:?}");
    let state = &plate["state"];
    assert_eq!(state.is_null(), plate["state_confidence"].is_null());
    assert!(state.is_null() || state.is_string());
}

#[test]
fn a_broken_photo_is_one_error_line_the_rest_is_read_and_the_exit_code_is_1() {
    let dir = tempfile::tempdir().expect("a folder");
    let good = golden();
    let bytes = fs::read(&good[0]).expect("read");
    let put = |name: &str, content: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, content).expect("written");
        path
    };
    let cut = put("cut.png", &bytes[..bytes.len() / 2]);
    let empty = put("empty.jpg", b"");
    let text = put("text.jpg", b"this is no photo");
    let gone = dir.path().join("gone.jpg");
    let images = vec![
        cut.clone(),
        good[0].clone(),
        empty.clone(),
        text.clone(),
        gone.clone(),
        dir.path().into(),
        good[good.len() - 1].clone(),
    ];
    let output = read(&["--json"], &images);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let lines = lines(&output);
    assert_eq!(lines.len(), images.len(), "one line a photo");
    for (line, path) in lines.iter().zip(&images) {
        assert_eq!(line["file"].as_str(), path.to_str(), "in order");
        if path.extension().is_some() && good.contains(path) {
            assert!(line["error"].is_null(), "{line}");
            let size = |key: &str| line[key].as_f64().expect("a size");
            let (width, height) = (size("width"), size("height"));
            for plate in line["plates"].as_array().expect("plates") {
                check_plate(plate, width, height);
            }
            for stage in ["decode", "detect", "read"] {
                assert!(line["ms"][stage].as_f64().is_some_and(|ms| ms >= 0.0), "{line}");
            }
        } else {
            assert!(line["error"].as_str().is_some_and(|e| !e.is_empty()), "{line}");
            assert!(line["plates"].is_null());
        }
    }
}

#[test]
fn golden_photos_are_read_with_exit_code_0_and_the_plates_known_to_be_in_them() {
    let known: Value = serde_json::from_slice(
        &fs::read(root().join("models/golden/golden.json")).expect("golden.json"),
    )
    .expect("JSON");
    let output = read(&["--json"], &golden());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let lines = lines(&output);
    for scene in known["scenes"].as_array().expect("scenes") {
        let file = scene["file"].as_str().expect("file");
        let line = lines
            .iter()
            .find(|l| l["file"].as_str().is_some_and(|f| f.ends_with(file)))
            .unwrap_or_else(|| panic!("{file} was not answered"));
        let read: Vec<_> = line["plates"]
            .as_array()
            .expect("plates")
            .iter()
            .filter_map(|p| p["text"].as_str())
            .collect();
        for plate in scene["plates"].as_array().expect("plates") {
            let text = plate["text"].as_str().expect("text");
            assert!(read.contains(&text), "{file}: {text} is not among {read:?}");
        }
    }
}

#[test]
fn a_region_leaves_out_the_plates_outside_of_it() {
    let picture = golden().remove(0);
    let output = read(&["--json", "--roi", "0,0,1,1"], std::slice::from_ref(&picture));
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(lines(&output)[0]["plates"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_person_gets_a_line_a_plate_and_errors_apart() {
    let images = vec![PathBuf::from("/nowhere.jpg"), golden().remove(0)];
    let output = read(&[], &images);
    assert_eq!(output.status.code(), Some(1));
    let (said, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(errors.contains("/nowhere.jpg") && !said.contains("/nowhere.jpg"), "{errors}");
    assert!(said.contains(images[1].to_str().expect("a path")), "{said}");
}

#[test]
fn models_that_are_missing_or_a_bad_region_are_said_before_any_photo() {
    let dir = tempfile::tempdir().expect("a folder");
    let output = Command::new(harness::milepost())
        .args(["read", "--models"])
        .arg(dir.path())
        .arg("x.jpg")
        .output()
        .expect("milepost starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("manifest.toml"), "{output:?}");
    let output = read(&["--roi", "1,2,3"], &golden());
    assert_eq!(output.status.code(), Some(2));
}
