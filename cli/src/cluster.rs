//! The cluster as commands for people ask it: once, within a time, and with errors that say what to do.
//!
//! kube's own client asks up to 16 times, over minutes, where the API server answers 429, 503 or 504. That is for services.

mod kubeconfig;
mod resource;
mod unanswered;

use std::time::Duration;

use anyhow::Result;
use axum::{
    body::{Body, to_bytes},
    http::{Request, Response, Result as HttpResult, StatusCode, header},
};
use kube::{Api, Client, Config, api::DynamicObject, core::Status};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;

pub(crate) use self::{kubeconfig::contexts, unanswered::Asked};
use crate::{
    args::ClusterArgs,
    crypto::install_crypto,
    exit::{Exit, Failure},
    object::ObjectKind,
};

/// Largest answer that is read whole, in bytes: a page about all workloads of a large cluster has some MiB.
const LARGEST: usize = 256 << 20;

/// Objects on a page of a list.
const PAGE: u32 = 500;

/// One cluster. Clones are the same.
#[derive(Clone)]
pub(crate) struct Cluster {
    client: Client,
    namespace: String,
    asked: Asked,
}

/// The raw answer to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// The server's clock, as HTTP writes it
    pub(crate) date: Option<String>,
    pub(crate) body: String,
}

/// An error of the API server itself, rather than of what it forwards to.
#[derive(Debug, Deserialize)]
pub(crate) struct ApiStatus {
    kind: String,
    #[serde(default)]
    pub(crate) message: String,
}

impl Cluster {
    /// The cluster of the kubeconfig, or the one that this process runs in.
    pub(crate) fn connect(args: &ClusterArgs) -> impl Future<Output = Result<Self, Failure>> {
        let args = args.clone();
        async move {
            let mut config = kubeconfig::config(&args).await?;
            if args.user.is_some() {
                config.auth_info.impersonate.clone_from(&args.user);
                config.auth_info.impersonate_groups = (!args.groups.is_empty()).then_some(args.groups);
            }
            Self::of(config, args.context, args.request_timeout)
        }
    }

    /// The server at this URL, without credentials.
    pub(crate) fn at(url: &str, request_timeout: Duration) -> Result<Self, Failure> {
        let parsed =
            url.parse().ok().filter(|url: &axum::http::Uri| url.scheme().is_some() && url.authority().is_some());
        let wanted = || Exit::Usage.with(format!("--admin {url}: wants a URL such as http://127.0.0.1:8080"));
        Self::of(Config::new(parsed.ok_or_else(wanted)?), None, request_timeout)
    }

    fn of(mut config: Config, context: Option<String>, request_timeout: Duration) -> Result<Self, Failure> {
        install_crypto();
        config.default_retry = false;
        config.connect_timeout = Some(request_timeout);
        let asked = Asked { url: config.cluster_url.to_string(), context, timeout: request_timeout };
        let namespace = config.default_namespace.clone();
        let client = Client::try_from(config).map_err(|error| asked.unanswered(&error))?;
        Ok(Self { client, namespace, asked })
    }

    /// A client for what the methods here do not do. It asks once, but waits without end.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// The namespace that is meant where none is given.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Waits for an answer, within the request timeout.
    pub(crate) async fn ask<T>(&self, request: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
        match timeout(self.asked.timeout, request).await {
            Ok(answer) => answer.map_err(|error| self.asked.unanswered(&error)),
            Err(_) => Err(self.asked.too_late()),
        }
    }

    /// Gets a path, and returns the answer whatever its status is.
    pub(crate) async fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.send(path, Request::get(path).body(kube::client::Body::empty())).await
    }

    /// Gets a path, and returns the answer before its body has come, which may have no end.
    pub(crate) async fn open(&self, path: &str) -> Result<Response<kube::client::Body>, Failure> {
        let request = Request::get(path).body(kube::client::Body::empty());
        let request = request.map_err(|error| Exit::Usage.with(format!("{path}: {error}")))?;
        self.ask(self.client.send(request)).await
    }

    /// Creates an object that is an answer in itself, such as a review of access.
    pub(crate) async fn review(&self, path: &str, object: &Value) -> Result<Value, Failure> {
        let body = kube::client::Body::from(object.to_string().into_bytes());
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/json").body(body);
        self.value(self.send(path, request).await?)
    }

    /// All objects of a list. None where the API server does not know the kind.
    pub(crate) async fn list(&self, path: &str) -> Result<Vec<Value>, Failure> {
        let (mut all, mut next) = (Vec::new(), String::new());
        loop {
            let mark = if path.contains('?') { '&' } else { '?' };
            let answer = self.get(&format!("{path}{mark}limit={PAGE}{next}")).await?;
            if answer.status == StatusCode::NOT_FOUND {
                return Ok(Vec::new());
            }
            let mut page = self.value(answer)?;
            if let Value::Array(items) = page["items"].take() {
                all.extend(items);
            }
            match page["metadata"]["continue"].as_str().filter(|token| !token.is_empty()) {
                Some(token) => next = format!("&continue={token}"),
                None => return Ok(all),
            }
        }
    }

    async fn send(&self, path: &str, request: HttpResult<Request<kube::client::Body>>) -> Result<Answer, Failure> {
        let request = request.map_err(|error| Exit::Usage.with(format!("{path}: {error}")))?;
        let whole = async {
            let answer = self.client.send(request).await?;
            let status = answer.status();
            let date = answer.headers().get(header::DATE).and_then(|date| Some(date.to_str().ok()?.to_owned()));
            let body = to_bytes(Body::new(answer.into_body()), LARGEST).await;
            let body = body.map_err(|error| kube::Error::Service(Box::new(error)))?;
            Ok(Answer { status, date, body: String::from_utf8_lossy(&body).into_owned() })
        };
        self.ask(whole).await
    }

    /// The JSON of an answer of the API server itself.
    pub(crate) fn value(&self, answer: Answer) -> Result<Value, Failure> {
        if !answer.status.is_success() {
            let message = answer.of_api_server().map_or(answer.body, |status| status.message);
            let status = Status::failure(&message, "").with_code(answer.status.as_u16());
            return Err(self.asked.refused(&status));
        }
        serde_json::from_str(&answer.body)
            .map_err(|error| Exit::Wrong.with(format!("no JSON from {}: {error}", self.asked)))
    }

    /// An object; `None` if it does not exist.
    pub(crate) async fn object(
        &self,
        kind: &ObjectKind,
        namespace: &str,
        name: &str,
    ) -> Result<Option<DynamicObject>, Failure> {
        let api = self.api(kind, namespace).await?;
        self.ask(api.get_opt(name)).await
    }

    /// All objects of a kind in a namespace, or the cluster-scoped ones, in the version that the API server serves.
    pub(crate) async fn api(&self, kind: &ObjectKind, namespace: &str) -> Result<Api<DynamicObject>, Failure> {
        let resource = self.resource(kind).await?;
        Ok(match kind {
            ObjectKind::Namespace => Api::all_with(self.client(), &resource),
            _ => Api::namespaced_with(self.client(), namespace, &resource),
        })
    }
}

impl Answer {
    /// The API server's own error, if this is one.
    pub(crate) fn of_api_server(&self) -> Option<ApiStatus> {
        let status = serde_json::from_str::<ApiStatus>(&self.body).ok()?;
        (status.kind == "Status").then_some(status)
    }
}

#[cfg(test)]
mod tests;
