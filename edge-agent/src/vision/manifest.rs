//! `models/manifest.toml`: which model files belong together, and their hashes.
//!
//! A model is read once; the bytes that were hashed are the bytes that are run. Fails on a missing
//! or malformed manifest, a missing kind, a name that leaves the folder, and a hash that differs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use toml_span::{
    DeserError, Deserialize, ErrorKind, Value,
    de_helpers::{TableHelper, expected},
};

use super::VisionError;
use crate::{config::Precision, digest::sha256_hex};

/// What a model does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Luma → plates.
    Detector,
    /// A detected plate and its surroundings → its corners.
    Aligner,
    /// Upright plate → text and state.
    Reader,
}

impl Kind {
    /// Its name in the manifest.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Detector => "detector",
            Self::Aligner => "aligner",
            Self::Reader => "reader",
        }
    }
}

/// One `[[model]]` of the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// File name inside the models folder.
    pub file: String,
    /// Lower-case hexadecimal sha256 of the file.
    pub sha256: String,
    /// `detector`, `aligner` or `reader`.
    pub kind: String,
    /// The numbers that it computes with; without the key, `fp32`.
    pub precision: Precision,
    /// The model's version.
    pub version: String,
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize(value: &mut Value<'de>) -> Result<Self, DeserError> {
        let mut table = TableHelper::new(value)?;
        let (file, sha256) = (table.required("file"), table.required("sha256"));
        let (kind, version) = (table.required("kind"), table.required("version"));
        let precision = table.optional("precision");
        table.finalize(None)?;
        let precision = precision.unwrap_or_default();
        Ok(Self { file: file?, sha256: sha256?, kind: kind?, precision, version: version? })
    }
}

impl<'de> Deserialize<'de> for Precision {
    fn deserialize(value: &mut Value<'de>) -> Result<Self, DeserError> {
        let name = value.take_string(None)?;
        Self::from_name(&name).ok_or_else(|| {
            let problem = format!("`precision` is \"{name}\", not fp32, fp16 or int8");
            toml_span::Error::from((ErrorKind::Custom(problem.into()), value.span)).into()
        })
    }
}

/// A model's bytes, as the manifest vouches for them.
#[derive(Debug)]
pub struct ModelBytes {
    /// Its manifest entry.
    pub entry: Entry,
    /// The file's content.
    pub bytes: Vec<u8>,
}

/// Every entry of `models_dir/manifest.toml`.
///
/// # Errors
/// [`VisionError::Manifest`].
pub fn entries(models_dir: &Path) -> Result<Vec<Entry>, VisionError> {
    let path = models_dir.join("manifest.toml");
    let wrong = |reason: String| VisionError::Manifest { path: path.clone(), reason };
    let text = fs::read_to_string(&path).map_err(|e| wrong(format!("can't be read: {e}")))?;
    parse(&text).map_err(wrong)
}

fn parse(text: &str) -> Result<Vec<Entry>, String> {
    let at = |e: &toml_span::Error| {
        let line = text.bytes().take(e.span.start).filter(|&b| b == b'\n').count() + 1;
        format!("line {line}: {e}")
    };
    let all = |e: DeserError| e.errors.iter().map(at).collect::<Vec<_>>().join("; ");
    let mut root = toml_span::parse(text).map_err(|e| at(&e))?;
    let models = |root: &mut Value<'_>| -> Result<Vec<Entry>, DeserError> {
        let mut table = TableHelper::new(root)?;
        let models = match table.take("model") {
            Some((_, mut list)) => match list.take() {
                toml_span::value::ValueInner::Array(mut items) => {
                    items.iter_mut().map(Entry::deserialize).collect::<Result<Vec<_>, _>>()?
                }
                other => return Err(expected("[[model]] tables", other, list.span).into()),
            },
            None => Vec::new(),
        };
        table.finalize(None)?;
        Ok(models)
    };
    models(&mut root).map_err(all)
}

/// The bytes of the model of `kind` and `precision`, checked against the manifest.
///
/// # Errors
/// [`VisionError::Manifest`], [`VisionError::ModelFile`], [`VisionError::ModelAltered`].
pub fn load(
    models_dir: &Path,
    kind: Kind,
    precision: Precision,
) -> Result<ModelBytes, VisionError> {
    let wrong =
        |reason: String| VisionError::Manifest { path: models_dir.join("manifest.toml"), reason };
    let wanted = |e: &Entry| e.kind == kind.name() && e.precision == precision;
    let mut of_kind: Vec<Entry> = entries(models_dir)?.into_iter().filter(wanted).collect();
    let model = format!("model of kind \"{}\" and precision \"{}\"", kind.name(), precision.name());
    let entry = match (of_kind.pop(), of_kind.is_empty()) {
        (Some(entry), true) => entry,
        (None, _) => return Err(wrong(format!("names no {model}"))),
        (Some(_), false) => {
            return Err(wrong(format!("names more than one {model}")));
        }
    };
    if Path::new(&entry.file).file_name() != Some(entry.file.as_ref()) {
        return Err(wrong(format!("`file` of the {} is no plain file name", kind.name())));
    }
    let path: PathBuf = models_dir.join(&entry.file);
    let bytes = fs::read(&path)
        .map_err(|e| VisionError::ModelFile { path: path.clone(), reason: e.to_string() })?;
    let found = sha256_hex(&bytes);
    if !found.eq_ignore_ascii_case(&entry.sha256) {
        return Err(VisionError::ModelAltered { path, found, wanted: entry.sha256 });
    }
    Ok(ModelBytes { entry, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(manifest: &str, model: &[u8]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join("manifest.toml"), manifest).expect("written");
        fs::write(dir.path().join("d.onnx"), model).expect("written");
        dir
    }

    fn entry(file: &str, sha256: &str) -> String {
        format!(
            "[[model]]\nfile = \"{file}\"\nsha256 = \"{sha256}\"\nkind = \"detector\"\nversion = \"1\"\n"
        )
    }

    #[test]
    fn the_very_bytes_of_the_manifest_are_handed_out() {
        let dir = folder(&entry("d.onnx", &sha256_hex(b"weights")), b"weights");
        assert_eq!(
            load(dir.path(), Kind::Detector, Precision::Fp32).expect("loads").bytes,
            b"weights"
        );
    }

    #[test]
    fn one_altered_byte_is_refused_with_both_hashes() {
        let dir = folder(&entry("d.onnx", &sha256_hex(b"weights")), b"weightz");
        let error = load(dir.path(), Kind::Detector, Precision::Fp32).expect_err("altered");
        assert!(matches!(error, VisionError::ModelAltered { .. }));
        let said = error.to_string();
        assert!(
            said.contains(&sha256_hex(b"weights")) && said.contains(&sha256_hex(b"weightz")),
            "{said}"
        );
    }

    #[test]
    fn a_faulty_manifest_says_where_and_what() {
        let hash = sha256_hex(b"weights");
        for (manifest, said) in [
            ("[[model]\n".into(), "line 1"),
            ("model = 3\n".into(), "[[model]] tables"),
            ("[[model]]\nfile = \"d.onnx\"\n".into(), "sha256"),
            (entry("../d.onnx", &hash), "plain file name"),
            (entry("d.onnx", &hash).replace("detector", "reader"), "no model of kind"),
            (entry("d.onnx", &hash).repeat(2), "more than one"),
            (entry("d.onnx", &hash) + "colour = 1\n", "colour"),
            (entry("d.onnx", &hash) + "precision = \"fp8\"\n", "is \"fp8\", not fp32"),
        ] {
            let dir = folder(&manifest, b"weights");
            let error =
                load(dir.path(), Kind::Detector, Precision::Fp32).expect_err(&manifest).to_string();
            assert!(error.contains(said) && error.contains("manifest.toml"), "{manifest}: {error}");
        }
    }

    #[test]
    fn each_precision_has_its_own_file_and_none_stands_in_for_another() {
        let (whole, halves) = (sha256_hex(b"weights"), sha256_hex(b"halves"));
        let manifest = entry("d.onnx", &whole)
            + &entry("h.onnx", &halves).replace("version", "precision = \"fp16\"\nversion");
        let dir = folder(&manifest, b"weights");
        fs::write(dir.path().join("h.onnx"), b"halves").expect("written");
        let bytes = |p| load(dir.path(), Kind::Detector, p).map(|m| m.bytes);
        assert_eq!(bytes(Precision::Fp32).expect("loads"), b"weights");
        assert_eq!(bytes(Precision::Fp16).expect("loads"), b"halves");
        let error = bytes(Precision::Int8).expect_err("none").to_string();
        assert!(error.contains("precision \"int8\""), "{error}");
    }

    #[test]
    fn a_missing_model_file_is_named() {
        let dir = folder(&entry("gone.onnx", &sha256_hex(b"")), b"");
        let error =
            load(dir.path(), Kind::Detector, Precision::Fp32).expect_err("missing").to_string();
        assert!(error.contains("gone.onnx"), "{error}");
    }
}
