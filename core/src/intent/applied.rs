//! The annotations from which an intent was parsed, kept on a workload's ScaledObject and in a Gateway's status: they apply while
//! new ones are invalid.

use super::{Annotations, GatewayIntent, Intent};
use crate::key::{Key, Place};

/// The annotation of a ScaledObject that keeps them, as a JSON object.
pub const APPLIED: &str = "tidegate.dev/applied";

/// An object's own annotations over the defaults of its Namespace. Without `keep-awake-until`, which ends by itself: waking a
/// namespace should not rewrite its ScaledObjects.
pub fn applied(own: &Annotations, defaults: &Annotations, place: Place) -> Annotations {
    let keys = Key::ALL.iter().filter(|key| key.allowed_on(place) && **key != Key::KeepAwakeUntil);
    let annotations = keys.map(|key| key.annotation());
    annotations.filter_map(|key| own.get(key).or_else(|| defaults.get(key)).map(|value| (key, value))).collect()
}

impl Intent {
    /// Parses the intent from [`applied`] annotations; `None` where this version cannot.
    pub fn of_applied(annotations: &Annotations) -> Option<Self> {
        let managed = annotations.iter().chain([(Key::Manage.annotation(), "all")]).collect();
        // As defaults, among which a key may lack the keys that it needs.
        Self::of_workload(&Annotations::new(), "", &managed).ok()?
    }
}

impl GatewayIntent {
    /// The same for a Gateway.
    pub fn of_applied(annotations: &Annotations) -> Option<Self> {
        Self::of_gateway(annotations, "", &Annotations::new()).ok()?
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SOME: [(&str, &str); 19] = [
        ("min-replicas", "2"),
        ("max-replicas", "30"),
        ("requests-per-second", "100"),
        ("concurrency", "8"),
        ("kafka-lag", "50"),
        ("kafka-group", "readers"),
        ("prometheus-query", "up"),
        ("prometheus-target", "1"),
        ("hours", "Mo-Fr 08:00-18:00"),
        ("timezone", "Europe/Berlin"),
        ("off-hours-replicas", "3"),
        ("after", "statefulset/db"),
        ("scale-down-after", "2m"),
        ("cpu", "70%"),
        ("container", "app"),
        ("keda-triggers", "[{type: nsq, metadata: {topic: a}}]"),
        ("scale-up-rate", "4/30s"),
        ("tolerance", "5%"),
        ("paused", "true"),
    ];

    fn some() -> impl Strategy<Value = Annotations> {
        let of = |(key, value): &(&str, &str)| (format!("tidegate.dev/{key}"), (*value).to_owned());
        proptest::sample::subsequence(SOME.to_vec(), 0..SOME.len()).prop_map(move |some| some.iter().map(of).collect())
    }

    proptest! {
        #[test]
        fn what_was_applied_is_the_same_intent_again(own in some(), defaults in some()) {
            let of_workloads = ["tidegate.dev/after", "tidegate.dev/container", "tidegate.dev/keda-triggers"];
            let defaults = defaults.iter().filter(|(key, _)| !of_workloads.contains(key)).collect();
            if let Ok(Some(intent)) = Intent::of_workload(&own, "shop", &defaults)
                && !intent.is_silent()
            {
                let again = Intent::of_applied(&applied(&own, &defaults, Place::Workload));
                prop_assert_eq!(again, Some(intent));
            }
        }

        #[test]
        fn whatever_stands_there_is_read_or_is_none(key in "[a-z-]{0,20}", value in ".{0,200}") {
            let _ = Intent::of_applied(&Annotations::from([(format!("tidegate.dev/{key}"), value)]));
        }
    }

    #[test]
    fn a_gateway_keeps_its_own_keys_and_those_of_its_namespace() {
        let of = |pairs: &[(&str, &str)]| -> Annotations {
            pairs.iter().map(|(key, value)| (format!("tidegate.dev/{key}"), (*value).to_owned())).collect()
        };
        let own = of(&[("requests-per-second", "500"), ("status", "{}")]);
        let defaults = of(&[("calendar", "office"), ("kafka-lag", "5"), ("max-replicas", "4")]);
        let intent = GatewayIntent::of_gateway(&own, "shop", &defaults).unwrap();
        assert_eq!(GatewayIntent::of_applied(&applied(&own, &defaults, Place::Gateway)), intent);
    }

    #[test]
    fn an_override_with_an_end_is_not_kept() {
        let own = [("keep-awake-until", "2030-01-01T00:00:00Z"), ("requests-per-second", "1"), ("unknown", "x")];
        let own = own.map(|(key, value)| (format!("tidegate.dev/{key}"), value.to_owned())).into();
        let kept = applied(&own, &Annotations::new(), Place::Workload);
        assert_eq!(kept.keys().collect::<Vec<_>>(), ["tidegate.dev/requests-per-second"]);
    }
}
