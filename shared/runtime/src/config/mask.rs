//! Showing a configuration without its secrets.

use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::Value;

const MASK: &str = "***";

/// `#[serde(serialize_with = "secret")]`: shows `***` in place of a secret.
///
/// # Errors
/// Only the serializer's own.
pub fn secret<T, S: Serializer>(_: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(MASK)
}

/// `#[serde(serialize_with = "human")]`: a duration as people write it.
///
/// # Errors
/// Only the serializer's own.
pub fn human<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*duration))
}

/// The effective configuration as JSON, for the first log line. Passwords in URLs are masked, and so is every field
/// whose name has `token`, `secret` or `password` in it, even when it does not ask for that.
pub fn masked(config: &impl Serialize) -> String {
    let mut value = serde_json::to_value(config).unwrap_or_else(|error| Value::String(error.to_string()));
    mask("", &mut value);
    value.to_string()
}

fn mask(key: &str, value: &mut Value) {
    match value {
        Value::Object(fields) => fields.iter_mut().for_each(|(key, value)| mask(key, value)),
        Value::Array(items) => items.iter_mut().for_each(|item| mask(key, item)),
        Value::String(text) => {
            *text = if is_secret(key) { MASK.to_owned() } else { redact_url(text) };
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["token", "secret", "password", "pepper"].iter().any(|word| key.contains(word))
}

/// Masks the passwords of all URLs in a text: `redis://user:***@host/0`. Query parameters that hold a password are
/// masked too.
#[must_use]
pub fn redact_url(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        // A password may hold an @ that nobody escaped, so the last one counts.
        let end = after.find(|c: char| c.is_whitespace() || "/?#\"'`".contains(c)).unwrap_or(after.len());
        let (authority, tail) = after.split_at(end);
        match authority.rsplit_once('@') {
            Some((user, host)) => {
                out.push_str(user.split(':').next().unwrap_or_default());
                if user.contains(':') {
                    out.push(':');
                    out.push_str(MASK);
                }
                out.push('@');
                out.push_str(host);
            }
            None => out.push_str(authority),
        }
        rest = tail;
    }
    out.push_str(rest);
    match out.split_once("password=") {
        Some((before, after)) => {
            let end = after.find(|c: char| c.is_whitespace() || c == '&').unwrap_or(after.len());
            format!("{before}password={MASK}{}", &after[end..])
        }
        None => out,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_masked_and_nothing_else() {
        for (text, expected) in [
            (
                "postgres://app:s3cret@db:5432/orders?sslmode=require",
                "postgres://app:***@db:5432/orders?sslmode=require",
            ),
            ("redis://:s3cret@cache/0", "redis://:***@cache/0"),
            ("mongodb://a:p@ss@h1:1,h2:2/db?replicaSet=rs", "mongodb://a:***@h1:1,h2:2/db?replicaSet=rs"),
            ("http://localhost:50053", "http://localhost:50053"),
            ("postgres:///db?password=s3cret&host=/run", "postgres:///db?password=***&host=/run"),
            ("no url at all", "no url at all"),
            (
                "cannot connect to redis://u:p@h and redis://u:q@i",
                "cannot connect to redis://u:***@h and redis://u:***@i",
            ),
        ] {
            assert_eq!(redact_url(text), expected);
        }
    }

    #[test]
    fn secrets_are_masked_even_when_their_field_forgot_to() {
        #[derive(Serialize)]
        struct Section {
            api_token: &'static str,
            postgres_url: &'static str,
            #[serde(serialize_with = "human")]
            wait: Duration,
        }
        let config = [Section {
            api_token: "s3cret",
            postgres_url: "postgres://a:s3cret@h/d",
            wait: Duration::from_millis(1500),
        }];
        assert_eq!(
            masked(&config),
            r#"[{"api_token":"***","postgres_url":"postgres://a:***@h/d","wait":"1s 500ms"}]"#
        );
    }
}
