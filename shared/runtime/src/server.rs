//! The server: one single-threaded tokio runtime a core, each with a listener of its own on the same port.
//!
//! tonic brings codec and routing. The accept loop, the limits of a connection, deadlines and the error
//! contract are ours: tonic's maximum age with a grace period closes connections without a GOAWAY, its
//! timeouts answer CANCELLED, and nothing in it limits connections or waits for a first request.
//!
//! Where TLS is configured the port speaks nothing else. A handshake takes place on the connection's own task, so that a slow
//! one holds nobody up, and a connection counts from its acceptance on.
//!
//! Order of a call: span, load shedding, completion of errors, catching of panics, deadline, identity and
//! policy, the service's own layers ([`UnaryLayer`]), then decoding and the handler.

mod body;
mod call;
mod connection;
mod core;
mod errors;
mod frame;
mod in_process;
mod layers;
mod limits;
mod listener;
mod methods;
mod metrics;
mod run;

use std::sync::Arc;

use auth::AuthLayer;
use tonic::service::Routes;

pub use self::core::Core;
pub use in_process::{Running, start_in_process, start_in_process_with};
pub use layers::{UnaryCall, UnaryLayer};
pub use run::run;

use crate::health::Readiness;

/// What a service hands over: one for each core, made inside that core's runtime.
#[derive(Debug)]
pub struct Service<V> {
    /// The rpcs.
    pub routes: Routes,
    /// Who may call them. Its policies also say which services health reports on.
    pub auth: AuthLayer<V>,
    /// What stands before handlers and after `auth`, the outermost first.
    pub layers: Vec<Arc<dyn UnaryLayer>>,
    /// Whether the service can do its work.
    pub ready: Readiness,
}
