//! Addresses of peers and databases, checked at the start: what cannot be meant is refused there, by the name of its
//! setting, and not found out by every call.
//!
//! The errors never quote the address, since a mistake in it may have moved its password anywhere.

use std::net::Ipv6Addr;

use secrecy::{ExposeSecret as _, SecretString};

use super::parse::{ParsedSecret, secret_value};

const ENCODED: &str = "the characters @ / ? # of a password are written %40 %2F %3F %23";
/// The schemes of Sentinels, which tell where a Redis is.
const SENTINELS: [&str; 2] = ["redis-sentinel", "rediss-sentinel"];
const NO_DATABASE: &str = "names no database";

/// The address of a peer: `http://host:port`, or `https://host:port` for TLS, white space around it and a slash at its end
/// left out.
///
/// # Errors
/// When it is anything else.
pub fn peer_url(text: &str) -> Result<String, String> {
    let wrong = |what: &str| format!("{what}; write http://host:port, or https://host:port for TLS");
    host_and_port(text).map_err(|what| wrong(&what))
}

fn host_and_port(text: &str) -> Result<String, String> {
    let text = text.trim();
    let url = Url::split(text)?;
    if !["http", "https"].iter().any(|scheme| url.scheme.eq_ignore_ascii_case(scheme)) {
        return Err("the scheme is not http".to_owned());
    }
    if url.user_info.is_some() {
        return Err(
            "has a user name or a password; services show SERVICE_TOKEN or a certificate instead".to_owned()
        );
    }
    let [host] = &url.hosts()?[..] else { return Err("has more than one host".to_owned()) };
    if host.port.is_none() {
        return Err("has no port".to_owned());
    }
    if !["", "/"].contains(&url.path) || url.query.is_some() {
        return Err("has a path or a query, which no call would use".to_owned());
    }
    let url = text.trim_end_matches('/');
    url.parse::<http::Uri>().map_err(|error| error.to_string())?;
    Ok(url.to_owned())
}

/// The address of an OTLP collector that speaks gRPC; empty for none. Without a scheme the exporter decides, by the usual
/// variables of OpenTelemetry, whether it wants TLS.
///
/// # Errors
/// When it has a scheme, and is not `http://host:port`. TLS is not built into the exporter.
pub(super) fn collector_url(text: &str) -> Result<String, String> {
    let text = text.trim();
    if !text.contains("://") {
        return Ok(text.to_owned());
    }
    let wrong = |what: &str| format!("{what}; write http://host:port");
    let url = host_and_port(text).map_err(|what| wrong(&what))?;
    match url.split_once("://") {
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => Err(wrong(
            "TLS to a collector is not built in: leave it to a collector beside this service, and name its plain address",
        )),
        _ => Ok(url),
    }
}

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

/// The address of a PostgreSQL database, as [`secret_value`] reads it.
///
/// # Errors
/// When it is not `postgres://user:password@host:port/database`, of one host or of the socket in `?host=`.
pub fn postgres_url(text: &str) -> ParsedSecret {
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

/// The address of a MongoDB database, as [`secret_value`] reads it.
///
/// # Errors
/// When it is not `mongodb://user:password@host:port,.../database?options`, or `mongodb+srv://` with one name without
/// a port.
pub fn mongodb_url(text: &str) -> ParsedSecret {
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

/// The address of a Redis server, as [`secret_value`] reads it.
///
/// # Errors
/// When it is not `redis://user:password@host:port/number`, or `rediss://` for TLS, nor the addresses of Sentinels in
/// `redis-sentinel://user:password@host:port,host:port/number?master=name`, or `rediss-sentinel://`. Valkey's own schemes and
/// those of a server behind a socket of this machine are left to the driver.
pub fn redis_url(text: &str) -> ParsedSecret {
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

fn database(
    text: &str,
    rule: &str,
    check: impl FnOnce(&Url<'_>) -> Result<(), &'static str>,
) -> ParsedSecret {
    let secret: SecretString = secret_value(text)?;
    let checked = Url::split(secret.expose_secret()).and_then(|url| check(&url));
    checked.map_err(|what| format!("{what}; {rule} ({ENCODED})"))?;
    Ok(secret)
}

/// The parts of an address.
struct Url<'a> {
    scheme: &'a str,
    user_info: Option<&'a str>,
    hosts: &'a str,
    /// With its slash.
    path: &'a str,
    query: Option<&'a str>,
}

/// One of an address's hosts.
struct Host {
    port: Option<u16>,
}

impl<'a> Url<'a> {
    fn split(text: &'a str) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("is empty");
        }
        if text.starts_with(['"', '\'']) {
            return Err("has quotation marks around it");
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err("has white space or a control character in it");
        }
        let (scheme, rest) = text.split_once("://").ok_or("has no scheme")?;
        if scheme.is_empty() || scheme.contains(['@', '/', '?', '#']) {
            return Err("has no scheme");
        }
        if rest.contains('#') {
            return Err("has a #");
        }
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query)),
            None => (rest, None),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (user_info, hosts) = match authority.rsplit_once('@') {
            Some((user_info, hosts)) => (Some(user_info), hosts),
            None => (None, authority),
        };
        Ok(Self { scheme, user_info, hosts, path, query })
    }

    fn has_scheme(&self, schemes: &[&str]) -> Result<(), &'static str> {
        let is_one = schemes.iter().any(|scheme| self.scheme.eq_ignore_ascii_case(scheme));
        if is_one { Ok(()) } else { Err("has the scheme of something else") }
    }

    fn hosts(&self) -> Result<Vec<Host>, &'static str> {
        self.hosts.split(',').map(Host::parse).collect()
    }

    /// The database that the path names.
    fn database(&self) -> Result<Option<&'a str>, &'static str> {
        match self.path.trim_start_matches('/') {
            "" => Ok(None),
            name if name.contains('/') => Err("names more than a database in its path"),
            name => Ok(Some(name)),
        }
    }
}

impl Host {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let (name, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, _)) if address.parse::<Ipv6Addr>().is_err() => {
                return Err("has no IPv6 address in its brackets");
            }
            Some((address, "")) => (address, None),
            Some((address, rest)) => (address, Some(rest.strip_prefix(':').unwrap_or_default())),
            None => match text.rsplit_once(':') {
                Some((name, _)) if name.contains(':') => {
                    return Err("has more than one colon in its host; an IPv6 address stands in brackets");
                }
                Some((name, port)) => (name, Some(port)),
                None => (text, None),
            },
        };
        if name.is_empty() {
            return Err("has no host");
        }
        let port = match port.map(str::parse) {
            None => None,
            Some(Ok(port)) if port > 0 => Some(port),
            Some(Ok(_) | Err(_)) => return Err("has a port that is not a number from 1 to 65535"),
        };
        Ok(Self { port })
    }
}

#[cfg(test)]
mod tests;
