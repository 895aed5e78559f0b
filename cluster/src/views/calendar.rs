//! Calendars: Tidegate's own kind.

use serde::Deserialize;
use tidegate_core::calendar::{CalendarSpec, CalendarStatus, KnownCalendar};

use super::Meta;

/// A Calendar (`tidegate.dev/v1alpha1`), with its current status, to compare with the desired one.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct CalendarObject {
    /// `metadata`
    pub metadata: Meta,
    /// `spec`
    pub spec: CalendarSpec,
    /// `status`
    pub status: serde_json::Value,
}

impl CalendarObject {
    /// The hours that apply: those of the spec or, if it is invalid, of the last valid one. An error if there never was one.
    pub fn effective(&self) -> Result<KnownCalendar, String> {
        self.spec.resolve().or_else(|error| self.applied().ok_or(error))
    }

    /// The last valid spec.
    pub fn applied(&self) -> Option<KnownCalendar> {
        let applied = self.status.get(CalendarStatus::APPLIED).filter(|applied| applied.is_object())?;
        serde_json::from_value::<CalendarSpec>(applied.clone()).ok()?.resolve().ok()
    }
}
