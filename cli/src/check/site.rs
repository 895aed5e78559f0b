//! Everything that the checks look at, asked for at the same time.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use serde_json::Value;
use tidegate_cluster::Kind;
use tidegate_core::workload::WorkloadKind;
use tokio::join;

use super::{
    access::{self, Access},
    object::{argument, name, namespace, text},
};
use crate::{
    args::InstalledArgs,
    cluster::{Answer, Cluster},
    exit::Failure,
    tidegate::Tidegate,
    version::{self, Version},
};

/// What was found in a cluster.
pub(super) struct Site {
    pub(super) installed: InstalledArgs,
    pub(super) now: DateTime<Utc>,
    pub(super) kubernetes: Result<Kubernetes, Failure>,
    /// The plurals that each `group/version` has
    pub(super) served: BTreeMap<String, BTreeSet<String>>,
    pub(super) kedas: Vec<Value>,
    pub(super) envoy_gateways: Vec<Value>,
    pub(super) tidegates: Vec<Value>,
    /// ScaledObjects of any release of Tidegate
    pub(super) scaled_objects: Result<Vec<Value>, Failure>,
    /// Workloads that exist, of the kinds that these name: kind, namespace and name. A kind that could not be listed is absent
    pub(super) workloads: BTreeMap<String, BTreeSet<(String, String)>>,
    pub(super) slices: Vec<Value>,
    /// The Lease of each release that is known
    pub(super) leases: Vec<Value>,
    pub(super) readyz: Result<Answer, Failure>,
    pub(super) server: Result<Version, Failure>,
    pub(super) events: Vec<Value>,
    pub(super) certificates: Vec<(String, Result<Value, Failure>)>,
    pub(super) of_user: Vec<Access>,
    pub(super) of_tidegate: Result<Vec<Access>, Failure>,
}

/// The API server.
pub(super) struct Kubernetes {
    pub(super) version: String,
    pub(super) number: (u32, u32),
    /// How far its clock is ahead of this machine's
    pub(super) ahead: Option<TimeDelta>,
}

const DEPLOYMENTS: &str = "/apis/apps/v1/deployments?labelSelector=";
/// Label of a ScaledObject that Tidegate made.
const RELEASE: &str = tidegate_core::plan::RELEASE;

impl Site {
    /// Looks at a cluster; `pre`: where Tidegate is still to be installed.
    pub(super) async fn look(
        cluster: Cluster,
        tidegate: &Tidegate,
        installed: &InstalledArgs,
        pre: bool,
        now: DateTime<Utc>,
    ) -> Self {
        let deployments =
            async |labels: &str| cluster.list(&format!("{DEPLOYMENTS}{labels}")).await.unwrap_or_default();
        let (kubernetes, served, kedas, envoy_gateways, tidegates) = join!(
            kubernetes(&cluster, now),
            served(&cluster),
            deployments("app.kubernetes.io/name%3Dkeda-operator"),
            deployments("control-plane%3Denvoy-gateway"),
            deployments("app.kubernetes.io/name%3Dtidegate"),
        );
        let of_tidegate = format!("/apis/keda.sh/v1alpha1/scaledobjects?labelSelector={RELEASE}");
        let (scaled_objects, slices, events, readiness, own) = join!(
            cluster.list(&of_tidegate),
            cluster.list(
                "/apis/discovery.k8s.io/v1/endpointslices?labelSelector=endpointslice.kubernetes.io/managed-by%3Dtidegate.dev"
            ),
            cluster.list("/apis/events.k8s.io/v1/events?fieldSelector=type%3DWarning"),
            tidegate.get("/readyz"),
            version::server(tidegate),
        );
        let (workloads, leases, certificates, of_user, of_tidegate) = join!(
            workloads(&cluster, scaled_objects.as_deref().unwrap_or_default()),
            leases(&cluster, &tidegates),
            certificates(&cluster, &tidegates),
            access::of_user(&cluster, installed, pre),
            access::of_tidegate(&cluster, &tidegates, &served),
        );
        let is_ours = |event: &Value| event["reportingController"] == "tidegate";
        Self {
            installed: installed.clone(),
            now,
            kubernetes,
            served,
            kedas,
            envoy_gateways,
            tidegates,
            scaled_objects,
            workloads,
            slices: slices.unwrap_or_default(),
            leases,
            readyz: readiness,
            server: own,
            events: events.unwrap_or_default().into_iter().filter(is_ours).collect(),
            certificates,
            of_user,
            of_tidegate,
        }
    }

    /// Whether the API server knows the kind in a version that Tidegate can read.
    pub(super) fn serves(&self, kind: Kind) -> bool {
        kind.versions().iter().any(|version| {
            self.served.get(&kind.api_version(version)).is_some_and(|plurals| plurals.contains(kind.plural()))
        })
    }
}

async fn kubernetes(cluster: &Cluster, now: DateTime<Utc>) -> Result<Kubernetes, Failure> {
    let answer = cluster.get("/version").await?;
    let date = answer.date.as_deref().and_then(|date| DateTime::parse_from_rfc2822(date).ok());
    let version = cluster.value(answer)?;
    let number = |field: &str| {
        let text = version[field].as_str().unwrap_or_default();
        text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0)
    };
    Ok(Kubernetes {
        version: text(&version["gitVersion"]).to_owned(),
        number: (number("major"), number("minor")),
        ahead: date.map(|date| date.to_utc() - now),
    })
}

/// What is served of the groups that Tidegate reads.
async fn served(cluster: &Cluster) -> BTreeMap<String, BTreeSet<String>> {
    let versions: BTreeSet<_> = Kind::ALL
        .iter()
        .filter(|kind| !kind.api_group().is_empty())
        .flat_map(|kind| kind.versions().iter().map(|version| kind.api_version(version)))
        .collect();
    let plurals = async |version: String| {
        let answer = cluster.get(&format!("/apis/{version}")).await.ok()?;
        let list = cluster.value(answer).ok()?;
        let names = list["resources"].as_array()?.iter().map(|resource| text(&resource["name"]).to_owned()).collect();
        Some((version, names))
    };
    join_all(versions.into_iter().map(plurals)).await.into_iter().flatten().collect()
}

/// The workloads of the kinds that the ScaledObjects name.
async fn workloads(cluster: &Cluster, scaled: &[Value]) -> BTreeMap<String, BTreeSet<(String, String)>> {
    let known = |object: &Value| {
        let target = &object["spec"]["scaleTargetRef"];
        let (version, kind) = (target["apiVersion"].as_str(), target["kind"].as_str());
        WorkloadKind::of(version.unwrap_or("apps/v1"), kind.unwrap_or("Deployment"))
    };
    let kinds: BTreeSet<_> = scaled.iter().filter_map(known).collect();
    let names = async |kind: WorkloadKind| {
        let found = cluster.list(&format!("/apis/{}/{}", kind.api_version(), kind.plural())).await.ok()?;
        let names = found.iter().map(|object| (namespace(object).to_owned(), name(object).to_owned()));
        Some((kind.as_str().to_owned(), names.collect()))
    };
    join_all(kinds.into_iter().map(names)).await.into_iter().flatten().collect()
}

/// The Lease of each release, by the argument that names it.
async fn leases(cluster: &Cluster, tidegates: &[Value]) -> Vec<Value> {
    let lease = async |deployment: &Value| {
        let name = argument(deployment, "--lease-name").unwrap_or_else(|| name(deployment).to_owned());
        let path = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases/{name}", namespace(deployment));
        cluster.value(cluster.get(&path).await.ok()?).ok()
    };
    join_all(tidegates.iter().map(lease)).await.into_iter().flatten().collect()
}

/// The Secret with the certificate of each release that has one.
async fn certificates(cluster: &Cluster, tidegates: &[Value]) -> Vec<(String, Result<Value, Failure>)> {
    let secret = async |deployment: &Value| {
        let volumes = deployment["spec"]["template"]["spec"]["volumes"].as_array()?;
        let secret = volumes.iter().find(|volume| volume["name"] == "tls")?["secret"]["secretName"].as_str()?;
        let found = cluster.get(&format!("/api/v1/namespaces/{}/secrets/{secret}", namespace(deployment))).await;
        Some((format!("{}/{secret}", namespace(deployment)), found.and_then(|answer| cluster.value(answer))))
    };
    join_all(tidegates.iter().map(secret)).await.into_iter().flatten().collect()
}
