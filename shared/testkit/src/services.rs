//! Which services there are, and what each needs to be started.

use std::fmt;

use crate::launch::Lifetime;
use crate::ports::Port;
use crate::profile::Profile;

/// One of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceName {
    /// Users, posts and wallets.
    User,
    /// Products, orders and accounts.
    Order,
    /// Sessions.
    Session,
}

impl ServiceName {
    /// All of them, in the order in which they are started.
    pub const ALL: [Self; 3] = [Self::Session, Self::User, Self::Order];

    /// The name of its package, its binary and its service token.
    #[must_use]
    pub const fn binary(self) -> &'static str {
        match self {
            Self::User => "user-service",
            Self::Order => "order-service",
            Self::Session => "session-service",
        }
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.binary())
    }
}

/// The programs of a system: the services, and the operators' command. They are always built together. For another
/// choice of packages Cargo would unify the features of their dependencies differently, and compile those once more.
pub const PROGRAMS: [&str; 4] =
    [ServiceName::User.binary(), ServiceName::Order.binary(), ServiceName::Session.binary(), "tristore"];

/// How far above a service's port its admin port is, unless it is told otherwise.
pub const ADMIN_ABOVE: u16 = 10;

/// The addresses of the databases that the services use.
#[derive(Debug, Clone)]
pub struct DatabaseUrls {
    /// User service's, with the name of the database.
    pub mongodb: String,
    /// The same database for who applies user service's migrations.
    pub mongodb_migrate: String,
    /// The same database for who looks.
    pub mongodb_reader: String,
    /// The same database for who may do everything.
    pub mongodb_admin: String,
    /// Order service's, with the name of the database.
    pub postgres: String,
    /// Session service's.
    pub redis_session: String,
    /// Everybody's.
    pub redis_cache: String,
    /// Everybody's. Channels are shared by all numbered databases, so two sets of services need two servers.
    pub redis_events: String,
}

/// How to start the services.
#[derive(Debug, Clone)]
pub struct ServiceOptions {
    /// Which binaries.
    pub profile: Profile,
    /// What becomes of them when this process dies.
    pub lifetime: Lifetime,
    /// User service's port.
    pub user: Port,
    /// Order service's port.
    pub order: Port,
    /// Session service's port.
    pub session: Port,
    /// Whether the admin port of each service is where it is unless it is told otherwise, ten above its own port. Where the
    /// services have free ports, it is another free one.
    pub well_known_admin: bool,
    /// Threads of each service; their default is one a core.
    pub threads: Option<usize>,
    /// More variables for the environment; the last one of a name wins.
    pub env: Vec<(ServiceName, String, String)>,
    /// A proxy on every edge: [`crate::Stack::edge`].
    pub edges: bool,
}

impl Default for ServiceOptions {
    /// For tests: built as the test is, free ports, one thread each, and gone when the test process is.
    fn default() -> Self {
        Self {
            profile: Profile::own(),
            lifetime: Lifetime::WithParent,
            user: Port::Free,
            order: Port::Free,
            session: Port::Free,
            well_known_admin: false,
            threads: Some(1),
            env: Vec::new(),
            edges: false,
        }
    }
}
