//! What a URL says of the way to Redis.

use std::fmt;
use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    Client, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo as _, ProtocolVersion,
    RedisConnectionInfo, RedisError, TlsCertificates, TlsMode,
};

/// The option that names the authorities, as MongoDB's URLs have it.
const CA_FILE: &str = "tlsCAFile";
/// The options of an address of Sentinels.
const BEGIN_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";
const MASTER: &str = "master";
const SENTINEL_USER: &str = "sentinelUser";
const SENTINEL_PASSWORD: &str = "sentinelPassword";
/// Where a Sentinel listens unless its address says otherwise.
const SENTINEL_PORT: u16 = 26379;
/// How long the Sentinels are asked for the master before the next try. The driver gives each of them a second to take
/// the connection, and then the master that it named.
const ASKED_FOR: Duration = Duration::from_secs(3);

/// The way to a Redis: to one server, or to the server that is the master at the time, of which Sentinels tell.
#[derive(Clone)]
pub struct Address {
    way: Way,
    login: RedisConnectionInfo,
    tcp: TcpSettings,
}

#[derive(Clone)]
enum Way {
    Server(ConnectionAddr),
    Sentinels(Sentinels),
}

#[derive(Clone)]
struct Sentinels {
    servers: Vec<ConnectionAddr>,
    master: String,
    user: Option<String>,
    password: Option<String>,
    certificates: Option<TlsCertificates>,
}

/// Without logins.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address").field("servers", &self.servers()).finish_non_exhaustive()
    }
}

impl Address {
    /// Of one server, `redis://user:password@host:port/number`, or `rediss://` for TLS, which verifies the server's
    /// certificate and name. With `?tlsCAFile=<path>` the certificate must be of an authority in that PEM file, and without
    /// it of one that the system trusts.
    ///
    /// Of Sentinels, `redis-sentinel://user:password@host:port,host:port/number?master=<name>`, or `rediss-sentinel://`
    /// for TLS to them and to the master. `sentinelUser` and `sentinelPassword` are for a login at the Sentinels, and the
    /// user before the hosts is for Redis.
    ///
    /// # Errors
    /// When it is neither, or the file cannot be used. The error does not show the URL.
    pub fn of(url: &str) -> Result<Self, RedisError> {
        let Some((scheme, rest)) = url.split_once("://") else { return Self::of_server(url) };
        match scheme.to_ascii_lowercase().strip_suffix("-sentinel") {
            Some(scheme @ ("redis" | "rediss")) => Self::of_sentinels(scheme, rest),
            _ => Self::of_server(url),
        }
    }

    fn of_server(url: &str) -> Result<Self, RedisError> {
        let mut info = url.into_connection_info()?;
        if let Some(certificates) = certificates(url)? {
            info = Client::build_with_tls(info, certificates)?.get_connection_info().clone();
        }
        let login = info.redis_settings().clone();
        Ok(Self { way: Way::Server(info.addr().clone()), login, tcp: TcpSettings::default() })
    }

    fn of_sentinels(scheme: &str, rest: &str) -> Result<Self, RedisError> {
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        // As the driver reads the URL of a server, for each host.
        let mut urls = hosts.split(',').map(|host| {
            let has_port = host.rfind(':') > host.rfind(']');
            let port = if has_port { String::new() } else { format!(":{SENTINEL_PORT}") };
            format!("{scheme}://{user}{}{host}{port}{path}", if user.is_empty() { "" } else { "@" })
        });
        let first = urls.next().unwrap_or_default();
        let option = |name: &str| option(&first, name);
        let invalid = |what: &'static str| RedisError::from((ErrorKind::InvalidClientConfig, what));
        let sentinels = Sentinels {
            master: option(MASTER).ok_or_else(|| invalid("the address of Sentinels has no master="))?,
            user: option(SENTINEL_USER),
            password: option(SENTINEL_PASSWORD),
            certificates: certificates(&first)?,
            servers: Vec::new(),
        };
        let info = first.as_str().into_connection_info()?;
        let others = urls.map(|url| Ok(url.as_str().into_connection_info()?.addr().clone()));
        let others = others.collect::<Result<Vec<_>, RedisError>>()?;
        let servers = std::iter::once(info.addr().clone()).chain(others).collect();
        let way = Way::Sentinels(Sentinels { servers, ..sentinels });
        let address = Self { way, login: info.redis_settings().clone(), tcp: TcpSettings::default() };
        // What the driver refuses is refused now.
        if let Way::Sentinels(sentinels) = &address.way {
            address.builder(sentinels)?.build()?;
        }
        Ok(address)
    }

    /// The user, the password and the number of the database.
    #[must_use]
    pub fn login(&self) -> &RedisConnectionInfo {
        &self.login
    }

    /// Where connections go first: the server, or its Sentinels.
    #[must_use]
    pub fn servers(&self) -> &[ConnectionAddr] {
        match &self.way {
            Way::Server(server) => std::slice::from_ref(server),
            Way::Sentinels(sentinels) => &sentinels.servers,
        }
    }

    /// Whether Sentinels tell which server it is.
    pub(crate) fn is_watched(&self) -> bool {
        matches!(self.way, Way::Sentinels(_))
    }

    pub(crate) fn with(mut self, protocol: ProtocolVersion, tcp: TcpSettings) -> Self {
        self.login = self.login.set_protocol(protocol);
        self.tcp = tcp;
        self
    }

    /// A client of the server, or of the one that is the master now and says so itself. Sentinels are asked anew each time,
    /// and none is kept connected: the answer is needed after a failure only.
    ///
    /// # Errors
    /// When no Sentinel knows a master that can be reached.
    pub async fn client(&self) -> Result<Client, RedisError> {
        let sentinels = match &self.way {
            Way::Server(server) => return Client::open(self.info(server.clone())?),
            Way::Sentinels(sentinels) => sentinels,
        };
        let mut client = self.builder(sentinels)?.build()?;
        let found = tokio::time::timeout(ASKED_FOR, client.async_get_client()).await;
        found.unwrap_or_else(|late| Err(std::io::Error::from(late).into()))
    }

    fn info(&self, server: ConnectionAddr) -> Result<ConnectionInfo, RedisError> {
        let info = server.into_connection_info()?;
        Ok(info.set_redis_settings(self.login.clone()).set_tcp_settings(self.tcp.clone()))
    }

    fn builder(&self, sentinels: &Sentinels) -> Result<SentinelClientBuilder, RedisError> {
        let is_tls = sentinels.servers.iter().any(|server| matches!(server, ConnectionAddr::TcpTls { .. }));
        let servers = sentinels.servers.clone();
        let mut builder = SentinelClientBuilder::new(servers, &sentinels.master, SentinelServerType::Master)?
            .set_client_to_redis_db(self.login.db())
            .set_client_to_redis_protocol(self.login.protocol())
            .set_client_to_redis_tcp_settings(self.tcp.clone());
        if let Some(user) = self.login.username() {
            builder = builder.set_client_to_redis_username(user);
        }
        if let Some(password) = self.login.password() {
            builder = builder.set_client_to_redis_password(password);
        }
        if let Some(user) = &sentinels.user {
            builder = builder.set_client_to_sentinel_username(user);
        }
        if let Some(password) = &sentinels.password {
            builder = builder.set_client_to_sentinel_password(password);
        }
        if is_tls {
            builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
        }
        if let Some(certificates) = &sentinels.certificates {
            builder = builder
                .set_client_to_redis_certificates(certificates.clone())
                .set_client_to_sentinel_certificates(certificates.clone());
        }
        Ok(builder)
    }
}

fn certificates(url: &str) -> Result<Option<TlsCertificates>, RedisError> {
    let Some(path) = option(url, CA_FILE) else { return Ok(None) };
    let pem = std::fs::read_to_string(&path).map_err(|error| {
        (ErrorKind::InvalidClientConfig, "the tlsCAFile cannot be read", error.to_string())
    })?;
    // The driver takes such a file, and then trusts nobody.
    if !pem.contains(BEGIN_CERTIFICATE) {
        return Err((ErrorKind::InvalidClientConfig, "the tlsCAFile has no certificate").into());
    }
    let pem = pem.into_bytes();
    Ok(Some(TlsCertificates { client_tls: None, root_cert: Some(pem) }))
}

fn option(url: &str, name: &str) -> Option<String> {
    let url = redis::parse_redis_url(url)?;
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use rustls::ServerConfig;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use testkit::{Authority, Issued, RenewedFile, Subject};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::refusing::Refusing;
    use crate::{Connection, CurrentAddress, Options, SendError};

    /// A Redis on this machine.
    fn subject() -> Subject {
        #[expect(clippy::disallowed_methods, reason = "the certificates are checked by the machine's clock")]
        let now = SystemTime::now().into();
        Subject::local("spiffe://trust.test/redis", now)
    }

    /// A Redis that speaks TLS and shows this certificate.
    async fn start(issued: &Issued) -> u16 {
        let chain =
            CertificateDer::pem_slice_iter(issued.certificate.as_bytes()).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::task::spawn_local(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(client) = acceptor.accept(client).await else { continue };
                tokio::task::spawn_local(Refusing::default().serve(client));
            }
        });
        port
    }

    async fn ping(host: &str, port: u16, ca: &Path) -> Result<String, SendError> {
        let url = format!("rediss://user:password@{host}:{port}/0?tlsCAFile={}", ca.display());
        let second = Duration::from_secs(5);
        let options = Options { answers_within: second, connects_within: second, is_over: |_| false };
        Connection::lazy(CurrentAddress::of(url.into()).unwrap(), options).run(&redis::cmd("PING")).await
    }

    /// Claim: the server's certificate must be of an authority of the file, and for the host of the URL.
    #[tokio::test]
    async fn a_server_of_another_authority_or_name_is_not_connected_to() {
        let test = async {
            let [authority, other] = ["one", "another"].map(|name| Authority::new(name).unwrap());
            let ca = RenewedFile::new("redis-ca", &authority.pem()).unwrap();
            let subject = subject();
            let right = start(&authority.issue(&subject).unwrap()).await;
            assert_eq!(ping("localhost", right, ca.path()).await.unwrap(), "OK");
            let of_another = start(&other.issue(&subject).unwrap()).await;
            let elsewhere = Subject { hosts: vec!["elsewhere.test".to_owned()], ..subject };
            let elsewhere = start(&authority.issue(&elsewhere).unwrap()).await;
            for port in [of_another, elsewhere] {
                let error = ping("localhost", port, ca.path()).await.unwrap_err();
                assert!(matches!(error, SendError::NotConnected(_)), "{error:?}");
            }
        };
        tokio::task::LocalSet::new().run_until(test).await;
    }

    /// Claim: authorities that are renewed in their file are those of each new connection, and while the file cannot be used,
    /// those before it are.
    #[tokio::test]
    async fn authorities_are_read_again_for_each_connection() {
        let test = async {
            let [authority, other] = ["one", "another"].map(|name| Authority::new(name).unwrap());
            let ca = RenewedFile::new("renewed-ca", &other.pem()).unwrap();
            let subject = subject();
            let port = start(&authority.issue(&subject).unwrap()).await;
            let url = format!("rediss://user:password@localhost:{port}/0?tlsCAFile={}", ca.path().display());
            let second = Duration::from_secs(5);
            let options = Options { answers_within: second, connects_within: second, is_over: |_| true };
            let connection = Connection::lazy(CurrentAddress::of(url.into()).unwrap(), options);
            let ping = redis::cmd("PING");
            let error = connection.run::<String>(&ping).await.unwrap_err();
            assert!(matches!(error, SendError::NotConnected(_)), "{error:?}");
            for authorities in [authority.pem(), "no authority".to_owned()] {
                ca.renew(&authorities).unwrap();
                let answer =
                    testkit::wait_until(second, "an answer", async || connection.run::<String>(&ping).await);
                assert_eq!(answer.await.unwrap(), "OK");
                // An answer that is none ends the connection.
                connection.run::<u64>(&ping).await.unwrap_err();
            }
        };
        tokio::task::LocalSet::new().run_until(test).await;
    }

    #[test]
    fn a_file_that_cannot_be_used_is_told_of_without_the_password() {
        let garbage = RenewedFile::new("garbage-ca", "no authority").unwrap();
        for url in [
            "rediss://a:s3cret@cache/0?tlsCAFile=/no/such/file".to_owned(),
            format!("rediss://a:s3cret@cache/0?tlsCAFile={}", garbage.path().display()),
            format!("redis://a:s3cret@cache/0?tlsCAFile={}", garbage.path().display()),
        ] {
            let error = Address::of(&url).unwrap_err().to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
        Address::of("rediss://a:s3cret@cache/0").unwrap();
    }

    #[test]
    fn an_address_of_sentinels_has_all_of_them_and_two_logins() {
        let url =
            "redis-sentinel://app:s3cret@h1:1,h2,[::1]/3?master=m&sentinelUser=s&sentinelPassword=w0rd%40";
        let address = Address::of(url).unwrap();
        let tcp = |host: &str, port| ConnectionAddr::Tcp(host.to_owned(), port);
        assert_eq!(address.servers(), [tcp("h1", 1), tcp("h2", 26379), tcp("::1", 26379)]);
        let login = address.login();
        assert_eq!((login.username(), login.password(), login.db()), (Some("app"), Some("s3cret"), 3));
        let Way::Sentinels(sentinels) = &address.way else { panic!("{address:?}") };
        let told = (&*sentinels.master, sentinels.user.as_deref(), sentinels.password.as_deref());
        assert_eq!(told, ("m", Some("s"), Some("w0rd@")));
        let shown = format!("{address:?}");
        assert!(!shown.contains("s3cret") && !shown.contains("w0rd"), "{shown}");

        let tls = Address::of("Rediss-Sentinel://h1,h2/0?master=m").unwrap();
        assert!(
            tls.servers()
                .iter()
                .all(|server| matches!(server, ConnectionAddr::TcpTls { insecure: false, .. }))
        );
        for wrong in
            ["redis-sentinel://h1,h2/0", "redis-sentinel://h1,h2:port/0?master=m", "redis-sentinel://"]
        {
            Address::of(wrong).unwrap_err();
        }
    }
}
