//! Which execution provider really runs a session's nodes, from ONNX Runtime's own record.
//!
//! A provider can register without an error and still be given none of the model; only the record
//! of the graph's assignment (API 24, asked for by [`RECORD_KEY`] before the session is built)
//! tells. The `ort` crate has no safe wrapper for it yet, hence the one `unsafe` block of the
//! vision path.

use std::{
    collections::BTreeMap,
    ffi::{CStr, c_char},
    ptr, slice,
};

use ort::{AsPointer, session::Session, sys};

/// Session configuration entry that makes ONNX Runtime keep the record
/// (`onnxruntime_session_options_config_keys.h`).
pub(super) const RECORD_KEY: &str = "session.record_ep_graph_assignment_info";

/// Nodes of the optimised graph by the provider that was given them, by ONNX Runtime's name of it.
///
/// # Errors
/// ONNX Runtime's, where it kept no record.
#[allow(
    unsafe_code,
    reason = "reads three arrays that the session owns through ONNX Runtime's C API; see SAFETY"
)]
pub(super) fn nodes_by_provider(session: &Session) -> Result<BTreeMap<String, usize>, ort::Error> {
    let api = ort::api();
    let mut by_provider = BTreeMap::new();
    let mut subgraphs: *const *const sys::OrtEpAssignedSubgraph = ptr::null();
    let mut count = 0_usize;
    // SAFETY: `session` is alive for the whole block and owns everything that is handed out; the
    // API sets pointer and length together and returns a status that is checked before either is
    // used; names are NUL-terminated and are copied before the block ends.
    unsafe {
        ort::Error::result_from_status((api.Session_GetEpGraphAssignmentInfo)(
            session.ptr(),
            &raw mut subgraphs,
            &raw mut count,
        ))?;
        if subgraphs.is_null() {
            return Ok(by_provider);
        }
        for &subgraph in slice::from_raw_parts(subgraphs, count) {
            let mut name: *const c_char = ptr::null();
            ort::Error::result_from_status((api.EpAssignedSubgraph_GetEpName)(
                subgraph,
                &raw mut name,
            ))?;
            let mut nodes: *const *const sys::OrtEpAssignedNode = ptr::null();
            let mut node_count = 0_usize;
            ort::Error::result_from_status((api.EpAssignedSubgraph_GetNodes)(
                subgraph,
                &raw mut nodes,
                &raw mut node_count,
            ))?;
            if !name.is_null() {
                let name = CStr::from_ptr(name).to_string_lossy().into_owned();
                *by_provider.entry(name).or_default() += node_count;
            }
        }
    }
    Ok(by_provider)
}
