//! Addresses, checked at the start: what cannot be meant is refused there, by the name of its setting, and not found out by
//! every call.
//!
//! The errors never quote the address, since a mistake in it may have moved a password anywhere.

use std::net::Ipv6Addr;

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

/// Options by which a driver takes a login, too.
const OPTIONS_OF_LOGIN: [&str; 4] = ["user", "password", "sentinelUser", "sentinelPassword"];

/// The parts of an address.
pub(super) struct Url<'a> {
    pub(super) scheme: &'a str,
    pub(super) user_info: Option<&'a str>,
    pub(super) hosts: &'a str,
    /// With its slash.
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
}

/// One of an address's hosts.
pub(super) struct Host {
    pub(super) port: Option<u16>,
}

impl<'a> Url<'a> {
    pub(super) fn split(text: &'a str) -> Result<Self, &'static str> {
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

    pub(super) fn has_scheme(&self, schemes: &[&str]) -> Result<(), &'static str> {
        let is_one = schemes.iter().any(|scheme| self.scheme.eq_ignore_ascii_case(scheme));
        if is_one { Ok(()) } else { Err("has the scheme of something else") }
    }

    pub(super) fn hosts(&self) -> Result<Vec<Host>, &'static str> {
        self.hosts.split(',').map(Host::parse).collect()
    }

    /// The database that the path names.
    pub(super) fn database(&self) -> Result<Option<&'a str>, &'static str> {
        match self.path.trim_start_matches('/') {
            "" => Ok(None),
            name if name.contains('/') => Err("names more than a database in its path"),
            name => Ok(Some(name)),
        }
    }

    /// Where it leads and how, and not as whom.
    pub(super) fn without_login(&self) -> String {
        let options = self.query.unwrap_or_default().split('&');
        let is_of_login = |option: &&str| {
            let name = option.split('=').next().unwrap_or_default();
            OPTIONS_OF_LOGIN.iter().any(|of_login| name.eq_ignore_ascii_case(of_login))
        };
        let options: Vec<&str> =
            options.filter(|option| !option.is_empty() && !is_of_login(option)).collect();
        let mark = if options.is_empty() { "" } else { "?" };
        format!("{}://{}{}{mark}{}", self.scheme, self.hosts, self.path, options.join("&"))
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
