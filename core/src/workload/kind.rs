//! The kinds of workload that Tidegate scales: those that it knows, and custom ones that settings name.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::definition::{self, Definition, KindError};

/// A kind of workload. All of them have the scale subresource, which KEDA and the HPA write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WorkloadKind {
    /// `apps Deployment`
    Deployment,
    /// `apps StatefulSet`
    StatefulSet,
    /// `argoproj.io Rollout`
    Rollout,
    /// `leaderworkerset.x-k8s.io LeaderWorkerSet`: its replicas are groups of pods
    LeaderWorkerSet,
    /// `apps.kruise.io CloneSet`
    CloneSet,
    /// `apps ReplicaSet`: one that no Deployment controls
    ReplicaSet,
    /// Any other kind, named by a setting
    Custom(&'static Definition),
}

impl WorkloadKind {
    /// The kinds that are known.
    pub const KNOWN: [Self; 6] =
        [Self::Deployment, Self::StatefulSet, Self::Rollout, Self::LeaderWorkerSet, Self::CloneSet, Self::ReplicaSet];

    /// The kinds that are scaled whatever the settings say.
    pub const ALWAYS: [Self; 2] = [Self::Deployment, Self::StatefulSet];

    /// The table of kinds.
    fn definition(self) -> &'static Definition {
        const fn of(
            kind: &'static str,
            plural: &'static str,
            group: &'static str,
            version: &'static str,
            short: &'static str,
        ) -> Definition {
            Definition { group, kind, plural, version, short }
        }
        static TABLE: [Definition; 6] = [
            of("Deployment", "deployments", "apps", "v1", "deploy"),
            of("StatefulSet", "statefulsets", "apps", "v1", "sts"),
            of("Rollout", "rollouts", "argoproj.io", "v1alpha1", "ro"),
            of("LeaderWorkerSet", "leaderworkersets", "leaderworkerset.x-k8s.io", "v1", "lws"),
            of("CloneSet", "clonesets", "apps.kruise.io", "v1alpha1", "clone"),
            of("ReplicaSet", "replicasets", "apps", "v1", "rs"),
        ];
        let [deployment, stateful_set, rollout, leader_worker_set, clone_set, replica_set] = &TABLE;
        match self {
            Self::Deployment => deployment,
            Self::StatefulSet => stateful_set,
            Self::Rollout => rollout,
            Self::LeaderWorkerSet => leader_worker_set,
            Self::CloneSet => clone_set,
            Self::ReplicaSet => replica_set,
            Self::Custom(definition) => definition,
        }
    }

    /// Every kind that this process knows, custom ones last.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::KNOWN.into_iter().chain(definition::custom().into_iter().map(Self::Custom))
    }

    /// The kind that a setting names: `rollouts.argoproj.io`, or a custom one with its version and kind,
    /// `widgets.example.com/v1/Widget`, which is known from then on for as long as the process runs (20 at most).
    pub fn named(setting: &str) -> Result<Self, KindError> {
        let resource = setting.split_once('/').map_or(setting, |(resource, _)| resource);
        if let Some(known) = Self::KNOWN.into_iter().find(|kind| kind.resource() == resource) {
            return Ok(known);
        }
        definition::register(&setting.parse()?).map(Self::Custom)
    }

    /// The kind that an object's `apiVersion` and `kind` name, whatever the version.
    pub fn of(api_version: &str, kind: &str) -> Option<Self> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        Self::find(|known| known.group() == group && known.as_str() == kind)
    }

    fn find(is: impl Fn(Self) -> bool) -> Option<Self> {
        // Custom kinds are behind a lock, which is rarely needed.
        Self::KNOWN.into_iter().find(|kind| is(*kind)).or_else(|| Self::all().find(|kind| is(*kind)))
    }

    /// The kind as manifests write it: `Rollout`.
    pub fn as_str(self) -> &'static str {
        self.definition().kind
    }

    /// The API group: `argoproj.io`.
    pub fn group(self) -> &'static str {
        self.definition().group
    }

    /// The plural, as in API URLs: `rollouts`.
    pub fn plural(self) -> &'static str {
        self.definition().plural
    }

    /// The version that is read, and that ScaledObjects name: `v1alpha1`.
    pub fn version(self) -> &'static str {
        self.definition().version
    }

    /// The same, as a list of versions.
    pub fn versions(self) -> &'static [&'static str] {
        std::slice::from_ref(&self.definition().version)
    }

    /// Group and version: `argoproj.io/v1alpha1`.
    pub fn api_version(self) -> String {
        format!("{}/{}", self.group(), self.version())
    }

    /// The name of the CRD, by which settings name the kind: `rollouts.argoproj.io`.
    pub fn resource(self) -> String {
        format!("{}.{}", self.plural(), self.group())
    }

    /// The kind as `kubectl` writes it before a name: `rollout`, and with its group for a custom one: `widget.example.com`.
    pub fn kubectl_name(self) -> String {
        let kind = self.as_str().to_ascii_lowercase();
        match self {
            Self::Custom(definition) => format!("{kind}.{}", definition.group),
            _ => kind,
        }
    }

    /// Whether `tidegate.dev/manage: all` of a Namespace includes workloads of this kind that have no annotations of their own.
    /// Rollouts stand in for Deployments, so they are included; other kinds are scaled only where they say so themselves.
    pub fn follows_namespace(self) -> bool {
        matches!(self, Self::Deployment | Self::StatefulSet | Self::Rollout)
    }
}

impl fmt::Display for WorkloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The error that a text names no workload of a kind that Tidegate scales.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not a workload: write deployment/NAME, statefulset/NAME, rollout/NAME or another KIND/NAME that is scaled"
)]
pub struct NotAWorkload(pub String);

impl FromStr for WorkloadKind {
    type Err = NotAWorkload;

    /// Accepts the forms that `kubectl` accepts: any case, the plural, the short name, each with or without the group. A custom
    /// kind needs its group.
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let text = s.to_ascii_lowercase();
        let (name, group) = text.split_once('.').unwrap_or((&text, ""));
        let is = |kind: Self| {
            let Definition { kind: singular, plural, short, .. } = kind.definition();
            let named = [singular, plural, short].into_iter().any(|known| known.eq_ignore_ascii_case(name));
            let in_group = if group.is_empty() { !matches!(kind, Self::Custom(_)) } else { group == kind.group() };
            !name.is_empty() && named && in_group
        };
        Self::find(is).ok_or_else(|| NotAWorkload(s.to_owned()))
    }
}

impl Serialize for WorkloadKind {
    /// The kind, and with its group for a custom one: `Widget.example.com`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Custom(Definition { kind, group, .. }) => serializer.collect_str(&format_args!("{kind}.{group}")),
            known => serializer.serialize_str(known.as_str()),
        }
    }
}

impl<'de> Deserialize<'de> for WorkloadKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_known_kind_is_found_by_all_its_names() {
        for kind in WorkloadKind::KNOWN {
            for name in [kind.as_str(), kind.plural(), &kind.resource(), &kind.kubectl_name(), kind.definition().short]
            {
                assert_eq!(name.parse(), Ok(kind), "{name}");
            }
            assert_eq!(WorkloadKind::of(&kind.api_version(), kind.as_str()), Some(kind));
            assert_eq!(WorkloadKind::named(&kind.resource()), Ok(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }

    #[test]
    fn a_kind_of_another_group_is_another_kind() {
        assert_eq!(WorkloadKind::of("apps.kruise.io/v1beta1", "StatefulSet"), None);
        assert_eq!(WorkloadKind::of("v1", "Deployment"), None);
        assert_eq!(
            "deployment.example.com".parse::<WorkloadKind>(),
            Err(NotAWorkload("deployment.example.com".into()))
        );
    }

    #[test]
    fn a_custom_kind_is_known_once_a_setting_has_named_it() {
        assert!("sprocket.kind.test".parse::<WorkloadKind>().is_err());
        let kind = WorkloadKind::named("sprockets.kind.test/v1beta2/Sprocket").unwrap();
        for name in ["sprocket.kind.test", "Sprockets.kind.test"] {
            assert_eq!(name.parse(), Ok(kind));
        }
        assert!("sprocket".parse::<WorkloadKind>().is_err(), "its group is needed");
        assert_eq!(WorkloadKind::of("kind.test/v9", "Sprocket"), Some(kind));
        assert_eq!(
            (kind.api_version().as_str(), kind.kubectl_name().as_str()),
            ("kind.test/v1beta2", "sprocket.kind.test")
        );
        let written = serde_json::to_value(kind).unwrap();
        assert_eq!(written, "Sprocket.kind.test");
        assert_eq!(serde_json::from_value::<WorkloadKind>(written).unwrap(), kind);
    }
}
