//! YAML: what is read is written so that it is read back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tidegate_core::yaml;

fuzz_target!(|text: &str| {
    for value in yaml::read_all::<Value>(text).unwrap_or_default() {
        let written = yaml::write(&value).expect("every value can be written");
        assert_eq!(yaml::read(&written).as_ref(), Ok(&value), "{written}");
    }
});
