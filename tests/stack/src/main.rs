//! `stack`: builds the real peers of the end-to-end tests, and runs commands among them.

mod load;

use std::{env, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use tidegate_stack::{
    Component, Profile, Settings, Stack,
    peers::{Cache, PEERS, Peer},
};

/// The real peers of Tidegate's end-to-end tests, on one machine and without a container engine.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the peers that are not in the cache yet; all of them if no name is given
    #[command(after_help = "Example: stack build kube-apiserver envoy")]
    Build { names: Vec<String> },
    /// Print the path of a peer; it is built first if it is missing
    #[command(after_help = "Example: $(stack path envoy) --version")]
    Path { name: String },
    /// Boot a stack, run a command inside, and take the stack down; the exit code is the command's
    #[command(after_help = "Example: stack run -- kubectl get nodes")]
    Run {
        /// Add a part
        #[arg(long, value_name = "PART", value_delimiter = ',')]
        with: Vec<Component>,
        /// Leave a part out
        #[arg(long, value_name = "PART", value_delimiter = ',')]
        without: Vec<Component>,
        /// Speed of the HPA
        #[arg(long, value_enum, default_value_t)]
        profile: Profile,
        /// The command and its arguments
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Stop and start processes of the stack; to be run inside it
    #[command(after_help = "Example: stack run -- sh -c 'stack ctl kill keda-operator && stack ctl status'")]
    Ctl {
        /// What to do
        verb: Verb,
        /// A peer, pod/NAMESPACE/NAME, or pod/NAMESPACE/NAME/CONTAINER
        #[arg(default_value = "", hide_default_value = true)]
        name: String,
    },
    /// Open a shell, or run a command, in a running stack; its own command has the complete line in $TIDEGATE_ENTER
    #[command(after_help = "Example: stack enter /tmp/tidegate-stack-x1Yz -- kubectl get pods -A")]
    Enter {
        /// The folder of the stack
        run: PathBuf,
        /// The command and its arguments
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Send requests at the times that a profile gives, whether or not earlier ones were answered
    #[command(
        after_help = "Example: stack load http http://10.245.0.11:8080/tasks --profile 0s:50,30s:50,40s:800,2m:800"
    )]
    Load(load::Args),
    #[command(hide = true)]
    Inside { run: PathBuf },
    #[command(hide = true)]
    Sandbox { plan: PathBuf },
}

#[derive(Clone, Copy, ValueEnum)]
enum Verb {
    /// SIGTERM, then SIGKILL after the grace period; it stays down until start
    Stop,
    /// Start a stopped process
    Start,
    /// SIGKILL; it is started again, as after a crash
    Kill,
    /// Stop and start
    Restart,
    /// Print name, process id, restarts and last exit
    Status,
}

fn main() -> ExitCode {
    obey(Cli::parse().command).unwrap_or_else(|error| {
        eprintln!("stack: {error:#}");
        ExitCode::FAILURE
    })
}

fn obey(command: Command) -> Result<ExitCode> {
    match command {
        Command::Build { names } => build(&names).map(|()| ExitCode::SUCCESS),
        Command::Path { name } => {
            println!("{}", Peer::named(&name)?.path(&Cache::from_env()?)?.display());
            Ok(ExitCode::SUCCESS)
        }
        Command::Run { with, without, profile, command } => {
            let mut components = vec![Component::Keda, Component::EnvoyGateway, Component::Helm];
            let added: Vec<_> = with.into_iter().filter(|part| !components.contains(part)).collect();
            components.extend(added);
            components.retain(|part| !without.contains(part));
            let peers = Settings::peers(&components)?;
            tidegate_stack::run_stack(&Settings { components, profile, command, programs: programs()?, peers })
        }
        Command::Ctl { verb, name } => block_on(ctl(verb, &name)),
        Command::Enter { run, command } => tidegate_stack::enter(&run, &command),
        Command::Load(args) => block_on(load::run(args)),
        Command::Inside { run } => {
            let runtime = tokio::runtime::Runtime::new()?;
            let code = runtime.block_on(tidegate_stack::run_inside(&run));
            // Tasks that still run end with this process; waiting for them would only take time.
            runtime.shutdown_background();
            code
        }
        Command::Sandbox { plan } => tidegate_stack::enter_sandbox(&plan).map(|()| ExitCode::SUCCESS),
    }
}

async fn ctl(verb: Verb, name: &str) -> Result<ExitCode> {
    let stack = Stack::attach()?;
    match verb {
        Verb::Stop => stack.stop(name).await?,
        Verb::Start => stack.start(name).await?,
        Verb::Kill => stack.kill(name).await?,
        Verb::Restart => stack.restart(name).await?,
        Verb::Status => {
            for (name, status) in stack.status(name).await? {
                let pid = status.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
                let ended = status.last_exit.unwrap_or_default();
                println!("{name:<60} {pid:>7} {:>4} restarts  {ended}", status.restarts);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn block_on(work: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    tokio::runtime::Runtime::new()?.block_on(work)
}

fn build(names: &[String]) -> Result<()> {
    let cache = Cache::from_env()?;
    let peers: Vec<&Peer> = if names.is_empty() {
        PEERS.iter().filter(|peer| peer.by_default()).collect()
    } else {
        names.iter().map(|name| Peer::named(name)).collect::<Result<_>>()?
    };
    peers.into_iter().try_for_each(|peer| peer.path(&cache).map(|_| ()))
}

/// Folder of `tidegate`, `task-api` and `model-server`: `$TIDEGATE_BIN_DIR`, or this program's own, as all share a target folder.
fn programs() -> Result<PathBuf> {
    if let Some(folder) = env::var_os("TIDEGATE_BIN_DIR") {
        return Ok(PathBuf::from(folder));
    }
    Ok(env::current_exe()?.parent().context("this program is in no folder")?.to_owned())
}
