//! The result, with one line for each measure.

use std::fmt::Display;

use super::stats::{Goal, Spread};

/// One measure of one row.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Line {
    pub(crate) row: &'static str,
    pub(crate) measure: String,
    pub(crate) ours: Spread,
    pub(crate) floor: Option<Spread>,
    pub(crate) ratio: Option<Spread>,
    pub(crate) goal: Goal,
}

impl Line {
    /// A measure that has no floor.
    pub(crate) fn alone(
        row: &'static str,
        measure: impl Display,
        ours: impl IntoIterator<Item = f64>,
        goal: Goal,
    ) -> Option<Self> {
        let (measure, ours) = (measure.to_string(), Spread::of(ours)?);
        Some(Self { row, measure, ours, floor: None, ratio: None, goal })
    }

    /// A measure beside its floor.
    pub(crate) fn beside(
        row: &'static str,
        measure: impl Display,
        ours: &[f64],
        floor: &[f64],
        goal: Goal,
    ) -> Option<Self> {
        let (floor, ratio) = (Spread::of(floor.iter().copied()), Spread::of_ratios(ours, floor));
        let (measure, ours) = (measure.to_string(), Spread::of(ours.iter().copied())?);
        Some(Self { row, measure, ours, floor, ratio, goal })
    }

    fn verdict(&self) -> &'static str {
        match self.goal.is_met(self.ours, self.ratio) {
            None => "",
            Some(true) => "met",
            Some(false) => "MISSED",
        }
    }

    fn cells(&self) -> [String; 7] {
        let show = |spread: Option<Spread>| spread.map_or_else(String::new, |spread| spread.to_string());
        [
            self.row.to_owned(),
            self.measure.clone(),
            self.ours.to_string(),
            show(self.floor),
            show(self.ratio),
            self.goal.to_string(),
            self.verdict().to_owned(),
        ]
    }
}

const HEADER: [&str; 7] = ["what", "measure", "ours", "floor", "ours / floor", "goal", ""];

/// The lines as a table for a terminal, or in Markdown.
pub(crate) fn table(lines: &[Line], markdown: bool) -> Vec<String> {
    let mut rows = vec![HEADER.map(str::to_owned)];
    let mut before = "";
    for line in lines {
        let mut cells = line.cells();
        if line.row == before {
            cells[0].clear();
        }
        before = line.row;
        rows.push(cells);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; 7] = std::array::from_fn(width);
    let mut printed = Vec::with_capacity(rows.len() + 1);
    for (number, row) in rows.iter().enumerate() {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        printed.push(if markdown {
            format!("| {} |", cells.join(" | "))
        } else {
            cells.join("  ").trim_end().to_owned()
        });
        if number == 0 && markdown {
            printed.push(format!("| {} |", widths.map(|width| "-".repeat(width.max(3))).join(" | ")));
        }
    }
    printed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Vec<Line> {
        let goal = Goal::TimesFloor(1.3);
        vec![
            Line::beside("order get", "service CPU, us a call", &[70.0, 80.0], &[50.0, 50.0], goal).unwrap(),
            Line::alone("order get", "p99, ms", [3.25], Goal::AtMost(5.0)).unwrap(),
        ]
    }

    #[test]
    fn a_row_is_named_once_and_a_missed_goal_is_told() {
        assert_eq!(
            table(&lines(), false),
            [
                "what       measure                 ours                 floor  ours / floor         goal",
                "order get  service CPU, us a call  75.0 (70.0 to 80.0)  50.0   1.50 (1.40 to 1.60)  1.3 x floor  MISSED",
                "           p99, ms                 3.25                                             at most 5    met",
            ]
        );
    }

    #[test]
    fn markdown_has_a_line_below_its_header() {
        let printed = table(&lines(), true);
        assert!(printed[1].starts_with("| --------- | "), "{}", printed[1]);
        assert!(printed.iter().all(|line| line.matches('|').count() == 8), "{printed:#?}");
    }
}
