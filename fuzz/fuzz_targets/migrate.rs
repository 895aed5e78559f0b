//! Other autoscalers' objects, as `tidegate migrate` turns them: the annotations that it writes are accepted.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tidegate_cluster::migrate::migrate;
use tidegate_core::{
    intent::{Annotations, Intent},
    yaml,
};

fuzz_target!(|text: &str| {
    let Ok(objects) = yaml::read_all::<Value>(text) else { return };
    for patch in migrate(&objects).patches() {
        let annotations = patch["metadata"]["annotations"].clone();
        let annotations: Annotations = serde_json::from_value(annotations).expect("annotations are texts");
        if patch["kind"] != "Namespace" {
            let problems = Intent::of_workload(&annotations, "shop", &Annotations::new()).err();
            assert_eq!(problems, None, "{patch}");
        }
    }
});
