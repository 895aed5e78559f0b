//! What calls to the API server have in common.

/// The owner of our fields in server-side apply.
pub(crate) const FIELD_MANAGER: &str = "tidegate";

/// An error for people.
pub(crate) fn explained(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        error => error.to_string(),
    }
}
