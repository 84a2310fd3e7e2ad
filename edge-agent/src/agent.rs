//! The whole data flow on one page.

use crate::config::Config;

/// Why the agent ended.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Under construction.
    #[error("the agent is not built yet")]
    NotBuilt,
}

/// Runs until told to stop.
///
/// # Errors
/// Under construction: always.
pub fn run(_config: Config) -> Result<(), AgentError> {
    Err(AgentError::NotBuilt)
}
