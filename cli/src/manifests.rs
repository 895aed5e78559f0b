//! Commands that look at manifests: `render`, `routes`, `crds`.

use std::{
    io::{Write, stdout},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use chrono::Utc;
use kube::Client;
use tidegate_cluster::{
    Objects, Routing, read_manifests_scaling,
    scaling::{self, Settings},
};
use tidegate_core::{intent::Managed, no_effect::NoEffect, workload::WorkloadKind};
use tidegate_operator::watch;
use tokio::time::{Instant, sleep};

use crate::{
    args::{Output, RenderArgs, RoutesArgs},
    run::install_crypto,
};

/// Timeout for reading a cluster once.
const FIRST_LOOK: Duration = Duration::from_secs(60);

pub(crate) fn render(args: &RenderArgs) -> Result<()> {
    // Without a cluster to ask for its version, the output is for a current one.
    let settings = Settings { scaler: args.scaler.endpoint(), release: args.release.clone(), tolerance: true };
    let objects = read_manifests_scaling(&args.files, &args.scaled.kinds())?;
    let (plan, now) = (objects.plan(), Utc::now());
    let rendered = scaling::render(&plan, &settings, now);
    let mut out = stdout().lock();
    for object in &rendered.scaled_objects {
        write!(out, "---\n{}", serde_yaml_ng::to_string(object)?)?;
    }
    for (namespace, problem) in objects.namespaces().flat_map(|(name, all)| all.into_iter().map(move |one| (name, one)))
    {
        eprintln!("tidegate: namespace {namespace}: {problem}");
    }
    for not_scaled in objects.not_scaled() {
        eprintln!("tidegate: {not_scaled}");
    }
    for (id, notice) in &rendered.notices {
        eprintln!("tidegate: {id}: {notice}");
    }
    for (name, calendar) in
        plan.calendars.iter().filter_map(|(name, known)| Some((name, &known.as_ref().ok()?.calendar)))
    {
        for what in NoEffect::of_calendar("spec.hours", calendar, now) {
            eprintln!("tidegate: Calendar {name}: {what}");
        }
    }
    let wrong = rendered.notices.iter().filter(|(_, notice)| notice.is_error()).count();
    if wrong > 0 {
        bail!("{wrong} annotation{} cannot be acted on", if wrong == 1 { "" } else { "s" });
    }
    if rendered.scaled_objects.is_empty() {
        eprintln!(
            "tidegate: no Deployment, StatefulSet or other workload has annotations to scale on, such as tidegate.dev/requests-per-second"
        );
    }
    Ok(())
}

pub(crate) async fn routes(args: RoutesArgs) -> Result<()> {
    install_crypto();
    let (routing, place) = if args.files.is_empty() {
        let client =
            Client::try_default().await.context("no cluster: set KUBECONFIG, or give manifests with --file")?;
        (seen(&client, &args.scaled.kinds()).await?, "the cluster")
    } else {
        (read_manifests_scaling(&args.files, &args.scaled.kinds())?.routing(), "the files")
    };
    let mut out = stdout().lock();
    match args.output {
        Output::Json => writeln!(out, "{}", serde_json::to_string_pretty(&routing.backends)?)?,
        Output::Table => write!(out, "{}", routing.table())?,
    }
    drop(out);
    follows_something(&routing, place)
}

/// An error where there are routes and none leads to a backend.
fn follows_something(routing: &Routing, place: &str) -> Result<()> {
    if routing.follows_any() {
        return Ok(());
    }
    match (routing.routes, routing.not_followed.len()) {
        (0, 0) => {
            eprintln!(
                "tidegate: there is no HTTPRoute, GRPCRoute, TCPRoute, TLSRoute, UDPRoute or AIGatewayRoute in {place}: nothing to \
                 follow"
            );
            Ok(())
        }
        (routes, 0) => bail!("no backend gets traffic: of {} in {place} none names a backend", counted(routes)),
        (routes, _) => {
            bail!("no backend gets traffic: of {} in {place} none is followed; the reasons are above", counted(routes))
        }
    }
}

fn counted(routes: usize) -> String {
    if routes == 1 { "1 route".to_owned() } else { format!("{routes} routes") }
}

pub(crate) fn crds() -> Result<()> {
    Ok(stdout().write_all(include_bytes!("../../charts/tidegate/crds/calendars.yaml"))?)
}

/// Runs the same watches as the service until each has read everything once.
async fn seen(client: &Client, scaled: &[WorkloadKind]) -> Result<Routing> {
    let (watches, _tasks) = watch::start(client, &[], &[], Managed::default(), scaled);
    let deadline = Instant::now() + FIRST_LOOK;
    loop {
        let missing = watches.missing();
        if missing.is_empty() {
            return Ok(watches.objects(Objects::routing));
        }
        if Instant::now() > deadline {
            let missing: Vec<_> = missing.iter().map(|(kind, _, state)| format!("{kind}: {state}")).collect();
            bail!("not everything could be read within {} s: {}", FIRST_LOOK.as_secs(), missing.join("; "));
        }
        sleep(Duration::from_millis(50)).await;
    }
}
