//! What the user and Tidegate's service account may do: the API server's reviews of access.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use serde_json::{Value, json};
use tidegate_cluster::Kind;

use super::object::{arguments, namespace};
use crate::{args::InstalledArgs, cluster::Cluster, exit::Failure};

/// Reviews at one time.
const AT_ONCE: usize = 8;

/// One permission, and whether it is there.
#[derive(Debug, Clone)]
pub(super) struct Access {
    pub(super) right: Right,
    pub(super) allowed: Result<bool, Failure>,
}

/// Something that may be allowed.
#[derive(Debug, Clone)]
pub(super) struct Right {
    verb: &'static str,
    group: &'static str,
    resource: &'static str,
    subresource: &'static str,
    namespace: String,
    /// What it is for
    pub(super) why: &'static str,
}

const fn right(verb: &'static str, group: &'static str, resource: &'static str, why: &'static str) -> Right {
    Right { verb, group, resource, subresource: "", namespace: String::new(), why }
}

impl Right {
    fn attributes(&self) -> Value {
        json!({"verb": self.verb, "group": self.group, "resource": self.resource, "subresource": self.subresource, "namespace": self.namespace})
    }

    pub(super) fn shown(&self) -> String {
        let resource = if self.subresource.is_empty() {
            self.resource.to_owned()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        };
        let group = if self.group.is_empty() { String::new() } else { format!(".{}", self.group) };
        let within =
            if self.namespace.is_empty() { String::new() } else { format!(" in namespace {}", self.namespace) };
        format!("{} {resource}{group}{within}", self.verb)
    }
}

/// What the commands need of the user; before the installation, what Helm needs.
pub(super) async fn of_user(cluster: &Cluster, installed: &InstalledArgs, pre: bool) -> Vec<Access> {
    if pre {
        return Vec::new();
    }
    let proxy = Right {
        subresource: "proxy",
        namespace: installed.system_namespace.clone(),
        ..right("get", "", "services", "`explain`, `get` and `top` ask Tidegate through it")
    };
    let rights = [
        proxy,
        right("list", "keda.sh", "scaledobjects", "`check` looks at them"),
        right("patch", "apps", "deployments", "`wake` annotates them"),
    ];
    review(cluster, rights, |attributes| {
        (
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            "SelfSubjectAccessReview",
            json!({"resourceAttributes": attributes}),
        )
    })
    .await
}

/// What the table of kinds says that Tidegate reads, and what it writes, for the service account of the first release that is found.
pub(super) async fn of_tidegate(
    cluster: &Cluster,
    tidegates: &[Value],
    served: &BTreeMap<String, BTreeSet<String>>,
) -> Result<Vec<Access>, Failure> {
    let Some(deployment) = tidegates.first() else { return Ok(Vec::new()) };
    let account = deployment["spec"]["template"]["spec"]["serviceAccountName"].as_str().unwrap_or("default");
    let account = format!("system:serviceaccount:{}:{account}", namespace(deployment));
    let is_served = |kind: &Kind| {
        kind.api_group().is_empty()
            || kind.versions().iter().any(|version| {
                served.get(&kind.api_version(version)).is_some_and(|plurals| plurals.contains(kind.plural()))
            })
    };
    let read = Kind::ALL.iter().copied().filter(|kind| *kind != Kind::CronJob && is_served(kind));
    let read = read.map(|kind| (kind.namespaced(), right("list", kind.api_group(), kind.plural(), "it is read")));
    let written = [
        (true, right("patch", "keda.sh", "scaledobjects", "one for each workload is written")),
        (true, right("create", "events.k8s.io", "events", "it says what is wrong in them")),
    ];
    let namespaces = arguments(deployment, "--namespace");
    let everywhere = |(namespaced, right): (bool, Right)| {
        if namespaces.is_empty() || !namespaced {
            return vec![right];
        }
        namespaces.iter().map(|namespace| Right { namespace: namespace.clone(), ..right.clone() }).collect()
    };
    let mut rights: Vec<_> = read.chain(written).flat_map(everywhere).collect();
    rights.push(Right {
        namespace: namespace(deployment).to_owned(),
        ..right("create", "coordination.k8s.io", "leases", "it elects who writes")
    });
    let all = review(cluster, rights, |attributes| {
        let spec = json!({"user": account, "groups": ["system:serviceaccounts"], "resourceAttributes": attributes});
        ("/apis/authorization.k8s.io/v1/subjectaccessreviews", "SubjectAccessReview", spec)
    })
    .await;
    match all.iter().find_map(|access| access.allowed.as_ref().err()) {
        Some(failure) => Err(failure.clone()),
        None => Ok(all),
    }
}

async fn review(
    cluster: &Cluster,
    rights: impl IntoIterator<Item = Right>,
    spec: impl Fn(Value) -> (&'static str, &'static str, Value),
) -> Vec<Access> {
    let asked = rights.into_iter().map(async |right| {
        let (path, kind, spec) = spec(right.attributes());
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec});
        let answer = cluster.review(path, &review).await;
        Access { right, allowed: answer.map(|answer| answer["status"]["allowed"] == true) }
    });
    stream::iter(asked).buffered(AT_ONCE).collect().await
}
