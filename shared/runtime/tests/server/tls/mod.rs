//! TLS between a client and the server, with real certificates and real connections.

mod expiry;
mod files;
mod handshakes;
mod identity;
mod peers;
mod resumption;
mod rotation;
mod world;
