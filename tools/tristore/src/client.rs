//! Connections to the three services as an admin.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use api::doctor::v1::doctor_service_client::DoctorServiceClient;
use api::event::v1::event_admin_service_client::EventAdminServiceClient;
use api::event::v1::event_service_client::EventServiceClient;
use api::order::v1::account_service_client::AccountServiceClient;
use api::order::v1::audit_service_client::AuditServiceClient;
use api::order::v1::order_service_server;
use api::order::v1::transfer_service_client::TransferServiceClient;
use api::session::v1::session_service_server;
use api::user::v1::user_service_server;
use api::user::v1::wallet_service_client::WalletServiceClient;
use runtime::client::{AnyServer, Channel, Peer};
use runtime::config::TlsConfig;
use runtime::tls::Tls;
use secrecy::{ExposeSecret as _, SecretString};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Status};

const DEADLINE: Duration = Duration::from_secs(10);

/// The services' addresses, and the admin's token.
#[derive(Debug, clap::Args)]
pub(crate) struct Endpoints {
    /// User service.
    #[arg(long, env = "USER_URL", default_value = "http://localhost:50051", global = true)]
    user_url: String,
    /// Order service.
    #[arg(long, env = "ORDER_URL", default_value = "http://localhost:50052", global = true)]
    order_url: String,
    /// Session service.
    #[arg(long, env = "SESSION_URL", default_value = "http://localhost:50053", global = true)]
    session_url: String,
    /// An admin's access token.
    #[arg(long, env = "TRISTORE_TOKEN", hide_env_values = true, default_value = "", global = true)]
    token: SecretString,
    /// TLS to services at https://; a certificate of the operator's own is shown to them, if there is one.
    #[command(flatten)]
    tls: TlsConfig,
}

/// One of the services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    User,
    Order,
    Session,
}

impl Service {
    pub(crate) const ALL: [Self; 3] = [Self::User, Self::Order, Self::Session];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::User => "user-service",
            Self::Order => "order-service",
            Self::Session => "session-service",
        }
    }

    /// The streams that it produces.
    pub(crate) fn streams(self) -> Vec<String> {
        match self {
            Self::User => vec!["user".to_owned()],
            Self::Order => vec!["order".to_owned()],
            Self::Session => (0..16).map(|partition| format!("session-{partition:02}")).collect(),
        }
    }

    /// The variable with its address.
    pub(crate) fn setting(self) -> &'static str {
        match self {
            Self::User => "USER_URL",
            Self::Order => "ORDER_URL",
            Self::Session => "SESSION_URL",
        }
    }

    /// The service that a consumer belongs to: the first part of its name.
    pub(crate) fn of_consumer(consumer: &str) -> Result<Self> {
        let owner = consumer.split('.').next().unwrap_or_default();
        match owner {
            "user" => Ok(Self::User),
            "order" => Ok(Self::Order),
            "session" => Ok(Self::Session),
            _ => bail!("{consumer} is no consumer: its name begins with user., order. or session."),
        }
    }
}

type Authorized = InterceptedService<Channel, Identity>;

/// Clients of the services.
#[derive(Debug)]
pub(crate) struct Client {
    user: Channel,
    order: Channel,
    session: Channel,
    identity: Identity,
}

impl Client {
    pub(crate) fn new(endpoints: Endpoints) -> Result<Self> {
        let Endpoints { user_url, order_url, session_url, token, tls } = endpoints;
        let tls = Tls::load(&tls)?;
        let channel = |flag, service, url: &str| -> Result<Channel> {
            Ok(Peer::new(flag, service, url, None, &tls)?.anonymous())
        };
        if token.expose_secret().is_empty() {
            bail!(
                "set TRISTORE_TOKEN to an admin's access token (session.v1.SessionService/Login gives one)"
            );
        }
        let mut header: MetadataValue<Ascii> = format!("Bearer {}", token.expose_secret())
            .parse()
            .context("the token cannot stand in a header")?;
        header.set_sensitive(true);
        Ok(Self {
            user: channel("--user-url", user_service_server::SERVICE_NAME, &user_url)?,
            order: channel("--order-url", order_service_server::SERVICE_NAME, &order_url)?,
            session: channel("--session-url", session_service_server::SERVICE_NAME, &session_url)?,
            identity: Identity { authorization: header, deadline: Some(DEADLINE) },
        })
    }

    fn channel(&self, service: Service) -> Channel {
        match service {
            Service::User => self.user.clone(),
            Service::Order => self.order.clone(),
            Service::Session => self.session.clone(),
        }
    }

    pub(crate) fn events(&self, service: Service) -> EventServiceClient<Authorized> {
        EventServiceClient::new(InterceptedService::new(self.channel(service), self.identity.clone()))
    }

    pub(crate) fn event_admin(&self, service: Service) -> EventAdminServiceClient<Authorized> {
        EventAdminServiceClient::new(InterceptedService::new(self.channel(service), self.identity.clone()))
    }

    pub(crate) fn doctor(&self, service: Service) -> DoctorServiceClient<Authorized> {
        DoctorServiceClient::new(InterceptedService::new(self.channel(service), self.identity.clone()))
    }

    pub(crate) fn transfers(&self) -> TransferServiceClient<Authorized> {
        TransferServiceClient::new(InterceptedService::new(self.order.clone(), self.identity.clone()))
    }

    pub(crate) fn accounts(&self) -> AccountServiceClient<Authorized> {
        AccountServiceClient::new(InterceptedService::new(self.order.clone(), self.identity.clone()))
    }

    /// Audits have no deadline, since a full one takes longer the larger the books are.
    pub(crate) fn audits(&self) -> AuditServiceClient<Authorized> {
        let identity = Identity { deadline: None, ..self.identity.clone() };
        AuditServiceClient::new(InterceptedService::new(self.order.clone(), identity))
    }

    pub(crate) fn wallets(&self) -> WalletServiceClient<Authorized> {
        WalletServiceClient::new(InterceptedService::new(self.user.clone(), self.identity.clone()))
    }
}

/// Adds the token and the deadline to each call.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    authorization: MetadataValue<Ascii>,
    deadline: Option<Duration>,
}

impl Interceptor for Identity {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(deadline) = self.deadline {
            request.set_timeout(deadline);
        }
        request.metadata_mut().insert("authorization", self.authorization.clone());
        // An operator asks most of all when a service does not serve, and does not want to wait.
        request.extensions_mut().insert(AnyServer);
        Ok(request)
    }
}
