//! The server of the admin port.

use std::convert::Infallible;
use std::future::ready;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::vitals::Vitals;

/// Connections at once; further ones wait in the queue of the socket.
const CONNECTIONS_MAX: usize = 32;
/// How long a connection may take, from its first byte to its last. Each is for one request, so that whoever stalls has its
/// place for this long and no longer.
const WITHIN: Duration = Duration::from_secs(5);
/// The longest head of a request, in bytes.
const HEAD_MAX: usize = 8 * 1024;
/// Out of file descriptors: whoever closes one ends the wait.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Opens the admin port, for as long as the process lives; where it is.
pub(crate) fn start(address: SocketAddr, vitals: Vitals) -> anyhow::Result<SocketAddr> {
    let bind = || {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok::<_, std::io::Error>((listener.local_addr()?, listener))
    };
    let (address, listener) = bind().with_context(|| format!("--admin-listen {address}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("making a tokio runtime")?;
    let run = move || {
        let Err(error) = runtime.block_on(serve(listener, vitals));
        tracing::error!(error = format!("{error:#}"), "the admin port is closed");
    };
    thread::Builder::new()
        .name("admin".to_owned())
        .spawn(run)
        .context("starting the thread of the admin port")?;
    Ok(address)
}

async fn serve(listener: std::net::TcpListener, vitals: Vitals) -> anyhow::Result<Infallible> {
    let listener = TcpListener::from_std(listener).context("listening on the admin port")?;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => drop(connections.spawn(timeout(WITHIN, converse(stream, vitals.clone())))),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections on the admin port");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Answers one request. Who is slow, goes away or speaks something else is of no interest.
async fn converse(stream: TcpStream, vitals: Vitals) {
    let service = service_fn(|request| ready(Ok::<_, Infallible>(answer(&request, &vitals))));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(WITHIN).max_buf_size(HEAD_MAX).keep_alive(false);
    let _ended = http.serve_connection(TokioIo::new(stream), service).await;
}

fn answer<B>(request: &Request<B>, vitals: &Vitals) -> Response<Full<Bytes>> {
    let answer = match request.uri().path() {
        "/livez" => live,
        "/readyz" => ready_to_serve,
        "/metrics" => metrics,
        _ => return text(StatusCode::NOT_FOUND, "there are /livez, /readyz and /metrics"),
    };
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    answer(vitals)
}

fn live(vitals: &Vitals) -> Response<Full<Bytes>> {
    let stuck = vitals.stuck();
    if stuck.is_empty() {
        return text(StatusCode::OK, "every core's event loop turns");
    }
    let line = |(core, still): &(usize, Duration)| {
        format!("the event loop of core {core} has not turned for {} s", still.as_secs())
    };
    text(StatusCode::SERVICE_UNAVAILABLE, &stuck.iter().map(line).collect::<Vec<_>>().join("\n"))
}

fn ready_to_serve(vitals: &Vitals) -> Response<Full<Bytes>> {
    let hindrances = vitals.hindrances();
    let (status, state) = if hindrances.is_empty() {
        (StatusCode::OK, "serving")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not serving")
    };
    let mut lines = vec![state.to_owned()];
    lines.extend(hindrances);
    lines.extend(vitals.dependencies().degraded().iter().map(|line| format!("degraded: {line}")));
    text(status, &lines.join("\n"))
}

fn metrics(_: &Vitals) -> Response<Full<Bytes>> {
    with_type(StatusCode::OK, metrics::text(), metrics::CONTENT_TYPE)
}

fn text(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    with_type(status, format!("{text}\n"), "text/plain; charset=utf-8")
}

fn with_type(status: StatusCode, text: String, content_type: &'static str) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::from(text));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    async fn told(method: Method, path: &str, vitals: &Vitals) -> (StatusCode, String) {
        let request = Request::builder().method(method).uri(path).body(()).unwrap();
        let answer = answer(&request, vitals);
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn each_question_has_its_answer() {
        let vitals = Vitals::of(2);
        let get = async |path: &str| told(Method::GET, path, &vitals).await;
        assert_eq!(get("/livez").await.0, StatusCode::OK);
        let (status, text) = get("/readyz?verbose").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(text, "not serving\nit has not started yet\n");
        vitals.set(0, None);
        assert_eq!(get("/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE, "one of two cores serves");
        vitals.set(1, None);
        assert_eq!(get("/readyz").await, (StatusCode::OK, "serving\n".to_owned()));
        tokio::time::advance(Duration::from_secs(11)).await;
        let (status, text) = get("/livez").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(text.contains("core 1 has not turned for 11 s"), "{text}");
        vitals.dependencies().report("event_redis", 0, Err("it refuses connections".to_owned()));
        let degraded = "serving\ndegraded: event_redis: it refuses connections\n";
        assert_eq!(get("/readyz").await, (StatusCode::OK, degraded.to_owned()));
        let (status, text) = get("/metrics").await;
        assert_eq!(status, StatusCode::OK);
        assert!(text.contains("dependency_up{dependency=\"event_redis\"} 0.0\n"), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
        for path in ["/", "/metrics/", "/LIVEZ", "/livez/"] {
            assert_eq!(get(path).await.0, StatusCode::NOT_FOUND, "{path}");
        }
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
            let (status, _) = told(method.clone(), "/readyz", &vitals).await;
            assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
        }
        assert_eq!(told(Method::HEAD, "/readyz", &vitals).await.0, StatusCode::OK);
    }
}
