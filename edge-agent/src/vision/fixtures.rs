//! What the unit tests of the vision path share. Needs ONNX Runtime, as `make setup` installs it.

use std::{fs, path::PathBuf};

use super::Runtime;
use crate::config::{Precision, Provider, Vision};
use crate::digest::sha256_hex;

/// ONNX Runtime, or the reason why the tests can't run.
pub fn runtime() -> Runtime {
    Runtime::load(None).expect("these tests run real models: `make setup`, or set ORT_DYLIB_PATH")
}

/// The bytes of a model of `tests-fixtures`.
pub fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests-fixtures").join(name);
    fs::read(&path).expect("a fixture of tests-fixtures/make.py")
}

/// A models folder with a fixture as detector, the toy aligner and the toy reader.
pub fn models(detector: &str) -> tempfile::TempDir {
    models_with("detector", &fixture(&format!("{detector}.onnx")))
}

/// A models folder of toys, but for the model of `kind`, which are these bytes.
pub fn models_with(kind: &str, bytes: &[u8]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    let write = |name: &str, bytes: &[u8]| {
        fs::write(dir.path().join(name), bytes).expect("written");
    };
    let mut manifest = String::new();
    for each in ["detector", "aligner", "reader"] {
        let toy = fixture(&format!("toy-{each}.onnx"));
        let bytes = if each == kind { bytes } else { &toy };
        write(&format!("{each}.onnx"), bytes);
        manifest += &format!(
            "[[model]]\nfile = \"{each}.onnx\"\nsha256 = \"{}\"\nkind = \"{each}\"\nversion = \"0\"\n",
            sha256_hex(bytes)
        );
    }
    write("manifest.toml", manifest.as_bytes());
    write("states.txt", b"US-CA\nother\n");
    dir
}

/// Settings for a models folder.
pub fn config(models: &tempfile::TempDir) -> Vision {
    config_at(models.path().to_owned())
}

/// Settings for a models folder.
pub fn config_at(models_dir: PathBuf) -> Vision {
    Vision {
        models_dir,
        onnxruntime_library: None,
        execution_providers: vec![Provider::Cpu],
        precision: Precision::Fp32,
        threads: 1,
        detect_width: 640,
        detect_every: 1,
        min_score: 0.4,
        min_plate_width: 40.0,
        motion_gate: true,
        regions: Vec::new(),
    }
}

/// The models of this repository.
pub fn real_models() -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../models");
    assert!(
        dir.join("manifest.toml").is_file(),
        "this test needs the trained models in {}",
        dir.display()
    );
    dir
}
