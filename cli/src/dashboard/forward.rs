//! `tidegate dashboard`: a server on this machine that passes on what a browser asks to the Tidegate in the cluster.

use std::{
    io::{Write, stdout},
    net::Ipv4Addr,
    sync::Arc,
};

use anyhow::{Context, Result};
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{Method, StatusCode, header::HOST},
    response::{IntoResponse, Response},
};
use parking_lot::Mutex;
use tokio::net::TcpListener;

use crate::{args::DashboardArgs, exit::Failure, tidegate::Tidegate};

/// Where the requests go.
struct Forward {
    tidegate: Tidegate,
    admin_port: u16,
    /// The pod of it that is asked now
    chosen: Mutex<Tidegate>,
    port: u16,
}

pub(crate) async fn dashboard(args: DashboardArgs) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port)).await;
    let listener = listener.with_context(|| format!("--port {}: cannot listen there", args.port))?;
    let port = listener.local_addr()?.port();
    let tidegate = Tidegate::connect(&args.cluster, &args.installed).await?;
    // Before a browser shows an error: does it answer?
    tidegate.text("/version").await?;
    let chosen = Mutex::new(tidegate.clone());
    let forward = Arc::new(Forward { tidegate, admin_port: args.admin.admin_port, chosen, port });
    forward.choose_pod().await;
    let url = format!("http://127.0.0.1:{port}/");
    writeln!(stdout(), "{url} shows Tidegate, until Ctrl-C")?;
    if !args.no_open
        && let Err(error) = open::that_detached(&url)
    {
        eprintln!("tidegate: no browser was opened ({error}): open {url} yourself");
    }
    let router = Router::new().fallback(answer).with_state(forward);
    tokio::select! {
        served = axum::serve(listener, router) => Ok(served?),
        stopped = tokio::signal::ctrl_c() => Ok(stopped?),
    }
}

/// Only a browser that was sent to this address may read: another site's page whose name leads here has another host.
async fn answer(State(forward): State<Arc<Forward>>, request: Request) -> Response {
    if !forward.is_meant(&request) {
        return (StatusCode::FORBIDDEN, format!("open http://127.0.0.1:{}/\n", forward.port)).into_response();
    }
    if request.method() != Method::GET {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    if path == "/" {
        forward.choose_pod().await;
    }
    match forward.get(path).await {
        Ok(answer) => answer,
        Err(failure) => {
            // The pod may be gone: the next request goes to the one that leads then.
            forward.choose_pod().await;
            (StatusCode::BAD_GATEWAY, format!("{failure}\n")).into_response()
        }
    }
}

impl Forward {
    fn is_meant(&self, request: &Request) -> bool {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        host.is_some_and(|host| ["127.0.0.1", "localhost"].iter().any(|name| host == format!("{name}:{}", self.port)))
    }

    /// The pod that leads, which knows all problems and savings; any pod where none is known to lead.
    async fn choose_pod(&self) {
        let chosen = match self.tidegate.leader().await {
            Some(pod) => self.tidegate.to_pod(&pod, self.admin_port),
            None => self.tidegate.clone(),
        };
        *self.chosen.lock() = chosen;
    }

    /// The answer as it comes.
    async fn get(&self, path: &str) -> Result<Response, Failure> {
        let chosen = self.chosen.lock().clone();
        let (mut parts, body) = chosen.open(path).await?.into_parts();
        // The connection is another one here.
        for name in ["connection", "transfer-encoding", "keep-alive"] {
            parts.headers.remove(name);
        }
        Ok(Response::from_parts(parts, Body::new(body)))
    }
}
