//! The worker's own options.

/// A worker's properties, checked and typed.
#[derive(Debug, Clone)]
pub struct WorkerConfig {}
