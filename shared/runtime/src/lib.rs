//! What every binary needs and nobody should write twice: configuration, telemetry, the server with its
//! limits and its error contract, what every handler does, health, shutdown, connections to databases, calls to
//! peers, retries, `doctor`, and what a service says of itself to an operator.
//!
//! A service hands over routes, an [`auth::AuthLayer`] and a readiness probe ([`server::Service`]) and gets
//! one single-threaded tokio runtime a core ([`server::run`]). It decides nothing about any domain.

pub mod admin;
pub mod binary;
pub mod client;
pub mod config;
pub mod connections;
pub mod deadline;
pub mod dependencies;
pub mod doctor;
pub mod doctor_service;
pub mod health;
mod reflection;
pub mod retry;
pub mod rpc;
mod rpc_metrics;
pub mod server;
pub mod sessions;
pub mod telemetry;
pub mod tls;
