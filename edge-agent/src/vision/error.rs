//! What can go wrong between a frame and its text, said so that a person can act on it.

use std::path::PathBuf;

/// An error of the vision path. No variant carries plate text.
#[derive(Debug, thiserror::Error)]
pub enum VisionError {
    /// ONNX Runtime's shared library is missing, no such library, or too old.
    #[error(
        "ONNX Runtime can't be loaded from {path}: {reason}. Run `make setup`, or name libonnxruntime.so in \
         `onnxruntime_library` or ORT_DYLIB_PATH"
    )]
    Library {
        /// What was tried.
        path: PathBuf,
        /// The loader's words.
        reason: String,
    },
    /// `manifest.toml` is missing or not as it should be.
    #[error(
        "{path}: {reason}. The models folder needs the manifest.toml that came with the models"
    )]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file of the models folder can't be read.
    #[error(
        "{path} can't be read: {reason}. Restore it from the release that the manifest belongs to"
    )]
    ModelFile {
        /// The file.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// A model file is not the one that the manifest names.
    #[error(
        "{path} is not the file that manifest.toml names (sha256 {found}, should be {wanted}). Restore both from \
         one release; an altered model is never run"
    )]
    ModelAltered {
        /// The file.
        path: PathBuf,
        /// Its hash.
        found: String,
        /// The manifest's.
        wanted: String,
    },
    /// A model is no model, or its inputs and outputs are not those that this program is written for.
    #[error("{model}: {problem}. This program needs the models of its own release")]
    Contract {
        /// File name of the model.
        model: String,
        /// What is wrong.
        problem: String,
    },
    /// ONNX Runtime refused a session for a reason that is not the model's.
    #[error("{model}: ONNX Runtime can't prepare it: {reason}")]
    Session {
        /// File name of the model.
        model: String,
        /// ONNX Runtime's words.
        reason: String,
    },
    /// One inference failed.
    #[error("{model}: inference failed: {reason}")]
    Inference {
        /// File name of the model.
        model: String,
        /// ONNX Runtime's words.
        reason: String,
    },
    /// One inference gave NaN or an infinity: nothing of it can be trusted.
    #[error(
        "{model}: output `{output}` holds {value}, which is no number to go by; the model or the device that runs \
         it is faulty"
    )]
    NotFinite {
        /// File name of the model.
        model: String,
        /// The output's name.
        output: String,
        /// The first such value.
        value: f32,
    },
    /// A picture file can't be decoded.
    #[error("{0}")]
    Picture(String),
    /// OpenCV refused an operation: wrong sizes, or no memory.
    #[error("OpenCV: {0}")]
    OpenCv(#[from] opencv::Error),
    /// The golden plates were not read as they should be.
    #[error("self check: {0}")]
    Golden(String),
}
