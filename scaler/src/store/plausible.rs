//! Counts that nobody can have.

/// More tokens/s of one model than one gateway can pass on, or one server work on: a hundred thousand streams of a thousand each.
const MOST_TOKENS: f64 = 1e8;
/// More requests/s than one gateway can pass on.
const MOST_REQUESTS: f64 = 1e6;
/// A process that was started again counts about what it did before. Counters that begin again with more than ten times its rate,
/// and more than this many tokens/s, are those of another process behind the same address: they say nothing about this second.
const ABSURD_RATE: f64 = 100_000.0;

/// An error says what was counted, if nobody can have.
pub(super) fn check(tokens: f64, requests: f64, seconds: f64) -> Result<(), String> {
    if tokens <= MOST_TOKENS * seconds && requests <= MOST_REQUESTS * seconds {
        return Ok(());
    }
    Err(format!(
        "its counters rose by {tokens} tokens and {requests} requests within {seconds:.1} s, which nothing can do"
    ))
}

/// Whether counters that began again are another process's. `before` is the rate that there was.
pub(super) fn is_of_another(counted: f64, seconds: f64, before: f64) -> bool {
    counted / seconds > ABSURD_RATE.max(10.0 * before)
}
