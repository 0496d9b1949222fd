//! How long calls take, by method and by the code of their answer: those that the process answers, and those that it makes.

use std::array;
use std::sync::OnceLock;
use std::time::Instant;

use metrics::{Family, Histogram, TraceId};
use tonic::Code;

/// How many codes gRPC has, and so how many series those methods share that have none of their own for a code.
pub(crate) const CODES: usize = 17;

/// The calls of one method. The series of `OK` is there from the start, those of other codes once they are needed: all
/// together would be more than a process may have.
#[derive(Debug)]
pub(crate) struct MethodCalls {
    family: &'static Family<Histogram, 2>,
    method: String,
    by_code: [OnceLock<Histogram>; CODES],
}

impl MethodCalls {
    /// Of a method by its full name, `package.Service/Method`.
    pub(crate) fn of(family: &'static Family<Histogram, 2>, method: &str) -> Self {
        let calls = Self::unused(family, method);
        calls.series(Code::Ok);
        calls
    }

    /// Of a method that is perhaps never called: it has no series before its first call.
    pub(crate) fn unused(family: &'static Family<Histogram, 2>, method: &str) -> Self {
        Self { family, method: method.to_owned(), by_code: array::from_fn(|_| OnceLock::new()) }
    }

    /// The full name of the method.
    pub(crate) fn method(&self) -> &str {
        &self.method
    }

    /// A call that began at a time has been answered, in a trace if that is recorded.
    pub(crate) fn answered(&self, began: Instant, code: Code, trace: Option<TraceId>) {
        let series = self.series(code);
        match trace {
            Some(trace) => series.observe_in(began.elapsed(), trace),
            None => series.observe(began.elapsed()),
        }
    }

    fn series(&self, code: Code) -> &Histogram {
        let index = usize::try_from(i32::from(code)).unwrap_or_default();
        self.by_code[index].get_or_init(|| self.family.with([&self.method, code_name(code)]))
    }
}

/// Whether a code says that the server is at fault, and not the caller.
pub(crate) const fn is_server_fault(code: Code) -> bool {
    matches!(
        code,
        Code::Internal | Code::Unknown | Code::DataLoss | Code::Unavailable | Code::DeadlineExceeded
    )
}

/// The name of a code in gRPC's specification.
pub(crate) const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_a_series_of_its_own_and_only_ok_has_it_from_the_start() {
        static TEST: Family<Histogram, 2> = Family::new("test_call_seconds", "Test.", ["method", "code"], 20);
        let calls = MethodCalls::of(&TEST, "a.B/C");
        let lines = || {
            let text = metrics::text();
            text.lines()
                .filter(|line| line.starts_with("test_call_seconds_count"))
                .map(str::to_owned)
                .collect()
        };
        let before: Vec<String> = lines();
        assert_eq!(before, ["test_call_seconds_count{method=\"a.B/C\",code=\"OK\"} 0"]);
        for code in 0..CODES {
            calls.answered(Instant::now(), Code::from(i32::try_from(code).unwrap()), None);
        }
        let after: Vec<String> = lines();
        assert_eq!(after.len(), CODES);
        assert!(after.iter().all(|line| line.ends_with(" 1")), "{after:#?}");
    }
}
