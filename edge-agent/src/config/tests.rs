//! What the configuration promises, and that nothing makes it panic.

use std::path::Path;

use proptest::prelude::*;

use super::{keys::KEYS, *};

/// Every required key and nothing else.
const LEAST: &str = r#"[site]
agency = "demo-pd"
site = "main-st"
camera = "north"
latitude_deg = 38.5
longitude_deg = -121
heading_deg = 270.5

[capture]
source = "test-pattern"

[vision]
models_dir = "../models"

[outbox]
directory = "/var/lib/milepost"

[uplink]
broker = "localhost:8883"
ca_file = "ca.pem"
certificate_file = "pole.pem"
key_file = "pole.key"
"#;

const DEFAULT: &str = include_str!("../../default.toml");

fn parse(text: &str) -> Result<Config, ConfigErrors> {
    Config::parse(text, Path::new("/etc/milepost"))
}

/// The problems as (line, key).
fn problems(text: &str) -> Vec<(usize, String)> {
    parse(text).map_or_else(
        |e| e.problems.iter().map(|p| (p.place.line, p.key.clone())).collect(),
        |_| Vec::new(),
    )
}

#[test]
fn the_least_configuration_gets_the_documented_defaults() {
    let config = parse(LEAST).unwrap();
    assert_eq!(config.pass, Pass::default());
    assert_eq!(config.capture.silence_timeout.as_secs(), 5);
    assert_eq!(
        config.capture.source,
        Source::TestPattern { width: 1920, height: 1080, frames_per_s: 30 }
    );
    assert_eq!(config.vision.execution_providers, [Provider::Cpu]);
    assert_eq!(config.vision.detect_width, 640);
    assert_eq!(config.outbox.max_photo_bytes, 2 << 30);
    assert_eq!(config.uplink.max_packet_bytes, 1 << 20);
    assert_eq!(config.uplink.delivery, Delivery::Receipt);
    assert_eq!(config.local.listen.to_string(), "127.0.0.1:8480");
    assert_eq!(config.lamp, Lamp::None);
    assert_eq!(config.site.longitude_deg, -121.0);
}

#[test]
fn relative_paths_are_taken_from_the_files_folder() {
    let config = parse(LEAST).unwrap();
    assert_eq!(config.vision.models_dir, Path::new("/etc/milepost/../models"));
    assert_eq!(config.uplink.ca_file, Path::new("/etc/milepost/ca.pem"));
    assert_eq!(config.outbox.directory, Path::new("/var/lib/milepost"));
}

#[test]
fn every_problem_is_reported_at_once_with_its_line() {
    let text = LEAST
        .replace("agency = \"demo-pd\"", "agency = \"demo/pd\"")
        .replace("latitude_deg = 38.5", "latitude_deg = 138.5")
        .replace("source = \"test-pattern\"", "source = \"test-patern\"\nqueue_frame = 3")
        .replace("broker = \"localhost:8883\"", "broker = localhost:8883")
        .replace("key_file = \"pole.key\"\n", "");
    let found = problems(&text);
    let expected = [
        (2, "site.agency"),
        (5, "site.latitude_deg"),
        (10, "capture.source"),
        (11, "capture.queue_frame"),
        (19, "uplink"), // the required key that is missing stands at its table …
        (20, "uplink.broker"),
    ];
    let mut expected: Vec<_> = expected.map(|(line, key)| (line, key.to_owned())).into();
    expected[4].1 = "uplink.key_file".into();
    assert_eq!(found, expected);
}

#[test]
fn remedies_name_what_was_meant() {
    for (from, to, remedy) in [
        ("heading_deg", "headin_deg", "did you mean `heading_deg`?"),
        ("source = \"test-pattern\"", "source = \"rtps\"", "did you mean \"rtsp\"?"),
        ("[outbox]", "[out_box]", "did you mean `[outbox]`?"),
        ("[outbox]", "[outbox]\nbroker = \"a:1\"", "it belongs below the line `[uplink]`"),
        ("[site]", "camera = \"x\"\n[site]", "move it below the line `[site]`"),
        ("38.5", "\"38.5\"", "without quotes: `latitude_deg = 38.5`"),
        ("[outbox]", "[[outbox]]", "write `[outbox]` on a line of its own"),
    ] {
        let errors = parse(&LEAST.replace(from, to)).expect_err(to);
        assert!(
            errors.problems.iter().any(|p| p.remedy.contains(remedy)),
            "{to}: no `{remedy}` in\n{errors}"
        );
    }
}

#[test]
fn a_misspelt_required_key_is_one_problem_not_two() {
    assert_eq!(
        problems(&LEAST.replace("heading_deg", "headin_deg")),
        [(7, "site.headin_deg".into())]
    );
}

#[test]
fn an_empty_file_lacks_the_required_tables() {
    let keys: Vec<_> = problems("").into_iter().map(|(_, key)| key).collect();
    assert_eq!(keys, ["capture", "outbox", "site", "uplink", "vision"]);
}

#[test]
fn keys_of_another_kind_of_source_are_refused() {
    let text = LEAST.replace("source = \"test-pattern\"", "source = \"file\"\nurl = \"rtsp://x/\"");
    let found = problems(&text);
    assert_eq!(found, [(9, "capture.path".into()), (11, "capture.url".into())]);
}

#[test]
fn credentials_in_an_address_are_refused_and_not_repeated() {
    let text = LEAST.replace(
        "source = \"test-pattern\"",
        "source = \"rtsp\"\nurl = \"rtsp://admin:hunter2@10.0.0.5/\"",
    );
    let errors = parse(&text).expect_err("credentials").to_string();
    assert!(errors.contains("credentials_file") && !errors.contains("hunter2"), "{errors}");
    // Broken syntax must not show the line either.
    let errors = parse(&text.replace("5/\"", "5/")).expect_err("open text").to_string();
    assert!(errors.contains("capture.url") && !errors.contains("hunter2"), "{errors}");
}

#[test]
fn the_lamp_cannot_be_configured_above_the_firmwares_limit() {
    let lamp =
        "[lamp]\nboard = \"raspberry-pi\"\nenable_gpio = 17\npwm_channel = 0\nfrequency_hz = 120\n";
    assert!(parse(&format!("{LEAST}{lamp}duty = 0.25\n")).is_ok());
    assert_eq!(problems(&format!("{LEAST}{lamp}duty = 0.26\n")).len(), 1);
}

#[test]
fn certain_below_sure_enough_is_refused() {
    let text = format!("{LEAST}[pass]\nmin_confidence = 0.9\ncertain_confidence = 0.8\n");
    assert_eq!(problems(&text), [(25, "pass.certain_confidence".into())]);
}

#[test]
fn bytes_that_are_no_text_name_their_line_and_key() {
    let mut bytes = LEAST.as_bytes().to_vec();
    let at = LEAST.find("demo-pd").unwrap();
    bytes[at] = 0xff;
    let errors = Config::parse_bytes(&bytes, Path::new("/")).expect_err("no UTF-8");
    assert_eq!(
        (errors.problems[0].place.line, errors.problems[0].key.as_str()),
        (2, "site.agency")
    );
}

#[test]
fn huge_files_are_refused_unread_and_lists_of_problems_are_bounded() {
    assert_eq!(problems(&"#".repeat(MAX_CONFIG_BYTES + 1)).len(), 1);
    let many: String = (0..5000).map(|i| format!("k{i} = 1\n")).collect();
    let errors = parse(&many).expect_err("unknown keys");
    assert_eq!(errors.problems.len(), MAX_PROBLEMS);
    assert_eq!(errors.more, 5005 - MAX_PROBLEMS);
}

#[test]
fn the_embedded_default_is_good_and_shows_every_key() {
    let default = parse(DEFAULT).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(default.pass, Pass::default());
    let missing: Vec<_> = KEYS
        .iter()
        .filter(|k| {
            let table = DEFAULT.split(&format!("\n[{}]\n", k.section)).nth(1);
            let table = table.and_then(|t| t.split("\n[").next()).unwrap_or_default();
            !table.lines().any(|l| {
                l.trim_start_matches(['#', ' ']).split_once(" =").is_some_and(|(n, _)| n == k.name)
            })
        })
        .map(keys::Key::path)
        .collect();
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn the_reference_holds_the_table_of_every_key() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/config.md");
    let reference = std::fs::read_to_string(file).unwrap_or_default();
    let table = keys::reference();
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        let intro = reference.split("### `[site]`").next().unwrap_or_default();
        std::fs::write(file, format!("{intro}{table}")).unwrap();
        return;
    }
    assert!(
        reference.ends_with(&table),
        "docs/reference/config.md is behind config/keys.rs: run this test with UPDATE_REFERENCE=1"
    );
}

#[test]
fn settings_shown_in_the_log_are_a_configuration_of_the_same_settings() {
    let lamp = "[lamp]\nboard = \"raspberry-pi\"\nenable_gpio = 17\npwm_channel = 1\nfrequency_hz = 120.5\nduty = 0.1\n";
    for source in [
        "source = \"rtsp\"\nurl = \"rtsp://10.0.0.5/a\"\ntransport = \"udp\"\ncredentials_file = \"cam\"",
        "source = \"v4l2\"\ndevice = \"/dev/video1\"",
        "source = \"libcamera\"\ncamera_name = \"/base/soc/i2c0mux\"",
        "source = \"nvarguscamera\"\nsensor_id = 2",
        "source = \"file\"\npath = \"a \\\"b\\\" \\\\ ü.mp4\"\nrealtime = false",
        "source = \"test-pattern\"\nwidth_px = 640",
        "source = \"gstreamer\"\ndescription = 'videotestsrc pattern=\"ball\" ! identity'",
    ] {
        let text = LEAST.replace("source = \"test-pattern\"", source) + lamp;
        let text = text.replace(
            "[vision]",
            "[vision]\nregions = [[[0, 0.5], [10.25, 0], [10, 10]]]\nexecution_providers = [\"cuda\", \"cpu\"]\nmin_score = 0.35",
        );
        let config = parse(&text).unwrap_or_else(|e| panic!("{e}"));
        let again = parse(&config.to_string()).unwrap_or_else(|e| panic!("{e}\n{config}"));
        assert_eq!(format!("{config:?}"), format!("{again:?}"));
    }
}

#[test]
fn every_range_in_the_table_is_enforced_at_both_ends() {
    for key in KEYS {
        let (below, above) = match key.kind {
            keys::Kind::Whole { min, max, step, .. } => {
                ((min - step).to_string(), (max + step).to_string())
            }
            keys::Kind::Number { min, max, .. } => {
                ((min - 0.001).to_string(), (max + 0.001).to_string())
            }
            _ => continue,
        };
        for value in [below, above] {
            let text = with_key(key, &value);
            let found = problems(&text);
            assert!(
                found.iter().any(|(_, k)| *k == key.path()),
                "{} = {value} was accepted",
                key.path()
            );
        }
    }
}

/// The least configuration with one more key, its selector set so that it may stand.
fn with_key(key: &keys::Key, value: &str) -> String {
    let lines = LEAST.lines().filter(|l| !l.starts_with(&format!("{} =", key.name)));
    let mut text: String = lines.map(|l| format!("{l}\n")).collect();
    if let Some((selector, word)) = key.only_with {
        text = text.replace(
            "source = \"test-pattern\"\n",
            &match selector {
                "source" => format!("source = \"{word}\"\n"),
                _ => "source = \"test-pattern\"\n".into(),
            },
        );
    }
    let header = format!("[{}]\n", key.section);
    if !text.contains(&header) {
        text += &header;
    }
    let board = match key.only_with {
        Some(("board", word)) => format!("board = \"{word}\"\n"),
        _ => String::new(),
    };
    text.replace(&header, &format!("{header}{} = {value}\n{board}", key.name))
}

/// One change to a good file: cut, double, swap or overwrite a part.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let base = prop_oneof![Just(LEAST), Just(DEFAULT)];
    let change =
        (any::<prop::sample::Index>(), 0..40usize, prop::collection::vec(any::<u8>(), 0..6));
    (base, prop::collection::vec(change, 1..6)).prop_map(|(base, changes)| {
        let mut bytes = base.as_bytes().to_vec();
        for (at, cut, put) in changes {
            let at = at.index(bytes.len().max(1)).min(bytes.len());
            let end = (at + cut).min(bytes.len());
            bytes.splice(at..end, put);
        }
        bytes
    })
}

/// Whatever is refused must say where and what to do.
fn speaks(result: Result<(Config, Places), ConfigErrors>) -> Result<(), TestCaseError> {
    if let Err(errors) = result {
        prop_assert!(!errors.problems.is_empty() && errors.problems.len() <= MAX_PROBLEMS);
        for p in &errors.problems {
            prop_assert!(p.place.line > 0 && p.place.column > 0, "{p}");
            prop_assert!(!p.message.is_empty() && !p.remedy.is_empty(), "{p}");
            prop_assert!(!p.to_string().contains('\n'), "{p}");
        }
    }
    Ok(())
}

/// Enough for every build; 60 000 of each were run by hand before this was first kept.
const CASES: u32 = 400;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn arbitrary_text_never_panics(text in "(?s).{0,400}") {
        speaks(Config::parse_bytes(text.as_bytes(), Path::new("/")))?;
    }

    #[test]
    fn text_of_tomls_own_characters_never_panics(
        text in r#"([\[\]{}=.,"'#\\ \n\r\t_+-]|site|agency|capture|regions|true|[0-9eE]|nan|inf){0,80}"#
    ) {
        speaks(Config::parse_bytes(text.as_bytes(), Path::new("/")))?;
    }

    #[test]
    fn mutated_configurations_never_panic(bytes in mutated()) {
        speaks(Config::parse_bytes(&bytes, Path::new("/")))?;
    }
}

#[test]
fn the_sealing_key_is_one_of_two_and_a_key_is_never_written_into_the_file() {
    let of = |lines: &str| parse(&format!("{LEAST}[sealing]\n{lines}\n"));
    let file = SealingKey::File("/var/lib/milepost/sealing.key".into());
    assert_eq!(parse(LEAST).unwrap().sealing.key, file);
    assert_eq!(parse(LEAST).unwrap().retention.max_age.as_secs(), 7 * 24 * 3600);
    let named = of("key = \"credential:milepost-sealing\"").unwrap();
    assert_eq!(named.sealing.key, SealingKey::Credential("milepost-sealing".into()));
    let again = Config::parse(&named.to_string(), Path::new("/")).unwrap();
    assert_eq!(again.sealing, named.sealing);
    let both = of("key = \"credential:k\"\nkey_file = \"k\"").unwrap_err();
    assert_eq!(both.problems[0].key, "sealing.key_file");
    for wrong in ["k", "credential:", "credential:../k", "credential:a b", "credential:.k"] {
        let secret = of(&format!("key = \"{wrong}\"")).unwrap_err().to_string();
        assert!(secret.contains("LoadCredentialEncrypted"), "{secret}");
    }
    let secret = of("key = \"AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=\"").unwrap_err();
    assert!(!secret.to_string().contains("AQID"), "what may be a key is not repeated");
}
