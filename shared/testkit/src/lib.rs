//! Starts and stops real databases and services, for tests and for `cargo xtask`. There are no mocks.
//!
//! - A test of one service asks for a database of its own: [`TestPostgres`], also through a [`PgBouncer`], [`TestMongo`],
//!   [`TestRedis`].
//! - A run of everything starts [`Databases`], or a [`Stack`] with the services too, in a [`State`] folder; each
//!   [`Process`] can be killed, paused, resumed and started again.
//! - [`proxy`] puts faults between them.
//! - A [`Prometheus`] with [`Exporter`]s watches them, and [`Jaeger`] keeps their traces.
//! - [`wait_until`] is the way to wait for anything.
//!
//! **Invariant:** every process that is started here is ended: by its owner, by the kernel when the owner dies, or by
//! the next run, which finds it in a pid file. No process is ever signalled by its name.

mod account;
pub mod admin_port;
mod captured;
mod certificates;
pub mod client;
mod command;
mod databases;
pub mod env;
mod exporter;
mod fake_mongod;
mod folder;
mod found;
mod health;
mod home;
mod http_api;
mod jaeger;
mod launch;
mod load;
mod logs;
mod mongo;
mod mongo_admin;
mod mongo_roles;
mod mongo_users;
mod pgbouncer;
pub mod pid_file;
mod ports;
mod postgres;
mod process;
mod profile;
pub mod programs;
mod prometheus;
pub mod proxy;
mod psql;
pub mod quote;
mod redis;
mod redis_admin;
mod reference;
mod renewed_file;
mod server;
mod service;
mod services;
pub mod skipped;
mod stack;
pub mod state;
mod strays;
mod test_databases;
pub mod test_servers;
mod wait;

pub use account::Account;
pub use captured::CapturedLog;
pub use certificates::{Authority, Issued, Subject, TlsFiles};
pub use command::{cargo, installer, shell, task, tool};
pub use databases::{DatabaseOptions, Databases};
pub use exporter::{Exported, Exporter, ExporterEngine};
pub use fake_mongod::fake_mongod;
pub use fault::Flaw;
pub use folder::Backup;
pub use health::{not_serving, serving, stand_in};
pub use http_api::HttpApi;
pub use jaeger::{Jaeger, JaegerEngine, TracedSpan};
pub use launch::{Launch, Lifetime};
pub use load::under_load;
pub use logs::{Log, LogMark};
pub use mongo::{Documents, Mongo, MongoKind};
pub use mongo_admin::MongoAdmin;
pub use mongo_roles::MongoRole;
pub use mongo_users::MongoUrls;
pub use nix::sys::signal::Signal;
pub use pgbouncer::{PgBouncer, PgBouncerEngine, Settings as PoolerSettings};
pub use ports::{Port, ReservedPort};
pub use postgres::{Dump, Postgres, PostgresEngine};
pub use process::Process;
pub use profile::Profile;
pub use prometheus::{Alert, AlertState, Exemplar, Prometheus, PrometheusEngine, RuleHealth, Sample, Series};
pub use psql::PostgresAdmin;
pub use redis::{Redis, RedisEngine, RedisUse, WatchedRedis};
pub use redis_admin::RedisAdmin;
pub use reference::Reference;
pub use renewed_file::RenewedFile;
pub use server::{Engine, Server};
pub use service::{FaultAct, Service};
pub use services::{ADMIN_ABOVE, DatabaseUrls, PROGRAMS, ServiceName, ServiceOptions};
pub use stack::{Services, Stack};
pub use state::State;
pub use test_databases::{PREFIX, TestMongo, TestPostgres, TestRedis};
pub use test_servers::TestServers;
pub use wait::wait_until;
