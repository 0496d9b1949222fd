//! The whole system on this machine: four databases and three services that know each other.

use std::sync::Arc;

use anyhow::{Context, Result};

use crate::databases::{DatabaseOptions, Databases};
use crate::ports::Port;
use crate::proxy::{Edge, Edges, Proxy};
use crate::service::Service;
use crate::services::{ADMIN_ABOVE, DatabaseUrls, ServiceName, ServiceOptions};
use crate::state::State;

/// The three services of one system.
#[derive(Debug)]
pub struct Services {
    /// Users, posts and wallets.
    pub user: Service,
    /// Products, orders and accounts.
    pub order: Service,
    /// Sessions.
    pub session: Service,
}

impl Services {
    /// Migrates each service's database, starts all three services, and waits until they serve. Their binaries must
    /// have been built by [`crate::Profile::build`].
    ///
    /// # Errors
    /// When one cannot be migrated or started. Those that were started are ended again.
    pub async fn start(state: &State, urls: &DatabaseUrls, options: &ServiceOptions) -> Result<Self> {
        let mut services = Self::prepare(state, urls, options)?;
        let as_migrate = [("MONGODB_URL", &*urls.mongodb_migrate)];
        let (session, user, order) = tokio::join!(
            services.session.command(&["migrate"], ""),
            services.user.command_with(&["migrate"], "", &as_migrate),
            services.order.command(&["migrate"], ""),
        );
        session.and(user).and(order)?;
        for service in [&mut services.session, &mut services.user, &mut services.order] {
            service.start()?;
        }
        tokio::try_join!(services.session.serving(), services.user.serving(), services.order.serving())?;
        Ok(services)
    }

    fn prepare(state: &State, urls: &DatabaseUrls, options: &ServiceOptions) -> Result<Self> {
        let ports = (options.user.choose()?, options.order.choose()?, options.session.choose()?);
        let tokens = ServiceName::ALL
            .iter()
            .map(|name| Ok(format!("{name}={}", state.secret(&format!("{name}.token"))?)))
            .collect::<Result<Vec<_>>>()?
            .join(",");
        let service = |name: ServiceName, port: u16, own: &[(&str, &str)]| -> Result<Service> {
            let admin = if options.well_known_admin { port + ADMIN_ABOVE } else { Port::Free.choose()? };
            let token = state.secret(&format!("{name}.token"))?;
            let (user, order, session) = ports;
            let mut env = vec![
                ("LISTEN", format!("127.0.0.1:{port}")),
                ("USER_URL", format!("http://127.0.0.1:{user}")),
                ("ORDER_URL", format!("http://127.0.0.1:{order}")),
                ("SESSION_URL", format!("http://127.0.0.1:{session}")),
                ("REDIS_CACHE_URL", urls.redis_cache.clone()),
                ("REDIS_EVENTS_URL", urls.redis_events.clone()),
                ("SERVICE_TOKEN", token),
                ("SERVICE_TOKENS", tokens.clone()),
            ];
            // Else it is the default, which goes with LISTEN: whoever starts a second process with this environment
            // and another LISTEN has another admin port, too.
            if !options.well_known_admin {
                env.push(("ADMIN_LISTEN", format!("127.0.0.1:{admin}")));
            }
            env.extend(own.iter().map(|&(name, value)| (name, value.to_owned())));
            env.extend(options.threads.map(|threads| ("THREADS", threads.to_string())));
            let mut env: Vec<(String, String)> =
                env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            let more = options.env.iter().filter(|(whose, ..)| *whose == name);
            env.extend(more.map(|(_, name, value)| (name.clone(), value.clone())));
            Service::new(name, [port, admin], env, state, options)
        };
        Ok(Self {
            user: service(ServiceName::User, ports.0, &[("MONGODB_URL", &urls.mongodb)])?,
            order: service(ServiceName::Order, ports.1, &[("POSTGRES_URL", &urls.postgres)])?,
            session: service(ServiceName::Session, ports.2, &[("REDIS_SESSION_URL", &urls.redis_session)])?,
        })
    }

    /// One of them by name.
    #[must_use]
    pub fn get(&self, name: ServiceName) -> &Service {
        match name {
            ServiceName::User => &self.user,
            ServiceName::Order => &self.order,
            ServiceName::Session => &self.session,
        }
    }

    /// Makes the first admin and returns the id. Changes nothing when that user is an admin already.
    ///
    /// # Errors
    /// When user service refuses.
    pub async fn bootstrap_admin(&self, email: &str, name: &str, password: &str) -> Result<String> {
        let args = ["bootstrap-admin", "--email", email, "--display-name", name, "--password-stdin"];
        self.user.command(&args, password).await
    }

    /// Stops all three in order, each even when another had to be killed.
    ///
    /// # Errors
    /// When one had to be killed.
    pub async fn stop(&self) -> Result<()> {
        let (user, order, session) = tokio::join!(self.user.stop(), self.order.stop(), self.session.stop());
        user.and(order).and(session)
    }
}

/// Databases and services of one system.
#[derive(Debug)]
pub struct Stack {
    /// The services. They stand before the databases so that they are dropped first when a test panics.
    pub services: Services,
    /// Their databases.
    pub databases: Databases,
    edges: Option<Edges>,
}

impl Stack {
    /// Starts everything in `state`. The services' binaries must have been built by [`crate::Profile::build`].
    ///
    /// # Errors
    /// When something does not start. Everything that was started is ended again.
    pub async fn start(
        state: Arc<State>,
        databases: DatabaseOptions,
        services: &ServiceOptions,
    ) -> Result<Self> {
        // On the heap: whoever starts a system would carry the clients of databases and services along.
        let databases = Box::pin(Databases::start(Arc::clone(&state), databases)).await?;
        let urls = databases.urls_for_services().await?;
        let mut services = services.clone();
        let edges = if services.edges { Some(Edges::start(&urls, &mut services).await?) } else { None };
        let services =
            Box::pin(Services::start(&state, &urls, &services)).await.context("starting the services")?;
        Ok(Self { services, databases, edges })
    }

    /// The proxies on its edges.
    ///
    /// # Panics
    /// When it was started without: [`ServiceOptions::edges`].
    #[must_use]
    pub fn edges(&self) -> &Edges {
        self.edges.as_ref().expect("a stack is started with edges when they are asked for")
    }

    /// The proxy on one of its edges.
    ///
    /// # Panics
    /// As [`Stack::edges`].
    #[must_use]
    pub fn edge(&self, edge: Edge) -> &Proxy {
        self.edges().get(edge)
    }

    /// Stops everything in order.
    ///
    /// # Errors
    /// When something had to be killed.
    pub async fn stop(&self) -> Result<()> {
        let services = self.services.stop().await;
        services.and(self.databases.stop().await)
    }
}
