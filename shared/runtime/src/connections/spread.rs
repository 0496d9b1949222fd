//! Clients that are fewer than the cores which use them.

use std::sync::Arc;

use tokio::sync::SetOnce;

use crate::server::Core;

/// How many clients share `connections`, if each core had one at best and none has fewer than `least` connections to
/// itself. At least one.
#[must_use]
pub fn clients(connections: usize, least: usize, cores: usize) -> usize {
    (connections / least.max(1)).clamp(1, cores.max(1))
}

/// One value for several cores each. It is made by the first of them, on whose runtime it then works, also for the
/// others.
#[derive(Debug)]
pub struct Spread<T>(Arc<[SetOnce<T>]>);

impl<T> Clone for Spread<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Clone> Spread<T> {
    /// A place for `count` values, at least one.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self((0..count.max(1)).map(|_| SetOnce::new()).collect())
    }

    /// How many values there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The value for `core`, which it makes or waits for. A core whose maker fails waits for ever, since the process
    /// does not start then.
    ///
    /// # Errors
    /// When this core is to make it and `make` fails.
    pub async fn get<E>(&self, core: &Core, make: impl AsyncFnOnce() -> Result<T, E>) -> Result<T, E> {
        let place = &self.0[core.index % self.count()];
        if core.index >= self.count() {
            return Ok(place.wait().await.clone());
        }
        let value = make().await?;
        // A core that starts a second time, in a test, has its own.
        let _is_first = place.set(value.clone()).is_ok();
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::future::join_all;

    use super::*;

    #[test]
    fn a_client_has_enough_connections_and_no_core_has_two_clients() {
        for (connections, least, cores, expected) in
            [(64, 16, 1, 1), (64, 16, 2, 2), (64, 16, 48, 4), (10, 16, 48, 1), (16, 1, 48, 16), (0, 0, 0, 1)]
        {
            assert_eq!(clients(connections, least, cores), expected, "{connections} {least} {cores}");
        }
    }

    #[tokio::test]
    async fn as_many_values_are_made_as_there_are_places_and_the_cores_share_them_evenly() {
        let spread = Spread::new(4);
        let value = async |index: usize| {
            let core = Core::of(index, 10);
            spread.get(&core, async || Ok::<_, Infallible>(Arc::new(index))).await
        };
        // Those who wait come first.
        let values = join_all((0..10).rev().map(value)).await;
        let mut makers: Vec<usize> = values.into_iter().map(|Ok(value)| *value).collect();
        makers.reverse();
        assert_eq!(makers, [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]);
    }
}
