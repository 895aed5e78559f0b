//! Sends requests to an address, so many a second for so long:
//!
//!     cargo run -p tidegate-replay --example load -- 10.244.0.7:8080 50 30s 800 110s 50 1h

use std::{env, error::Error, net::SocketAddr, time::Duration};

use tidegate_replay::load::{Load, LoadSpec, Profile, Traffic};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = env::args().skip(1).collect();
    let [address, steps @ ..] = args.as_slice() else { return Err("usage: load ADDRESS:PORT RATE TIME…".into()) };
    let mut profile = Profile::starting_at(0.0);
    for step in steps.chunks(2) {
        let [rate, time] = step else { return Err("every rate needs a time, such as 50 30s".into()) };
        profile = profile.step_to(rate.parse()?).hold(seconds(time)?);
    }
    let spec = LoadSpec::new(Traffic::http("tasks.example.com", "/tasks")?, profile);
    let snapshot = Load::start(spec, vec![address.parse::<SocketAddr>()?]).finished().await;
    println!("{:?}", snapshot.counts);
    Ok(())
}

fn seconds(text: &str) -> Result<Duration, Box<dyn Error>> {
    let (number, unit) = text.split_at(text.len().saturating_sub(1));
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(format!("{text}: wants a time such as 30s, 5m or 1h").into()),
    };
    Ok(Duration::from_secs(number.parse::<u64>()? * unit))
}
