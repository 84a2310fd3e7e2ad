use super::*;
use crate::vision::fixtures;

#[test]
fn the_models_of_this_repository_read_their_golden_plates() {
    let models = fixtures::real_models();
    let (runtime, config) = (fixtures::runtime(), fixtures::config_at(models.clone()));
    let mut detector = Detector::load(&runtime, &config).expect("loads");
    let mut reader = Reader::load(&runtime, &config).expect("loads");
    let report = check(&models, &mut detector, &mut reader).expect("checked");
    assert!(report.passed(), "{report:?}");
}

#[test]
fn models_that_read_nothing_fail_the_check_and_missing_pictures_are_an_error() {
    let models = fixtures::models("toy-detector");
    let (runtime, config) = (fixtures::runtime(), fixtures::config(&models));
    let mut detector = Detector::load(&runtime, &config).expect("loads");
    let mut reader = Reader::load(&runtime, &config).expect("loads");
    let missing = check(models.path(), &mut detector, &mut reader).expect_err("no pictures");
    assert!(missing.to_string().contains("golden.json"), "{missing}");
    let report = check(&fixtures::real_models(), &mut detector, &mut reader).expect("checked");
    assert!(!report.passed() && report.wrong.len() == report.plates, "{report:?}");
}
