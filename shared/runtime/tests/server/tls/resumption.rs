//! No session is resumed: rustls would restore the client's certificate without looking at it again.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, ServerConfig};
use testkit::TlsFiles;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::handshakes::{connect, naive_with};
use super::world::{ORDER, USER, World};

/// Claim: a client that would resume its session, with TLS 1.2 as with 1.3, has to show its certificate again.
#[tokio::test]
async fn each_connection_shows_its_certificate_anew() {
    let world = World::new();
    let server = world.server().await;
    for version in [&TLS12, &TLS13] {
        let client = naive_with(&world.files(&world.subject(USER)), &[version]);
        for _ in 0..3 {
            let mut stream = connect(&server, client.clone()).await.unwrap();
            // A ticket would come with the first bytes.
            stream.read_exact(&mut [0; 9]).await.unwrap();
            assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
            assert_eq!(stream.get_ref().1.tls13_tickets_received(), 0);
        }
    }
}

/// Says a word to everybody who has shown a certificate.
async fn welcome(listener: &TcpListener, acceptor: &TlsAcceptor) -> io::Result<Infallible> {
    loop {
        let (stream, _) = listener.accept().await?;
        let mut stream = acceptor.accept(stream).await?;
        assert!(stream.get_ref().1.peer_certificates().is_some());
        stream.write_all(b"welcome").await?;
        stream.flush().await?;
    }
}

/// A server with the defaults of rustls, where the client's certificate is trusted at the first connection only.
async fn forgetful(files: &TlsFiles, client: ClientConfig) -> io::Result<Option<HandshakeKind>> {
    let read = |path| std::fs::read(path).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&read(&files.ca)).unwrap()).unwrap();
    let clients = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
    let chain = CertificateDer::pem_slice_iter(&read(&files.certificate)).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(&read(&files.key)).unwrap();
    let mut config =
        ServerConfig::builder().with_client_cert_verifier(clients).with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    let connector = TlsConnector::from(Arc::new(client));
    let connect = async {
        let mut kind = None;
        for _ in 0..2 {
            let stream = TcpStream::connect(addr).await?;
            let name = ServerName::try_from("localhost").unwrap();
            let mut stream = connector.connect(name, stream).await?;
            stream.read_exact(&mut [0; 7]).await?;
            kind = stream.get_ref().1.handshake_kind();
        }
        Ok(kind)
    };
    tokio::select! {
        kind = connect => kind,
        never = welcome(&listener, &acceptor) => match never? {},
    }
}

/// The same client is believed without another look by a server that has the defaults of rustls.
#[tokio::test]
async fn with_the_defaults_a_certificate_is_believed_unseen() {
    let world = World::new();
    for version in [&TLS12, &TLS13] {
        let client = naive_with(&world.files(&world.subject(USER)), &[version]);
        let kind = forgetful(&world.files(&world.subject(ORDER)), client).await.unwrap();
        assert_eq!(kind, Some(HandshakeKind::Resumed), "{version:?}");
    }
}
