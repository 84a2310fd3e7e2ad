//! ONNX Runtime: the library, and models as sessions on a known execution provider.
//!
//! - The library is loaded by path, once for the life of the process; a missing, foreign or old
//!   one is an error and never a panic.
//! - Providers are tried one after another, each alone before the CPU, and ONNX Runtime's own
//!   record says whether it was given any of the model. What was asked for, what is in use and why
//!   the others are not is a [`ProviderReport`]; nothing falls back unsaid.
//! - Only bytes that the manifest vouches for are run, and only if inputs and outputs are as this
//!   program expects. An output that is not finite is an error.

use std::{
    env,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use ort::{
    environment::Environment,
    logging::LogLevel,
    session::{Session, builder::SessionBuilder},
    value::{TensorElementType, TensorRef, ValueType},
};

use super::{VisionError, golden, manifest, placement, provider};
use crate::{
    config::{Provider, Vision},
    health::Status,
};

/// The file name that is asked of the system's loader when nothing else is known.
pub(crate) const LIBRARY_NAME: &str = "libonnxruntime.so";
/// The environment variable that names the library.
pub(crate) const LIBRARY_VARIABLE: &str = "ORT_DYLIB_PATH";

/// A loaded ONNX Runtime. Clones share it.
#[derive(Debug, Clone)]
pub struct Runtime {
    environment: Environment,
    library: PathBuf,
}

/// The process's one runtime: ONNX Runtime allows no second environment, and unloading it while
/// its threads end is not worth the risk.
static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);

impl Runtime {
    /// Loads ONNX Runtime from `library`; `None`: `ORT_DYLIB_PATH`, beside the program, in the build
    /// tree's `.cache/onnxruntime`, then by the system's loader. Later calls give the loaded one.
    ///
    /// # Errors
    /// [`VisionError::Library`]; also where another library is loaded already.
    pub fn load(library: Option<&Path>) -> Result<Self, VisionError> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        let path = match (library, loaded.as_ref()) {
            (None, Some(runtime)) => return Ok(runtime.clone()),
            (Some(path), _) => absolute(path),
            (None, None) => default_library(),
        };
        let failed = |reason: String| VisionError::Library { path: path.clone(), reason };
        if let Some(runtime) = loaded.as_ref() {
            return if runtime.library == path {
                Ok(runtime.clone())
            } else {
                Err(failed(format!("{} is loaded already", runtime.library.display())))
            };
        }
        let builder = ort::init_from(&path).map_err(|e| failed(e.to_string()))?;
        let environment = builder
            .with_name("milepost")
            .with_telemetry(false)
            .build()
            .map_err(|e| failed(e.to_string()))?;
        environment.set_log_level(LogLevel::Warning);
        let runtime = Self { environment, library: path };
        *loaded = Some(runtime.clone());
        Ok(runtime)
    }

    /// The library's path as it was given to the loader.
    #[must_use]
    pub fn library(&self) -> &Path {
        &self.library
    }
}

/// Relative paths with a folder are the working directory's; a bare name is left to the loader.
fn absolute(path: &Path) -> PathBuf {
    if path.components().count() < 2 && !path.exists() {
        return path.to_owned();
    }
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Where the library is looked for when the configuration names none.
pub(crate) fn default_library() -> PathBuf {
    if let Some(path) = env::var_os(LIBRARY_VARIABLE).filter(|p| !p.is_empty()) {
        return absolute(Path::new(&path));
    }
    let program = env::current_exe().unwrap_or_default();
    let beside = program.parent().into_iter().flat_map(|folder| {
        [".", "../lib/milepost", "../../.cache/onnxruntime", "../../../.cache/onnxruntime"]
            .map(|place| folder.join(place).join(LIBRARY_NAME))
    });
    beside.into_iter().find(|path| path.is_file()).unwrap_or_else(|| LIBRARY_NAME.into())
}

/// What was asked for, what runs, and why the others don't.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderReport {
    /// In the configuration's order.
    pub asked: Vec<Provider>,
    /// What runs.
    pub in_use: Provider,
    /// Nodes of the model that `in_use` runs, and all nodes. The rest runs on the CPU.
    pub nodes: (usize, usize),
    /// Every provider that was tried before, with the reason.
    pub fallbacks: Vec<(Provider, String)>,
}

impl ProviderReport {
    /// The health page's word: pass where the first provider asked for is the one in use.
    #[must_use]
    pub fn health(&self) -> (Status, String) {
        let (ours, all) = self.nodes;
        let mut said = format!("{} in use", self.in_use.name());
        if ours < all {
            said += &format!(" for {ours} of {all} nodes, the rest on the CPU");
        }
        for (provider, reason) in &self.fallbacks {
            said += &format!("; {} is not: {reason}", provider.name());
        }
        let status = if self.asked.first().is_none_or(|&first| first == self.in_use) {
            Status::Pass
        } else {
            Status::Warn
        };
        (status, said)
    }
}

/// The health page's word on the whole vision path: the worst of the models' providers, each given
/// with what it does, and of the last golden check (a golden plate that is not read is a failure).
#[must_use]
pub fn health(
    models: &[(&str, &ProviderReport)],
    golden: Option<&golden::Report>,
) -> (Status, String) {
    let (mut status, mut parts) = (Status::Pass, Vec::new());
    for (model, report) in models {
        let (worse, providers) = report.health();
        status = status.max(worse);
        parts.push(format!("{model}: {providers}."));
    }
    let mut said = parts.join(" ");
    if let Some(golden) = golden {
        said += &format!(" Golden plates: {} of {} read.", golden.right, golden.plates);
        if !golden.passed() {
            status = Status::Fail;
            said += " Models, library or device are faulty: restore the release's files.";
        }
    }
    (status, said)
}

/// A tensor that a model takes or gives: its name and its shape, −1 where any size goes.
pub(super) struct Outlet {
    pub name: &'static str,
    pub shape: &'static [i64],
}

/// What a model of a kind takes and gives: `N` outputs.
pub(super) struct Contract<const N: usize> {
    pub input: Outlet,
    pub outputs: [Outlet; N],
}

/// One output of one inference.
pub(super) struct Output<'a> {
    pub shape: &'a [i64],
    pub data: &'a [f32],
}

/// A model, ready to run.
#[derive(Debug)]
pub(super) struct Model<const N: usize> {
    file: String,
    version: String,
    session: Session,
    input: &'static str,
    outputs: [&'static str; N],
    report: ProviderReport,
}

impl<const N: usize> Model<N> {
    /// Loads the model of `kind` from the configured folder.
    pub fn load(
        runtime: &Runtime,
        config: &Vision,
        kind: manifest::Kind,
        contract: &Contract<N>,
    ) -> Result<Self, VisionError> {
        let manifest::ModelBytes { entry, bytes } =
            manifest::load(&config.models_dir, kind, config.precision)?;
        let (session, report) = open(runtime, config, &entry.file, &bytes)?;
        check(&entry.file, &session, contract)?;
        Ok(Self {
            file: entry.file,
            version: entry.version,
            session,
            input: contract.input.name,
            outputs: contract.outputs.each_ref().map(|o| o.name),
            report,
        })
    }

    pub fn file(&self) -> &str {
        &self.file
    }

    pub fn version(&self) -> &str {
        &self.version
    }

    pub fn report(&self) -> &ProviderReport {
        &self.report
    }

    /// A string of the model's own metadata.
    pub fn metadata(&self, key: &str) -> Option<String> {
        self.session.metadata().ok()?.custom(key)
    }

    /// Runs the model on `data` of `shape` and hands its outputs to `f`.
    pub fn run<R>(
        &mut self,
        shape: [usize; 4],
        data: &[f32],
        f: impl FnOnce([Output<'_>; N]) -> Result<R, String>,
    ) -> Result<R, VisionError> {
        let model = self.file.clone();
        let failed =
            |e: ort::Error| VisionError::Inference { model: model.clone(), reason: e.to_string() };
        let tensor = TensorRef::from_array_view((shape, data)).map_err(failed)?;
        let found = self.session.run(ort::inputs![self.input => tensor]).map_err(failed)?;
        let take = |name: &'static str| -> Result<Output<'_>, VisionError> {
            let value = found.get(name).ok_or_else(|| contract_error(&model, missing(name)))?;
            let (shape, data) = value.try_extract_tensor::<f32>().map_err(failed)?;
            if let Some(&value) = data.iter().find(|v| !v.is_finite()) {
                let output = name.to_owned();
                return Err(VisionError::NotFinite { model: model.clone(), output, value });
            }
            Ok(Output { shape, data })
        };
        let mut outputs = self.outputs.map(|_| Output { shape: &[], data: &[] });
        for (output, name) in outputs.iter_mut().zip(self.outputs) {
            *output = take(name)?;
        }
        f(outputs).map_err(|problem| contract_error(&model, problem))
    }
}

fn missing(output: &str) -> String {
    format!("it gives no output `{output}`")
}

fn contract_error(model: &str, problem: impl Into<String>) -> VisionError {
    VisionError::Contract { model: model.to_owned(), problem: problem.into() }
}

/// A session on the first provider of the configuration that takes the model, the CPU at last.
fn open(
    runtime: &Runtime,
    config: &Vision,
    file: &str,
    bytes: &[u8],
) -> Result<(Session, ProviderReport), VisionError> {
    let asked = config.execution_providers.clone();
    let mut order = asked.clone();
    if !order.contains(&Provider::Cpu) {
        order.push(Provider::Cpu);
    }
    let mut fallbacks = Vec::new();
    for wanted in order {
        match open_on(runtime, config, wanted, bytes) {
            Ok((session, nodes)) => {
                let report = ProviderReport { asked, in_use: wanted, nodes, fallbacks };
                for (provider, reason) in &report.fallbacks {
                    tracing::warn!(model = file, provider = provider.name(), reason, "fallback");
                }
                tracing::info!(model = file, provider = wanted.name(), "session ready");
                return Ok((session, report));
            }
            Err(reason) if wanted == Provider::Cpu => {
                // The CPU takes every valid model: what it refuses is the model's fault.
                return Err(contract_error(file, format!("ONNX Runtime refuses it: {reason}")));
            }
            Err(reason) => fallbacks.push((wanted, reason)),
        }
    }
    Err(VisionError::Session { model: file.to_owned(), reason: "no provider was tried".into() })
}

/// A session on exactly one provider (before the CPU), and its share of the nodes.
fn open_on(
    runtime: &Runtime,
    config: &Vision,
    wanted: Provider,
    bytes: &[u8],
) -> Result<(Session, (usize, usize)), String> {
    let say = |e: ort::Error| one_line(&e.to_string());
    let mut builder = builder(runtime, config.threads).map_err(say)?;
    if wanted != Provider::Cpu {
        let dispatch = provider::dispatch(wanted, config.threads)?;
        builder = builder
            .with_execution_providers([dispatch.error_on_failure()])
            .map_err(|e| one_line(&e.to_string()))?;
    }
    let session = builder.commit_from_memory(bytes).map_err(say)?;
    let by_provider = placement::nodes_by_provider(&session).map_err(say)?;
    let all = by_provider.values().sum();
    let ours = by_provider.get(provider::onnx_name(wanted)).copied().unwrap_or(0);
    if ours == 0 && all > 0 {
        return Err("it registered, but took none of the model's nodes".into());
    }
    Ok((session, (ours, all)))
}

fn builder(runtime: &Runtime, threads: usize) -> Result<SessionBuilder, ort::Error> {
    // Spinning threads burn power between frames.
    Ok(Session::builder(&runtime.environment)?
        .with_intra_threads(threads)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        .with_log_level(LogLevel::Warning)?
        .with_config_entry(placement::RECORD_KEY, "1")?)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a session takes and gives what the contract says.
fn check<const N: usize>(
    file: &str,
    session: &Session,
    contract: &Contract<N>,
) -> Result<(), VisionError> {
    let inputs = session.inputs();
    if inputs.len() != 1 {
        let names: Vec<_> = inputs.iter().map(ort::value::Outlet::name).collect();
        let problem =
            format!("takes {} inputs ({}), should take one", names.len(), names.join(", "));
        return Err(contract_error(file, problem));
    }
    check_one(file, "input", inputs, &contract.input)?;
    contract.outputs.iter().try_for_each(|o| check_one(file, "output", session.outputs(), o))
}

fn check_one(
    file: &str,
    what: &str,
    found: &[ort::value::Outlet],
    wanted: &Outlet,
) -> Result<(), VisionError> {
    let Some(outlet) = found.iter().find(|o| o.name() == wanted.name) else {
        let names: Vec<_> = found.iter().map(ort::value::Outlet::name).collect();
        let problem = format!("has no {what} `{}`, but {}", wanted.name, names.join(", "));
        return Err(contract_error(file, problem));
    };
    let ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } = outlet.dtype() else {
        let problem =
            format!("{what} `{}` is {}, should be a tensor of f32", wanted.name, outlet.dtype());
        return Err(contract_error(file, problem));
    };
    let fits = shape.len() == wanted.shape.len()
        && shape.iter().zip(wanted.shape).all(|(&is, &must)| is < 0 || must < 0 || is == must);
    if !fits {
        let problem = format!(
            "{what} `{}` has shape {}, should be {}",
            wanted.name,
            show(shape),
            show(wanted.shape)
        );
        return Err(contract_error(file, problem));
    }
    Ok(())
}

/// A shape as a person writes it: `[N, 1, 64, 160]`, `?` for any size.
pub(super) fn show(shape: &[i64]) -> String {
    let sizes: Vec<_> =
        shape.iter().map(|&n| if n < 0 { "?".into() } else { n.to_string() }).collect();
    format!("[{}]", sizes.join(", "))
}

#[cfg(test)]
mod tests;
