//! What the endpoint answers: paths, content types, security headers.

use std::sync::{Arc, LazyLock};

use axum::{
    Router,
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::map_response,
    response::{Html, IntoResponse, Response},
    routing::get,
};

use super::{pages, report};
use crate::health::{Health, Status};

/// IETF draft-inadarei-api-health-check-06, section 2.
const HEALTH_JSON: &str = "application/health+json";
/// OpenMetrics 1.0, section "Protocol Negotiation".
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// Nothing may be loaded, run, sent or framed; only the page's own style sheet may apply.
static CONTENT_SECURITY_POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        pages::style_hash()
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// Every route.
pub fn router(health: Arc<Health>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/health", get(health_json))
        .route("/metrics", get(metrics))
        .fallback(async || {
            let paths = "not here; there are /, /livez, /readyz, /health and /metrics\n";
            (StatusCode::NOT_FOUND, typed(TEXT, paths.into()))
        })
        .with_state(health)
        .layer(map_response(secure))
}

fn typed(content_type: &'static str, body: String) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, content_type)], body)
}

async fn secure(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY.clone());
    response
}

/// The process answers; nothing else is asked.
async fn livez() -> impl IntoResponse {
    typed(TEXT, "alive\n".into())
}

/// Whether passes can be read and kept.
async fn readyz(State(health): State<Arc<Health>>) -> impl IntoResponse {
    if health.is_ready() {
        return (StatusCode::OK, typed(TEXT, "ready\n".into()));
    }
    let faults: String = health
        .ranked()
        .into_iter()
        .filter(|(c, check)| c.is_essential() && check.status == Status::Fail)
        .map(|(c, check)| format!("{}: {}\n", c.name(), check.output))
        .collect();
    (StatusCode::SERVICE_UNAVAILABLE, typed(TEXT, faults))
}

async fn health_json(State(health): State<Arc<Health>>) -> impl IntoResponse {
    let code = match health.status() {
        Status::Pass | Status::Warn => StatusCode::OK,
        Status::Fail => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut text = report::health_json(&health, jiff::Timestamp::now()).to_string();
    text.push('\n');
    (code, typed(HEALTH_JSON, text))
}

async fn metrics(State(health): State<Arc<Health>>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &health.registry()) {
        Ok(()) => typed(OPEN_METRICS, text).into_response(),
        Err(e) => {
            let why = format!("the metrics cannot be written: {e}\n");
            (StatusCode::INTERNAL_SERVER_ERROR, typed(TEXT, why)).into_response()
        }
    }
}

async fn page(State(health): State<Arc<Health>>) -> impl IntoResponse {
    Html(pages::status_page(&health, jiff::Timestamp::now()))
}
