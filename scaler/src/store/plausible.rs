//! Detection of implausible counts.

/// More tokens/s of one model than a gateway can pass on or a server can process: a hundred thousand streams of a thousand each.
const MOST_TOKENS: f64 = 1e8;
/// No Envoy carries more than this many requests/s: the fastest reported are an order of magnitude below.
const MOST_REQUESTS: f64 = 1e6;
/// No connection carries more than this many requests/s: 10 µs a request, on HTTP/2 with many in flight.
const FASTEST_CONNECTION: f64 = 100_000.0;
/// A restarted process counts about as fast as before. Counters that restart with more than ten times its rate, and more than this
/// many tokens/s, belong to another process behind the same address: they say nothing about this second.
const ABSURD_RATE: f64 = 100_000.0;

/// Returns an error with the counts if no gateway and no model server can have had them.
pub(super) fn check(tokens: f64, requests: f64, seconds: f64) -> Result<(), String> {
    if tokens <= MOST_TOKENS * seconds && requests <= MOST_REQUESTS * seconds {
        return Ok(());
    }
    Err(format!(
        "its counters rose by {tokens} tokens and {requests} requests within {seconds:.1} s, which nothing can do"
    ))
}

/// Whether restarted counters belong to another process. `before` is the rate before the restart.
pub(super) fn is_of_another(counted: f64, seconds: f64, before: f64) -> bool {
    counted / seconds > ABSURD_RATE.max(10.0 * before)
}

/// A count that is too high for any Envoy.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error(
    "counts {rate:.0} requests/s of a cluster, and no Envoy carries more than {most:.0} on {connections} connections"
)]
pub(super) struct Implausible {
    rate: f64,
    most: f64,
    connections: f64,
}

/// Returns an error if no Envoy can have carried that many requests/s of a cluster.
#[inline]
pub(super) fn check_cluster(rate: f64, connections: f64) -> Result<(), Implausible> {
    if rate <= FASTEST_CONNECTION {
        return Ok(());
    }
    // Refused requests need no connection, and if no connection is shown, nothing is known about connections.
    let carried = if connections > 0.0 { connections * FASTEST_CONNECTION } else { MOST_REQUESTS };
    let most = carried.clamp(FASTEST_CONNECTION, MOST_REQUESTS);
    if rate <= most { Ok(()) } else { Err(Implausible { rate, most, connections }) }
}
