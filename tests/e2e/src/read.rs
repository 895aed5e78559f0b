//! Reads of the cluster without a process for each. A test that waits for something looks several times a second, and `kubectl`
//! takes 55 ms of CPU per look, so that on two cores four such tests would leave little for what they wait for.

use std::{sync::LazyLock, time::Duration};

use anyhow::{Context, Result, anyhow};
use hyper::Request;
use kube::Client;
use serde_json::Value;
use tokio::{
    runtime::{Builder, Runtime},
    sync::OnceCell,
    time::timeout,
};

/// What is read this way: the singular name, the path of its API, the name there, and whether it has a namespace.
const KINDS: [(&str, &str, &str, bool); 13] = [
    ("calendar", "apis/tidegate.dev/v1alpha1", "calendars", false),
    ("cronjob", "apis/batch/v1", "cronjobs", true),
    ("daemonset", "apis/apps/v1", "daemonsets", true),
    ("deployment", "apis/apps/v1", "deployments", true),
    ("envoyproxy", "apis/gateway.envoyproxy.io/v1alpha1", "envoyproxies", true),
    ("event", "api/v1", "events", true),
    ("gateway", "apis/gateway.networking.k8s.io/v1", "gateways", true),
    ("hpa", "apis/autoscaling/v2", "horizontalpodautoscalers", true),
    ("job", "apis/batch/v1", "jobs", true),
    ("lease", "apis/coordination.k8s.io/v1", "leases", true),
    ("pod", "api/v1", "pods", true),
    ("scaledobject", "apis/keda.sh/v1alpha1", "scaledobjects", true),
    ("statefulset", "apis/apps/v1", "statefulsets", true),
];

/// Time limit of a read.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Where the client's connections live: each test has a runtime of its own, which ends with it.
static RUNTIME: LazyLock<std::io::Result<Runtime>> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(1).enable_all().build());
static CLIENT: OnceCell<Client> = OnceCell::const_new();

/// One read.
#[derive(Debug, PartialEq)]
pub(crate) struct Read {
    path: String,
    with_managed_fields: bool,
}

impl Read {
    /// The read for these arguments of `kubectl get`; `None` for what `kubectl` has to do.
    pub(crate) fn of(args: &[&str]) -> Option<Self> {
        let (mut names, mut namespace, mut query) = (Vec::new(), Some("default"), Vec::new());
        let mut with_managed_fields = false;
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match *arg {
                "-n" => namespace = Some(args.next()?),
                "-A" => namespace = None,
                "-l" => query.push(format!("labelSelector={}", encoded(args.next()?))),
                "--field-selector" => query.push(format!("fieldSelector={}", encoded(args.next()?))),
                "--show-managed-fields" => with_managed_fields = true,
                flag if flag.starts_with('-') => return None,
                name => names.extend(name.split('/')),
            }
        }
        let (kind, name) = match names[..] {
            [kind] => (kind, None),
            [kind, name] => (kind, Some(name)),
            _ => return None,
        };
        let (_, api, plural, in_namespace) =
            KINDS.iter().find(|(singular, _, plural, _)| [*singular, *plural].contains(&kind))?;
        let namespace = namespace.filter(|_| *in_namespace).map(|namespace| format!("namespaces/{namespace}"));
        let parts = [Some(*api), namespace.as_deref(), Some(*plural), name];
        let path = parts.into_iter().flatten().fold(String::new(), |path, part| path + "/" + part);
        let path = if query.is_empty() { path } else { path + "?" + &query.join("&") };
        Some(Self { path, with_managed_fields })
    }

    /// Reads it.
    pub(crate) async fn now(self) -> Result<Value> {
        let runtime = RUNTIME.as_ref().map_err(|error| anyhow!("no runtime: {error}"))?;
        let path = self.path.clone();
        let read = runtime.spawn(async move {
            let client = CLIENT.get_or_try_init(Client::try_default).await?;
            let request = Request::get(self.path).body(Vec::new())?;
            anyhow::Ok(client.request::<Value>(request).await?)
        });
        let read = timeout(ANSWER_WITHIN, read).await;
        let read = read.map_err(|_| anyhow!("no answer within {ANSWER_WITHIN:?}")).and_then(|read| read?);
        let mut value = read.with_context(|| format!("reading {path}"))?;
        if !self.with_managed_fields {
            let one = value.get_mut("metadata").into_iter();
            one.for_each(without_managed_fields);
            let items = value.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten();
            items.filter_map(|item| item.get_mut("metadata")).for_each(without_managed_fields);
        }
        Ok(value)
    }
}

fn without_managed_fields(metadata: &mut Value) {
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.remove("managedFields");
    }
}

/// Percent-encodes all of it.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(args: &[&str]) -> Option<String> {
        Read::of(args).map(|read| read.path)
    }

    #[test]
    fn arguments_of_kubectl_get_name_a_path_of_the_api() {
        let of = |args: &[&str]| path(args).unwrap();
        assert_eq!(of(&["-n", "shop", "deployment", "api"]), "/apis/apps/v1/namespaces/shop/deployments/api");
        assert_eq!(of(&["deployment/api", "-n", "shop"]), "/apis/apps/v1/namespaces/shop/deployments/api");
        assert_eq!(of(&["pods", "-A", "-l", "a=b"]), "/api/v1/pods?labelSelector=%61%3d%62");
        assert_eq!(of(&["calendar", "days"]), "/apis/tidegate.dev/v1alpha1/calendars/days");
        assert_eq!(of(&["jobs"]), "/apis/batch/v1/namespaces/default/jobs");
    }

    #[test]
    fn what_is_not_understood_is_left_to_kubectl() {
        for args in [&["secrets"][..], &["scaledobject,hpa"], &["pods", "--watch"], &["pods", "a", "b"], &[]] {
            assert_eq!(path(args), None, "{args:?}");
        }
    }
}
