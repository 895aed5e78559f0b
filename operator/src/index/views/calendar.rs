//! Calendars: Tidegate's own kind.

use serde::Deserialize;
use tidegate_core::calendar::CalendarSpec;

use super::Meta;

/// A Calendar (`tidegate.dev/v1alpha1`), with its status as it stands, to compare with what it should be.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Calendar {
    /// `metadata`
    pub metadata: Meta,
    /// `spec`
    pub spec: CalendarSpec,
    /// `status`
    pub status: serde_json::Value,
}
