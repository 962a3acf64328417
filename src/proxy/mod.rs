//! The data plane.

mod bell;
mod client_body;
mod connection;
mod encoders;
mod errand;
mod error;
pub mod http1;
mod http2;
mod introduction;
mod listener;
mod pages;
mod passwords;
mod request;
mod resources;
mod secure;
mod shortage;
mod upstream;
mod worker;

pub use error::REASONS;
pub use listener::{BindError, EntryPoint, Listening, bind};
pub use passwords::Verifier;
pub use request::WEBSOCKETS_END;
pub use resources::Parts;
pub use worker::Workers;
