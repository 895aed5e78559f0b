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
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use parking_lot::Mutex;
use tokio::net::TcpListener;

use crate::{
    args::DashboardArgs,
    cluster::Cluster,
    exit::{Exit, Failure},
    tidegate::forwarded,
};

/// Where the requests go.
struct Forward {
    server: Cluster,
    /// Where Tidegate is installed, unless an admin server is asked directly
    installed: Option<Installed>,
    /// The path in front of the page's own paths
    prefix: Mutex<String>,
    port: u16,
}

struct Installed {
    namespace: String,
    service: String,
    admin_port: u16,
}

pub(crate) async fn dashboard(args: DashboardArgs) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port)).await;
    let listener = listener.with_context(|| format!("--port {}: cannot listen there", args.port))?;
    let port = listener.local_addr()?.port();
    let forward = Arc::new(Forward::new(&args, port).await?);
    // Before a browser shows an error: does it answer?
    forward.choose_pod().await;
    forward.check().await?;
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
    async fn new(args: &DashboardArgs, port: u16) -> Result<Self, Failure> {
        let (server, installed) = if let Some(url) = &args.installed.admin {
            (Cluster::at(url, args.cluster.request_timeout)?, None)
        } else {
            let (namespace, service) = (args.installed.system_namespace.clone(), args.installed.service.clone());
            let installed = Installed { namespace, service, admin_port: args.admin_port };
            (Cluster::connect(&args.cluster).await?, Some(installed))
        };
        Ok(Self { server, installed, prefix: Mutex::default(), port })
    }

    fn is_meant(&self, request: &Request) -> bool {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        host.is_some_and(|host| ["127.0.0.1", "localhost"].iter().any(|name| host == format!("{name}:{}", self.port)))
    }

    /// The pod that leads, which knows all problems and savings; any pod where the Lease cannot be read.
    async fn choose_pod(&self) {
        let Some(Installed { namespace, service, admin_port }) = &self.installed else { return };
        // The Lease has the Service's name, and is held by a pod in the pod's name.
        let lease = self.server.ask(Api::<Lease>::namespaced(self.server.client(), namespace).get(service)).await;
        let leader = lease.ok().and_then(|lease| lease.spec?.holder_identity).filter(|holder| !holder.is_empty());
        let target = match leader {
            Some(pod) => format!("pods/{pod}:{admin_port}"),
            None => format!("services/{service}:admin"),
        };
        *self.prefix.lock() = forwarded(namespace, &target, "");
    }

    /// The answer as it comes: a stream has no end.
    async fn get(&self, path: &str) -> Result<Response, Failure> {
        let path = format!("{}{path}", self.prefix.lock());
        let answer = self.server.open(&path).await?;
        let (mut parts, body) = answer.into_parts();
        // The connection is another one here.
        for name in ["connection", "transfer-encoding", "keep-alive"] {
            parts.headers.remove(name);
        }
        Ok(Response::from_parts(parts, Body::new(body)))
    }

    async fn check(&self) -> Result<(), Failure> {
        let status = self.get("/version").await?.status();
        let why = || {
            let place = match &self.installed {
                Some(Installed { namespace, service, .. }) => format!("Service {service} in namespace {namespace}"),
                None => "--admin".to_owned(),
            };
            Exit::NoAnswer.with(format!("{place} answered {status}: `tidegate check` says what is wrong"))
        };
        if status.is_success() { Ok(()) } else { Err(why()) }
    }
}
