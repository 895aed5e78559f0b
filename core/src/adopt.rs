//! The scaler of another owner that a workload asks to have taken over: `tidegate.dev/adopt: hpa/NAME`.

use std::{fmt, str::FromStr};

/// The kinds of scaler that can be taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScalerKind {
    /// `autoscaling/v2 HorizontalPodAutoscaler`
    Hpa,
    /// `keda.sh/v1alpha1 ScaledObject`
    ScaledObject,
}

impl ScalerKind {
    /// The kind as the annotation has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hpa => "hpa",
            Self::ScaledObject => "scaledobject",
        }
    }

    /// Accepts the forms that `kubectl` accepts: any case, the plural and the short name.
    fn named(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "hpa" | "horizontalpodautoscaler" | "horizontalpodautoscalers" => Some(Self::Hpa),
            "scaledobject" | "scaledobjects" | "so" => Some(Self::ScaledObject),
            _ => None,
        }
    }
}

/// Kind and name of a scaler in some namespace, written `hpa/task-api`.
///
/// ```
/// # use tidegate_core::adopt::ScalerRef;
/// let scaler: ScalerRef = "HPA/task-api".parse().expect("kubectl takes any case, too");
/// assert_eq!(scaler.to_string(), "hpa/task-api");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ScalerRef {
    /// HPA or ScaledObject
    pub kind: ScalerKind,
    /// `metadata.name`
    pub name: String,
}

impl fmt::Display for ScalerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.as_str(), self.name)
    }
}

/// The error that a text names no scaler of a kind that can be taken over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a scaler: write hpa/NAME or scaledobject/NAME")]
pub struct NotAScaler(pub String);

impl FromStr for ScalerRef {
    type Err = NotAScaler;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let parsed = s.split_once('/').filter(|(_, name)| !name.is_empty() && !name.contains('/'));
        let scaler = |(kind, name): (&str, &str)| Some(Self { kind: ScalerKind::named(kind)?, name: name.to_owned() });
        parsed.and_then(scaler).ok_or_else(|| NotAScaler(s.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_scaler_is_written_as_kubectl_writes_it() {
        for (given, wanted) in [
            ("hpa/a", "hpa/a"),
            ("HorizontalPodAutoscaler/a", "hpa/a"),
            ("ScaledObject/a.b", "scaledobject/a.b"),
            ("so/a", "scaledobject/a"),
        ] {
            assert_eq!(given.parse::<ScalerRef>().unwrap().to_string(), wanted);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for given in ["", "a", "hpa", "hpa/", "hpa/a/b", "deployment/a"] {
            assert!(given.parse::<ScalerRef>().is_err(), "{given}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_again(text in "(hpa|so|ScaledObject|x)/[a-z0-9/.-]{0,8}") {
            if let Ok(scaler) = text.parse::<ScalerRef>() {
                prop_assert_eq!(scaler.to_string().parse(), Ok(scaler));
            }
        }
    }
}
