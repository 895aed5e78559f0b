//! `tidegate`: scales Deployments through KEDA by the traffic that Envoy carries.
// Macros that print end the process with a panic where the reader has gone: `tidegate explain … | head`.
#![deny(clippy::print_stdout)]
#![allow(rustdoc::bare_urls, reason = "the help of flags is for terminals")]

mod activator;
mod admin;
mod args;
mod calendar;
mod check;
mod cluster;
mod completion;
mod crypto;
mod dashboard;
mod demo;
mod elders;
mod exit;
mod explain;
#[cfg(test)]
mod fixture;
mod fleet;
mod from_files;
mod get;
mod history;
#[cfg(feature = "kafka")]
mod kafka;
mod manifests;
mod migrate;
mod object;
mod paint;
mod pods;
mod problems;
mod redraw;
mod reference;
mod run;
mod savings;
mod table;
mod tidegate;
mod top;
mod version;
mod wake;
mod with_parent;

use std::process::ExitCode;

use crate::args::{Args, CalendarCommand, Command};

fn main() -> ExitCode {
    completion::answer_shell();
    let args = Args::of_process();
    args.color.choose();
    args.command.log().map_or_else(args::init_quietly, args::LogArgs::init);
    if let Command::WithParent(args) = &args.command {
        return exit::report(&with_parent::run(args));
    }
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
            Command::History(args) => history::history(args).await,
            Command::Get(args) => get::get(args).await,
            Command::Top(args) => top::top(args).await,
            Command::Dashboard(args) => dashboard::dashboard(args).await,
            Command::Problems(args) => problems::problems(args).await,
            Command::Calendar(CalendarCommand::Show(args)) => calendar::show(&args).await,
            Command::Calendar(CalendarCommand::Import(args)) => calendar::import(&args),
            #[cfg(feature = "kafka")]
            Command::Kafka(command) => kafka::run(command).await,
            Command::Wake(args) => wake::wake(args).await,
            Command::Savings(args) => savings::savings(args).await,
            Command::Crds => manifests::crds(),
            Command::Check(args) => check::run(args).await,
            Command::Version(args) => version::version(args).await,
            Command::Completion(args) => completion::completion(args.shell),
            Command::Man(args) => completion::man(&args.folder),
            // It is no task: the process becomes another.
            Command::WithParent(args) => with_parent::run(&args),
            Command::Reference => reference::print(),
            Command::Demo(args) => demo::demo(args).await,
        }
    });
    // Tasks that wait on the network must not hold up the exit.
    runtime.shutdown_background();
    exit::report(&outcome)
}
