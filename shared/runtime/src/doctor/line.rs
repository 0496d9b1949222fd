//! A line of `doctor`, for people or for scripts.

use std::fmt::{self, Display};
use std::io::{self, Write as _};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::Verdict;
use crate::config::{REPLICAS, at_least_one};

/// How `doctor` prints, and what it cannot know from the database.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Doctor")]
pub struct Options {
    /// How the checks are printed.
    #[arg(long, value_enum, default_value_t)]
    pub output: Format,
    /// Do only this check, by its name; may be given several times. [default: all]
    #[arg(long, value_name = "CHECK")]
    pub only: Vec<String>,
    /// Processes of this service that share its database.
    #[arg(long, env = "REPLICAS", default_value_t = REPLICAS, value_parser = at_least_one)]
    pub replicas: usize,
}

/// The form in which something is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people. Below the line of a check is what to type where something must be mended.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// What became of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The service whose check it is.
    pub service: &'static str,
    /// Its name.
    pub check: &'static str,
    /// What the finding means.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What must be found.
    pub wanted: &'static str,
    /// What to type or to set, where it is known.
    pub mend: Option<String>,
    /// How long it took to look.
    pub milliseconds: u64,
}

impl Line {
    /// Prints it on standard output. A reader who has seen enough, such as `head`, is no failure.
    pub(super) fn print(&self, format: Format) -> anyhow::Result<()> {
        let line = match format {
            Format::Text => self.to_string(),
            Format::Json => serde_json::to_string(self)?,
        };
        match writeln!(io::stdout(), "{line}") {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(()),
        }
    }
}

impl Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { check, found, wanted, .. } = self;
        write!(f, "{:<12}  {check:<28}  {found}; wanted: {wanted}", self.verdict.name())?;
        match &self.mend {
            Some(mend) => mend.lines().try_for_each(|line| write!(f, "\n{:<12}  {line}", "")),
            None => Ok(()),
        }
    }
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Advice => "advice",
            Self::NotProvided => "not provided",
            Self::NotTried => "not tried",
            Self::Failed => "FAILED",
        }
    }
}
