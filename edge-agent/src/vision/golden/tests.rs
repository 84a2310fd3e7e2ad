use super::*;
use crate::{capture::Plane, config::Precision, vision::fixtures};

fn load(models: &Path) -> (Detector, Reader) {
    load_as(models, Precision::Fp32)
}

fn load_as(models: &Path, precision: Precision) -> (Detector, Reader) {
    let (runtime, mut config) = (fixtures::runtime(), fixtures::config_at(models.to_owned()));
    config.precision = precision;
    (
        Detector::load(&runtime, &config).expect("loads"),
        Reader::load(&runtime, &config).expect("loads"),
    )
}

#[test]
fn the_models_of_this_repository_read_their_golden_plates_in_every_precision() {
    let models = fixtures::real_models();
    for precision in [Precision::Fp32, Precision::Fp16, Precision::Int8] {
        let (mut detector, mut reader) = load_as(&models, precision);
        let report = check(&models, &mut detector, &mut reader).expect("checked");
        assert!(report.passed(), "{precision:?}: {report:?}");
    }
}

/// A golden folder of a plate and a scene, which say what the toy models read.
fn golden(models: &Path, plate: &str, state: &str, scene: &str) {
    let folder = models.join("golden");
    fs::create_dir_all(&folder).expect("a folder");
    let write = |name: &str, width: usize, height: usize, data: &[u8]| {
        let bytes = Photo::encode_grey(Plane { data, width, height, stride: width });
        fs::write(folder.join(name), bytes.expect("encodes")).expect("written");
    };
    write("plate.png", 160, 64, &[250; 160 * 64]);
    let mut road = vec![40; 320 * 192];
    for row in 80..88 {
        road[row * 320 + 160..row * 320 + 168].fill(255);
    }
    write("road.png", 320, 192, &road);
    let list = format!(
        r#"{{"plates": [{{"file": "plate.png", "text": "{plate}", "state": "{state}"}}],
            "scenes": [{{"file": "road.png", "plates": [{{"text": "{scene}",
                "corners": [[148, 76], [180, 76], [180, 92], [148, 92]]}}]}}]}}"#
    );
    fs::write(folder.join("golden.json"), list).expect("written");
}

#[test]
fn golden_plates_are_counted_and_each_fault_is_named() {
    let models = fixtures::models("toy-detector");
    let (mut detector, mut reader) = load(models.path());
    let mut report = |plate: &str, state: &str, scene: &str| {
        golden(models.path(), plate, state, scene);
        check(models.path(), &mut detector, &mut reader).expect("checked")
    };
    let right = report("1A", "US-CA", "0A");
    assert!(right.passed() && right.plates == 2, "{right:?}");
    for (wrong, said) in [
        (report("1B", "US-CA", "0A"), "plate.png: a plate was misread"),
        (report("1A", "US-NV", "0A"), "plate.png: a plate was given the wrong state"),
        (report("1A", "US-CA", "0B"), "road.png: a plate was found but misread"),
    ] {
        assert!(!wrong.passed() && wrong.right == 1, "{wrong:?}");
        assert_eq!(wrong.wrong, [said]);
    }
}

#[test]
fn missing_or_malformed_golden_pictures_are_an_error() {
    let models = fixtures::models("toy-detector");
    let (mut detector, mut reader) = load(models.path());
    let mut error =
        || check(models.path(), &mut detector, &mut reader).expect_err("no list").to_string();
    assert!(error().contains("golden.json"), "{}", error());
    golden(models.path(), "1A", "US-CA", "0A");
    fs::write(models.path().join("golden/plate.png"), b"no picture").expect("written");
    assert!(error().contains("plate.png"), "{}", error());
    fs::write(models.path().join("golden/golden.json"), b"[]").expect("written");
    assert!(error().contains("golden.json"), "{}", error());
}
