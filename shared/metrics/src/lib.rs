//! What a process counts and measures of itself, as Prometheus reads it.
//!
//! A process has one set of metrics, as it has one log. A [`Family`] is a `static` beside the code that it is about; a
//! series of it is made once, at a start, and kept as a handle:
//!
//! ```
//! use metrics::{Counter, Family};
//!
//! static REFUSED: Family<Counter, 1> =
//!     Family::new("server_refused", "Calls that were refused because a limit was reached.", ["limit"], 4);
//!
//! let refused = REFUSED.with(["calls"]);
//! refused.increment();
//! assert!(metrics::text().contains("server_refused_total{limit=\"calls\"} 1\n"));
//! ```
//!
//! - Recording takes no lock and no memory. Each core has numbers of its own in each series, on cache lines of its own,
//!   and they are added up when somebody reads ([`on_core`]).
//! - A family says how many series it has at the most. What comes beyond goes to one whose first label is
//!   `_OTHER`, so nobody outside can make a process, or Prometheus, run out of memory with names. [`series_most`] is the
//!   sum.
//! - Format and names are those of OpenMetrics 1.0; units are base units, and a part of the name.

mod core;
mod counter;
pub mod database;
mod exemplar;
mod family;
mod gauge;
mod histogram;
mod metric;
mod text;

pub use self::core::{cores, on_core};
pub use counter::{Counter, MeasuredCounter};
pub use exemplar::TraceId;
pub use family::{Family, Held, OTHER};
pub use gauge::{Gauge, MeasuredGauge, number};
pub use histogram::{BOUNDS, Histogram};
pub use text::{CONTENT_TYPE, series_most, text};
