//! The kind that an object is meant to be, where it stands in another API group or has other capitals. Nothing reads it as it is.

use std::fmt;

use crate::Kind;

/// What to write instead. `Display` says so, without the object's name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Meant<'a> {
    api_version: &'a str,
    kind: &'a str,
    meant: Kind,
}

impl<'a> Meant<'a> {
    /// `None` for kinds that are read, for those of others, and for workloads: what stands on these is reported where annotations
    /// are missed.
    pub(super) fn of(api_version: &'a str, kind: &'a str) -> Option<Self> {
        if Kind::of(api_version, kind).is_some() {
            return None;
        }
        let group = group(api_version);
        let named = || Kind::ALL.iter().filter(|known| !known.is_scaled() && known.as_str().eq_ignore_ascii_case(kind));
        let same_group = named().find(|known| known.api_group() == group);
        let meant = same_group.or_else(|| named().find(|known| is_mistaken(group, known.api_group())))?;
        Some(Self { api_version, kind, meant: *meant })
    }

    fn is_of_keda_1(&self) -> bool {
        group(self.api_version) == KEDA_1
    }
}

/// The API group of KEDA 1, in which KEDA 2 reads nothing.
const KEDA_1: &str = "keda.k8s.io";

fn group(api_version: &str) -> &str {
    api_version.rsplit_once('/').map_or("", |(group, _)| group)
}

/// Whether `right` is meant by `group`: it is a group of other kinds that are read here, one of the same domain, or nearly the same
/// text. Other groups have kinds of their own by the same names: Linkerd's HTTPRoute, Istio's Gateway, Knative's Service.
fn is_mistaken(group: &str, right: &str) -> bool {
    let is_known = Kind::ALL.iter().any(|kind| kind.api_group() == group);
    let domain = right.rmatch_indices('.').nth(1).map(|(dot, _)| &right[dot + 1..]);
    let of_same_domain = domain.is_some_and(|domain| group.ends_with(domain));
    let is_near = || strsim::osa_distance(group, right) * 4 <= right.len();
    is_known || of_same_domain || group == KEDA_1 || (group.len() <= LONGEST_GROUP && is_near())
}

/// Longer names are no misspelling.
const LONGEST_GROUP: usize = 253;

impl fmt::Display for Meant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { api_version, kind, meant } = self;
        let [preferred, ..] = meant.versions() else { return Ok(()) };
        let right = meant.api_version(preferred);
        if self.is_of_keda_1() {
            return write!(
                f,
                "{api_version} is of KEDA 1, and KEDA 2 does not read it: write apiVersion: {right}, and in spec.scaleTargetRef name \
                 in place of deploymentName (https://keda.sh/docs/latest/migration/)"
            );
        }
        if group(api_version) == meant.api_group() {
            return write!(f, "the kind is {kind}: write kind: {meant}");
        }
        write!(f, "there is no {kind} in {api_version}: write apiVersion: {right}")?;
        if *kind == meant.as_str() { Ok(()) } else { write!(f, " and kind: {meant}") }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_object_in_another_group_is_told_the_right_one() {
        for (api_version, kind, expected) in [
            (
                "gateway.networking.k8s.io/v1",
                "AIGatewayRoute",
                "there is no AIGatewayRoute in gateway.networking.k8s.io/v1: write apiVersion: aigateway.envoyproxy.io/v1beta1",
            ),
            (
                "gateway.envoyproxy.io/v1alpha1",
                "HTTPRoute",
                "there is no HTTPRoute in gateway.envoyproxy.io/v1alpha1: write apiVersion: gateway.networking.k8s.io/v1",
            ),
            (
                "gateway.networking.k8s.oi/v1",
                "GRPCRoute",
                "there is no GRPCRoute in gateway.networking.k8s.oi/v1: write apiVersion: gateway.networking.k8s.io/v1",
            ),
            (
                "networking.x-k8s.io/v1alpha1",
                "TCPRoute",
                "there is no TCPRoute in networking.x-k8s.io/v1alpha1: write apiVersion: gateway.networking.k8s.io/v1",
            ),
            ("v1", "Gateway", "there is no Gateway in v1: write apiVersion: gateway.networking.k8s.io/v1"),
            (
                "gateway.envoyproxy.io/v1alpha1",
                "HttpRoute",
                "there is no HttpRoute in gateway.envoyproxy.io/v1alpha1: write apiVersion: gateway.networking.k8s.io/v1 and kind: \
                 HTTPRoute",
            ),
            ("gateway.networking.k8s.io/v1", "HttpRoute", "the kind is HttpRoute: write kind: HTTPRoute"),
            (
                "keda.k8s.io/v1alpha1",
                "ScaledObject",
                "keda.k8s.io/v1alpha1 is of KEDA 1, and KEDA 2 does not read it: write apiVersion: keda.sh/v1alpha1, and in \
                 spec.scaleTargetRef name in place of deploymentName (https://keda.sh/docs/latest/migration/)",
            ),
        ] {
            let meant = Meant::of(api_version, kind).map(|meant| meant.to_string());
            assert_eq!(meant.as_deref(), Some(expected), "{api_version} {kind}");
        }
    }

    #[test]
    fn kinds_of_others_and_workloads_are_left_alone() {
        for (api_version, kind) in [
            ("policy.linkerd.io/v1beta3", "HTTPRoute"),
            ("networking.istio.io/v1", "Gateway"),
            ("serving.knative.dev/v1", "Service"),
            ("gateway.kgateway.dev/v1alpha1", "Backend"),
            ("net.gke.io/v1", "ServiceImport"),
            ("apps.kruise.io/v1beta1", "StatefulSet"),
            ("inference.networking.x-k8s.io/v1alpha2", "InferencePool"),
            ("apps/v1beta2", "Deployment"),
            ("gateway.networking.k8s.io/v1", "HTTPRoute"),
            ("example.com/v1", "Widget"),
            ("", ""),
        ] {
            assert_eq!(Meant::of(api_version, kind), None, "{api_version} {kind}");
        }
    }

    proptest! {
        #[test]
        fn no_name_of_a_group_or_kind_is_too_strange(api_version in "\\PC{0,40}", kind in prop::sample::select(Kind::ALL.to_vec())) {
            let meant = Meant::of(&api_version, kind.as_str()).map(|meant| meant.to_string());
            prop_assert!(meant.is_none_or(|meant| meant.contains("write apiVersion: ")));
        }
    }
}
