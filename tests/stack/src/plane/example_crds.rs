//! Kinds that examples have and nothing in the stack handles: their CRDs are enough to hold the files against.

use anyhow::Result;
use kube::Client;

use crate::{plane::apply, settings::EXAMPLE_CRDS};

use super::Plane;

const GROUPS: [&str; 4] =
    ["argoproj.io", "kustomize.toolkit.fluxcd.io", "monitoring.coreos.com", "source.toolkit.fluxcd.io"];

/// Applies the CRDs; returns once they are served.
pub(super) async fn boot(plane: &Plane, client: &Client) -> Result<()> {
    for peer in EXAMPLE_CRDS {
        let folder = plane.settings.peer(peer)?;
        let crds = folder.join("crds");
        apply::path(client, if crds.is_dir() { &crds } else { folder }).await?;
    }
    for group in GROUPS {
        apply::established(client, group).await?;
    }
    Ok(())
}
