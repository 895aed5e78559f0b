//! Whatever is written into metadata and names, there is an answer, and the next call has one too.

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tidegate_proto::{GetMetricsRequest, ScaledObjectRef};
use tokio::runtime::Runtime;

use crate::support::{Server, cluster, in_time, metric, of_deployment, plan};

/// Keys and values of the contract, near misses, and anything at all.
fn pair() -> impl Strategy<Value = (String, String)> {
    let key = prop_oneof![
        prop_oneof![
            Just("workload"),
            Just("service"),
            Just("clusters"),
            Just("requestsPerSecond"),
            Just("concurrencyFromEnv"),
            Just("prometheusQuery"),
            Just("prometheusTarget"),
        ]
        .prop_map(str::to_owned),
        ".{0,200}",
    ];
    let value = prop_oneof![
        prop_oneof![
            Just("deployment/api"),
            Just("api"),
            Just("a,b"),
            Just("100"),
            Just("1e400"),
            Just("NaN"),
            Just("0"),
        ]
        .prop_map(str::to_owned),
        ".{0,2000}",
    ];
    (key, value)
}

#[test]
fn no_metadata_or_name_stops_the_server() {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(Server::start(plan(&["api"])));
    let namespace = prop_oneof![Just("shop".to_owned()), ".{0,300}"];
    let metric_name = prop_oneof![Just("requests-per-second".to_owned()), "s?[0-9]{0,3}-?.{0,300}"];
    let metadata = proptest::collection::vec(pair(), 0..8);
    let calls = (".{0,300}", namespace, metric_name, metadata);
    let mut runner = TestRunner::new(Config { cases: 200, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&calls, |(name, namespace, metric_name, metadata)| {
        let object = ScaledObjectRef { name, namespace, scaler_metadata: metadata.into_iter().collect() };
        runtime.block_on(async {
            server.measure(&[(&cluster("api"), [1.0, 0.0, 0.0])]);
            let mut client = server.client().await;
            let request = GetMetricsRequest { scaled_object_ref: Some(object.clone()), metric_name };
            // Answers or refusals, but in time.
            let _ = in_time(client.get_metrics(request)).await;
            let _ = in_time(client.is_active(object.clone())).await;
            if let Ok(specs) = in_time(client.get_metric_spec(object.clone())).await {
                for spec in specs.into_inner().metric_specs {
                    prop_assert!(spec.target_size >= 1 && spec.target_size_float > 0.0, "{:?}", spec);
                }
            }
            let _ = in_time(client.stream_is_active(object.clone())).await;
            let _ = in_time(client.stream_metric_spec(object)).await;
            prop_assert_eq!(metric(&mut client, &of_deployment("api"), "requests-per-second").await.unwrap(), 1.0);
            Ok(())
        })
    });
    outcome.unwrap();
}
