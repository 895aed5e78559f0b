//! How the API server names a kind of workload, and the custom kinds that the settings of this process name.

use std::{
    fmt,
    str::FromStr,
    sync::{PoisonError, RwLock},
};

/// The names of a kind in the Kubernetes API.
#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Definition {
    /// The API group: `argoproj.io`
    pub group: &'static str,
    /// The kind as manifests write it: `Rollout`
    pub kind: &'static str,
    /// The plural, as in API URLs: `rollouts`
    pub plural: &'static str,
    /// The version that ScaledObjects name: `v1alpha1`
    pub version: &'static str,
    /// The short name that `kubectl` takes: `ro`; empty without one
    pub short: &'static str,
}

/// Most custom kinds of one process.
const MOST_CUSTOM: usize = 20;

/// The custom kinds. They are named once, at start, by settings and never by users; so they may stay in memory for good.
static CUSTOM: RwLock<Vec<&'static Definition>> = RwLock::new(Vec::new());

/// The custom kinds that were registered.
pub(super) fn custom() -> Vec<&'static Definition> {
    CUSTOM.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Adds a custom kind for as long as the process runs. The same kind may be added again.
pub(super) fn register(named: &NamedKind) -> Result<&'static Definition, KindError> {
    let mut known = CUSTOM.write().unwrap_or_else(PoisonError::into_inner);
    let same =
        |known: &&Definition| known.group == named.group && (known.plural == named.plural || known.kind == named.kind);
    if let Some(found) = known.iter().copied().find(same) {
        let as_before = found.plural == named.plural && found.kind == named.kind && found.version == named.version;
        return if as_before { Ok(found) } else { Err(KindError::Twice(named.to_string(), found.to_string())) };
    }
    if known.len() >= MOST_CUSTOM {
        return Err(KindError::TooMany);
    }
    let leaked = |text: &str| -> &'static str { text.to_owned().leak() };
    let new: &'static Definition = Box::leak(Box::new(Definition {
        group: leaked(&named.group),
        kind: leaked(&named.kind),
        plural: leaked(&named.plural),
        version: leaked(&named.version),
        short: "",
    }));
    known.push(new);
    Ok(new)
}

impl fmt::Display for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}/{}/{}", self.plural, self.group, self.version, self.kind)
    }
}

/// A kind that cannot be scaled, or whose name cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KindError {
    /// Neither a known resource nor a custom one with version and kind
    #[error(
        "\"{0}\" is no kind to scale: write a known one, such as rollouts.argoproj.io, or PLURAL.GROUP/VERSION/KIND, such as \
         widgets.example.com/v1/Widget"
    )]
    Unreadable(String),
    /// The same kind under other names
    #[error("{0} contradicts {1}: name each kind once")]
    Twice(String, String),
    /// More than 20
    #[error("more than {MOST_CUSTOM} custom kinds: name only those with workloads to scale")]
    TooMany,
}

/// A custom kind as a setting names it: `widgets.example.com/v1/Widget`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedKind {
    group: String,
    kind: String,
    plural: String,
    version: String,
}

impl fmt::Display for NamedKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}/{}/{}", self.plural, self.group, self.version, self.kind)
    }
}

impl FromStr for NamedKind {
    type Err = KindError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parts(text).ok_or_else(|| KindError::Unreadable(text.to_owned()))
    }
}

fn parts(text: &str) -> Option<NamedKind> {
    let (resource, rest) = text.split_once('/')?;
    let (version, kind) = rest.split_once('/')?;
    let (plural, group) = resource.split_once('.')?;
    let is_kind = kind.starts_with(|c: char| c.is_ascii_uppercase()) && kind.chars().all(|c| c.is_ascii_alphanumeric());
    let fits = is_label(plural) && group.split('.').all(is_label) && is_label(version) && is_kind && kind.len() <= 63;
    fits.then(|| NamedKind {
        group: group.to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
        version: version.to_owned(),
    })
}

/// Whether this is a DNS label, as Kubernetes asks of each part of these names.
fn is_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&text.len()) && text.chars().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_custom_kind_needs_its_plural_group_version_and_kind() {
        for wrong in [
            "",
            "widgets",
            "widgets.example.com",
            "widgets.example.com/v1",
            "widgets/v1/Widget",
            "Widgets.x.y/v1/Widget",
            "widgets.example.com/v1/widget",
            "widgets.example.com/V1/Widget",
            "widgets.example.com/v1/Widget/x",
            "widgets..com/v1/Widget",
        ] {
            assert_eq!(wrong.parse::<NamedKind>(), Err(KindError::Unreadable(wrong.to_owned())));
        }
        assert_eq!("widgets.example.com/v1/Widget".parse::<NamedKind>().unwrap().kind, "Widget");
    }

    #[test]
    fn the_same_kind_may_be_named_again_but_not_otherwise() {
        let named = |text: &str| register(&text.parse().unwrap());
        let first = named("gadgets.definition.test/v1/Gadget").unwrap();
        assert_eq!(named("gadgets.definition.test/v1/Gadget"), Ok(first));
        for other in [
            "gadgets.definition.test/v2/Gadget",
            "gadgetes.definition.test/v1/Gadget",
            "gadgets.definition.test/v1/Gizmo",
        ] {
            assert!(matches!(named(other), Err(KindError::Twice(..))), "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_what_is_read_is_written_the_same(text in ".{0,60}") {
            if let Ok(named) = text.parse::<NamedKind>() {
                prop_assert_eq!(named.to_string(), text);
            }
        }

        #[test]
        fn a_well_formed_name_is_read(plural in "[a-z]{1,10}", group in "[a-z]{1,5}(\\.[a-z]{1,5}){0,3}", kind in "[A-Z][A-Za-z0-9]{0,9}") {
            let text = format!("{plural}.{group}/v1/{kind}");
            prop_assert_eq!(text.parse::<NamedKind>().unwrap().to_string(), text);
        }
    }
}
