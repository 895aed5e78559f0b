//! Requests that a global rate limit refused, by cluster and proxy: shown to people, and no part of any demand.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
};

use tokio::time::Instant;

use super::{WINDOW, counts::Counts, sample::Sample};

/// The refusals of the last 30 seconds. Only clusters of which a request was ever refused are in it.
#[derive(Debug, Default)]
pub(super) struct RateLimited(HashMap<(u32, SocketAddr), Refusals>);

/// One cluster on one proxy.
#[derive(Debug)]
struct Refusals {
    /// The proxy's counter, and when it was read
    counter: f64,
    at: Instant,
    counts: Counts<1>,
}

impl RateLimited {
    /// Reads the counters of a proxy's answer. The first one is a baseline: when its requests were refused is not known.
    pub(super) fn take_in(&mut self, proxy: SocketAddr, at: Instant, sample: &Sample) {
        for (id, counters) in sample.clusters().iter().filter(|(_, counters)| counters.rate_limited > 0.0) {
            let counter = counters.rate_limited;
            let new = || Refusals { counter, at, counts: Counts::since(at) };
            let known = self.0.entry((*id, proxy)).or_insert_with(new);
            // A proxy that was started again has counted from 0.
            let refused = if counter < known.counter { counter } else { counter - known.counter };
            known.counts.add([refused], at);
            (known.counter, known.at) = (counter, at);
        }
    }

    /// Drops clusters that are not kept any more, since another may get their ids.
    pub(super) fn forget(&mut self, dropped: &HashSet<u32>) {
        self.0.retain(|(id, _), _| !dropped.contains(id));
    }

    /// Drops what no proxy has shown within the window: the proxy, or the cluster on it, is gone.
    pub(super) fn forget_old(&mut self, now: Instant) {
        self.0.retain(|_, known| now.saturating_duration_since(known.at) <= WINDOW);
    }

    /// Requests/s of this cluster that limits refused, of all proxies. `None` if none was.
    pub(super) fn rate(&self, id: u32) -> Option<f64> {
        let of_cluster = self.0.iter().filter(|((of, _), _)| *of == id);
        let rate: f64 = of_cluster.map(|(_, known)| known.counts.means()[0]).sum();
        (rate > 0.0).then_some(rate)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::{Counters, Series};

    fn proxy(index: u8) -> SocketAddr {
        ([10, 0, 0, index], 19001).into()
    }

    /// Two proxies whose counters grow by 4 and 6 a second, for 40 seconds.
    fn refusing() -> (RateLimited, Series, Instant) {
        let (mut limited, series, start) = (RateLimited::default(), Series::of(["c"]), Instant::now());
        let at = |second: u32| start + Duration::from_secs(1) * second;
        for second in 0..=40 {
            for (index, growth) in [(0, 4.0), (1, 6.0)] {
                let rate_limited = 1e6 + growth * f64::from(second);
                let sample = Sample::new(&series, vec![(0, Counters { rate_limited, ..Counters::default() })]);
                limited.take_in(proxy(index), at(second), &sample);
            }
        }
        (limited, series, at(40))
    }

    #[test]
    fn refusals_of_all_proxies_add_up_and_those_of_before_are_no_rate() {
        let (mut limited, series, now) = refusing();
        assert_eq!(limited.rate(0), Some(10.0));
        assert_eq!(limited.rate(1), None);
        // One of them is started again, and has refused 6 since.
        let sample = Sample::new(&series, vec![(0, Counters { rate_limited: 6.0, ..Counters::default() })]);
        limited.take_in(proxy(1), now + Duration::from_secs(1), &sample);
        assert_eq!(limited.rate(0), Some(10.0));
    }

    #[test]
    fn a_proxy_that_is_gone_and_a_cluster_that_is_not_kept_have_refused_nothing() {
        let (mut limited, _, now) = refusing();
        limited.forget_old(now + WINDOW);
        assert_eq!(limited.rate(0), Some(10.0));
        limited.forget_old(now + WINDOW + Duration::from_secs(1));
        assert_eq!(limited.rate(0), None);

        let (mut limited, ..) = refusing();
        limited.forget(&HashSet::from([0]));
        assert_eq!(limited.rate(0), None);
    }
}
