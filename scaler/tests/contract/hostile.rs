//! Arbitrary metadata and names: each call gets an answer, and so does the next one.

use std::net::SocketAddr;

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tidegate_proto::{GetMetricsRequest, ScaledObjectRef};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    runtime::Runtime,
};

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

/// Opens a connection that sends nothing, or only the start of HTTP/2's preface.
async fn silent(from: [u8; 4], to: SocketAddr, says: &[u8]) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let mut stream = socket.connect(to).await.ok()?;
    // A connection beyond the peer's places may be closed already.
    let _ = stream.write_all(says).await;
    Some(stream)
}

#[tokio::test]
async fn a_thousand_silent_connections_lock_nobody_out_and_are_closed() {
    let server = Server::start(plan(&["api"])).await;
    let mut held = Vec::new();
    for n in 0..1005u16 {
        held.extend(silent([127, 0, 0, 9], server.address, if n % 2 == 0 { b"" } else { b"PRI * HTTP/2.0" }).await);
    }
    server.measure(&[]);
    assert_eq!(metric(&mut server.client().await, &of_deployment("api"), "requests-per-second").await.unwrap(), 0.0);
    for mut stream in held {
        let mut rest = Vec::new();
        // An error is an end, too.
        let _ = in_time(stream.read_to_end(&mut rest)).await;
    }
}
