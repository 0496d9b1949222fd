//! Session service: logins, on Redis.
//!
//! A call goes through `grpc/` (one file for each noun), `app/` (one file for each change) and `storage/` (one Lua
//! script for each change); `domain/` has the rules. `workers.rs` publishes the session streams and runs the consumer
//! in `consumers/`, which ends sessions when user service deactivates a user or changes a role.

mod admission;
mod app;
mod clients;
mod config;
mod consumers;
mod doctor;
mod domain;
mod error;
mod grpc;
mod serve;
mod storage;
mod workers;

pub use config::{
    Action, Command, Config, DoctorConfig, LISTEN, LoginConfig, MigrateConfig, PeerConfig, RedisConfig,
    SessionConfig,
};
pub use doctor::{CHECKS, Place, doctor};
pub use serve::{DOMAIN, SessionService, migrate};
pub use storage::{FAILURES, Store, Tx};
