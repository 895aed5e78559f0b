//! The metadata of a ScaledObject's trigger, a `key: value` in each line: what is accepted is written so that it is read back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_core::trigger::Trigger;

fuzz_target!(|text: &str| {
    let pairs = text.lines().filter_map(|line| line.split_once(": "));
    let metadata = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    match Trigger::parse("shop", &metadata) {
        Ok(trigger) => {
            let written = trigger.metadata().into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
            assert_eq!(Trigger::parse("shop", &written), Ok(trigger));
        }
        Err(problems) => assert!(problems.iter().all(|problem| !problem.to_string().is_empty())),
    }
});
