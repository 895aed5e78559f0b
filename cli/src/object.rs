//! Objects as `kubectl` names them: TYPE NAME, TYPE/NAME, and several of either.

use std::{fmt, str::FromStr};

use tidegate_core::workload::WorkloadKind;

use crate::exit::{Exit, Failure};

/// The kind of an object that a command is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ObjectKind {
    Workload(WorkloadKind),
    Gateway,
    Namespace,
    /// A kind with its group, as written: whether it is scaled is known to the service alone
    Custom(String),
}

/// One object, in the namespace that the command works in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ObjectRef {
    pub(crate) kind: ObjectKind,
    pub(crate) name: String,
}

/// The objects of a command that works on all of them where none is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selected {
    All,
    OfKind(ObjectKind),
    Named(Vec<ObjectRef>),
}

/// The objects that are named; at least one is.
pub(crate) fn named(words: &[String]) -> Result<Vec<ObjectRef>, Failure> {
    match selected(words)? {
        Selected::Named(objects) => Ok(objects),
        Selected::All | Selected::OfKind(_) => Err(wrong(&words.join(" "))),
    }
}

/// The objects that are named, or all, or all of a kind.
pub(crate) fn selected(words: &[String]) -> Result<Selected, Failure> {
    match words {
        [] => Ok(Selected::All),
        [all] if all == "all" => Ok(Selected::All),
        [kind] if !kind.contains('/') => Ok(Selected::OfKind(parsed(kind)?)),
        [first, ..] if first.contains('/') => {
            words.iter().map(|word| object(word)).collect::<Result<_, _>>().map(Selected::Named)
        }
        [kind, names @ ..] => {
            let kind = parsed(kind)?;
            let object = |name: &String| {
                if name.contains('/') || name.is_empty() {
                    return Err(wrong(&words.join(" ")));
                }
                Ok(ObjectRef { kind: kind.clone(), name: name.clone() })
            };
            names.iter().map(object).collect::<Result<_, _>>().map(Selected::Named)
        }
    }
}

fn object(word: &str) -> Result<ObjectRef, Failure> {
    match word.split_once('/') {
        Some((kind, name)) if !name.is_empty() && !name.contains('/') => {
            Ok(ObjectRef { kind: parsed(kind)?, name: name.to_owned() })
        }
        _ => Err(wrong(word)),
    }
}

fn parsed(kind: &str) -> Result<ObjectKind, Failure> {
    kind.parse().map_err(|()| wrong(kind))
}

fn wrong(given: &str) -> Failure {
    let given = if given.is_empty() { String::new() } else { format!("{given:?}: ") };
    Exit::Usage.with(format!(
        "{given}write deployment/NAME, another TYPE/NAME that is scaled, or gateway/NAME; TYPE NAME works too"
    ))
}

impl FromStr for ObjectKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.to_ascii_lowercase().as_str() {
            "gateway"
            | "gateways"
            | "gtw"
            | "gateway.gateway.networking.k8s.io"
            | "gateways.gateway.networking.k8s.io" => Ok(Self::Gateway),
            "namespace" | "namespaces" | "ns" => Ok(Self::Namespace),
            lower => match lower.parse() {
                Ok(kind) => Ok(Self::Workload(kind)),
                Err(_) if lower.split_once('.').is_some_and(|(kind, group)| !kind.is_empty() && !group.is_empty()) => {
                    Ok(Self::Custom(lower.to_owned()))
                }
                Err(_) => Err(()),
            },
        }
    }
}

impl fmt::Display for ObjectKind {
    /// As the admin server's paths and `kubectl` name it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workload(kind) => f.write_str(&kind.kubectl_name()),
            Self::Gateway => f.write_str("gateway"),
            Self::Namespace => f.write_str("namespace"),
            Self::Custom(kind) => f.write_str(kind),
        }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    fn names(line: &str) -> Vec<String> {
        named(&words(line)).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn objects_are_named_as_for_kubectl() {
        assert_eq!(names("deploy/api"), ["deployment/api"]);
        assert_eq!(names("deploy api web"), ["deployment/api", "deployment/web"]);
        assert_eq!(names("sts/db gtw/web ns/shop"), ["statefulset/db", "gateway/web", "namespace/shop"]);
        assert_eq!(names("Widgets.example.com/a"), ["widgets.example.com/a"]);
    }

    #[test]
    fn without_a_name_all_of_a_kind_or_all_are_meant() {
        assert_eq!(selected(&[]).unwrap(), Selected::All);
        assert_eq!(selected(&words("gateways")).unwrap(), Selected::OfKind(ObjectKind::Gateway));
    }

    #[test]
    fn anything_else_is_wrong_usage_and_says_what_is_wanted() {
        for line in ["", "api", "deployment/", "deployment/a/b", "pod/a", "deploy a b/c", "deployment/a web", "./a"] {
            let failure = named(&words(line)).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage, "{line}");
            assert!(failure.to_string().contains("write deployment/NAME"), "{failure}");
        }
    }
}
