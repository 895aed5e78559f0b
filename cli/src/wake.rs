//! `tidegate wake`: keeps a workload, a Gateway or a whole namespace awake for a while.

use anyhow::{Context, Result, anyhow, bail};
use chrono::{SecondsFormat, TimeDelta, Utc};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, Config, Resource, ResourceExt,
    api::{DynamicObject, Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::json;
use tidegate_cluster::Kind;
use tidegate_core::{
    key::Key,
    workload::{WorkloadKind, WorkloadRef},
};
use tidegate_operator::watch::resource;

use crate::{args::WakeArgs, run::install_crypto};

pub(crate) async fn wake(args: WakeArgs) -> Result<()> {
    install_crypto();
    let config = Config::infer().await.context("no cluster: set KUBECONFIG")?;
    let namespace = args.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config)?;
    let span = TimeDelta::from_std(args.time).ok().filter(|span| *span > TimeDelta::zero());
    let until = span.and_then(|span| Utc::now().checked_add_signed(span));
    let until =
        until.with_context(|| format!("--for {}: wants a time such as 2h", humantime::format_duration(args.time)))?;
    let until = until.to_rfc3339_opts(SecondsFormat::Secs, true);
    let wrong = || {
        anyhow!(
            "{:?}: write deployment/NAME, another KIND/NAME that is scaled, gateway/NAME or namespace/NAME",
            args.object
        )
    };
    let (kind, name) = args.object.split_once('/').filter(|(_, name)| !name.is_empty()).ok_or_else(wrong)?;
    match kind {
        "namespace" | "namespaces" | "ns" => {
            let object = annotate(&Api::<Namespace>::all(client), name, &until).await?;
            if !has_hours(&object) {
                eprintln!("tidegate: the Namespace has no hours; what in it has hours of its own is awake");
            }
        }
        "gateway" | "gateways" | "gtw" => {
            let served = resource::served(&client, Kind::Gateway).await.context("Gateways")?;
            let gateways = served.unwrap_or_else(|| resource::preferred(Kind::Gateway));
            let api = Api::<DynamicObject>::namespaced_with(client.clone(), &namespace, &gateways);
            one(&api, client, &namespace, name, &until).await?;
        }
        _ => {
            let WorkloadRef { kind, name } = args.object.parse().map_err(|_| wrong())?;
            let served = resource::served(&client, Kind::of_workload(kind)).await.with_context(|| kind.resource())?;
            let kind = served.unwrap_or_else(|| resource::preferred(Kind::of_workload(kind)));
            let api = Api::<DynamicObject>::namespaced_with(client.clone(), &namespace, &kind);
            one(&api, client, &namespace, &name, &until).await?;
        }
    }
    println!("{}/{name} is awake until {until}", kind_shown(kind));
    Ok(())
}

/// Annotates one object. Without hours it never sleeps: an override on it would be a mistake that nobody notices, and is refused.
async fn one<T>(api: &Api<T>, client: Client, namespace: &str, name: &str, until: &str) -> Result<()>
where
    T: Resource + Clone + DeserializeOwned + std::fmt::Debug,
{
    let object = api.get(name).await.with_context(|| format!("{name} in namespace {namespace}"))?;
    // A user who may write the workload may lack permission to read the Namespace; that is no error.
    let defaults = Api::<Namespace>::all(client).get(namespace).await.is_ok_and(|namespace| has_hours(&namespace));
    if !has_hours(&object) && !defaults {
        bail!(
            "{name} has no hours, nor has its Namespace: there is nothing to keep it awake from. Give it {} or {}",
            Key::Hours.annotation(),
            Key::Calendar.annotation()
        );
    }
    annotate(api, name, until).await.map(drop)
}

async fn annotate<T>(api: &Api<T>, name: &str, until: &str) -> Result<T>
where
    T: Resource + Clone + DeserializeOwned + std::fmt::Debug,
{
    let change = json!({ "metadata": { "annotations": { Key::KeepAwakeUntil.annotation(): until } } });
    let params = PatchParams { field_manager: Some("tidegate-cli".to_owned()), ..PatchParams::default() };
    api.patch(name, &params, &Patch::Merge(change)).await.with_context(|| format!("cannot annotate {name}"))
}

fn has_hours(object: &impl ResourceExt) -> bool {
    [Key::Hours, Key::Calendar].iter().any(|key| object.annotations().contains_key(key.annotation()))
}

fn kind_shown(kind: &str) -> String {
    match kind {
        "namespaces" | "ns" => "namespace".to_owned(),
        "gateways" | "gtw" => "gateway".to_owned(),
        other => other.parse().map_or_else(|_| other.to_owned(), WorkloadKind::kubectl_name),
    }
}
