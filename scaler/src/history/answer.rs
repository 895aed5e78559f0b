//! The history of one workload as the admin server gives it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tidegate_core::workload::WorkloadId;

use super::{Change, History};

/// The changes of one workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryAnswer {
    /// The workload
    pub workload: WorkloadId,
    /// The oldest change that is remembered; `None` if there is none
    pub remembered_since: Option<DateTime<Utc>>,
    /// The changes, oldest first
    pub changes: Vec<ToldChange>,
}

/// A change, in words too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToldChange {
    /// The change
    #[serde(flatten)]
    pub change: Change,
    /// The reason for the number after it, in one short sentence
    pub sentence: String,
    /// What changed, and what of it
    pub who: String,
}

impl HistoryAnswer {
    /// The changes since an instant.
    pub fn of(history: &History, id: &WorkloadId, since: DateTime<Utc>) -> Self {
        let changes = history.changes(id, since).into_iter().map(ToldChange::from).collect();
        Self { workload: id.clone(), remembered_since: history.since(id), changes }
    }
}

impl From<Change> for ToldChange {
    fn from(change: Change) -> Self {
        Self { sentence: change.why.to_string(), who: change.who(), change }
    }
}
