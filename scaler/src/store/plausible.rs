//! Detection of implausible counts.

/// More tokens/s of one model than a gateway can pass on or a server can process: a hundred thousand streams of a thousand each.
const MOST_TOKENS: f64 = 1e8;
/// More requests/s than one gateway can pass on.
const MOST_REQUESTS: f64 = 1e6;
/// A restarted process counts about as fast as before. Counters that restart with more than ten times its rate, and more than this
/// many tokens/s, belong to another process behind the same address: they say nothing about this second.
const ABSURD_RATE: f64 = 100_000.0;

/// Returns an error with the counts if they are implausible.
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
