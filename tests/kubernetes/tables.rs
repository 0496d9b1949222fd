//! The tables of the README.

use crate::manifests::folder;

/// The README of the manifests.
pub(crate) fn readme() -> std::path::PathBuf {
    folder().join("README.md")
}

/// The rows of the table between the marks of this name, each with its cells.
pub(crate) fn rows(section: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(readme()).expect("the README can be read");
    let (_, rest) = text.split_once(&format!("<!-- begin: {section} -->")).expect("the table is there");
    let (table, _) = rest.split_once("<!-- end:").expect("the table has an end");
    let lines = table.lines().filter(|line| line.starts_with('|')).skip(2);
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    lines.map(cells).collect()
}

/// The names in a cell, each in backquotes.
pub(crate) fn names(cell: &str) -> impl Iterator<Item = String> + '_ {
    cell.split('`').skip(1).step_by(2).map(str::to_owned)
}

/// A table in Markdown.
pub(crate) fn markdown(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    let rule = format!("| {} |\n", vec!["---"; head.len()].join(" | "));
    let rows: String = rows.map(|row| line(&row)).collect();
    format!("{}{rule}{rows}", line(&head))
}
