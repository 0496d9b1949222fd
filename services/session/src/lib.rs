//! Session service: logins, on Redis.
//!
//! A call goes `grpc/` (decode, encode), `app/` (one file a change), `storage/` (one Lua script a change);
//! `domain/` has the rules. `workers.rs` publishes the session streams and ends sessions when user service tells
//! of a deactivation or a change of role.

mod app;
mod clients;
mod config;
mod domain;
mod error;
mod grpc;
mod serve;
mod storage;
mod workers;

pub use config::{
    Action, Command, Config, LISTEN, LoginConfig, MigrateConfig, PeerConfig, RedisConfig, SessionConfig,
};
pub use serve::{DOMAIN, SessionService, migrate};
pub use storage::{Store, Tx};
