//! Says over and over what is waited for while nothing can be done yet: a service that is silent looks like one that hangs.

use std::time::Duration;

use tidegate_cluster::Kind;
use tokio::time::sleep;

use super::{Watches, state::WatchState};

/// Time before the first line: lists take seconds.
const FIRST: Duration = Duration::from_secs(5);
/// Time between two lines.
const EVERY: Duration = Duration::from_secs(30);

/// Ends when there is a Plan: from then on a watch that fails reports it itself.
pub(super) async fn report(watches: Watches) {
    sleep(FIRST).await;
    while watches.plan().borrow().is_none() {
        for what in waited_for(&watches.missing()) {
            tracing::warn!("waits, and does nothing until then: {what}");
        }
        sleep(EVERY).await;
    }
}

/// What is missing, a sentence for each kind, with what to do where somebody has to do something.
fn waited_for(missing: &[(Kind, Option<String>, WatchState)]) -> Vec<String> {
    let sentence = |(kind, namespace, state): &(Kind, Option<String>, WatchState)| {
        let within = namespace.as_ref().map(|namespace| format!(" in namespace {namespace}")).unwrap_or_default();
        match state {
            WatchState::WaitingForCrd => {
                let install =
                    if *kind == Kind::ScaledObject { format!(". Install KEDA: {INSTALL_KEDA}") } else { String::new() };
                format!("the CRD {}.{} is not installed{install}", kind.plural(), kind.api_group())
            }
            WatchState::Listing => format!("the first list of {}{within} is under way", kind.plural()),
            state => format!("{}{within} cannot be read: {state}", kind.plural()),
        }
    };
    missing.iter().map(sentence).collect()
}

/// As in the chart's message.
const INSTALL_KEDA: &str = "`helm repo add kedacore https://kedacore.github.io/charts`, then \
                            `helm install keda kedacore/keda --namespace keda --create-namespace`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_keda_the_log_names_the_crd_and_the_commands_that_install_it() {
        let said = waited_for(&[(Kind::ScaledObject, None, WatchState::WaitingForCrd)]);
        let wanted = "the CRD scaledobjects.keda.sh is not installed. Install KEDA: `helm repo add kedacore";
        assert!(said[0].starts_with(wanted), "{said:?}");
        assert!(said[0].contains("helm install keda kedacore/keda"), "{said:?}");
    }

    #[test]
    fn a_list_that_fails_is_named_with_its_namespace_and_the_error() {
        let failing = WatchState::Failing("deployments.apps is forbidden".to_owned());
        let said = waited_for(&[
            (Kind::Deployment, Some("shop".to_owned()), failing),
            (Kind::Namespace, None, WatchState::Listing),
        ]);
        assert_eq!(
            said[0],
            "deployments in namespace shop cannot be read: deployments.apps is forbidden; what was seen stays"
        );
        assert_eq!(said[1], "the first list of namespaces is under way");
    }
}
