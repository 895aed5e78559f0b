//! The time after which Envoy gives up on a request of a rule (`getEffectiveRequestTimeout`).

use std::time::Duration;

use tidegate_core::request_timeout::{RequestTimeout, TimeoutOrigin};

use super::{
    super::views::Rule,
    merging::{Passage, path},
    policies::PolicyIndex,
};

/// A time, and where it is set.
pub(super) type Timeout = (Duration, TimeoutOrigin);

/// The shortest time among the listeners that serve the rule: its own, else that of a policy, else Envoy's default. `None` for ever.
pub(super) fn of_rule<'p>(
    policies: &PolicyIndex<'_>,
    rule: &Rule,
    passages: impl Iterator<Item = Passage<'p, 'p>>,
) -> Option<Timeout> {
    let is_limit = |(within, _): &Timeout| !within.is_zero();
    if let Some((within, field)) = rule.request_timeout() {
        return Some((within, TimeoutOrigin::Rule(field))).filter(is_limit);
    }
    let of_policy = |passage| match policies.request_timeout(&path(&passage)) {
        Some((within, policy)) => (within, TimeoutOrigin::Policy(policy.namespace.clone(), policy.name.clone())),
        None => (RequestTimeout::DEFAULT, TimeoutOrigin::Default),
    };
    passages.map(of_policy).filter(is_limit).min_by_key(|(within, _)| *within)
}
