//! What a series and a family are to those who write the text.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;

/// What a series is.
pub(crate) trait Metric: Clone + fmt::Debug + Send + Sync + 'static {
    const TYPE: MetricType;
    /// Lines of text a series.
    const LINES: usize = 1;

    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result;

    /// Whether there is anything to tell now.
    fn is_there(&self) -> bool {
        true
    }

    /// Lines that have an exemplar, by what they begin with after the name.
    fn exemplars(&self, _labels: &str) -> Vec<Exemplified> {
        Vec::new()
    }
}

/// What can be made without further knowledge.
pub(crate) trait Make: Metric {
    fn make() -> Self;
}

/// A family, whatever its series are.
pub(crate) trait AnyFamily: fmt::Debug + Send + Sync {
    fn name(&self) -> &'static str;
    /// The most lines of text that its series take.
    fn lines_most(&self) -> usize;
    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result;
    /// Lines that have an exemplar.
    fn exemplars(&self) -> Vec<Exemplified>;
}

/// A line that has an exemplar.
#[derive(Debug)]
pub(crate) struct Exemplified {
    /// What the line begins with, to the blank before its value.
    pub(crate) line: String,
    /// What is added at its end.
    pub(crate) exemplar: String,
}
