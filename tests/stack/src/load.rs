//! `stack load`: load over time, from the command line.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use hyper::Uri;
use tidegate_sim::load::{Counts, Load, LoadSpec, Profile, SentRate, Snapshot, Traffic};
use tokio::{
    net::lookup_host,
    time::{Instant, MissedTickBehavior, interval},
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Protocol of the requests
    protocol: Protocol,
    /// Target, such as http://10.245.0.11:8080/tasks; for grpc the path is the method, for tcp there is none
    url: Uri,
    /// The Host header, if it is not that of the URL
    #[arg(long)]
    host: Option<String>,
    /// TIME:RATE points; between two the rate changes linearly. For tcp the rate is the number of open connections
    #[arg(long, value_name = "TIME:RATE,…", value_parser = profile)]
    profile: Profile,
    /// Print a line each second
    #[arg(long)]
    progress: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Protocol {
    Http,
    Grpc,
    Tcp,
}

/// Sends load until the profile ends, and prints the counts and the latencies.
pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let authority = args.url.authority().context("the URL has no host")?;
    let port = args.url.port_u16().unwrap_or(80);
    let host = args.host.as_deref().unwrap_or(authority.as_str());
    let path = args.url.path_and_query().map_or("/", |path| path.as_str());
    let traffic = match args.protocol {
        Protocol::Http => Traffic::http(host, path)?,
        Protocol::Grpc => Traffic::grpc(host, path)?,
        Protocol::Tcp => Traffic::tcp(),
    };
    let targets: Vec<_> = lookup_host((authority.host(), port)).await?.collect();
    let load = Load::start(LoadSpec::new(traffic, args.profile.clone()), targets);
    if args.progress {
        show(&load, &args.profile).await;
    }
    println!("{}", summary(&load.finished().await));
    Ok(ExitCode::SUCCESS)
}

/// Prints each second what is sent and answered, until the load ends.
async fn show(load: &Load, profile: &Profile) {
    let (start, mut seconds, mut rate) = (Instant::now(), interval(Duration::from_secs(1)), SentRate::default());
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !load.is_finished() {
        seconds.tick().await;
        let (at, snapshot) = (start.elapsed(), load.snapshot());
        let (sent, Counts { ok, skipped, .. }) = (rate.look(at, &snapshot), snapshot.counts);
        let not_ok = snapshot.counts.total() - ok - skipped;
        println!("{sent:.0} of {:.0} requests/s sent; {ok} answered well, {not_ok} not", profile.at(at));
    }
}

fn summary(Snapshot { counts, latencies, .. }: &Snapshot) -> String {
    let Counts { ok, unavailable, other, errors, skipped } = counts;
    let within = |share| latencies.quantile(share).map_or(0.0, |latency| 1000.0 * latency.as_secs_f64());
    format!(
        "{ok} answered well, {unavailable} unavailable, {other} otherwise, {errors} failed, {skipped} not sent (too many in flight); \
         half within {:.0} ms, 99 % within {:.0} ms",
        within(0.5),
        within(0.99)
    )
}

/// `0s:50,30s:50,40s:800`
fn profile(text: &str) -> Result<Profile> {
    let mut points = text.split(',').map(point);
    let (mut before, rate) = points.next().context("no point")??;
    if !before.is_zero() {
        bail!("the first point is at {before:?}, not at 0s");
    }
    let mut profile = Profile::starting_at(rate);
    for point in points {
        let (at, rate) = point?;
        let length = at.checked_sub(before).with_context(|| format!("{at:?} comes after {before:?}"))?;
        profile = if length.is_zero() { profile.step_to(rate) } else { profile.ramp_to(rate, length) };
        before = at;
    }
    Ok(profile)
}

fn point(text: &str) -> Result<(Duration, f64)> {
    let (time, rate) = text.split_once(':').with_context(|| format!("{text:?} is not TIME:RATE"))?;
    let time = humantime::parse_duration(time).with_context(|| format!("{time:?} is not a time such as 30s"))?;
    let rate: f64 = rate.parse().with_context(|| format!("{rate:?} is not a number"))?;
    if !(rate.is_finite() && rate >= 0.0) {
        bail!("{rate} is not a rate");
    }
    Ok((time, rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_change_evenly_between_points() {
        let profile = profile("0s:50,10s:50,20s:150,20s:10,30s:10").unwrap();
        let rates = [5, 15, 25].map(|second| profile.at(Duration::from_secs(second)));
        assert_eq!(rates, [50.0, 100.0, 10.0]);
    }

    #[test]
    fn the_last_line_has_counts_and_latencies_also_of_a_load_that_nobody_answered() {
        let counts = Counts { errors: 3, skipped: 1, ..Counts::default() };
        let line = summary(&Snapshot { counts, ..Snapshot::default() });
        assert!(
            line.contains("3 failed, 1 not sent") && line.ends_with("half within 0 ms, 99 % within 0 ms"),
            "{line}"
        );
    }

    #[test]
    fn a_point_out_of_order_or_shape_is_refused() {
        for text in ["5s:1", "0s:1,10s:2,5s:3", "0s", "0s:-1", "0s:NaN", "soon:1"] {
            assert!(profile(text).is_err(), "{text}");
        }
    }
}
