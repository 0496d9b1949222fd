//! When the recovery worker looks at a transfer again.

use std::time::Duration;

/// With full jitter: any time below a bound that doubles with every look, but never at once.
pub(super) fn delay(first: Duration, cap: Duration, attempts: i32) -> Duration {
    let doublings = u32::try_from(attempts.clamp(0, 16)).unwrap_or_default();
    let bound = first.saturating_mul(1 << doublings).min(cap);
    bound.mul_f64(fastrand::f64()).max(first.min(cap) / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_become_rarer_up_to_the_cap_and_are_never_in_step() {
        let (first, cap) = (Duration::from_secs(1), Duration::from_secs(60));
        for (attempts, bound) in [(0, 1), (1, 2), (5, 32), (6, 60), (i32::MAX, 60)] {
            let delays: Vec<_> = (0..50).map(|_| delay(first, cap, attempts)).collect();
            assert!(
                delays.iter().all(|delay| *delay <= Duration::from_secs(bound)),
                "{attempts}: {delays:?}"
            );
            assert!(delays.iter().all(|delay| *delay >= first / 10));
            assert!(delays.iter().any(|delay| *delay != delays[0]));
        }
    }
}
