//! Moments at which a test may kill or stop a process, and flaws that a test may put in, to prove that the tests can
//! fail.
//!
//! Without the feature `faults` every function here is empty and no point's name is in the binary. With it, a release
//! build does not compile. A [`point!`] fires once, when the file that [`ARMED`] names holds its line:
//!
//! ```text
//! sequencer.stamped order kill
//! ```
//!
//! The file's extension becomes `fired` before the signal is sent. That proves that the point was reached.

#[cfg(all(feature = "faults", not(debug_assertions)))]
compile_error!("the feature `faults` is for tests: build without it, or without --release");

mod flaw;
#[cfg(feature = "faults")]
mod point;

pub use flaw::Flaw;
#[cfg(feature = "faults")]
pub use flaw::failure_of;

/// The environment variable with the path of the file that arms a point.
pub const ARMED: &str = "FAULT_ARMED";

/// Whether the points are built in, for the rare code that must create a moment before it can name it.
pub const BUILT_IN: bool = cfg!(feature = "faults");

/// A named moment. `part` says which stream, consumer or the like it belongs to.
///
/// When the feature is on and this name and part are armed, the process gets SIGKILL (`kill`) or SIGSTOP (`stop`) here.
/// It is a macro so that without the feature not even the name is left in the binary.
#[cfg(feature = "faults")]
#[macro_export]
macro_rules! point {
    ($name:literal, $part:expr) => {
        $crate::reached($name, $part)
    };
}

/// A named moment. `part` says which stream, consumer or the like it belongs to. This build has no points: it does
/// nothing.
#[cfg(not(feature = "faults"))]
#[macro_export]
macro_rules! point {
    ($name:literal, $part:expr) => {
        $crate::ignored($part)
    };
}

/// Whether this point is armed, for a place where the code that ships has no such moment and has to take another way to
/// reach one. Built without the points: never.
#[cfg(feature = "faults")]
#[macro_export]
macro_rules! is_armed {
    ($name:literal, $part:expr) => {
        $crate::armed($name, $part)
    };
}

/// Whether this point is armed. Built without the points: never.
#[cfg(not(feature = "faults"))]
#[macro_export]
macro_rules! is_armed {
    ($name:literal, $part:expr) => {
        $crate::never_armed($part)
    };
}

/// What [`is_armed!`] becomes.
#[cfg(feature = "faults")]
#[doc(hidden)]
#[must_use]
pub fn armed(name: &'static str, part: &str) -> bool {
    point::is_armed(name, part)
}

/// What [`is_armed!`] becomes without the points.
#[cfg(not(feature = "faults"))]
#[doc(hidden)]
#[inline(always)]
#[must_use]
pub const fn never_armed(_part: &str) -> bool {
    false
}

/// What [`point!`] becomes.
#[cfg(feature = "faults")]
#[doc(hidden)]
pub fn reached(name: &'static str, part: &str) {
    point::reached(name, part);
}

/// What [`point!`] becomes without the points.
#[cfg(not(feature = "faults"))]
#[doc(hidden)]
#[inline(always)]
pub const fn ignored(_part: &str) {}
