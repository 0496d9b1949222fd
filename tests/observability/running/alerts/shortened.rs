//! `rules.yml` with every span of time shortened by one factor, so that what takes minutes takes seconds.

use anyhow::{Context as _, Result};
use serde_json::Value;

/// By how much.
pub(super) const FACTOR: u64 = 12;
/// No alert is on a count that is as high as the shortest of the ages, in seconds.
const SHORTEST_AGE: u64 = 30;

/// The text of the rules. JSON is YAML too.
pub(super) fn shortened(rules: &str) -> Result<String> {
    let mut rules: Value = serde_saphyr::from_str(rules).context("rules.yml is YAML")?;
    for group in rules["groups"].as_array_mut().context("groups")? {
        for rule in group["rules"].as_array_mut().context("rules")? {
            for name in ["for", "keep_firing_for"] {
                if let Some(long) = rule[name].as_str() {
                    rule[name] = short(long).with_context(|| format!("{name}: {long}"))?.into();
                }
            }
            let expression = rule["expr"].as_str().context("a query")?;
            let mut expression = ranges(expression);
            // What is recorded is compared with nothing.
            if rule["alert"].is_string() {
                expression = ages(&expression);
            }
            rule["expr"] = expression.into();
        }
    }
    Ok(rules.to_string())
}

/// `5m` as `25000ms`; `None` for what is no span of time.
fn short(span: &str) -> Option<String> {
    let (number, unit) = span.split_at_checked(span.len().checked_sub(1)?)?;
    let unit = match unit {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    Some(format!("{}ms", number.parse::<u64>().ok()? * unit / FACTOR))
}

/// What is in `[5m]`.
fn ranges(expression: &str) -> String {
    let mut parts = expression.split('[');
    let mut result = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (inner, rest) = part.split_once(']').unwrap_or((part, ""));
        // `[.]` is a part of a pattern.
        let inner = short(inner).unwrap_or_else(|| inner.to_owned());
        result.push_str(&format!("[{inner}]{rest}"));
    }
    result
}

/// The limits of ages, as in `> 30`.
fn ages(expression: &str) -> String {
    let mut parts = expression.split("> ");
    let mut result = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(part.len());
        let (limit, rest) = part.split_at(digits);
        result.push_str("> ");
        match limit.parse::<u64>() {
            Ok(seconds) if seconds >= SHORTEST_AGE => {
                result.push_str(&format!("{:?}", seconds as f64 / FACTOR as f64));
            }
            _ => result.push_str(limit),
        }
        result.push_str(rest);
    }
    result
}

#[test]
fn spans_and_ages_are_shortened_and_nothing_else() {
    let rules = r#"groups: [{name: g, rules: [
        {alert: A, for: 1m, expr: 'rate(x{a!~"b[.].*"}[5m]) > 14.4 * 0.001 and age > 30 or y > 0'},
        {record: r, expr: 'rate(x[1h]) > 60'}]}]"#;
    let short: Value = serde_json::from_str(&shortened(rules).unwrap()).unwrap();
    let rules = &short["groups"][0]["rules"];
    assert_eq!(rules[0]["for"], "5000ms");
    assert_eq!(rules[0]["expr"], r#"rate(x{a!~"b[.].*"}[25000ms]) > 14.4 * 0.001 and age > 2.5 or y > 0"#);
    assert_eq!(rules[1]["expr"], "rate(x[300000ms]) > 60");
}
