//! The control loop: the only writer of the routing table.
//!
//! It is level-triggered. A source sends all it sees, not what changed, so a
//! lost event costs time and never correctness.

mod overview;

pub use overview::{Overview, SourceOverview};
