//! The binary of user service.

fn main() {}
