//! Flaws: the mistakes that others have made here. Each is in the code that guards against it, behind the feature.

#[cfg(feature = "faults")]
use std::cell::Cell;

/// A mistake that some suite must catch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// A cancel that finds no hold leaves no tombstone, so a late reserve takes the money for ever.
    NoTombstone,
    /// A participant releases an expired hold by itself, without asking for the decision.
    ExpiryWithoutDecision,
    /// A consumer's mark moves in a transaction of its own, after that of the effects.
    MarkApart,
}

#[cfg(feature = "faults")]
thread_local! {
    static PUT_IN: Cell<Option<Flaw>> = const { Cell::new(None) };
}

impl Flaw {
    /// The environment variable that puts a flaw into a whole process, by its name in kebab case.
    pub const VARIABLE: &str = "FAULT_FLAW";

    /// Whether the flaw is put in: never without the feature.
    #[inline]
    #[must_use]
    pub fn is_in(self) -> bool {
        #[cfg(feature = "faults")]
        return PUT_IN.get() == Some(self) || of_process() == Some(self);
        #[cfg(not(feature = "faults"))]
        false
    }

    /// Puts the flaw into what runs on this thread, until the guard is dropped.
    #[cfg(feature = "faults")]
    #[must_use]
    pub fn put_in(self) -> PutIn {
        PutIn(PUT_IN.replace(Some(self)))
    }
}

/// Takes a flaw out again.
#[cfg(feature = "faults")]
#[derive(Debug)]
pub struct PutIn(Option<Flaw>);

#[cfg(feature = "faults")]
impl Drop for PutIn {
    fn drop(&mut self) {
        PUT_IN.set(self.0);
    }
}

#[cfg(feature = "faults")]
fn of_process() -> Option<Flaw> {
    static OF_PROCESS: std::sync::LazyLock<Option<Flaw>> = std::sync::LazyLock::new(|| {
        let name = std::env::var_os(Flaw::VARIABLE)?;
        match name.to_str()? {
            "no-tombstone" => Some(Flaw::NoTombstone),
            "expiry-without-decision" => Some(Flaw::ExpiryWithoutDecision),
            "mark-apart" => Some(Flaw::MarkApart),
            unknown => panic!("{} names no flaw: {unknown}", Flaw::VARIABLE),
        }
    });
    *OF_PROCESS
}

#[cfg(all(test, feature = "faults"))]
mod tests {
    use super::*;

    #[test]
    fn a_flaw_is_in_until_its_guard_goes() {
        assert!(!Flaw::NoTombstone.is_in());
        let outer = Flaw::NoTombstone.put_in();
        {
            let _inner = Flaw::MarkApart.put_in();
            assert!(Flaw::MarkApart.is_in() && !Flaw::NoTombstone.is_in());
        }
        assert!(Flaw::NoTombstone.is_in());
        drop(outer);
        assert!(!Flaw::NoTombstone.is_in());
    }
}
