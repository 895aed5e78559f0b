//! The admin server of the Tidegate that is installed: asked through the API server, which forwards to its Service, or directly.

use anyhow::Result;
use axum::http::{Response, StatusCode};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, client::Body};
use serde::de::DeserializeOwned;

use crate::{
    args::{ClusterArgs, InstalledArgs},
    cluster::{Answer, Cluster},
    exit::{Exit, Failure},
};

/// An installed Tidegate: its Service, or one pod of it.
#[derive(Clone)]
pub(crate) struct Tidegate {
    server: Cluster,
    /// Where its Service is, unless it is asked directly
    forwarded: Option<Forwarded>,
}

#[derive(Clone)]
struct Forwarded {
    namespace: String,
    service: String,
    /// To which the API server forwards: `services/NAME:PORT` or `pods/NAME:PORT`
    target: String,
}

impl Tidegate {
    pub(crate) async fn connect(cluster: &ClusterArgs, installed: &InstalledArgs) -> Result<Self, Failure> {
        match &installed.admin {
            Some(url) => Ok(Self { server: Cluster::at(url, cluster.request_timeout)?, forwarded: None }),
            None => Ok(Self::in_cluster(Cluster::connect(cluster).await?, installed)),
        }
    }

    /// The Tidegate of a cluster.
    pub(crate) fn in_cluster(server: Cluster, installed: &InstalledArgs) -> Self {
        let (namespace, service) = (installed.system_namespace.clone(), installed.service.clone());
        let target = format!("services/{service}:admin");
        Self { server, forwarded: Some(Forwarded { namespace, service, target }) }
    }

    /// One pod of it, which is the same where the admin server is asked directly.
    pub(crate) fn to_pod(&self, pod: &str, port: u16) -> Self {
        let to_it = |forwarded| Forwarded { target: format!("pods/{pod}:{port}"), ..forwarded };
        Self { server: self.server.clone(), forwarded: self.forwarded.clone().map(to_it) }
    }

    /// The pod that leads, unless the admin server is asked directly or the Lease cannot be read.
    pub(crate) async fn leader(&self) -> Option<String> {
        let Forwarded { namespace, service, .. } = self.forwarded.as_ref()?;
        // The Lease has the Service's name, and is held by a pod in the pod's name.
        let lease = self.server.ask(Api::<Lease>::namespaced(self.server.client(), namespace).get(service)).await;
        lease.ok()?.spec?.holder_identity.filter(|holder| !holder.is_empty())
    }

    /// The cluster, if it is known: not where the admin server is asked directly.
    pub(crate) fn cluster(&self) -> Option<&Cluster> {
        self.forwarded.is_some().then_some(&self.server)
    }

    /// The namespace that is meant where none is given.
    pub(crate) fn namespace(&self) -> &str {
        self.server.namespace()
    }

    /// Tidegate's own answer to a path such as `/readyz`, whatever its status is.
    pub(crate) async fn get(&self, path: &str) -> Result<Answer, Failure> {
        let answer = self.server.get(&self.path(path)).await?;
        match self.not_forwarded(&answer) {
            Some(failure) => Err(failure),
            None => Ok(answer),
        }
    }

    /// The answer as it comes: a stream has no end.
    pub(crate) async fn open(&self, path: &str) -> Result<Response<Body>, Failure> {
        self.server.open(&self.path(path)).await
    }

    /// A path of Tidegate's at the server that is asked.
    fn path(&self, path: &str) -> String {
        match &self.forwarded {
            Some(Forwarded { namespace, target, .. }) => format!("/api/v1/namespaces/{namespace}/{target}/proxy{path}"),
            None => path.to_owned(),
        }
    }

    /// Tidegate's answer as text.
    pub(crate) async fn text(&self, path: &str) -> Result<String, Failure> {
        self.get(path).await?.text()
    }

    /// Tidegate's answer as JSON.
    pub(crate) async fn json<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let text = self.text(path).await?;
        let other = |error| {
            Exit::Wrong.with(format!(
                "Tidegate's answer to {path} is of another version ({error}): `tidegate version` compares them"
            ))
        };
        serde_json::from_str(&text).map_err(other)
    }

    /// Why the API server did not forward the request, if it did not.
    fn not_forwarded(&self, answer: &Answer) -> Option<Failure> {
        let Forwarded { namespace, service, .. } = self.forwarded.as_ref()?;
        let text = answer.of_api_server().map(|status| status.message);
        // Older API servers write it as plain text.
        let plain = || {
            answer.body.to_ascii_lowercase().starts_with("error trying to reach service").then(|| answer.body.clone())
        };
        let message = text.or_else(plain)?;
        let pods = format!("`kubectl -n {namespace} get pods -l app.kubernetes.io/name=tidegate` says why");
        Some(match answer.status {
            StatusCode::NOT_FOUND => Exit::NoAnswer.with(format!(
                "there is no Service {service} in namespace {namespace}: --system-namespace and --service say where Tidegate is, and `helm list -A` \
                 where it was installed"
            )),
            StatusCode::SERVICE_UNAVAILABLE if message.contains("no endpoints available") => {
                Exit::NoAnswer.with(format!("no pod of Tidegate is ready in namespace {namespace}: {pods}"))
            }
            StatusCode::FORBIDDEN => Exit::NotAllowed.with(format!(
                "{}: the chart's README has the Role for it; --admin works without, through `kubectl port-forward`",
                message.trim()
            )),
            StatusCode::UNAUTHORIZED => Exit::NotAllowed
                .with("the API server does not accept the credentials, which may have expired (401): log in to the cluster again"),
            status if status.is_server_error() => {
                Exit::NoAnswer.with(format!("the API server does not reach Tidegate ({}): {pods}", message.trim()))
            }
            _ => Exit::Wrong.with(message),
        })
    }
}

impl Answer {
    /// The body of a good answer; the text of an error is made to be shown.
    pub(crate) fn text(self) -> Result<String, Failure> {
        let exit = match self.status {
            status if status.is_success() => return Ok(self.body),
            StatusCode::NOT_FOUND => Exit::Missing,
            status if status.is_server_error() => Exit::NoAnswer,
            _ => Exit::Wrong,
        };
        Err(exit.with(self.body.trim_end()))
    }
}
