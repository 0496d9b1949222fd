//! What the demo prints: numbered steps, each with what it proves.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::time::Instant;

use anyhow::Result;

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
    let sign = if minor_units < 0 { "-" } else { "" };
    let cents = minor_units.unsigned_abs();
    format!("{sign}{}.{:02} EUR", cents / 100, cents % 100)
}

#[cfg(test)]
mod tests {
    use super::euros;

    #[test]
    fn cents_read_as_euros() {
        assert_eq!(
            [0, 5, 12_345, -1, -250].map(euros),
            ["0.00 EUR", "0.05 EUR", "123.45 EUR", "-0.01 EUR", "-2.50 EUR"]
        );
    }
}
