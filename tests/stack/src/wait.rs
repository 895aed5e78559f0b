//! Waiting for a condition to become true, with a message that names it if it does not.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// Time between two probes: the shortest, and the longest, which what takes seconds gets. Most probes start a process.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);

/// Calls `probe` until it gives a value, and returns that. After `deadline` the error says `what` was waited for, and has the
/// error of the last call.
///
/// A probe returns `Ok(Some(value))` once the condition is true, `Ok(None)` while it is not, and an error when it cannot find out.
///
/// ```
/// # async fn example() -> anyhow::Result<()> {
/// use std::time::Duration;
/// let started = std::time::Instant::now();
/// let late = async || Ok((started.elapsed() > Duration::from_millis(100)).then_some("late"));
/// assert_eq!(tidegate_stack::eventually(Duration::from_secs(5), "it is late", late).await?, "late");
/// # Ok(())
/// # }
/// ```
pub async fn eventually<T>(
    deadline: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        let last = match probe().await {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if start.elapsed() >= deadline {
            match last {
                None => bail!("not within {deadline:?}: {what}"),
                Some(error) => bail!("not within {deadline:?}: {what}; the last try: {error:#}"),
            }
        }
        tokio::time::sleep((start.elapsed() / 16).clamp(PAUSE, LONGEST_PAUSE)).await;
    }
}

/// Calls `probe` until it gives a value that `is_right` accepts. After `deadline` the error shows the last value.
pub async fn eventually_is<T: Debug>(
    deadline: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Result<T>,
    is_right: impl Fn(&T) -> bool,
) -> Result<T> {
    eventually(deadline, what, async || {
        let value = probe().await?;
        if is_right(&value) { Ok(Some(value)) } else { bail!("it is {value:?}") }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_timeout_names_what_was_waited_for_and_the_last_value() {
        let error = eventually_is(PAUSE, "three replicas", async || Ok(1), |replicas| *replicas == 3).await;
        let error = error.unwrap_err().to_string();
        assert_eq!(error, "not within 50ms: three replicas; the last try: it is 1");
    }
}
