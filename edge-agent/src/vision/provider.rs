//! Execution providers: the configuration's names, ONNX Runtime's, and what is compiled in.

use ort::ep::ExecutionProviderDispatch;

use crate::config::Provider;

/// ONNX Runtime's name of a provider, as its record of the graph's assignment has it.
pub(super) const fn onnx_name(provider: Provider) -> &'static str {
    match provider {
        Provider::TensorRt => "TensorrtExecutionProvider",
        Provider::Cuda => "CUDAExecutionProvider",
        Provider::WebGpu => "WebGpuExecutionProvider",
        Provider::OpenVino => "OpenVINOExecutionProvider",
        Provider::Acl => "ACLExecutionProvider",
        Provider::Xnnpack => "XnnpackExecutionProvider",
        Provider::Cpu => "CPUExecutionProvider",
    }
}

/// The provider with our settings, to be registered; `Err` says why this program can't ask for it.
#[allow(unused_variables, reason = "`threads` is used by providers that a build may leave out")]
pub(super) fn dispatch(
    provider: Provider,
    threads: usize,
) -> Result<ExecutionProviderDispatch, String> {
    match provider {
        Provider::Cpu => Ok(ort::ep::CPU::default().build()),
        #[cfg(feature = "tensorrt")]
        Provider::TensorRt => Ok(tensorrt()),
        #[cfg(feature = "cuda")]
        Provider::Cuda => {
            use ort::ep::{ArenaExtendStrategy, cuda::ConvAlgorithmSearch};
            // Exhaustive search runs again for each new shape; the arena would double each time.
            Ok(ort::ep::CUDA::default()
                .with_conv_algorithm_search(ConvAlgorithmSearch::Heuristic)
                .with_arena_extend_strategy(ArenaExtendStrategy::SameAsRequested)
                .build())
        }
        #[cfg(feature = "webgpu")]
        Provider::WebGpu => Ok(ort::ep::WebGPU::default().build()),
        #[cfg(feature = "openvino")]
        Provider::OpenVino => Ok(ort::ep::OpenVINO::default().with_num_threads(threads).build()),
        #[cfg(feature = "acl")]
        Provider::Acl => Ok(ort::ep::ACL::default().build()),
        #[cfg(feature = "xnnpack")]
        Provider::Xnnpack => {
            let threads =
                std::num::NonZeroUsize::new(threads).unwrap_or(std::num::NonZeroUsize::MIN);
            Ok(ort::ep::XNNPACK::default().with_intra_op_num_threads(threads).build())
        }
        #[allow(unreachable_patterns, reason = "unreachable where every provider is compiled in")]
        other => {
            Err(format!("this program was built without it (cargo feature `{}`)", other.name()))
        }
    }
}

/// TensorRT builds its engine for minutes; kept where the service manager gives us a cache folder.
#[cfg(feature = "tensorrt")]
fn tensorrt() -> ExecutionProviderDispatch {
    let provider = ort::ep::TensorRT::default();
    match std::env::var("CACHE_DIRECTORY") {
        Ok(folder) if !folder.is_empty() => provider
            .with_engine_cache(true)
            .with_engine_cache_path(&folder)
            .with_timing_cache(true)
            .with_timing_cache_path(&folder)
            .build(),
        _ => provider.build(),
    }
}
