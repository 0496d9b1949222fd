//! What the operating system and the build say of the process, under the names that Prometheus' own clients use.

use std::sync::LazyLock;

use metrics::{Family, Gauge, MeasuredCounter, MeasuredGauge, number};
use procfs::process::{LimitValue, Process};

use super::Vitals;

static BUILD: Family<Gauge, 3> =
    Family::new("build_info", "What runs: always 1.", ["service", "version", "revision"], 1);
static SERVING: Family<MeasuredGauge, 0> =
    Family::new("serving", "Whether health says SERVING, on every core: 1 or 0.", [], 1);
static CPU: Family<MeasuredCounter, 0> =
    Family::new("process_cpu_seconds_total", "Processor time, of user and system.", [], 1);
static RESIDENT: Family<MeasuredGauge, 0> =
    Family::new("process_resident_memory_bytes", "Memory that is resident.", [], 1);
static VIRTUAL: Family<MeasuredGauge, 0> =
    Family::new("process_virtual_memory_bytes", "Memory that is addressed.", [], 1);
static OPEN_FILES: Family<MeasuredGauge, 0> =
    Family::new("process_open_fds", "File descriptors that are open.", [], 1);
static MOST_FILES: Family<MeasuredGauge, 0> =
    Family::new("process_max_fds", "File descriptors that may be open.", [], 1);
static STARTED: Family<MeasuredGauge, 0> =
    Family::new("process_start_time_seconds", "When the process started, in seconds since 1970.", [], 1);
static THREADS: Family<MeasuredGauge, 0> = Family::new("process_threads", "Threads.", [], 1);

/// Ticks of a second in the times of the kernel, and bytes of a page: fixed for as long as the machine runs.
static TICKS: LazyLock<f64> = LazyLock::new(|| number(procfs::ticks_per_second()));
static PAGE: LazyLock<f64> = LazyLock::new(|| number(procfs::page_size()));

/// Measures the process from now on. `revision` is the commit that it was built from.
pub(crate) fn measure(service: &str, revision: &str, vitals: &Vitals) {
    BUILD.with([service, env!("CARGO_PKG_VERSION"), revision]).set(1.0);
    let vitals = vitals.clone();
    SERVING.measure([], move || Some(f64::from(u8::from(vitals.hindrances().is_empty()))));
    CPU.measure([], || {
        let stat = Process::myself().ok()?.stat().ok()?;
        Some(number(stat.utime + stat.stime) / *TICKS)
    });
    RESIDENT.measure([], || Some(number(Process::myself().ok()?.stat().ok()?.rss) * *PAGE));
    VIRTUAL.measure([], || Some(number(Process::myself().ok()?.stat().ok()?.vsize)));
    OPEN_FILES.measure([], || Some(number(Process::myself().ok()?.fd_count().ok()?)));
    MOST_FILES.measure([], || match Process::myself().ok()?.limits().ok()?.max_open_files.soft_limit {
        LimitValue::Unlimited => None,
        LimitValue::Value(limit) => Some(number(limit)),
    });
    let started = started();
    STARTED.measure([], move || started);
    THREADS.measure([], || Some(number(Process::myself().ok()?.stat().ok()?.num_threads)));
}

/// The kernel says it in ticks since the machine started, and when that was by a clock that may be set.
fn started() -> Option<f64> {
    use procfs::CurrentSI as _;
    let ticks = Process::myself().ok()?.stat().ok()?.starttime;
    let booted = procfs::KernelStats::current().ok()?.btime;
    Some(number(booted) + number(ticks) / *TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_measured_as_it_is() {
        let vitals = Vitals::of(1);
        measure("a-service", "abc", &vitals);
        let value = |name: &str| -> f64 {
            let text = metrics::text();
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap_or_else(|| panic!("{name}: {text}"));
            line.trim().parse().unwrap()
        };
        assert_eq!(value("serving "), 0.0);
        vitals.set(0, None);
        assert_eq!(value("serving "), 1.0);
        assert!(value("process_resident_memory_bytes ") > 1e6);
        assert!(value("process_virtual_memory_bytes ") > value("process_resident_memory_bytes "));
        assert!(value("process_open_fds ") >= 3.0 && value("process_max_fds ") >= value("process_open_fds "));
        assert!(value("process_threads ") >= 2.0);
        assert!(value("process_start_time_seconds ") > 1.7e9);
        assert!(metrics::text().contains("build_info{service=\"a-service\",version=\"0.1.0\",revision="));
    }
}
