//! What a reader of the text sees.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use metrics::{
    BOUNDS, CONTENT_TYPE, Counter, Family, Gauge, Histogram, MeasuredCounter, MeasuredGauge, TraceId, cores,
    on_core, series_most, text,
};

/// The lines of a family, without those that describe it.
fn lines(name: &str) -> Vec<String> {
    text().lines().filter(|line| line.starts_with(name)).map(str::to_owned).collect()
}

#[test]
fn a_counter_adds_up_what_all_cores_count() {
    static COUNTED: Family<Counter, 2> = Family::new("counted_total", "Counted.", ["kind", "result"], 3);
    cores(3);
    let good = COUNTED.with(["a", "good"]);
    let _zero = COUNTED.with(["a", "bad"]);
    let cores: Vec<_> = (0..5)
        .map(|core| {
            let good = good.clone();
            thread::spawn(move || {
                on_core(core);
                (0..1000).for_each(|_| good.increment());
            })
        })
        .collect();
    cores.into_iter().for_each(|core| core.join().unwrap());
    assert_eq!(good.value(), 5000);
    assert_eq!(
        lines("counted_total"),
        ["counted_total{kind=\"a\",result=\"bad\"} 0", "counted_total{kind=\"a\",result=\"good\"} 5000"]
    );
    assert!(text().contains("# HELP counted Counted.\n# TYPE counted counter\n"), "{}", text());
    assert!(text().ends_with("# EOF\n"));
    assert!(CONTENT_TYPE.starts_with("application/openmetrics-text"));
}

#[test]
fn a_histogram_has_each_duration_in_the_bucket_of_its_bound() {
    static TOOK: Family<Histogram, 0> = Family::new("took_seconds", "Took.", [], 1);
    let took = TOOK.with([]);
    for bound in BOUNDS {
        took.observe(Duration::from_secs_f64(bound));
    }
    took.observe(Duration::from_nanos(250_001));
    took.observe(Duration::ZERO);
    took.observe(Duration::MAX);
    let lines = lines("took_seconds");
    assert_eq!(took.total(), 15);
    assert!(lines.contains(&"took_seconds_count 15".to_owned()), "{lines:#?}");
    for (bound, count) in
        [("0.00025", 2), ("0.0005", 4), ("0.25", 12), ("1.0", 13), ("10.0", 14), ("+Inf", 15)]
    {
        let line = format!("took_seconds_bucket{{le=\"{bound}\"}} {count}");
        assert!(lines.contains(&line), "{line}: {lines:#?}");
    }
}

#[test]
fn an_exemplar_stands_at_the_end_of_its_bucket_and_only_there() {
    static SHOWN: Family<Histogram, 1> = Family::new("shown_seconds", "Shown.", ["what"], 2);
    let shown = SHOWN.with(["a"]);
    shown.observe(Duration::from_millis(3));
    assert!(!text().lines().any(|line| line.starts_with("shown_seconds") && line.contains('#')));
    shown.observe_in(Duration::from_millis(4), TraceId(0x1234));
    shown.observe_in(Duration::from_millis(4), TraceId(0xabcd));
    let with: Vec<String> = lines("shown_seconds").into_iter().filter(|line| line.contains('#')).collect();
    let [line] = &with[..] else { panic!("{with:?}") };
    let start = "shown_seconds_bucket{le=\"0.005\",what=\"a\"} 3 # {trace_id=\"0000000000000000000000000000abcd\"} 0.004 ";
    let time = line.strip_prefix(start).unwrap_or_else(|| panic!("{line}"));
    assert!(time.parse::<f64>().unwrap() > 1.7e9, "{time}");
}

#[test]
fn a_family_has_no_more_series_than_it_may() {
    static NAMED: Family<Counter, 2> = Family::new("named_total", "Named.", ["name", "result"], 10);
    for number in 0..10_000 {
        NAMED.with([&format!("name{number}"), "x"]).increment();
    }
    let lines = lines("named_total");
    assert_eq!(lines.len(), 11, "ten, and the one for all others");
    assert!(lines.contains(&"named_total{name=\"_OTHER\",result=\"x\"} 9990".to_owned()), "{lines:#?}");
    assert!(series_most() >= 10);
}

#[test]
fn what_is_held_is_told_of_until_it_is_dropped() {
    static HELD: Family<Gauge, 1> = Family::new("held_seconds", "Held.", ["stream"], 2);
    let held = HELD.held(["order"]);
    held.set(1.5);
    assert_eq!(lines("held_seconds"), ["held_seconds{stream=\"order\"} 1.5"]);
    drop(held);
    assert!(!text().contains("held_seconds"), "{}", text());
    HELD.with(["user"]).set_bool(true);
    assert_eq!(lines("held_seconds"), ["held_seconds{stream=\"user\"} 1.0"]);
}

#[test]
fn what_is_measured_is_asked_for_each_time_and_may_be_away() {
    static MEASURED: Family<MeasuredGauge, 1> = Family::new("measured", "Measured.", ["pool"], 2);
    static SPENT: Family<MeasuredCounter, 0> = Family::new("spent_seconds_total", "Spent.", [], 1);
    let value = Arc::new(Mutex::new(Some(2.0)));
    let measure = {
        let value = Arc::clone(&value);
        move || *value.lock().unwrap()
    };
    MEASURED.measure(["a"], measure.clone());
    SPENT.measure([], measure);
    assert_eq!(lines("measured"), ["measured{pool=\"a\"} 2.0"]);
    assert_eq!(lines("spent"), ["spent_seconds_total 2.0"]);
    *value.lock().unwrap() = None;
    assert!(!text().contains("measured") && !text().contains("spent"), "{}", text());
    MEASURED.measure(["a"], || Some(3.0));
    assert_eq!(lines("measured"), ["measured{pool=\"a\"} 3.0"], "the last one measures");
}

#[test]
fn labels_are_escaped() {
    static ESCAPED: Family<Counter, 1> = Family::new("escaped_total", "Escaped.", ["text"], 2);
    ESCAPED.with(["a\"b\\c\nd"]).increment();
    assert_eq!(lines("escaped_total"), [r#"escaped_total{text="a\"b\\c\nd"} 1"#]);
}

#[test]
#[should_panic(expected = "two families of metrics are called twice_total")]
fn a_name_belongs_to_one_family() {
    static ONE: Family<Counter, 0> = Family::new("twice_total", "One.", [], 1);
    static TWO: Family<Counter, 0> = Family::new("twice_total", "Two.", [], 1);
    let _one = ONE.with([]);
    let _two = TWO.with([]);
}
