//! `tidegate explain`: asks the scaler that runs in the cluster why a workload has its replicas, or a Gateway its proxies.

use std::io::{Write, stdout};

use anyhow::Result;
use axum::http::StatusCode;
use serde_json::Value;
use tidegate_core::key::Key;
use tokio::try_join;

use crate::{
    args::ExplainArgs,
    exit::{Exit, Failure, report},
    object::{ObjectKind, ObjectRef, named},
    redraw::redraw,
    tidegate::Tidegate,
};

pub(crate) async fn explain(args: ExplainArgs) -> Result<()> {
    let objects = named(&args.objects)?;
    let tidegate = Tidegate::connect(&args.cluster, &args.installed).await?;
    let namespace = args.within.namespace.clone().unwrap_or_else(|| tidegate.namespace().to_owned());
    let explainer = Explainer { tidegate, namespace };
    if args.watch {
        return redraw(async || explainer.pages(&objects).await).await;
    }
    match args.output.format() {
        None => explainer.print_pages(&objects).await,
        Some(format) => {
            let mut all = Vec::new();
            for object in &objects {
                all.push(explainer.value(object).await?);
            }
            let is_wrong = all.iter().any(is_wrong);
            match &all[..] {
                [one] => format.write(one, &mut stdout().lock())?,
                several => format.write(&several, &mut stdout().lock())?,
            }
            ended(is_wrong)
        }
    }
}

/// Whoever runs it in a script learns by the exit code that something is wrong; the page has said what.
fn ended(is_wrong: bool) -> Result<()> {
    if is_wrong { Err(Exit::Wrong.silently().into()) } else { Ok(()) }
}

/// Whether an explanation says that something is wrong.
fn is_wrong(explanation: &Value) -> bool {
    explanation["problems"].as_array().is_some_and(|problems| !problems.is_empty())
}

struct Explainer {
    tidegate: Tidegate,
    namespace: String,
}

impl Explainer {
    /// Prints a page for each object. One that cannot be explained is no reason to leave out the others.
    async fn print_pages(&self, objects: &[ObjectRef]) -> Result<()> {
        let mut worst = None;
        for (index, object) in objects.iter().enumerate() {
            let mut out = stdout();
            if index > 0 {
                writeln!(out)?;
            }
            match self.page(object).await {
                Ok((page, is_wrong)) => {
                    write!(out, "{page}")?;
                    worst = worst.max(is_wrong.then_some(Exit::Wrong));
                }
                Err(failure) => {
                    worst = worst.max(Some(failure.exit));
                    report(&Err(failure.into()));
                }
            }
        }
        worst.map_or(Ok(()), |exit| Err(exit.silently().into()))
    }

    /// All pages as one, with what cannot be explained in its place.
    async fn pages(&self, objects: &[ObjectRef]) -> Result<String> {
        let mut pages = Vec::new();
        for object in objects {
            pages.push(self.page(object).await.map_or_else(|failure| format!("{failure}\n"), |(page, _)| page));
        }
        Ok(pages.join("\n"))
    }

    /// The page, and whether it says that something is wrong.
    async fn page(&self, object: &ObjectRef) -> Result<(String, bool), Failure> {
        let (page, value) = try_join!(self.ask(object, "page"), self.value(object))?;
        Ok((page, is_wrong(&value)))
    }

    async fn value(&self, object: &ObjectRef) -> Result<Value, Failure> {
        let text = self.ask(object, "json").await?;
        serde_json::from_str(&text).map_err(|error| Exit::Wrong.with(format!("Tidegate's answer is no JSON: {error}")))
    }

    async fn ask(&self, object: &ObjectRef, format: &str) -> Result<String, Failure> {
        let ObjectRef { kind, name } = object;
        if *kind == ObjectKind::Namespace {
            return Err(Exit::Usage.with("a Namespace has no replicas: name a workload or a Gateway in it"));
        }
        let answer = self.tidegate.get(&format!("/explain/{}/{kind}/{name}?format={format}", self.namespace)).await?;
        match (answer.status, self.tidegate.cluster()) {
            (StatusCode::NOT_FOUND, Some(_)) => Err(self.unknown(object, answer.body.trim_end()).await),
            _ => answer.text(),
        }
    }

    /// What is the matter with an object that Tidegate does not scale: only the cluster knows whether it exists.
    async fn unknown(&self, object: &ObjectRef, known: &str) -> Failure {
        let Some(cluster) = self.tidegate.cluster() else { return Exit::Missing.with(known) };
        let ObjectRef { kind, name } = object;
        match cluster.object(kind, &self.namespace, name).await {
            Ok(Some(_)) => {
                let key = Key::RequestsPerSecond.annotation();
                let example = format!("kubectl -n {} annotate {object} {key}=100", self.namespace);
                Exit::NotAnnotated.with(format!(
                    "{object} in namespace {} has no annotations of Tidegate, so it is left alone; to scale it: {example}",
                    self.namespace
                ))
            }
            Ok(None) => Exit::Missing
                .with(format!("{object} does not exist in namespace {}; -n NAMESPACE names another", self.namespace)),
            // Whoever may ask Tidegate may lack the permission to look at the object.
            Err(failure) if failure.exit == Exit::NotAllowed => Exit::Missing.with(known),
            Err(failure) => failure,
        }
    }
}

#[cfg(test)]
mod tests;
