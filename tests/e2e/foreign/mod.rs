//! Tristore as clients that share no code with it see it: python, `buf curl`, grpcurl, psql and mongosh, and every
//! command that a README or a proto file prints.

mod as_printed;
mod beside;
mod books;
mod command_lines;
mod down;
mod exceptions;
mod odd_shell;
mod own_mongod;
mod printed;
mod python;
mod roles;
mod runbooks;
mod up;
