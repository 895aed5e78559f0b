//! Whether the HPA can measure the CPU and memory that a workload asks to be scaled on.

use std::fmt;

use super::{Beside, KedaTrigger, ScalerType};

/// What the containers of a workload's pods say of their CPU and memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pod {
    /// Those that run as long as the pod, side-cars among them
    pub containers: Vec<Container>,
    /// The requests of the pod as a whole
    pub whole: Has,
}

/// One container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Container {
    /// Its name
    pub name: Box<str>,
    /// Its requests
    pub has: Has,
}

/// Which requests there are. A limit is the request where there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Has {
    /// Of CPU
    pub cpu: bool,
    /// Of memory
    pub memory: bool,
}

impl Has {
    fn of(self, scaler: ScalerType) -> bool {
        if scaler == ScalerType::CPU { self.cpu } else { self.memory }
    }
}

/// A trigger of CPU or memory that the HPA probably cannot measure.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Unmeasurable {
    /// A container has no request
    NoRequest {
        /// `cpu` or `memory`
        resource: &'static str,
        /// The container
        container: String,
    },
    /// There is no such container
    NoContainer {
        /// `cpu` or `memory`
        resource: &'static str,
        /// The container that is asked for
        container: String,
        /// Those that there are, separated by commas
        known: String,
    },
}

impl Beside {
    /// The triggers that the HPA probably cannot measure on such pods.
    pub fn unmeasurable(&self, pod: &Pod) -> Vec<Unmeasurable> {
        let mut all: Vec<_> = self.resources().filter_map(|trigger| problem(trigger, pod)).collect();
        all.dedup();
        all
    }
}

fn problem(trigger: &KedaTrigger, pod: &Pod) -> Option<Unmeasurable> {
    let (scaler, resource) = (trigger.scaler, trigger.scaler.as_str());
    let lacks = |container: &&Container| !container.has.of(scaler);
    let no_request =
        |container: &Container| Unmeasurable::NoRequest { resource, container: container.name.to_string() };
    let Some(named) = trigger.container() else {
        return pod.containers.iter().find(lacks).filter(|_| !pod.whole.of(scaler)).map(no_request);
    };
    if let Some(container) = pod.containers.iter().find(|container| &*container.name == named) {
        return Some(container).filter(lacks).map(no_request);
    }
    let known: Vec<_> = pod.containers.iter().map(|container| &*container.name).collect();
    Some(Unmeasurable::NoContainer { resource, container: named.to_owned(), known: known.join(", ") })
}

impl fmt::Display for Unmeasurable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRequest { resource, container } => write!(
                f,
                "it is to be scaled on {resource}, but its container {container} has no request of {resource}. Unless a LimitRange gives \
                 it one, KEDA's webhook refuses the ScaledObject, or else the HPA cannot measure it and goes down no more: add \
                 resources.requests.{resource}, or name the container that counts in tidegate.dev/container"
            ),
            Self::NoContainer { resource, container, known } => write!(
                f,
                "it is to be scaled on {resource} of its container {container}, but has only {known}. Unless something adds that one to \
                 its pods, the HPA cannot measure it and goes down no more: correct the name"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(containers: &[(&str, bool)], whole: bool) -> Pod {
        let has = |cpu| Has { cpu, memory: false };
        let container = |(name, cpu): &(&str, bool)| Container { name: (*name).into(), has: has(*cpu) };
        Pod { containers: containers.iter().map(container).collect(), whole: has(whole) }
    }

    fn told(container: Option<&str>, pod: &Pod) -> Vec<String> {
        let mut cpu = KedaTrigger::of_cpu("70%").unwrap();
        if let Some(container) = container {
            cpu.count_only(container);
        }
        let beside = Beside { triggers: vec![cpu], formula: None };
        beside.unmeasurable(pod).iter().map(|what| what.to_string().chars().take(77).collect()).collect()
    }

    #[test]
    fn each_container_that_counts_needs_a_request() {
        let both = pod(&[("app", true), ("proxy", false)], false);
        assert_eq!(
            told(None, &both),
            ["it is to be scaled on cpu, but its container proxy has no request of cpu. Unl"]
        );
        assert!(told(None, &pod(&[("app", true)], false)).is_empty());
        assert!(told(Some("app"), &both).is_empty(), "the other one does not count");
        assert_eq!(told(Some("proxy"), &both).len(), 1);
    }

    #[test]
    fn a_request_of_the_whole_pod_is_enough_unless_one_container_counts() {
        let whole = pod(&[("app", false)], true);
        assert!(told(None, &whole).is_empty());
        assert_eq!(told(Some("app"), &whole).len(), 1);
    }

    #[test]
    fn a_container_that_is_not_there_is_told() {
        let both = pod(&[("app", true), ("proxy", true)], false);
        assert_eq!(
            told(Some("ap"), &both),
            ["it is to be scaled on cpu of its container ap, but has only app, proxy. Unles"]
        );
    }
}
