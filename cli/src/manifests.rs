//! Commands that look at manifests: `render`, `routes`, `crds`.

use std::{
    fmt::Display,
    io::{Write, stdout},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Result, bail};
use chrono::Utc;
use tidegate_cluster::{
    ManifestSettings, Manifests, Objects, Routing,
    scaling::{self, Rendered, Settings},
};
use tidegate_core::{ids::RouteRef, no_effect::NoEffect, plan::Plan, yaml};
use tidegate_operator::watch::{self, WatchSettings, WatchState};
use tokio::time::{Instant, sleep};

use crate::{
    args::{ControllerArgs, RenderArgs, RoutesArgs, ScaleKindArgs},
    cluster::Cluster,
    exit::Exit,
    from_files,
};

/// Timeout for reading a cluster once.
const FIRST_LOOK: Duration = Duration::from_secs(60);

pub(crate) fn render(args: &RenderArgs) -> Result<()> {
    // Without a cluster to ask for its version, the output is for a current one.
    let settings = Settings { scaler: args.scaler.endpoint(), release: args.release.clone(), tolerance: true };
    let read = read(&args.files, args.namespace.as_ref(), &args.controllers, &args.scaled, !args.no_activator);
    let (objects, plan, now) = (&read.objects, read.objects.plan(), Utc::now());
    let mut rendered = scaling::render(objects, &plan, &settings, now);
    read.without_unknown_replicas(&mut rendered.scaled_objects);
    let scaled_by_others = read.without_scaled_by_others(&mut rendered.scaled_objects);
    read.without_assumed_namespaces(&mut rendered.scaled_objects);
    let mut out = stdout().lock();
    for object in &rendered.scaled_objects {
        write!(out, "---\n{}", yaml::write(object)?)?;
    }
    let mistakes: Vec<_> = mistakes(&read, &plan, &rendered).into_iter().chain(scaled_by_others).collect();
    report(&mistakes);
    report(
        rendered.notices.iter().filter(|(_, notice)| !notice.is_error()).map(|(id, notice)| format!("{id}: {notice}")),
    );
    for (name, calendar) in
        plan.calendars.iter().filter_map(|(name, known)| Some((name, &known.as_ref().ok()?.calendar)))
    {
        report(NoEffect::of_calendar("spec.hours", calendar, now).map(|what| format!("Calendar {name}: {what}")));
    }
    if mistakes.is_empty() && plan.workloads.is_empty() {
        report([
            "no Deployment, StatefulSet or other workload has annotations to scale on, such as tidegate.dev/requests-per-second",
        ]);
    }
    fail_if_any(read.errors.len() + mistakes.len())
}

/// Everything that has to be fixed before it can be acted on, a line each.
fn mistakes(read: &Manifests, plan: &Plan, rendered: &Rendered) -> Vec<String> {
    let errors = rendered.notices.iter().filter(|(_, notice)| notice.is_error());
    let of_workloads = errors.map(|(id, notice)| format!("{id}: {notice}"));
    from_files::mistakes(read, plan).into_iter().chain(of_workloads).collect()
}

/// Fails where something could not be read or acted on, which was reported before.
fn fail_if_any(wrong: usize) -> Result<()> {
    match wrong {
        0 => Ok(()),
        1 => bail!("1 problem: see above"),
        _ => bail!("{wrong} problems: see above"),
    }
}

/// Writes one line each to stderr.
fn report(lines: impl IntoIterator<Item = impl Display>) {
    for line in lines {
        eprintln!("tidegate: {line}");
    }
}

pub(crate) async fn routes(args: RoutesArgs) -> Result<()> {
    let (routing, place, unread) = if args.files.is_empty() {
        let cluster = Cluster::connect(&args.cluster).await?;
        (seen(&cluster, &args).await?, "the cluster", 0)
    } else {
        let Manifests { objects, errors, .. } =
            read(&args.files, args.namespace.as_ref(), &args.controllers, &args.scaled, true);
        (objects.routing(), "the files", errors.len())
    };
    let mut out = stdout().lock();
    match args.output.format() {
        Some(format) => format.write(&routing.backends, &mut out)?,
        None => write!(out, "{}", routing.table())?,
    }
    drop(out);
    follows_something(&routing, place)?;
    fail_if_any(unread)
}

/// An error where there are routes and none leads to a backend.
fn follows_something(routing: &Routing, place: &str) -> Result<()> {
    if routing.follows_any() {
        return Ok(());
    }
    match (routing.routes, routing.not_followed.len()) {
        (0, 0) => {
            eprintln!(
                "tidegate: there is no {}, and no AIGatewayRoute, in {place}: nothing to follow",
                RouteRef::MEASURED
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

/// Reads manifests, and reports what cannot be read.
fn read(
    files: &[PathBuf],
    namespace: Option<&String>,
    controllers: &ControllerArgs,
    scaled: &ScaleKindArgs,
    activates: bool,
) -> Manifests {
    let settings = ManifestSettings {
        namespace: namespace.cloned(),
        controller_names: controllers.names.clone(),
        scaled: scaled.kinds(),
        activates,
    };
    let read = Manifests::read(files, &settings);
    report(&read.errors);
    read
}

/// Runs the same watches as the service until each has read everything once.
async fn seen(cluster: &Cluster, args: &RoutesArgs) -> Result<Routing> {
    // Whether there is an answer at all is known sooner than a watch gives up.
    cluster.ask(cluster.client().apiserver_version()).await?;
    let settings = WatchSettings {
        controller_names: args.controllers.names.clone(),
        config_maps: args.configuration.config_maps()?,
        scaled: args.scaled.kinds(),
        ..WatchSettings::default()
    };
    let (watches, _tasks) = watch::start(&cluster.client(), &settings);
    let deadline = Instant::now() + FIRST_LOOK;
    loop {
        let states = watches.states();
        let listing = states.iter().filter(|(_, _, state)| *state == WatchState::Listing);
        let listing: Vec<_> = listing.map(|(kind, ..)| kind.to_string()).collect();
        if listing.is_empty() && !watches.awaits_configuration() {
            report(states.iter().filter_map(|(kind, _, state)| match state {
                WatchState::Failing(why) => Some(format!("routes are shown as if there were no {kind}: {why}")),
                _ => None,
            }));
            return Ok(watches.objects(Objects::routing));
        }
        if Instant::now() > deadline {
            let within = FIRST_LOOK.as_secs();
            return Err(Exit::NoAnswer
                .with(format!("not all of {} could be read within {within} s", listing.join(", ")))
                .into());
        }
        sleep(Duration::from_millis(50)).await;
    }
}
