use std::fs;

use super::*;
use crate::vision::{Aligner, Detector, Reader, fixtures};

#[test]
fn a_missing_or_foreign_library_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let text = dir.path().join("libtext.so");
    fs::write(&text, "not a library").expect("written");
    for path in [dir.path().join("libgone.so"), text] {
        let error = Runtime::load(Some(&path)).expect_err("no ONNX Runtime").to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
        assert!(error.contains("make setup"), "{error}");
    }
}

#[test]
fn the_library_is_loaded_once_and_a_second_one_is_refused() {
    let first = fixtures::runtime();
    assert_eq!(Runtime::load(None).expect("loaded").library(), first.library());
    let error = Runtime::load(Some(Path::new("/nowhere/libonnxruntime.so"))).expect_err("another");
    assert!(error.to_string().contains("loaded already"), "{error}");
}

#[test]
fn a_model_with_one_altered_byte_is_never_run() {
    let models = fixtures::models("toy-detector");
    let path = models.path().join("detector.onnx");
    let mut bytes = fs::read(&path).expect("read");
    bytes[100] ^= 1;
    fs::write(&path, bytes).expect("written");
    let error =
        Detector::load(&fixtures::runtime(), &fixtures::config(&models)).expect_err("altered");
    assert!(matches!(error, VisionError::ModelAltered { .. }), "{error}");
}

#[test]
fn a_model_of_other_shapes_or_names_is_an_error_that_says_which() {
    for (fixture, said) in [
        ("wide-detector", "output `heat` has shape [?, 2, ?, ?], should be [?, 1, ?, ?]"),
        ("lost-detector", "has no output `corners`"),
        ("toy-reader", "has no input `luma`"),
    ] {
        let models = fixtures::models(fixture);
        let error = Detector::load(&fixtures::runtime(), &fixtures::config(&models))
            .expect_err(fixture)
            .to_string();
        assert!(error.contains(said) && error.contains("detector.onnx"), "{error}");
    }
}

#[test]
fn a_file_that_is_no_model_is_an_error() {
    let models = fixtures::models_with("detector", b"no model at all");
    let error =
        Detector::load(&fixtures::runtime(), &fixtures::config(&models)).expect_err("no model");
    assert!(matches!(error, VisionError::Contract { .. }), "{error}");
}

#[test]
fn a_model_of_an_unknown_operator_set_is_an_error_that_says_so() {
    let models = fixtures::models("future-detector");
    let error = Detector::load(&fixtures::runtime(), &fixtures::config(&models)).expect_err("99");
    assert!(matches!(error, VisionError::Contract { .. }), "{error}");
    let said = error.to_string();
    assert!(said.contains("detector.onnx") && said.to_lowercase().contains("opset"), "{said}");
}

#[test]
fn an_output_that_is_not_finite_is_an_error_that_names_model_and_output() {
    let runtime = fixtures::runtime();
    for (kind, wanted) in [("detector", "heat"), ("aligner", "corners"), ("reader", "state")] {
        let nan = fixtures::fixture(&format!("nan-{kind}.onnx"));
        let models = fixtures::models_with(kind, &nan);
        let config = fixtures::config(&models);
        let loaded = match kind {
            "detector" => Detector::load(&runtime, &config).map(drop),
            "aligner" => Aligner::load(&runtime, &config).map(drop),
            _ => Reader::load(&runtime, &config).map(drop),
        };
        let error = loaded.expect_err(kind);
        let named = matches!(&error, VisionError::NotFinite { output, .. } if output == wanted);
        assert!(named && error.to_string().contains(kind), "{error}");
    }
}

#[test]
fn states_that_do_not_fit_the_reader_are_an_error() {
    let models = fixtures::models("toy-detector");
    fs::write(models.path().join("states.txt"), "US-CA\nUS-NV\nother\n").expect("written");
    let error = Reader::load(&fixtures::runtime(), &fixtures::config(&models)).expect_err("three");
    assert!(error.to_string().contains("states.txt has 3 lines"), "{error}");
}

#[test]
fn the_cpu_asked_for_is_the_cpu_in_use() {
    let models = fixtures::models("toy-detector");
    let detector = Detector::load(&fixtures::runtime(), &fixtures::config(&models)).expect("loads");
    let report = detector.report();
    assert_eq!((report.in_use, report.fallbacks.len()), (Provider::Cpu, 0));
    assert!(report.nodes.0 > 0 && report.nodes.0 == report.nodes.1, "{report:?}");
    assert_eq!(report.health().0, Status::Pass);
}

#[test]
fn providers_that_can_not_be_used_are_a_stated_fallback() {
    let models = fixtures::models("toy-detector");
    let mut config = fixtures::config(&models);
    config.execution_providers = vec![Provider::Cuda, Provider::Xnnpack, Provider::Acl];
    let detector = Detector::load(&fixtures::runtime(), &config).expect("runs on the CPU");
    let report = detector.report();
    assert_eq!(report.in_use, Provider::Cpu);
    let why: Vec<_> = report.fallbacks.iter().map(|(p, _)| *p).collect();
    assert_eq!(why, config.execution_providers);
    assert!(report.fallbacks.iter().all(|(_, reason)| !reason.is_empty()));
    let (status, said) = report.health();
    assert_eq!(status, Status::Warn);
    assert!(said.starts_with("cpu in use") && said.contains("cuda is not:"), "{said}");
}

#[test]
fn health_is_the_worst_of_the_models_and_the_golden_plates() {
    let on = |in_use, asked: &[Provider]| ProviderReport {
        asked: asked.to_vec(),
        in_use,
        nodes: (9, 9),
        fallbacks: Vec::new(),
    };
    let (cpu, cuda) = (on(Provider::Cpu, &[Provider::Cpu]), on(Provider::Cpu, &[Provider::Cuda]));
    let golden = |right| golden::Report { plates: 8, right, wrong: Vec::new() };
    assert_eq!(health(&[("detector", &cpu), ("reader", &cpu)], None).0, Status::Pass);
    assert_eq!(health(&[("detector", &cpu), ("reader", &cuda)], Some(&golden(8))).0, Status::Warn);
    let (status, said) = health(&[("detector", &cpu), ("reader", &cpu)], Some(&golden(7)));
    assert_eq!(status, Status::Fail);
    assert!(said.contains("7 of 8"), "{said}");
}

#[test]
fn a_detector_and_a_reader_can_be_handed_to_a_thread() {
    fn sent<T: Send>() {}
    sent::<Detector>();
    sent::<Reader>();
}
