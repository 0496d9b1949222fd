//! Calls that go on while something happens to the system.

use std::cell::Cell;

use futures_util::future::join_all;

const AT_ONCE: usize = 8;

/// Makes calls, eight at a time, until `work` is over, and returns how those failed that did.
pub async fn under_load<T, E>(
    call: impl AsyncFn() -> Result<T, E>,
    work: impl Future<Output = ()>,
) -> Vec<E> {
    let is_over = Cell::new(false);
    let load = async {
        let mut failed = Vec::new();
        while !is_over.get() {
            let answers = join_all((0..AT_ONCE).map(|_| call())).await;
            failed.extend(answers.into_iter().filter_map(Result::err));
        }
        failed
    };
    let work = async {
        work.await;
        is_over.set(true);
    };
    tokio::join!(load, work).0
}
