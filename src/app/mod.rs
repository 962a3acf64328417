//! The only place that knows every part: wiring, tasks, shutdown.
