//! The page of metrics that Envoy shows: it reads the same however the network cuts it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_scaler::{sources::envoy::Parser, store::Series};

fuzz_target!(|page: &[u8]| {
    let series = Series::of(["httproute/default/task-route/rule/0", "a", "b"]);
    let read = |chunks: &mut dyn Iterator<Item = &[u8]>| {
        let mut parser = Parser::new(&series).with_fleet(Some("b"));
        chunks.for_each(|chunk| parser.feed(chunk));
        parser.finish().map(|sample| format!("{:?}", sample.clusters())).map_err(|error| error.to_string())
    };
    let whole = read(&mut std::iter::once(page));
    for size in [1, 7, 64] {
        assert_eq!(read(&mut page.chunks(size)), whole, "in chunks of {size}");
    }
});
