//! One single-threaded runtime for each core, each with a listener of its own on the same port: the cheapest way to
//! serve.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;

use anyhow::{Context as _, Result, anyhow};
use http::{Request, Response};
use prost::Message;
use tokio::net::TcpSocket;
use tokio::runtime::Builder;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService};
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

const BACKLOG: u32 = 1024;

/// Binds a socket for each runtime.
pub(crate) fn bind(address: SocketAddr, count: usize) -> Result<(SocketAddr, Vec<TcpSocket>)> {
    let one = |address| -> Result<TcpSocket> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseport(true)?;
        socket.bind(address).with_context(|| format!("listening on {address}"))?;
        Ok(socket)
    };
    let first = one(address)?;
    let address = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..count {
        sockets.push(one(address)?);
    }
    Ok((address, sockets))
}

/// An answer that is on its way.
pub(crate) type Answered = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// Answers the calls of one service.
pub(crate) trait Floor: Clone + Send + Sync + 'static {
    /// The service's name in the protocol.
    const NAME: &'static str;

    /// Answers one call, whose method is the path of the request.
    fn answer(self, request: Request<Body>) -> Answered;
}

/// Puts the calls of a service into a router.
#[derive(Clone)]
pub(crate) struct Calls<S>(pub(crate) S);

impl<S: Floor> NamedService for Calls<S> {
    const NAME: &'static str = S::NAME;
}

impl<S: Floor> Service<Request<Body>> for Calls<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answered;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answered {
        self.0.clone().answer(request)
    }
}

/// Serves for ever; `connect` makes what a runtime serves, with clients of its own.
pub(crate) fn run<F, Fut>(sockets: Vec<TcpSocket>, connect: F) -> Result<()>
where
    F: Fn() -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<Routes>>,
{
    let threads: Vec<_> = sockets
        .into_iter()
        .map(|socket| {
            let connect = connect.clone();
            thread::spawn(move || {
                Builder::new_current_thread().enable_all().build()?.block_on(async {
                    // This comes first, because a socket gets its share of the connections as soon as it listens.
                    let routes = connect().await?;
                    let incoming = TcpIncoming::from(socket.listen(BACKLOG)?).with_nodelay(Some(true));
                    let (_, health) = tonic_health::server::health_reporter();
                    let routes = routes.add_service(health).prepare();
                    Server::builder().add_routes(routes).serve_with_incoming(incoming).await?;
                    Ok(())
                })
            })
        })
        .collect();
    threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?)
}

/// Answers one call, as generated code does.
pub(crate) async fn unary<Q, A, F, Fut>(
    request: Request<Body>,
    answer: F,
) -> Result<Response<Body>, Infallible>
where
    Q: Message + Default + Send + 'static,
    A: Message + Send + 'static,
    F: FnOnce(Q) -> Fut + Clone,
    Fut: Future<Output = Result<A>> + Send,
{
    let service = service_fn(|request: tonic::Request<Q>| {
        let answer = answer.clone()(request.into_inner());
        async move {
            let answer = answer.await;
            answer.map(tonic::Response::new).map_err(|error| Status::internal(format!("{error:#}")))
        }
    });
    Ok(Grpc::new(ProstCodec::default()).unary(service, request).await)
}

/// The answer to a method that the floor does not have.
pub(crate) fn unknown() -> Answered {
    Box::pin(async { Ok(Status::new(Code::Unimplemented, "").into_http()) })
}
