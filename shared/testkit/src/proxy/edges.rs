//! Every edge of a system, each with a proxy of its own.

use std::net::SocketAddr;

use anyhow::{Context, Result};

use super::{Protocol, Proxy};
use crate::client::Api;
use crate::ports::Port;
use crate::services::{DatabaseUrls, ServiceName, ServiceOptions};

/// Which two parties a connection joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// A service with its own database.
    Database(ServiceName),
    /// A service with the Redis for events and cache.
    Events(ServiceName),
    /// A service with another, whom it calls.
    Peer {
        /// Calls.
        from: ServiceName,
        /// Answers.
        to: ServiceName,
    },
    /// Clients with a service.
    Client(ServiceName),
}

/// The proxies of a whole system. At first none has a fault.
#[derive(Debug)]
pub struct Edges {
    proxies: Vec<(Edge, Proxy)>,
}

impl Edges {
    /// Puts a proxy on every edge. The services' ports are chosen now, and their environment will name the proxies
    /// instead of the servers.
    pub(crate) async fn start(urls: &DatabaseUrls, services: &mut ServiceOptions) -> Result<Self> {
        let mut edges = Self { proxies: Vec::new() };
        let own = [
            (ServiceName::User, "MONGODB_URL", &urls.mongodb, Protocol::Mongo),
            (ServiceName::Order, "POSTGRES_URL", &urls.postgres, Protocol::Postgres),
            (ServiceName::Session, "REDIS_SESSION_URL", &urls.redis_session, Protocol::Redis),
        ];
        for (service, name, url, protocol) in own {
            edges.put(Edge::Database(service), protocol, url, &[name], services).await?;
        }
        for service in ServiceName::ALL {
            let names = ["REDIS_CACHE_URL", "REDIS_EVENTS_URL"];
            edges.put(Edge::Events(service), Protocol::Opaque, &urls.redis_events, &names, services).await?;
        }
        for to in ServiceName::ALL {
            let (port, name) = match to {
                ServiceName::User => (&mut services.user, "USER_URL"),
                ServiceName::Order => (&mut services.order, "ORDER_URL"),
                ServiceName::Session => (&mut services.session, "SESSION_URL"),
            };
            let chosen = port.choose()?;
            *port = Port::Fixed(chosen);
            let url = format!("http://127.0.0.1:{chosen}");
            for from in ServiceName::ALL.into_iter().filter(|from| *from != to) {
                edges.put(Edge::Peer { from, to }, Protocol::Grpc, &url, &[name], services).await?;
            }
            edges.put(Edge::Client(to), Protocol::Grpc, &url, &[], services).await?;
        }
        Ok(edges)
    }

    async fn put(
        &mut self,
        edge: Edge,
        protocol: Protocol,
        url: &str,
        names: &[&str],
        services: &mut ServiceOptions,
    ) -> Result<()> {
        let (place, server) = place(url)?;
        let proxy = Proxy::start(server, protocol).await?;
        let url = url.replacen(place, &format!("127.0.0.1:{}", proxy.port()), 1);
        if let Edge::Database(service) | Edge::Events(service) | Edge::Peer { from: service, .. } = edge {
            services.env.extend(names.iter().map(|&name| (service, name.to_owned(), url.clone())));
        }
        self.proxies.push((edge, proxy));
        Ok(())
    }

    /// The proxy of an edge.
    ///
    /// # Panics
    /// When there is no such edge: a service does not call itself.
    #[must_use]
    pub fn get(&self, edge: Edge) -> &Proxy {
        let found = self.proxies.iter().find(|(known, _)| *known == edge);
        &found.unwrap_or_else(|| panic!("there is no edge {edge:?}")).1
    }

    /// Heals every edge.
    pub fn heal(&self) {
        self.proxies.iter().for_each(|(_, proxy)| proxy.heal());
    }

    /// Fails if a proxy did not understand what was said.
    ///
    /// # Errors
    /// With what was not understood.
    pub fn understood(&self) -> Result<()> {
        self.proxies
            .iter()
            .try_for_each(|(edge, proxy)| proxy.understood().with_context(|| format!("{edge:?}")))
    }

    /// New connections to the services over their clients' edges.
    ///
    /// # Errors
    /// When one of them is not a URL.
    pub fn api(&self) -> Result<Api> {
        let url = |service| format!("http://127.0.0.1:{}", self.get(Edge::Client(service)).port());
        Api::new(&url(ServiceName::User), &url(ServiceName::Order), &url(ServiceName::Session))
    }
}

/// The host and port of a URL, as text and as an address.
fn place(url: &str) -> Result<(&str, SocketAddr)> {
    let rest = url.split_once("://").context("a URL has a scheme")?.1;
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    Ok((place, place.parse().context("a URL with one server, by address and port")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_of_a_url_is_found_behind_names_and_passwords() {
        for url in [
            "postgres://user:p%40ss@127.0.0.1:5432/db?sslmode=disable",
            "mongodb://127.0.0.1:5432/db?directConnection=true",
            "redis://:word@127.0.0.1:5432/0",
            "http://127.0.0.1:5432",
        ] {
            assert_eq!(place(url).unwrap(), ("127.0.0.1:5432", ([127, 0, 0, 1], 5432).into()), "{url}");
        }
        assert!(place("mongodb://127.0.0.1:1,127.0.0.1:2/db").is_err());
    }
}
