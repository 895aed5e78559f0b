//! Whether an existing object is as it should be, in the fields that are ours.

use serde_json::Value;

/// Whether every field of `desired` has its value in `existing`. Others may have set more fields of an object. Lists are
/// compared as a whole: those of a ScaledObject are atomic in server-side apply, and so are the metadata of its triggers
/// with them.
pub(super) fn holds(existing: &Value, desired: &Value) -> bool {
    match (existing, desired) {
        (Value::Object(existing), Value::Object(desired)) => {
            desired.iter().all(|(key, wanted)| match existing.get(key) {
                Some(there) => holds(there, wanted),
                None => wanted.is_null(),
            })
        }
        (existing, desired) => existing == desired,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_of_others_are_no_drift_and_changed_fields_of_ours_are() {
        let desired = json!({"min": 1, "advanced": {"x": 1}, "triggers": [{"metadata": {"a": "1"}}]});
        let with = |change: &dyn Fn(&mut Value)| {
            let mut existing = desired.clone();
            change(&mut existing);
            holds(&existing, &desired)
        };
        assert!(with(&|_| {}));
        assert!(with(&|existing| existing["advanced"]["theirs"] = json!(true)));
        assert!(!with(&|existing| existing["min"] = json!(2)));
        assert!(!with(&|existing| existing["advanced"] = json!({})));
        assert!(
            !with(&|existing| existing["triggers"][0]["metadata"]["old"] = json!("2")),
            "a key that we no longer set"
        );
    }
}
