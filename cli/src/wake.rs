//! `tidegate wake`: keeps a workload, a Gateway or a whole namespace awake for a while.

use std::io::{Write, stdout};

use anyhow::Result;
use chrono::{SecondsFormat, TimeDelta, Utc};
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, Patch, PatchParams},
};
use serde_json::json;
use tidegate_core::key::Key;

use crate::{
    args::WakeArgs,
    cluster::Cluster,
    exit::{Exit, Failure},
    object::{ObjectKind, ObjectRef, named},
};

pub(crate) async fn wake(args: WakeArgs) -> Result<()> {
    let objects = named(&args.objects)?;
    let span = TimeDelta::from_std(args.time).ok().filter(|span| *span > TimeDelta::zero());
    let until = span.and_then(|span| Utc::now().checked_add_signed(span));
    let wanted =
        || Exit::Usage.with(format!("--for {}: wants a time such as 2h", humantime::format_duration(args.time)));
    let until = until.ok_or_else(wanted)?.to_rfc3339_opts(SecondsFormat::Secs, true);
    let cluster = Cluster::connect(&args.cluster).await?;
    let namespace = args.within.namespace.unwrap_or_else(|| cluster.namespace().to_owned());
    for object in &objects {
        Waker { cluster: &cluster, namespace: &namespace, until: &until }.wake(object).await?;
        writeln!(stdout(), "{object} is awake until {until}")?;
    }
    Ok(())
}

struct Waker<'a> {
    cluster: &'a Cluster,
    namespace: &'a str,
    until: &'a str,
}

impl Waker<'_> {
    async fn wake(&self, object: &ObjectRef) -> Result<(), Failure> {
        let api = self.cluster.api(&object.kind, self.namespace).await?;
        if object.kind != ObjectKind::Namespace {
            return self.one(&api, object).await;
        }
        let namespace = self.annotate(&api, object).await?;
        if !has_hours(&namespace) {
            eprintln!("tidegate: the Namespace has no hours; what in it has hours of its own is awake");
        }
        Ok(())
    }

    /// Annotates one object. Without hours it never sleeps: an override on it would be a mistake that nobody notices, and is refused.
    async fn one(&self, api: &Api<DynamicObject>, object: &ObjectRef) -> Result<(), Failure> {
        let missing = || Exit::Missing.with(format!("{object} does not exist in namespace {}", self.namespace));
        let found = self.cluster.ask(api.get_opt(&object.name)).await?.ok_or_else(missing)?;
        // A user who may write the workload may lack permission to read the Namespace; that is no error.
        let defaults = self.cluster.object(&ObjectKind::Namespace, "", self.namespace).await;
        let defaults = defaults.is_ok_and(|namespace| namespace.is_some_and(|namespace| has_hours(&namespace)));
        if !has_hours(&found) && !defaults {
            return Err(Exit::Wrong.with(format!(
                "{object} has no hours, nor has its Namespace: there is nothing to keep it awake from. Give it {} or {}",
                Key::Hours.annotation(),
                Key::Calendar.annotation()
            )));
        }
        self.annotate(api, object).await.map(drop)
    }

    async fn annotate(&self, api: &Api<DynamicObject>, object: &ObjectRef) -> Result<DynamicObject, Failure> {
        let change = json!({ "metadata": { "annotations": { Key::KeepAwakeUntil.annotation(): self.until } } });
        let params = PatchParams { field_manager: Some("tidegate-cli".to_owned()), ..PatchParams::default() };
        self.cluster.ask(api.patch(&object.name, &params, &Patch::Merge(change))).await
    }
}

fn has_hours(object: &DynamicObject) -> bool {
    [Key::Hours, Key::Calendar].iter().any(|key| object.annotations().contains_key(key.annotation()))
}
