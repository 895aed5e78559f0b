//! `tidegate`: scales Deployments through KEDA by the traffic that Envoy carries.
#![allow(rustdoc::bare_urls, reason = "the help of flags is for terminals")]

mod activator;
mod admin;
mod args;
mod calendar;
mod demo;
mod explain;
mod from_files;
#[cfg(feature = "kafka")]
mod kafka;
mod manifests;
mod migrate;
mod reference;
mod run;
mod savings;
mod wake;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, CalendarCommand, Command};

fn main() -> ExitCode {
    let args = Args::parse();
    args.log.init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("tidegate: cannot start its threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(async {
        match args.command {
            Command::Run(args) => run::run(args, run::Role::Both).await,
            Command::Scaler(args) => run::scaler(args).await,
            Command::Operator(args) => run::run(args, run::Role::Operator).await,
            Command::Render(args) => manifests::render(&args),
            Command::Migrate(args) => migrate::migrate(&args),
            Command::Routes(args) => manifests::routes(args).await,
            Command::Explain(args) => explain::explain(args).await,
            Command::Calendar(CalendarCommand::Show(args)) => calendar::show(&args).await,
            Command::Calendar(CalendarCommand::Import(args)) => calendar::import(&args),
            #[cfg(feature = "kafka")]
            Command::Kafka(command) => kafka::run(command).await,
            Command::Wake(args) => wake::wake(args).await,
            Command::Savings(args) => savings::savings(args).await,
            Command::Crds => manifests::crds(),
            Command::Reference => {
                reference::print();
                Ok(())
            }
            Command::Demo(args) => demo::demo(args).await,
        }
    });
    // Tasks that wait on the network must not hold up the exit.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidegate: {error:#}");
            ExitCode::FAILURE
        }
    }
}
