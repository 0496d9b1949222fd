//! All series of one name.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus_client::encoding::DescriptorEncoder;

use crate::metric::{AnyFamily, Exemplified, Make, Metric};
use crate::text;

/// The first label of the series for everything that has none of its own, as OpenTelemetry calls it.
pub const OTHER: &str = "_OTHER";

type Values<const N: usize> = [Cow<'static, str>; N];

/// All series of one name, told apart by the values of `N` labels. Make it a `static`.
#[derive(Debug)]
pub struct Family<M, const N: usize> {
    name: &'static str,
    help: &'static str,
    labels: [&'static str; N],
    most: usize,
    others: usize,
    series: Mutex<BTreeMap<Values<N>, M>>,
}

impl<M, const N: usize> Family<M, N> {
    /// A family with this name, which ends with `_total` for a counter and with its unit for what has one; with the help
    /// that a reader of the text gets, the names of its labels, and the most series that it may have.
    #[must_use]
    pub const fn new(name: &'static str, help: &'static str, labels: [&'static str; N], most: usize) -> Self {
        Self::with_others(name, help, labels, most, 1)
    }

    /// The same, where what comes beyond the limit makes `others` series: one for each combination of the labels after the
    /// first.
    #[must_use]
    pub const fn with_others(
        name: &'static str,
        help: &'static str,
        labels: [&'static str; N],
        most: usize,
        others: usize,
    ) -> Self {
        Self { name, help, labels, most, others, series: Mutex::new(BTreeMap::new()) }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Values<N>, M>> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The values under which a series with these is kept: those for everything else, if it is new and there are as many as
    /// there may be.
    fn key(&self, series: &BTreeMap<Values<N>, M>, values: [&str; N]) -> Values<N> {
        let mut values: Values<N> = values.map(|value| Cow::Owned(value.to_owned()));
        if !series.contains_key(&values)
            && series.len() >= self.most
            && let Some(first) = values.first_mut()
        {
            *first = Cow::Borrowed(OTHER);
        }
        values
    }
}

#[expect(private_bounds, reason = "only this crate knows what a metric is")]
impl<M: Make, const N: usize> Family<M, N> {
    /// The series with these values, which is the same one for everybody who asks; the series for everything else, if there
    /// are as many as there may be. It is told of from now on. Ask at a start, not for every call.
    pub fn with(&'static self, values: [&str; N]) -> M {
        self.find(values).1
    }

    /// The series with these values, for as long as what it tells of is known to this process, such as by the holder of a
    /// lease: dropped, it is told of no longer.
    pub fn held(&'static self, values: [&str; N]) -> Held<M, N> {
        let (values, metric) = self.find(values);
        Held { metric, family: self, values }
    }

    fn find(&'static self, values: [&str; N]) -> (Values<N>, M) {
        text::register(self);
        let mut series = self.lock();
        let values = self.key(&series, values);
        let metric = series.entry(values.clone()).or_insert_with(M::make).clone();
        (values, metric)
    }
}

#[expect(private_bounds, reason = "only this crate knows what a metric is")]
impl<M: Metric, const N: usize> Family<M, N> {
    /// Puts a series in the place of the one with these values.
    pub(crate) fn replace(&'static self, values: [&str; N], metric: M) {
        text::register(self);
        let mut series = self.lock();
        let values = self.key(&series, values);
        series.insert(values, metric);
    }
}

/// A series that is told of until this is dropped.
#[derive(Debug)]
pub struct Held<M: 'static, const N: usize> {
    metric: M,
    family: &'static Family<M, N>,
    values: Values<N>,
}

impl<M, const N: usize> std::ops::Deref for Held<M, N> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.metric
    }
}

impl<M, const N: usize> Drop for Held<M, N> {
    fn drop(&mut self) {
        self.family.lock().remove(&self.values);
    }
}

impl<M: Metric, const N: usize> AnyFamily for Family<M, N> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn lines_most(&self) -> usize {
        let others = if N == 0 { 0 } else { self.others };
        (self.most + others) * M::LINES
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        // Measures may take locks of their own, so none is held here while they run.
        let series: Vec<(Values<N>, M)> =
            self.lock().iter().map(|(values, metric)| (values.clone(), metric.clone())).collect();
        if !series.iter().any(|(_, metric)| metric.is_there()) {
            return Ok(());
        }
        // prometheus-client adds the ending of a counter itself.
        let name = self.name.strip_suffix("_total").unwrap_or(self.name);
        let mut encoder = encoder.encode_descriptor(name, self.help, None, M::TYPE)?;
        for (values, metric) in &series {
            let labels: Vec<(&str, &str)> =
                self.labels.iter().copied().zip(values.iter().map(|value| &**value)).collect();
            metric.encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn exemplars(&self) -> Vec<Exemplified> {
        let series = self.lock();
        let of = |(values, metric): (&Values<N>, &M)| {
            let labels: Vec<String> =
                self.labels.iter().zip(values).map(|(name, value)| format!("{name}=\"{value}\"")).collect();
            metric.exemplars(&labels.join(","))
        };
        let mut all: Vec<Exemplified> = series.iter().flat_map(of).collect();
        all.iter_mut().for_each(|one| one.line.insert_str(0, self.name));
        all
    }
}
