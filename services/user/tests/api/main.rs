//! User service, from outside.

mod book;
mod conformance;
mod create_user;
mod documents;
mod expiry;
mod harness;
mod participant;
mod posts;
mod transfers;
mod users;
mod verify_password;
mod wallets;
