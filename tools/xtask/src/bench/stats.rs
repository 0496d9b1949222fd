//! Medians with their spread, and goals to hold them to.

use std::fmt;

/// The results of several rounds.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
}

impl Spread {
    /// The spread of these values; `None` when there are none.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (lowest, highest) = (*values.first()?, *values.last()?);
        let median = f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self { median, lowest, highest })
    }

    /// The spread of the ratios of neighbours: each of `ours` divided by the one of `floor` that was measured next to
    /// it, when the machine was equally busy.
    pub(crate) fn of_ratios(ours: &[f64], floor: &[f64]) -> Option<Self> {
        Self::of(ours.iter().zip(floor).filter(|(_, floor)| **floor > 0.0).map(|(ours, floor)| ours / floor))
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { median, lowest, highest } = *self;
        if lowest == highest {
            return write!(f, "{}", Figure(median));
        }
        write!(f, "{} ({} to {})", Figure(median), Figure(lowest), Figure(highest))
    }
}

/// A number, printed with three significant digits or a few more.
struct Figure(f64);

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = match self.0.abs() {
            0.0..10.0 => 2,
            10.0..100.0 => 1,
            _ => 0,
        };
        write!(f, "{:.places$}", self.0)
    }
}

/// The goal for a measure.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Goal {
    /// No goal: the figure is for comparison.
    None,
    /// At most this many times the floor.
    TimesFloor(f64),
    /// At least this many times the floor.
    TimesFloorOrMore(f64),
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    /// Whether the medians meet it; `None` when that cannot be said.
    pub(crate) fn is_met(self, ours: Spread, ratio: Option<Spread>) -> Option<bool> {
        match self {
            Self::None => None,
            // Rounded as it is printed.
            Self::TimesFloor(most) => ratio.map(|ratio| ratio.median < most + 0.005),
            Self::TimesFloorOrMore(least) => ratio.map(|ratio| ratio.median > least - 0.005),
            Self::AtMost(most) => Some(ours.median <= most),
            Self::AtLeast(least) => Some(ours.median >= least),
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::TimesFloor(most) => write!(f, "{most} x floor"),
            Self::TimesFloorOrMore(least) => write!(f, "at least {least} x floor"),
            Self::AtMost(most) => write!(f, "at most {most}"),
            Self::AtLeast(least) => write!(f, "at least {least}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one_or_between_the_two_in_the_middle() {
        let spread = |values: &[f64]| Spread::of(values.iter().copied()).unwrap();
        assert_eq!(spread(&[9.0, 1.0, 2.0]), Spread { median: 2.0, lowest: 1.0, highest: 9.0 });
        assert_eq!(spread(&[4.0, 1.0, 2.0, 100.0]).median, 3.0);
        assert_eq!(Spread::of([]), None);
    }

    /// Claim: when the machine becomes twice as slow between two rounds, no ratio changes. The ratio of the medians
    /// would depend on which rounds happened to be in the middle.
    #[test]
    fn a_ratio_is_of_neighbours() {
        let ratio = Spread::of_ratios(&[10.0, 20.0, 40.0, 11.0], &[8.0, 16.0, 32.0, 8.8]).unwrap();
        assert_eq!((ratio.lowest, ratio.median, ratio.highest), (1.25, 1.25, 1.25));
        assert_eq!(Spread::of_ratios(&[1.0], &[0.0]), None);
    }

    #[test]
    fn goals_are_held_by_medians() {
        let ours = Spread { median: 130.0, lowest: 1.0, highest: 999.0 };
        let ratio = Some(Spread { median: 1.304, lowest: 1.0, highest: 9.0 });
        assert_eq!(Goal::TimesFloor(1.3).is_met(ours, ratio), Some(true));
        assert_eq!(Goal::TimesFloor(1.29).is_met(ours, ratio), Some(false));
        assert_eq!(Goal::TimesFloor(1.3).is_met(ours, None), None);
        assert_eq!(Goal::TimesFloorOrMore(1.3).is_met(ours, ratio), Some(true));
        assert_eq!(Goal::TimesFloorOrMore(1.4).is_met(ours, ratio), Some(false));
        assert_eq!(Goal::AtMost(129.0).is_met(ours, None), Some(false));
        assert_eq!(Goal::AtLeast(130.0).is_met(ours, None), Some(true));
        assert_eq!(Goal::None.is_met(ours, ratio), None);
    }

    #[test]
    fn figures_have_as_many_digits_as_they_are_worth() {
        let spread = Spread { median: 1234.5, lowest: 0.126, highest: 45.67 };
        assert_eq!(spread.to_string(), "1234 (0.13 to 45.7)");
        assert_eq!(Spread::of([2.0]).unwrap().to_string(), "2.00");
    }
}
