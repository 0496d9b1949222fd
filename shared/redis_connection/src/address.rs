//! What a URL says of the way to Redis.

use redis::{Client, ConnectionInfo, ErrorKind, IntoConnectionInfo as _, RedisError, TlsCertificates};

/// The option that names the authorities, as MongoDB's URLs have it.
const CA_FILE: &str = "tlsCAFile";

/// The Redis at a URL, `redis://user:password@host:port/number`, or `rediss://` for TLS, which verifies the server's
/// certificate and name. With `?tlsCAFile=<path>` the certificate must be of an authority in that PEM file, and without it
/// of one that the system trusts.
///
/// # Errors
/// When it is no URL of Redis, or the file cannot be used. The error does not show the URL.
pub fn address(url: &str) -> Result<ConnectionInfo, RedisError> {
    let info = url.into_connection_info()?;
    let Some(path) = ca_file(url) else { return Ok(info) };
    let pem = std::fs::read(&path).map_err(|error| {
        (ErrorKind::InvalidClientConfig, "the tlsCAFile cannot be read", error.to_string())
    })?;
    let certificates = TlsCertificates { client_tls: None, root_cert: Some(pem) };
    Ok(Client::build_with_tls(info, certificates)?.get_connection_info().clone())
}

fn ca_file(url: &str) -> Option<String> {
    let url = redis::parse_redis_url(url)?;
    url.query_pairs().find(|(name, _)| name == CA_FILE).map(|(_, path)| path.into_owned())
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use rustls::ServerConfig;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use testkit::{Authority, Issued, Subject};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::refusing::Refusing;
    use crate::{Connection, Options, SendError};

    /// A file that is gone when the test is over.
    struct File(PathBuf);

    impl File {
        fn new(name: &str, content: &str) -> Self {
            let path = std::env::temp_dir().join(format!("tristore-{}-{name}", std::process::id()));
            std::fs::write(&path, content).unwrap();
            Self(path)
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            // What is left is one small file.
            let _gone_already = std::fs::remove_file(&self.0);
        }
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
        Connection::lazy(address(&url).unwrap(), options).unwrap().run(&redis::cmd("PING")).await
    }

    /// Claim: the server's certificate must be of an authority of the file, and for the host of the URL.
    #[tokio::test]
    async fn a_server_of_another_authority_or_name_is_not_connected_to() {
        let test = async {
            let [authority, other] = ["one", "another"].map(|name| Authority::new(name).unwrap());
            let ca = File::new("redis-ca", &authority.pem());
            #[expect(
                clippy::disallowed_methods,
                reason = "the certificates are checked by the machine's clock"
            )]
            let now = SystemTime::now().into();
            let subject = Subject::local("spiffe://trust.test/redis", now);
            let right = start(&authority.issue(&subject).unwrap()).await;
            assert_eq!(ping("localhost", right, &ca.0).await.unwrap(), "OK");
            let of_another = start(&other.issue(&subject).unwrap()).await;
            let elsewhere = Subject { hosts: vec!["elsewhere.test".to_owned()], ..subject };
            let elsewhere = start(&authority.issue(&elsewhere).unwrap()).await;
            for port in [of_another, elsewhere] {
                let error = ping("localhost", port, &ca.0).await.unwrap_err();
                assert!(matches!(error, SendError::NotConnected(_)), "{error:?}");
            }
        };
        tokio::task::LocalSet::new().run_until(test).await;
    }

    #[test]
    fn a_file_that_cannot_be_used_is_told_of_without_the_password() {
        let garbage = File::new("garbage-ca", "no authority");
        for url in [
            "rediss://a:s3cret@cache/0?tlsCAFile=/no/such/file".to_owned(),
            format!("redis://a:s3cret@cache/0?tlsCAFile={}", garbage.0.display()),
        ] {
            let error = address(&url).unwrap_err().to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
        address("rediss://a:s3cret@cache/0").unwrap();
    }
}
