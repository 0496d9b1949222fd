//! When a cache that depends on several streams may be used: only while every one of them is heard. An event of a
//! silent stream would pass unnoticed, and the cache would go on to give an answer that is no longer right.

use std::collections::HashSet;

/// Which of the streams that a cache depends on are silent. Its owner is a [`Listener`](crate::Listener) that reports
/// what it is told by `on_live`, and it uses the cache only while this is live.
#[derive(Debug)]
pub struct Liveness {
    silent: HashSet<String>,
}

impl Liveness {
    /// None of these streams has been heard yet.
    #[must_use]
    pub fn new(streams: impl IntoIterator<Item = String>) -> Self {
        Self { silent: streams.into_iter().collect() }
    }

    /// Whether every stream is heard.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.silent.is_empty()
    }

    /// Notes whether a stream is heard, and tells whether all of them are now.
    ///
    /// The name of an unknown stream never stands in for one of the known. If an unknown stream is reported as silent,
    /// it has to be heard like the others from then on: the cache may depend on it.
    pub fn report(&mut self, stream: &str, is_heard: bool) -> bool {
        if is_heard {
            self.silent.remove(stream);
        } else {
            self.silent.insert(stream.to_owned());
        }
        self.is_live()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_two() -> Liveness {
        Liveness::new(["a", "b"].map(str::to_owned))
    }

    #[test]
    fn it_is_live_only_while_every_stream_is_heard() {
        let mut liveness = of_two();
        assert!(!liveness.is_live());
        assert!(!liveness.report("a", true));
        assert!(liveness.report("b", true) && liveness.is_live());
        assert!(!liveness.report("a", false) && !liveness.is_live());
        assert!(!liveness.report("b", true), "the other one is silent still");
        assert!(liveness.report("a", true));
    }

    #[test]
    fn what_is_reported_twice_counts_once() {
        let mut liveness = of_two();
        assert!(!liveness.report("a", true) && !liveness.report("a", true));
        assert!(liveness.report("b", true));
        assert!(!liveness.report("b", false) && !liveness.report("b", false));
        assert!(liveness.report("b", true));
    }

    #[test]
    fn an_unknown_stream_stands_for_no_other_and_must_not_fall_silent() {
        let mut liveness = of_two();
        liveness.report("a", true);
        assert!(!liveness.report("c", true));
        assert!(liveness.report("b", true));
        assert!(!liveness.report("c", false));
        assert!(liveness.report("c", true));
    }
}
