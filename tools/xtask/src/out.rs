//! What xtask prints: results on standard output. Programs that it runs write to standard error themselves.

use std::fmt::Display;
use std::io::{Write, stdout};

/// Prints a line. That nobody reads it any more is no reason to fail.
pub(crate) fn line(text: impl Display) {
    let mut out = stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Prints what begins now, when it takes a while.
pub(crate) fn step(text: impl Display) {
    line(format_args!("==> {text}"));
}
