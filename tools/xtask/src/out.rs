//! Printing xtask's results on standard output. The programs that it runs write to standard error themselves.

use std::fmt::Display;
use std::io::{Write, stdout};

/// Prints a line. Nothing fails when the reader is gone.
pub(crate) fn line(text: impl Display) {
    let mut out = stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Prints that a longer step begins.
pub(crate) fn step(text: impl Display) {
    line(format_args!("==> {text}"));
}
