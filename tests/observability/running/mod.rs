//! A running system and a real Prometheus that watches it.
//!
//! The tests here need databases, the services' binaries and Prometheus, and take longer; `cargo xtask check` leaves them
//! out.

mod alerts;
mod config;
mod plots;
mod scrape;
mod svg;
mod trace;
mod watched;
