//! What operators ask: health, readiness, metrics, the API.
