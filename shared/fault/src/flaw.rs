//! Flaws: known mistakes that a test can put into the code, to prove that the suites catch them. Each stands, behind
//! the feature, in the code that guards against it.

#[cfg(feature = "faults")]
use std::cell::Cell;
#[cfg(feature = "faults")]
use std::panic::{AssertUnwindSafe, catch_unwind};
#[cfg(feature = "faults")]
use std::pin::pin;
#[cfg(feature = "faults")]
use std::task::Poll;

/// A mistake that some suite must catch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// A cancel that finds no hold leaves no tombstone, so a late reserve takes the money for ever.
    NoTombstone,
    /// A participant releases an expired hold by itself, without asking for the decision.
    ExpiryWithoutDecision,
    /// A consumer's mark moves in a transaction of its own, after that of the effects.
    MarkApart,
    /// What is counted is written apart from the mark, so that a run which comes again counts twice.
    CountsApart,
}

#[cfg(feature = "faults")]
thread_local! {
    static PUT_IN: Cell<Option<Flaw>> = const { Cell::new(None) };
}

impl Flaw {
    /// The environment variable that puts the flaw of this name into a whole process.
    pub const VARIABLE: &str = "FAULT_FLAW";

    /// The name that the environment variable knows it by.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoTombstone => "no-tombstone",
            Self::ExpiryWithoutDecision => "expiry-without-decision",
            Self::MarkApart => "mark-apart",
            Self::CountsApart => "counts-apart",
        }
    }

    /// Whether the flaw is put in; always false without the feature.
    #[inline]
    #[must_use]
    pub fn is_in(self) -> bool {
        #[cfg(feature = "faults")]
        return PUT_IN.get() == Some(self) || of_process() == Some(self);
        #[cfg(not(feature = "faults"))]
        false
    }

    /// Puts the flaw into everything that runs on this thread, until the guard is dropped.
    #[cfg(feature = "faults")]
    #[must_use]
    pub fn put_in(self) -> PutIn {
        PutIn(PUT_IN.replace(Some(self)))
    }

    /// Runs a scenario of a suite on this thread with the flaw put in, and returns the message that it fails with.
    ///
    /// # Panics
    /// When the scenario passes although the flaw is in.
    #[cfg(feature = "faults")]
    pub async fn caught_by(self, scenario: impl Future<Output = ()>) -> String {
        let _in = self.put_in();
        failure_of(scenario).await.unwrap_or_else(|| panic!("the scenario passes with {self:?}"))
    }
}

/// The message of the panic that a scenario ends with; `None` when it passes.
#[cfg(feature = "faults")]
pub async fn failure_of(scenario: impl Future<Output = ()>) -> Option<String> {
    let mut scenario = pin!(scenario);
    std::future::poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| scenario.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(())) => Poll::Ready(None),
        Err(panic) => {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
            Poll::Ready(Some(said.unwrap_or("a panic without a message").to_owned()))
        }
    })
    .await
}

/// Takes the flaw out again when it is dropped.
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
        let all = [Flaw::NoTombstone, Flaw::ExpiryWithoutDecision, Flaw::MarkApart, Flaw::CountsApart];
        let flaw = all.into_iter().find(|flaw| name == flaw.name());
        Some(flaw.unwrap_or_else(|| panic!("{} names no flaw: {}", Flaw::VARIABLE, name.display())))
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
