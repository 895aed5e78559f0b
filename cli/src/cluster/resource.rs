//! The API server's resource of a kind that the command line names.

use kube::api::ApiResource;
use tidegate_cluster::Kind;
use tidegate_operator::watch::resource::{preferred, served};

use super::Cluster;
use crate::{
    exit::{Exit, Failure},
    object::ObjectKind,
};

impl Cluster {
    /// The kind in the version that the API server serves.
    pub(crate) async fn resource(&self, kind: &ObjectKind) -> Result<ApiResource, Failure> {
        match kind {
            ObjectKind::Workload(kind) => self.served(Kind::of_workload(*kind)).await,
            ObjectKind::Gateway => self.served(Kind::Gateway).await,
            ObjectKind::Namespace => Ok(preferred(Kind::Namespace)),
            ObjectKind::Custom(named) => self.find(named).await,
        }
    }

    async fn served(&self, kind: Kind) -> Result<ApiResource, Failure> {
        let found = self.ask(served(&self.client, kind)).await?;
        found.ok_or_else(|| Exit::Missing.with(format!("the API server knows no {kind}: its CRD is not installed")))
    }

    /// A kind by any of its names and its group: `widget.example.com`.
    async fn find(&self, named: &str) -> Result<ApiResource, Failure> {
        let unknown = || {
            Exit::Missing.with(format!("the API server knows no {named}: `kubectl api-resources` lists what it knows"))
        };
        let (name, group) = named.split_once('.').ok_or_else(unknown)?;
        let groups = self.ask(self.client.list_api_groups()).await?.groups;
        let found = groups.into_iter().find(|known| known.name == group).ok_or_else(unknown)?;
        let version = found.preferred_version.or_else(|| found.versions.into_iter().next()).ok_or_else(unknown)?;
        let resources = self.ask(self.client.list_api_group_resources(&version.group_version)).await?.resources;
        let is = |known: &str| known.eq_ignore_ascii_case(name);
        let found = resources.into_iter().filter(|known| !known.name.contains('/')).find(|known| {
            is(&known.name) || is(&known.kind) || known.short_names.iter().flatten().any(|short| is(short))
        });
        let found = found.ok_or_else(unknown)?;
        Ok(ApiResource {
            group: group.to_owned(),
            version: version.version,
            api_version: version.group_version,
            kind: found.kind,
            plural: found.name,
        })
    }
}
