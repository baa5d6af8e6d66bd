//! Connections: how many, how long, and how they end.

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::sync::{Semaphore, watch};

use super::shared::Shared;
use super::wire::ApiError;
use super::{Ending, Limits, chat, completions, embeddings, metrics};
use crate::clock::Stopwatch;

/// Takes connections until it is asked to end; then what is open may finish, within the grace that the limits give.
pub(super) async fn listen(
    listener: TcpListener,
    shared: Arc<Shared>,
    limits: Limits,
    mut ending: watch::Receiver<Ending>,
) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let routes = TowerToHyperService::new(routes(shared));
    let open = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    loop {
        let taken = tokio::select! {
            _ = ending.changed() => break,
            permit = open.clone().acquire_owned() => match permit {
                Ok(permit) => tokio::select! {
                    _ = ending.changed() => break,
                    taken = listener.accept() => taken.map(|(stream, _)| (stream, permit)),
                },
                Err(_) => break,
            },
        };
        // A connection that fails at once, or a machine out of file handles: the next one may be better.
        let Ok((stream, permit)) = taken else {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(limits.arrival).max_buf_size(64 << 10);
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), routes.clone()));
        tokio::spawn(async move {
            let _ = connection.await; // whoever goes away in the middle is nobody's fault
            drop(permit);
        });
    }
    drop((listener, routes));
    let at_once = async {
        // Ends when nobody could ask any more, too.
        let _ = ending.wait_for(|ending| *ending == Ending::Now).await;
    };
    tokio::select! {
        () = graceful.shutdown() => (),
        () = tokio::time::sleep(limits.grace) => (),
        () = at_once => (),
    }
}

fn routes(shared: Arc<Shared>) -> Router {
    let unknown = |method: Method, uri: axum::http::Uri| async move {
        let message =
            format!("there is no `{method} {}`; see /v1/models, /v1/chat/completions, /v1/completions", uri.path());
        ApiError::new(StatusCode::NOT_FOUND, message)
    };
    let other = |method: Method| async move {
        ApiError::new(StatusCode::METHOD_NOT_ALLOWED, format!("this address does not take {method}"))
    };
    Router::new()
        .route("/v1/chat/completions", post(chat::answer))
        .route("/v1/completions", post(completions::answer))
        .route("/v1/embeddings", post(embeddings::answer))
        .route("/v1/models", get(models))
        .route("/health", get(health))
        .route("/metrics", get(metrics::show))
        .fallback(unknown)
        .method_not_allowed_fallback(other)
        .layer(from_fn_with_state(shared.clone(), guard))
        .with_state(shared)
}

/// Lets in who has the key and brings JSON, and counts.
async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let watch = Stopwatch::start();
    let route = metrics::route(request.uri().path());
    let is_open = request.uri().path() == "/health";
    let response = if !is_open && !shared.has_key(bearer(request.headers())) {
        ApiError::new(StatusCode::UNAUTHORIZED, "the key is missing or wrong: send `Authorization: Bearer KEY`")
            .into_response()
    } else if request.method() == Method::POST && !is_json(request.headers()) {
        // A page in a browser may send anything but this type to an address of this machine without being asked.
        ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send JSON, with `Content-Type: application/json`")
            .into_response()
    } else {
        next.run(request).await
    };
    shared.metrics.count(route, response.status().as_u16(), watch.seconds());
    response
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ").map(str::trim)
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

async fn models(State(shared): State<Arc<Shared>>) -> axum::Json<serde_json::Value> {
    axum::Json(serde_json::json!({ "object": "list", "data": [{
        "id": shared.name, "object": "model", "created": shared.begun, "owned_by": "evo",
        "max_model_len": shared.model.config.max_positions,
    }] }))
}

async fn health() -> Result<axum::Json<serde_json::Value>, Infallible> {
    Ok(axum::Json(serde_json::json!({ "status": "ok" })))
}
