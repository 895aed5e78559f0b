//! Manifests: what is read becomes a Plan and ScaledObjects, and what is written is read back.
#![no_main]

use std::path::Path;

use chrono::{DateTime, TimeDelta};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tidegate_cluster::{
    ManifestSettings, Manifests,
    scaling::{ScalerEndpoint, Settings, render},
};
use tidegate_core::yaml;

fuzz_target!(|text: &str| {
    let read = Manifests::of_text(Path::new("a.yaml"), text, &ManifestSettings::default());
    let settings = Settings { scaler: ScalerEndpoint::default(), release: "fuzz".to_owned(), tolerance: true };
    let now = DateTime::UNIX_EPOCH + TimeDelta::days(20_500);
    for object in render(&read.objects, &read.objects.plan(), &settings, now).scaled_objects {
        let written = yaml::write(&object).expect("every value can be written");
        assert_eq!(yaml::read::<Value>(&written).as_ref(), Ok(&object), "{written}");
    }
    let _ = (read.objects.routes(), read.errors.iter().map(ToString::to_string).collect::<String>());
});
