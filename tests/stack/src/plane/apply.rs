//! Applies objects to the API server, by server-side apply.

use std::{fs, net::Ipv4Addr, path::Path, process::Stdio};

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams},
    core::TypeMeta,
};
use serde_json::{Value, json};
use tidegate_core::yaml;
use tokio::process::Command;

use super::READY;
use crate::wait::eventually;

/// Files of one call that are applied at once.
const AT_ONCE: usize = 8;

/// Applies every document of the YAML `text`.
pub(super) async fn text(client: &Client, text: &str) -> Result<()> {
    let objects: Vec<Value> = documents(text)?;
    stream::iter(objects).map(|object| one(client, object)).buffered(1).try_collect().await
}

/// Applies a file, or all files of a folder.
pub(super) async fn path(client: &Client, path: &Path) -> Result<()> {
    let mut texts = Vec::new();
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            texts.push(entry?.path());
        }
    } else {
        texts.push(path.to_owned());
    }
    texts.retain(|path| !path.ends_with("kustomization.yaml"));
    let files = texts.into_iter().map(|path| async move {
        let yaml = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        text(client, &yaml).await.with_context(|| format!("applying {}", path.display()))
    });
    stream::iter(files).buffer_unordered(AT_ONCE).try_collect().await
}

/// Applies one object. The path has the plural that kube guesses from the kind, which is right for all kinds that the stack applies.
pub(super) async fn one(client: &Client, object: Value) -> Result<()> {
    let object: DynamicObject = serde_json::from_value(object).context("not a Kubernetes object")?;
    let types: TypeMeta = object.types.clone().context("without apiVersion and kind")?;
    let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(&types)?);
    let name = object.metadata.name.clone().with_context(|| format!("a {} without a name", types.kind))?;
    let api: Api<DynamicObject> = match &object.metadata.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let apply = PatchParams::apply("tidegate-stack").force();
    api.patch(&name, &apply, &Patch::Apply(&object)).await.with_context(|| format!("{} {name}", types.kind))?;
    Ok(())
}

/// Makes `address` the endpoint of a Service without a selector.
pub(super) async fn endpoints(
    client: &Client,
    namespace: &str,
    service: &str,
    address: Ipv4Addr,
    ports: &Value,
) -> Result<()> {
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": service,
            "namespace": namespace,
            "labels": { "kubernetes.io/service-name": service },
        },
        "addressType": "IPv4",
        "endpoints": [{ "addresses": [address], "conditions": { "ready": true } }],
        "ports": ports,
    });
    one(client, slice).await
}

/// Waits until all CustomResourceDefinitions of `group` are served.
pub(super) async fn established(client: &Client, group: &str) -> Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let what = format!("the CustomResourceDefinitions of {group} are served");
    eventually(READY, &what, async || {
        let all = definitions.list(&ListParams::default()).await?;
        let served = |definition: &CustomResourceDefinition| {
            let conditions = definition.status.as_ref().and_then(|status| status.conditions.as_ref());
            conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Established" && c.status == "True"))
        };
        let of_group: Vec<_> = all.items.iter().filter(|definition| definition.spec.group == group).collect();
        Ok((!of_group.is_empty() && of_group.into_iter().all(served)).then_some(()))
    })
    .await
}

/// Returns the manifests that a command prints, such as `helm template`.
pub(super) async fn printed(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().await?;
    if !output.status.success() {
        bail!("{:?} failed: {}", command.as_std(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Returns the documents of a YAML stream, without empty ones.
pub(super) fn documents(text: &str) -> Result<Vec<Value>> {
    Ok(yaml::read_all(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_documents_are_left_out() {
        let documents = documents("---\n# only a comment\n---\nkind: A\n---\n---\nkind: B\n").unwrap();
        assert_eq!(documents.iter().map(|d| d["kind"].as_str().unwrap()).collect::<Vec<_>>(), ["A", "B"]);
    }
}
