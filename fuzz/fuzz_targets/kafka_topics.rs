//! The topics of a consumer group: names and patterns.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_core::kafka::Topics;

fuzz_target!(|text: &str| {
    let Ok(topics) = text.parse::<Topics>() else { return };
    assert_eq!(topics.to_string().parse().as_ref(), Ok(&topics));
    let _ = topics.matched(&["orders", "orders-eu.v1", "__consumer_offsets", text]);
});
