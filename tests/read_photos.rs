//! `milepost read`: every photo is answered, in order, and a broken one spoils no other.
//!
//! Most tests run toy models (edge-agent/tests-fixtures), whose answers are known exactly: a bright
//! cell of 8 × 8 pixels is a plate of 32 × 16, which says "0A" on a dark ground. The last one runs
//! the trained models on their golden pictures.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use harness::agent::repository;
use milepost::{capture::Plane, digest::sha256_hex, vision::Photo};
use serde_json::Value;

/// A folder with toy models and photos.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().expect("a folder"));
        let mut manifest = String::new();
        for kind in ["detector", "aligner", "reader"] {
            let fixture = repository().join(format!("edge-agent/tests-fixtures/toy-{kind}.onnx"));
            let bytes = fs::read(fixture).expect("a fixture");
            manifest += &format!(
                "[[model]]\nfile = \"{kind}.onnx\"\nsha256 = \"{}\"\nkind = \"{kind}\"\nversion = \"0\"\n",
                sha256_hex(&bytes)
            );
            desk.put(&format!("{kind}.onnx"), &bytes);
        }
        desk.put("manifest.toml", manifest.as_bytes());
        desk.put("states.txt", b"US-CA\nother\n");
        desk
    }

    fn put(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).expect("written");
        path
    }

    /// A dark photo of 480 × 320 with a toy plate centred at each place (multiples of 8, plus 4).
    fn photo(&self, name: &str, plates: &[(usize, usize)]) -> PathBuf {
        let mut data = vec![40; 480 * 320];
        for &(x, y) in plates {
            for row in y - 4..y + 4 {
                data[row * 480 + x - 4..row * 480 + x + 4].fill(255);
            }
        }
        let plane = Plane { data: &data, width: 480, height: 320, stride: 480 };
        self.put(name, &Photo::encode_grey(plane).expect("encodes"))
    }

    /// Reads them, toy plates of 32 pixels too.
    fn read(&self, arguments: &[&str], images: &[PathBuf]) -> Output {
        read(self.0.path(), &[arguments, &["--min-width", "30"]].concat(), images)
    }
}

fn read(models: &Path, arguments: &[&str], images: &[PathBuf]) -> Output {
    Command::new(harness::milepost())
        .arg("read")
        .args(arguments)
        .arg("--models")
        .arg(models)
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

#[test]
fn a_photo_becomes_one_json_object_with_everything_that_is_promised() {
    let desk = Desk::new();
    let image = desk.photo("road.png", &[(124, 84)]);
    let output = desk.read(&["--json"], std::slice::from_ref(&image));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let line = &lines(&output)[0];
    assert_eq!(line["file"].as_str(), image.to_str());
    assert_eq!(line["size"], serde_json::json!([480, 320]));
    for stage in ["decode", "detect", "read"] {
        assert!(line["ms"][stage].as_f64().is_some_and(|ms| ms >= 0.0), "{line}");
    }
    let plates = line["plates"].as_array().expect("plates");
    assert_eq!(plates.len(), 1, "{line}");
    let plate = &plates[0];
    assert_eq!((&plate["text"], &plate["raw_text"]), (&"0A".into(), &"0A".into()));
    assert_eq!(
        plate["corners"],
        serde_json::json!([[108.0, 76.0], [140.0, 76.0], [140.0, 92.0], [108.0, 92.0]])
    );
    assert_eq!(plate["box"], serde_json::json!([108.0, 76.0, 32.0, 16.0]));
    assert_eq!((&plate["state"], &plate["state_confidence"]), (&"US-CA".into(), &0.75.into()));
    assert_eq!(plate["score"], 1.0);
    let near = |v: &Value, wanted: f64| v.as_f64().is_some_and(|p| (p - wanted).abs() < 1e-3);
    assert!(near(&plate["confidence"], 0.72), "{plate}");
    let last = &plate["characters"][1];
    assert_eq!(last["text"], "A");
    assert!(near(&last["probability"], 0.8), "{last}");
    assert_eq!(last["alternatives"][0]["text"], "B");
    assert!(near(&last["alternatives"][0]["probability"], 0.2), "{last}");
}

#[test]
fn a_broken_photo_is_one_error_line_the_rest_is_read_and_the_exit_code_is_1() {
    let desk = Desk::new();
    let good = [desk.photo("a.png", &[(124, 84)]), desk.photo("b.png", &[])];
    let bytes = fs::read(&good[0]).expect("read");
    let images = vec![
        desk.put("cut.png", &bytes[..bytes.len() / 2]),
        good[0].clone(),
        desk.put("empty.jpg", b""),
        desk.put("text.jpg", b"this is no photo"),
        desk.0.path().join("gone.jpg"),
        desk.0.path().into(),
        good[1].clone(),
    ];
    let output = desk.read(&["--json"], &images);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let lines = lines(&output);
    assert_eq!(lines.len(), images.len(), "one line a photo");
    for (line, path) in lines.iter().zip(&images) {
        assert_eq!(line["file"].as_str(), path.to_str(), "in order");
        let is_good = good.contains(path);
        assert_eq!(line["plates"].is_array(), is_good, "{line}");
        assert_eq!(line["error"].as_str().is_some_and(|e| !e.is_empty()), !is_good, "{line}");
    }
}

#[test]
fn a_region_leaves_out_the_plates_outside_of_it() {
    let desk = Desk::new();
    let image = [desk.photo("two.png", &[(124, 84), (364, 244)])];
    let texts = |arguments: &[&str]| {
        let output = desk.read(arguments, &image);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        lines(&output)[0]["plates"].as_array().map(Vec::len)
    };
    assert_eq!(texts(&["--json"]), Some(2));
    assert_eq!(texts(&["--json", "--roi", "0,0,240,160"]), Some(1));
    assert_eq!(texts(&["--json", "--roi", "240,160 480,160 480,320 240,320"]), Some(1));
    assert_eq!(texts(&["--json", "--roi", "0,0,240,160", "--roi", "300,200,180,120"]), Some(2));
    assert_eq!(texts(&["--json", "--roi", "0,160,200,160"]), Some(0));
}

#[test]
fn a_person_gets_a_line_a_plate_and_errors_apart() {
    let desk = Desk::new();
    let images =
        vec![PathBuf::from("/nowhere.jpg"), desk.photo("two.png", &[(124, 84), (364, 244)])];
    let output = desk.read(&[], &images);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said.lines().filter(|l| l.contains("two.png: 0A")).count(), 2, "{said}");
    assert!(!said.contains("/nowhere.jpg"));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nowhere.jpg"));
}

#[test]
fn a_plate_too_narrow_to_read_stays_without_a_text() {
    let desk = Desk::new();
    let image = [desk.photo("one.png", &[(124, 84)])];
    let output = read(desk.0.path(), &["--json"], &image);
    let plate = &lines(&output)[0]["plates"][0];
    assert_eq!((plate["text"].as_str(), plate["score"].as_f64()), (Some(""), Some(1.0)));
}

#[test]
fn a_text_that_the_reader_is_not_sure_of_is_left_empty_and_its_plate_stays() {
    let desk = Desk::new();
    let image = [desk.photo("one.png", &[(124, 84)])];
    let output = desk.read(&["--json", "--min-confidence", "0.9"], &image);
    let plate = &lines(&output)[0]["plates"][0];
    assert_eq!((plate["text"].as_str(), plate["score"].as_f64()), (Some(""), Some(1.0)));
    assert_eq!(plate["characters"], serde_json::json!([]));
}

#[test]
fn missing_or_altered_models_and_bad_regions_are_said_before_any_photo() {
    let desk = Desk::new();
    let image = [desk.photo("one.png", &[])];
    // 2 is a command line that is not understood, 1 a problem with what it names.
    let said = |code: i32, output: Output| {
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(output.stdout.is_empty());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let elsewhere = tempfile::tempdir().expect("a folder");
    assert!(said(1, read(elsewhere.path(), &[], &image)).contains("manifest.toml"));
    assert!(said(2, desk.read(&["--roi", "1,2,3"], &image)).contains("x,y,w,h"));
    let mut bytes = fs::read(desk.0.path().join("reader.onnx")).expect("read");
    bytes[200] ^= 1;
    desk.put("reader.onnx", &bytes);
    assert!(said(1, desk.read(&[], &image)).contains("sha256"));
}

#[test]
fn the_trained_models_read_the_plates_of_their_golden_scenes() {
    let models = repository().join("models");
    let list = models.join("golden/golden.json");
    let golden: Value = serde_json::from_slice(
        &fs::read(&list).unwrap_or_else(|e| panic!("this test needs {}: {e}", list.display())),
    )
    .expect("JSON");
    let scenes = golden["scenes"].as_array().expect("scenes");
    let file = |scene: &Value| models.join("golden").join(scene["file"].as_str().expect("file"));
    let images: Vec<PathBuf> = scenes.iter().map(file).collect();
    assert!(!images.is_empty());
    let output = read(&models, &["--json"], &images);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for (line, scene) in lines(&output).iter().zip(scenes) {
        let texts: Vec<_> = line["plates"]
            .as_array()
            .expect("plates")
            .iter()
            .filter_map(|p| p["text"].as_str())
            .collect();
        for plate in scene["plates"].as_array().expect("plates") {
            let text = plate["text"].as_str().expect("text");
            assert!(texts.contains(&text), "{scene}: read {texts:?}");
        }
    }
}
