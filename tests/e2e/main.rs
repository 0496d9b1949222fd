//! Journeys of users through the whole system: real processes, real databases, the gRPC APIs only.

mod admin;
mod audit;
mod doctor;
mod foreign;
mod leaving;
mod log_reader;
mod metrics;
mod one_effect;
mod orders;
mod refunds;
mod rights;
mod sessions;
mod settings;
mod traces;
