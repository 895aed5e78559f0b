//! Quantities of Kubernetes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_core::quantity;

fuzz_target!(|text: &str| {
    if let Some(value) = quantity::parse(text) {
        assert!(value.is_finite() && value >= 0.0, "{text}: {value}");
    }
});
