//! How fast changes come into force.

use crate::domain::pool::Histogram;

/// What the control loop notes of its own work.
#[derive(Debug, Default)]
pub struct Pace {
    /// To plan the world and to put the plan into force.
    pub build: Histogram,
    /// From an event, by the clock of who told it, to the table that has it.
    pub lag: Histogram,
}
