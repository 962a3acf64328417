//! Readiness: whether a replica accepts connections.
