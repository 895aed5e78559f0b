//! What a check found.

use serde::Serialize;

/// How good it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Ok,
    Warning,
    Failure,
}

/// One line of the result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Finding {
    pub(crate) level: Level,
    /// What was found; empty where the name of the check says it
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) detail: String,
    /// What to do next
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) remedy: String,
}

impl Finding {
    pub(crate) fn ok(detail: impl Into<String>) -> Vec<Self> {
        vec![Self { level: Level::Ok, detail: detail.into(), remedy: String::new() }]
    }

    pub(crate) fn warning(detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Warning, detail: detail.into(), remedy: remedy.into() }
    }

    pub(crate) fn failure(detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Failure, detail: detail.into(), remedy: remedy.into() }
    }

    /// A check that could not be carried out. It is no fault of the installation.
    pub(crate) fn unknown(why: &(impl ToString + ?Sized)) -> Vec<Self> {
        vec![Self::warning(format!("not looked at: {}", why.to_string()), "")]
    }

    /// These findings, or that all is well.
    pub(crate) fn or_ok(found: Vec<Self>, detail: impl Into<String>) -> Vec<Self> {
        if found.is_empty() { Self::ok(detail) } else { found }
    }
}
