//! The engine as a whole: over a model of its databases and a channel that loses anything, and over a real
//! Redis and a real gRPC connection.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail a test as its own lines do")]

mod admin;
mod caches;
mod disorder;
mod lossy;
mod memory;
mod pace;
mod redis;
mod scenes;
mod service;
mod suites;
mod teeth;
mod world;
