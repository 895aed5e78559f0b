//! `tidegate version`: the versions of this command, of the Tidegate in the cluster, and of Kubernetes.

use std::io::{Write, stdout};

use anyhow::Result;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::{
    args::VersionArgs,
    exit::{Exit, Failure},
    tidegate::Tidegate,
};

/// The version that this binary was built as: what `/version` answers, too.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A version, as `/version` of the admin server answers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Version {
    pub(crate) version: String,
}

impl Version {
    pub(crate) fn own() -> Self {
        Self { version: VERSION.to_owned() }
    }
}

#[derive(Debug, Serialize)]
struct Versions {
    client: Version,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<Version>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kubernetes: Option<String>,
}

pub(crate) async fn version(args: VersionArgs) -> Result<()> {
    let mut versions = Versions { client: Version::own(), server: None, kubernetes: None };
    let mut failure = None;
    if !args.client {
        match Tidegate::connect(&args.cluster, &args.installed).await {
            Ok(tidegate) => {
                match server(&tidegate).await {
                    Ok(server) => versions.server = Some(server),
                    Err(why) => failure = Some(why),
                }
                if let Some(cluster) = tidegate.cluster() {
                    let found = cluster.ask(cluster.client().apiserver_version()).await;
                    versions.kubernetes = found.ok().map(|found| found.git_version);
                }
            }
            Err(why) => failure = Some(why),
        }
    }
    let mut out = stdout().lock();
    if let Some(format) = args.output.format() {
        format.write(&versions, &mut out)?;
    } else {
        writeln!(out, "Client      {}", versions.client.version)?;
        if let Some(server) = &versions.server {
            writeln!(out, "Server      {}", server.version)?;
        }
        if let Some(kubernetes) = &versions.kubernetes {
            writeln!(out, "Kubernetes  {}", kubernetes.trim_start_matches('v'))?;
        }
    }
    failure.map_or(Ok(()), |failure| Err(failure.into()))
}

/// The version of the Tidegate that is installed.
pub(crate) async fn server(tidegate: &Tidegate) -> Result<Version, Failure> {
    let answer = tidegate.get("/version").await?;
    if answer.status == StatusCode::NOT_FOUND {
        return Err(
            Exit::Wrong.with("the Tidegate in the cluster is older than this command, and does not say its version")
        );
    }
    let text = answer.text()?;
    serde_json::from_str(&text).map_err(|error| Exit::Wrong.with(format!("Tidegate's answer to /version: {error}")))
}
