//! The system as its users see it: typed clients of every service, and the steps that every test and the demo begin
//! with (sign up, log in).

use std::time::Duration;

use anyhow::{Context, Result};
use api::auth::v1::Role;
use api::common::v1::Money;
use api::doctor::v1::doctor_service_client::DoctorServiceClient;
use api::event::v1::event_admin_service_client::EventAdminServiceClient;
use api::event::v1::event_service_client::EventServiceClient;
use api::order::v1::account_service_client::AccountServiceClient;
use api::order::v1::audit_service_client::AuditServiceClient;
use api::order::v1::catalog_service_client::CatalogServiceClient;
use api::order::v1::order_service_client::OrderServiceClient;
use api::order::v1::transfer_service_client::TransferServiceClient;
use api::session::v1::LoginRequest;
use api::session::v1::session_service_client::SessionServiceClient;
use api::user::v1::audit_service_client::AuditServiceClient as WalletAuditServiceClient;
use api::user::v1::post_service_client::PostServiceClient;
use api::user::v1::relation_service_client::RelationServiceClient;
use api::user::v1::user_service_client::UserServiceClient;
use api::user::v1::wallet_service_client::WalletServiceClient;
use api::user::v1::{ChangeUserRoleRequest, CreateUserRequest, DeactivateUserRequest, GrantCreditRequest};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};
use uuid::Uuid;

use crate::services::ServiceName;
use crate::stack::Services;

const DEADLINE: Duration = Duration::from_secs(10);
/// A password that every rule accepts.
pub const PASSWORD: &str = "correct horse battery staple";

/// How the services' certificates are checked.
#[derive(Debug, Clone, Copy)]
pub struct Secured<'a> {
    /// The authority's certificate, as PEM.
    pub ca: &'a str,
    /// The names in the certificates of user, order and session service, in this order.
    pub names: [&'a str; 3],
}

/// Connections to the three services.
#[derive(Debug, Clone)]
pub struct Api {
    user: Channel,
    order: Channel,
    session: Channel,
}

fn endpoint(url: &str) -> Result<Endpoint> {
    let endpoint = Endpoint::from_shared(url.to_owned()).with_context(|| format!("{url} is no URL"))?;
    Ok(endpoint.connect_timeout(Duration::from_secs(2)))
}

impl Api {
    /// Clients for services at these URLs. Connects with the first call.
    ///
    /// # Errors
    /// When one of them is not a URL.
    pub fn new(user: &str, order: &str, session: &str) -> Result<Self> {
        let channel = |url: &str| -> Result<Channel> { Ok(endpoint(url)?.connect_lazy()) };
        Ok(Self { user: channel(user)?, order: channel(order)?, session: channel(session)? })
    }

    /// Clients for user, order and session service at these URLs, `https://host:port`, in this order.
    ///
    /// # Errors
    /// When one of them is not a URL, or the authority's certificate is none.
    pub fn secured(urls: [&str; 3], by: &Secured<'_>) -> Result<Self> {
        let channel = |url: &str, name: &str| -> Result<Channel> {
            let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(by.ca)).domain_name(name);
            Ok(endpoint(url)?.tls_config(tls)?.connect_lazy())
        };
        let [user, order, session] = urls;
        let [user_name, order_name, session_name] = by.names;
        Ok(Self {
            user: channel(user, user_name)?,
            order: channel(order, order_name)?,
            session: channel(session, session_name)?,
        })
    }

    /// Clients for started services.
    ///
    /// # Errors
    /// When one of them is not a URL.
    pub fn of(services: &Services) -> Result<Self> {
        let url = |name| services.get(name).url();
        Self::new(&url(ServiceName::User), &url(ServiceName::Order), &url(ServiceName::Session))
    }

    /// Calls without a token.
    #[must_use]
    pub fn anyone(&self) -> Caller {
        Caller { api: self.clone(), identity: Identity { authorization: None, deadline: DEADLINE } }
    }

    /// Calls with a session's access token or a service's token.
    ///
    /// # Errors
    /// When the token cannot be sent in a header.
    pub fn bearer(&self, token: &str) -> Result<Caller> {
        let authorization = Some(format!("Bearer {token}").parse().context("a token")?);
        Ok(Caller { api: self.clone(), identity: Identity { authorization, deadline: DEADLINE } })
    }

    /// The connection to one service, for calls without a generated client.
    #[must_use]
    pub fn channel(&self, service: ServiceName) -> Channel {
        match service {
            ServiceName::User => self.user.clone(),
            ServiceName::Order => self.order.clone(),
            ServiceName::Session => self.session.clone(),
        }
    }

    /// Signs somebody up with a new e-mail address, and logs them in.
    ///
    /// # Errors
    /// When a service refuses.
    pub async fn sign_up(&self, name: &str) -> Result<Person> {
        let email = format!("{}.{}@example.com", name.to_lowercase(), Uuid::new_v4().simple());
        let request = CreateUserRequest {
            request_id: request_id(),
            email: email.clone(),
            display_name: name.to_owned(),
            password: PASSWORD.to_owned(),
        };
        let answer = self.anyone().users().create_user(request).await.context("CreateUser")?;
        let user = answer.into_inner().user.context("CreateUser answers with the user")?;
        let person = self.log_in(&email, PASSWORD).await?;
        Ok(Person { user_id: user.id, ..person })
    }

    /// Logs somebody in.
    ///
    /// # Errors
    /// When session service refuses.
    pub async fn log_in(&self, email: &str, password: &str) -> Result<Person> {
        let request = LoginRequest {
            email: email.to_owned(),
            password: password.to_owned(),
            client_name: "testkit".to_owned(),
        };
        let answer = self.anyone().sessions().login(request).await.context("Login")?.into_inner();
        let session = answer.session.context("Login answers with the session")?;
        Ok(Person {
            user_id: session.user_id,
            email: email.to_owned(),
            session_id: session.id,
            access_token: answer.access_token.clone(),
            refresh_token: answer.refresh_token,
            caller: self.bearer(&answer.access_token)?,
        })
    }
}

/// Somebody who is logged in.
#[derive(Debug, Clone)]
pub struct Person {
    /// The user.
    pub user_id: String,
    /// The address to log in with.
    pub email: String,
    /// The session.
    pub session_id: String,
    /// Its access token.
    pub access_token: String,
    /// Its refresh token.
    pub refresh_token: String,
    /// Calls as this person.
    pub caller: Caller,
}

impl Person {
    /// As an admin: gives somebody a role, and logs them in again, since a change of role ends sessions.
    ///
    /// # Errors
    /// When a service refuses.
    pub async fn make(&self, whom: &Person, role: Role) -> Result<Person> {
        let request = ChangeUserRoleRequest {
            request_id: request_id(),
            user_id: whom.user_id.clone(),
            role: role.into(),
            etag: String::new(),
        };
        self.caller.users().change_user_role(request).await.context("ChangeUserRole")?;
        whom.caller.api.log_in(&whom.email, PASSWORD).await
    }

    /// Deactivates somebody: as an admin, or oneself.
    ///
    /// # Errors
    /// When user service refuses.
    pub async fn deactivate(&self, whom: &Person) -> Result<()> {
        let request = DeactivateUserRequest {
            request_id: request_id(),
            user_id: whom.user_id.clone(),
            etag: String::new(),
        };
        self.caller.users().deactivate_user(request).await.context("DeactivateUser")?;
        Ok(())
    }

    /// As an admin: gives somebody new credit.
    ///
    /// # Errors
    /// When user service refuses.
    pub async fn grant(&self, whom: &Person, amount: Money) -> Result<()> {
        let request = GrantCreditRequest {
            request_id: request_id(),
            user_id: whom.user_id.clone(),
            amount: Some(amount),
        };
        self.caller.wallets().grant_credit(request).await.context("GrantCredit")?;
        Ok(())
    }
}

type Authorized = InterceptedService<Channel, Identity>;

/// Typed clients that call with one identity. Each call has a deadline of ten seconds unless it is changed.
#[derive(Debug, Clone)]
pub struct Caller {
    api: Api,
    identity: Identity,
}

impl Caller {
    /// The same caller with another deadline.
    #[must_use]
    pub fn within(&self, deadline: Duration) -> Self {
        let identity = Identity { deadline, ..self.identity.clone() };
        Self { api: self.api.clone(), identity }
    }

    /// The connections.
    #[must_use]
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// `user.v1.UserService`.
    #[must_use]
    pub fn users(&self) -> UserServiceClient<Authorized> {
        UserServiceClient::with_interceptor(self.api.user.clone(), self.identity.clone())
    }

    /// `user.v1.PostService`.
    #[must_use]
    pub fn posts(&self) -> PostServiceClient<Authorized> {
        PostServiceClient::with_interceptor(self.api.user.clone(), self.identity.clone())
    }

    /// `user.v1.RelationService`.
    #[must_use]
    pub fn relations(&self) -> RelationServiceClient<Authorized> {
        RelationServiceClient::with_interceptor(self.api.user.clone(), self.identity.clone())
    }

    /// `user.v1.WalletService`.
    #[must_use]
    pub fn wallets(&self) -> WalletServiceClient<Authorized> {
        WalletServiceClient::with_interceptor(self.api.user.clone(), self.identity.clone())
    }

    /// `user.v1.AuditService`.
    #[must_use]
    pub fn wallet_audits(&self) -> WalletAuditServiceClient<Authorized> {
        WalletAuditServiceClient::with_interceptor(self.api.user.clone(), self.identity.clone())
    }

    /// `order.v1.CatalogService`.
    #[must_use]
    pub fn catalog(&self) -> CatalogServiceClient<Authorized> {
        CatalogServiceClient::with_interceptor(self.api.order.clone(), self.identity.clone())
    }

    /// `order.v1.OrderService`.
    #[must_use]
    pub fn orders(&self) -> OrderServiceClient<Authorized> {
        OrderServiceClient::with_interceptor(self.api.order.clone(), self.identity.clone())
    }

    /// `order.v1.TransferService`.
    #[must_use]
    pub fn transfers(&self) -> TransferServiceClient<Authorized> {
        TransferServiceClient::with_interceptor(self.api.order.clone(), self.identity.clone())
    }

    /// `order.v1.AccountService`.
    #[must_use]
    pub fn accounts(&self) -> AccountServiceClient<Authorized> {
        AccountServiceClient::with_interceptor(self.api.order.clone(), self.identity.clone())
    }

    /// `order.v1.AuditService`, which audits both books.
    #[must_use]
    pub fn audits(&self) -> AuditServiceClient<Authorized> {
        AuditServiceClient::with_interceptor(self.api.order.clone(), self.identity.clone())
    }

    /// `session.v1.SessionService`.
    #[must_use]
    pub fn sessions(&self) -> SessionServiceClient<Authorized> {
        SessionServiceClient::with_interceptor(self.api.session.clone(), self.identity.clone())
    }

    /// `event.v1.EventService` of a service.
    #[must_use]
    pub fn events(&self, of: ServiceName) -> EventServiceClient<Authorized> {
        EventServiceClient::with_interceptor(self.api.channel(of), self.identity.clone())
    }

    /// `doctor.v1.DoctorService` of a service.
    #[must_use]
    pub fn doctor(&self, of: ServiceName) -> DoctorServiceClient<Authorized> {
        DoctorServiceClient::with_interceptor(self.api.channel(of), self.identity.clone())
    }

    /// `event.v1.EventAdminService` of a service.
    #[must_use]
    pub fn event_admin(&self, of: ServiceName) -> EventAdminServiceClient<Authorized> {
        EventAdminServiceClient::with_interceptor(self.api.channel(of), self.identity.clone())
    }
}

/// Adds the token and the deadline to each call.
#[derive(Debug, Clone)]
pub struct Identity {
    authorization: Option<MetadataValue<Ascii>>,
    deadline: Duration,
}

impl Interceptor for Identity {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.set_timeout(self.deadline);
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        Ok(request)
    }
}

/// A new `request_id`.
#[must_use]
pub fn request_id() -> String {
    Uuid::new_v4().to_string()
}

/// An amount of euro cents.
#[must_use]
pub fn eur(minor_units: i64) -> Money {
    Money { currency_code: "EUR".to_owned(), minor_units }
}
