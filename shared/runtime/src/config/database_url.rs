//! Addresses of databases, checked at the start. The errors never quote an address, since a mistake in it may have moved
//! its password anywhere.

use secrecy::{ExposeSecret as _, SecretString};
use types::DatabaseUrl;

use super::parse::{is_of_file, secret_value};
use super::url::Url;

const ENCODED: &str = "the characters @ / ? # of a password are written %40 %2F %3F %23";
/// The schemes of Sentinels, which tell where a Redis is.
const SENTINELS: [&str; 2] = ["redis-sentinel", "rediss-sentinel"];
const NO_DATABASE: &str = "names no database";

/// What the parsers here return.
pub type ParsedUrl = Result<DatabaseUrl, String>;

/// Whether nobody between us and a database can read along or be taken for it: TLS that verifies the server's certificate
/// and name, or a socket of this machine. It is an address that the parsers of this file have let pass.
///
/// # Errors
/// When it is not so. Says what to write.
pub(super) fn is_encrypted(text: &str) -> Result<(), String> {
    let url = Url::split(text)?;
    let options: Vec<(&str, &str)> =
        url.query.unwrap_or_default().split('&').filter_map(|option| option.split_once('=')).collect();
    // Of an option that is given twice, the drivers take the last.
    let option = |name: &str| {
        options.iter().rev().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    };
    match url.scheme.to_ascii_lowercase().as_str() {
        "postgres" | "postgresql" => {
            let host = option("host").unwrap_or(url.hosts);
            let is_socket =
                host.starts_with('/') || host.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("%2f"));
            // sqlx has two names for it, of which the last counts.
            let mut modes = options
                .iter()
                .filter(|(key, _)| ["sslmode", "ssl-mode"].iter().any(|name| key.eq_ignore_ascii_case(name)));
            if is_socket || modes.next_back().is_some_and(|(_, mode)| *mode == "verify-full") {
                return Ok(());
            }
            Err("is not encrypted for certain; write sslmode=verify-full&sslrootcert=<path of the authority>"
                .to_owned())
        }
        scheme @ ("mongodb" | "mongodb+srv") => {
            let on = option("tls").or(option("ssl"));
            let is_on = on == Some("true") || (on.is_none() && scheme == "mongodb+srv");
            let is_lax = ["tlsInsecure", "tlsAllowInvalidCertificates", "tlsAllowInvalidHostnames"]
                .iter()
                .any(|name| option(name) == Some("true"));
            if is_on && !is_lax {
                return Ok(());
            }
            Err("is not encrypted for certain; write tls=true&tlsCAFile=<path of the authority>, without tlsInsecure and \
                 tlsAllowInvalid..."
                .to_owned())
        }
        "rediss" | "rediss-sentinel" | "valkeys" | "unix" | "redis+unix" | "valkey+unix" => Ok(()),
        _ => Err("is not encrypted; write rediss:// or rediss-sentinel://".to_owned()),
    }
}

/// The address of a PostgreSQL database, whose login is read again where it is in a file.
///
/// # Errors
/// When it is not `postgres://user:password@host:port/database`, of one host or of the socket in `?host=`.
pub fn postgres_url(text: &str) -> ParsedUrl {
    let rule = "write postgres://user:password@host:port/database";
    database(text, rule, |url| {
        url.has_scheme(&["postgres", "postgresql"])?;
        // Without a host, it is the server behind a socket of this machine.
        if !url.hosts.is_empty() && url.hosts()?.len() > 1 {
            return Err("has more than one host");
        }
        match (url.database()?, url.query) {
            (None, Some(query)) if query.contains("dbname=") => Ok(()),
            (None, _) => Err(NO_DATABASE),
            (Some(_), _) => Ok(()),
        }
    })
}

/// The address of a MongoDB database, whose login is read again where it is in a file.
///
/// # Errors
/// When it is not `mongodb://user:password@host:port,.../database?options`, or `mongodb+srv://` with one name without
/// a port.
pub fn mongodb_url(text: &str) -> ParsedUrl {
    let rule = "write mongodb://user:password@host:port/database?options";
    database(text, rule, |url| {
        url.has_scheme(&["mongodb", "mongodb+srv"])?;
        let hosts = url.hosts()?;
        let is_one_name = matches!(&hosts[..], [host] if host.port.is_none());
        if url.scheme.eq_ignore_ascii_case("mongodb+srv") && !is_one_name {
            return Err("with mongodb+srv there is one host, and no port");
        }
        url.database()?.map(drop).ok_or(NO_DATABASE)
    })
}

/// The address of a Redis server, whose login is read again where it is in a file.
///
/// # Errors
/// When it is not `redis://user:password@host:port/number`, or `rediss://` for TLS, nor the addresses of Sentinels in
/// `redis-sentinel://user:password@host:port,host:port/number?master=name`, or `rediss-sentinel://`. Valkey's own schemes and
/// those of a server behind a socket of this machine are left to the driver.
pub fn redis_url(text: &str) -> ParsedUrl {
    let rule = "write redis://user:password@host:port/number, or for Sentinels \
                redis-sentinel://user:password@host:port,host:port/number?master=name; with rediss for TLS";
    database(text, rule, |url| {
        let is_of_sentinels = url.has_scheme(&SENTINELS).is_ok();
        if !is_of_sentinels {
            url.has_scheme(&["redis", "rediss", "valkey", "valkeys", "unix", "redis+unix", "valkey+unix"])?;
        }
        if url.scheme.to_ascii_lowercase().ends_with("unix") {
            return Ok(());
        }
        let hosts = url.hosts()?;
        if is_of_sentinels {
            let master =
                url.query.unwrap_or_default().split('&').find_map(|option| option.strip_prefix("master="));
            if master.is_none_or(str::is_empty) {
                return Err("names no master, by which its Sentinels know the servers");
            }
        } else if hosts.len() > 1 {
            return Err("has more than one host");
        }
        match url.database()? {
            Some(number) if number.parse::<u16>().is_err() => Err("names a database that is not a number"),
            Some(_) | None => Ok(()),
        }
    })
}

/// Reads an address. One in a file is read again for each new connection, and only its login may be another then: a
/// process that is connected to two databases would leave half of what belongs together in each.
fn database(
    text: &str,
    rule: &'static str,
    check: impl Fn(&Url<'_>) -> Result<(), &'static str> + Send + Sync + 'static,
) -> ParsedUrl {
    let checked = move |text: &str| {
        let secret: SecretString = secret_value(text)?;
        let parts = Url::split(secret.expose_secret()).and_then(|url| {
            check(&url)?;
            Ok(url.without_login())
        });
        let place = parts.map_err(|what| format!("{what}; {rule} ({ENCODED})"))?;
        Ok::<_, String>((secret, place))
    };
    let (first, place) = checked(text)?;
    if !is_of_file(text) {
        return Ok(first.expose_secret().into());
    }
    let (text, expected) = (text.to_owned(), place.clone());
    Ok(DatabaseUrl::renewed(place, first, move || match checked(&text)? {
        (renewed, place) if place == expected => Ok(renewed),
        _ => Err("more than the login is another, which takes a restart".to_owned()),
    }))
}

#[cfg(test)]
mod tests;
