//! The data plane.

mod bell;
mod client_body;
mod complaints;
mod connection;
mod crowd;
mod encoders;
mod errand;
mod error;
mod handshakes;
pub mod http1;
mod http2;
mod introduction;
mod listener;
mod pages;
mod passwords;
mod prefixed;
mod request;
mod resources;
mod secure;
mod shortage;
mod sniff;
mod stream_bytes;
mod upstream;
mod worker;

pub use crowd::Crowd;
pub use error::REASONS;
pub use listener::{BindError, EntryPoint, Listening, bind};
pub use passwords::Verifier;
pub use request::WEBSOCKETS_END;
pub use resources::Parts;
pub use secure::FAILURES;
pub use worker::Workers;
