//! What calls to the API server have in common.

use std::time::Duration;

/// The owner of our fields in server-side apply.
pub(crate) const FIELD_MANAGER: &str = "tidegate";
/// How long a write may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// An error for people.
pub(crate) fn explained(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        error => error.to_string(),
    }
}
