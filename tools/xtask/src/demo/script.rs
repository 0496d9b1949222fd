//! What the demo prints: numbered steps, each with what it proves.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::time::Instant;

use anyhow::Result;
use types::Decimal;

/// Numbers and prints the steps.
#[derive(Debug)]
pub(crate) struct Script {
    step: u32,
    began: Instant,
}

impl Script {
    pub(crate) fn new() -> Self {
        Self { step: 0, began: Instant::now() }
    }

    /// Begins a step.
    pub(crate) fn step(&mut self, what: impl Display) -> Result<()> {
        self.step += 1;
        self.began = Instant::now();
        writeln!(io::stdout(), "\n{:>2}. {what}", self.step)?;
        Ok(())
    }

    /// Says what came back.
    pub(crate) fn saw(&self, what: impl Display) -> Result<()> {
        writeln!(io::stdout(), "    {what}")?;
        Ok(())
    }

    /// Ends a step with what it has proved; called only after the check.
    pub(crate) fn proves(&self, what: impl Display) -> Result<()> {
        writeln!(io::stdout(), "    => {what}  ({} ms)", self.began.elapsed().as_millis())?;
        Ok(())
    }
}

/// Euro cents as people read them.
pub(crate) fn euros(minor_units: i64) -> String {
    format!("{} EUR", Decimal::of("EUR", minor_units))
}
