//! The command line: every flag of the service is an environment variable too, so that a chart can set either.

mod activator;
mod calendar_import;
mod cluster;
mod color;
mod fleet;
#[cfg(feature = "kafka")]
mod kafka;
mod log;
mod manifests;
mod output;
mod people;
mod scale_kinds;
mod service;
mod sources;
mod tools;

use std::{env, ffi::OsStr, path::Path};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

#[cfg(feature = "kafka")]
pub(crate) use self::kafka::{KafkaCheckArgs, KafkaCommand, kafka_clusters};
pub(crate) use self::{
    activator::ActivatorArgs,
    calendar_import::CalendarImportArgs,
    cluster::{ClusterArgs, InstalledArgs, PodsArgs, ScopeArgs},
    color::ColorArgs,
    fleet::{DashboardArgs, GetArgs, HistoryArgs, ProblemsArgs, SortBy, TopArgs},
    log::{LogArgs, init_quietly},
    manifests::{MigrateArgs, PatchFormat, RenderArgs, RoutesArgs},
    output::{ListOutput, Output},
    people::{DemoArgs, ExplainArgs, SavingsArgs, WakeArgs},
    scale_kinds::ScaleKindArgs,
    service::{ControllerArgs, ScalerArgs, ServeArgs, ServiceArgs},
    sources::Source,
    tools::{CheckArgs, CompletionArgs, ManArgs, VersionArgs, WithParentArgs},
};

#[derive(Debug, Parser)]
#[command(version, about = "Scales Deployments on the traffic that Envoy carries to them, through KEDA", long_about = None, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) color: ColorArgs,
}

/// The name under which `kubectl` finds the binary as a plugin.
const PLUGIN: &str = "kubectl-tidegate";

impl Args {
    /// Parses the command line of this process, and ends it where that is wrong.
    pub(crate) fn of_process() -> Self {
        let called = env::args_os().next().unwrap_or_default();
        let command = if is_plugin(&called) { as_plugin(command()) } else { command() };
        Self::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
    }
}

/// The command line as clap knows it.
pub(crate) fn command() -> clap::Command {
    Args::command()
}

fn is_plugin(called: &OsStr) -> bool {
    Path::new(called).file_stem().is_some_and(|name| name == PLUGIN)
}

/// The command line as it is typed for a plugin: usage and examples say so.
fn as_plugin(command: clap::Command) -> clap::Command {
    fn typed(command: clap::Command) -> clap::Command {
        let examples =
            command.get_after_help().map(|text| text.to_string().replace("  tidegate ", "  kubectl tidegate "));
        let command = if let Some(examples) = examples { command.after_help(examples) } else { command };
        command.mut_subcommands(typed)
    }
    typed(command).bin_name("kubectl tidegate")
}

impl Command {
    /// The flags of the log, of what runs as a service.
    pub(crate) fn log(&self) -> Option<&LogArgs> {
        match self {
            Self::Run(args) | Self::Operator(args) => Some(&args.serve.log),
            Self::Scaler(args) => Some(&args.serve.log),
            _ => None,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs the operator and the scaler: what the chart installs
    #[command(after_help = "Example:\n  tidegate run --scaler-address tidegate.tidegate-system.svc:9090")]
    Run(ServiceArgs),
    /// Runs the external scaler alone: it answers KEDA and writes nothing to the cluster
    #[command(
        after_help = "Examples:\n  tidegate scaler\n  tidegate scaler -f examples/task-api/simple.yaml --proxy 127.0.0.1:19001"
    )]
    Scaler(ScalerArgs),
    /// Runs the operator alone: it keeps one ScaledObject per annotated workload
    #[command(after_help = "Example:\n  tidegate operator --scaler-address tidegate.tidegate-system.svc:9090")]
    Operator(ServiceArgs),
    /// Prints the ScaledObjects that manifests would get, without a cluster
    #[command(
        after_help = "Examples:\n  tidegate render -f examples/task-api/simple.yaml\n  kustomize build . | tidegate render -f -"
    )]
    Render(RenderArgs),
    /// Prints the annotations that say what ScaledObjects, HPAs, kube-downscaler and kube-green say; changes nothing
    #[command(
        after_help = "Examples:\n  tidegate migrate -f scaledobjects/ > patches.yaml\n  kubectl get scaledobjects,hpa -A -o yaml | tidegate migrate -f - -o kubectl | sh\n\nThe patches have names and annotations only. What could not be turned goes to standard error, and the exit code is 1 then. Each patch of a ScaledObject or an HPA has tidegate.dev/adopt, by which Tidegate takes it over without a gap."
    )]
    Migrate(MigrateArgs),
    /// Prints which Envoy clusters carry the traffic of which backend, and which routes are not followed and why, from manifests or
    /// from the cluster
    #[command(after_help = "Examples:\n  tidegate routes -f examples/task-api/simple.yaml\n  tidegate routes -o json")]
    Routes(RoutesArgs),
    /// Says why a workload has the replicas that it has, or a Gateway its proxies
    #[command(
        after_help = "Examples:\n  tidegate explain deployment/task-api -n shop\n  tidegate explain gateway/web -n edge"
    )]
    Explain(ExplainArgs),
    /// Says why a workload scaled yesterday: each change of its wanted number, and what it began with
    #[command(
        after_help = "Examples:\n  tidegate history deployment/task-api -n shop\n  tidegate history deployment/task-api --since 30d --prometheus-url http://127.0.0.1:9090"
    )]
    History(HistoryArgs),
    /// Lists workloads and Gateways with what they want and have
    #[command(
        after_help = "Examples:\n  tidegate get -A\n  tidegate get -l team=payments\n  tidegate get gateways -o name\n  tidegate get deployment/task-api -o yaml -n shop"
    )]
    Get(GetArgs),
    /// Shows all workloads and Gateways live: what they want, what they have, and why
    #[command(after_help = "Examples:\n  tidegate top -A\n  tidegate top --sort-by missing --filter unknown -A")]
    Top(TopArgs),
    /// Opens a page with all of it: fleet, history, Calendars, savings and problems
    #[command(
        after_help = "Examples:\n  tidegate dashboard\n  tidegate dashboard --port 8090 --no-open\n\nThe page is served on this machine alone, and asks Tidegate through the API server."
    )]
    Dashboard(DashboardArgs),
    /// Lists all that is wrong, for as long as it is
    #[command(
        after_help = "Examples:\n  tidegate problems -A\n  tidegate problems -n shop -o json\n\nThe exit code is 1 while anything is wrong."
    )]
    Problems(ProblemsArgs),
    /// Shows when it is open, and imports holidays
    #[command(subcommand, disable_help_subcommand = true)]
    Calendar(CalendarCommand),
    /// Asks Kafka
    #[cfg(feature = "kafka")]
    #[command(subcommand, disable_help_subcommand = true)]
    Kafka(KafkaCommand),
    /// Keeps a workload, a Gateway or a namespace awake outside its hours for a while
    #[command(
        after_help = "Examples:\n  tidegate wake deployment/task-api --for 2h -n shop\n  tidegate wake namespace/staging --for 45m"
    )]
    Wake(WakeArgs),
    /// Shows what schedules and scale-to-zero saved, per namespace
    #[command(
        after_help = "Examples:\n  tidegate savings\n  tidegate savings --prometheus-url http://127.0.0.1:9090 --range 30d --price-per-core-hour 0.035 --price-per-gib-hour 0.004"
    )]
    Savings(SavingsArgs),
    /// Prints the CustomResourceDefinitions that Tidegate brings
    #[command(after_help = "Example:\n  tidegate crds | kubectl apply --server-side -f -")]
    Crds,
    /// Checks whether the cluster has what Tidegate needs, and whether what is installed works: each line with what to do about it
    #[command(after_help = "Examples:\n  tidegate check --pre\n  tidegate check -o json")]
    Check(CheckArgs),
    /// Shows the versions of this command, of the Tidegate in the cluster, and of Kubernetes
    #[command(after_help = "Examples:\n  tidegate version\n  tidegate version --client -o json")]
    Version(VersionArgs),
    /// Prints a script that completes commands, flags and the names of workloads in a shell
    #[command(
        after_help = "Examples:\n  source <(tidegate completion bash)\n  tidegate completion zsh > \"${fpath[1]}/_tidegate\"\n  tidegate completion fish > ~/.config/fish/completions/tidegate.fish"
    )]
    Completion(CompletionArgs),
    /// Writes a manual page for each command
    #[command(hide = true, after_help = "Example:\n  tidegate man /usr/local/share/man/man1")]
    Man(ManArgs),
    /// Runs a program that ends when the process that starts it ends (Linux)
    #[command(hide = true, after_help = "Example:\n  tidegate with-parent $$ sleep 1000")]
    WithParent(WithParentArgs),
    /// Prints every command with its flags, as Markdown
    #[command(hide = true, after_help = "Example:\n  tidegate reference > docs/reference/commands.md")]
    Reference,
    /// Shows the whole loop on this machine: a real Envoy, a changing load, KEDA's and the HPA's algorithm
    #[command(after_help = "Example:\n  tidegate demo --manifest examples/task-api/simple.yaml --envoy $(which envoy)")]
    Demo(DemoArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum CalendarCommand {
    /// Shows the next openings and closings of a Calendar or of hours, and a week of them
    #[command(
        after_help = "Examples:\n  tidegate calendar show office\n  tidegate calendar show --hours 'Mo-Fr 08:00-18:00; PH off' --timezone Europe/Berlin --country DE"
    )]
    Show(CalendarShowArgs),
    /// Prints a Calendar whose holidays are the whole days of an iCalendar file
    #[command(
        after_help = "Example:\n  curl -fsSO https://example.org/bavaria.ics\n  tidegate calendar import bavaria.ics -f calendar.yaml | kubectl apply -f -"
    )]
    Import(CalendarImportArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct CalendarShowArgs {
    /// A Calendar of the cluster
    #[arg(conflicts_with = "hours", required_unless_present = "hours")]
    pub(crate) name: Option<String>,
    /// Opening hours in OpenStreetMap's notation
    #[arg(long, requires = "timezone")]
    pub(crate) hours: Option<String>,
    /// An IANA time zone
    #[arg(long, value_name = "ZONE", requires = "hours")]
    pub(crate) timezone: Option<String>,
    /// The country (ISO 3166-1) whose public holidays PH means
    #[arg(long, value_name = "CODE", requires = "hours")]
    pub(crate) country: Option<String>,
    /// A day that PH means too, such as 2026-12-24; repeat for several
    #[arg(long = "holiday", value_name = "DATE", requires = "hours")]
    pub(crate) holidays: Vec<chrono::NaiveDate>,
    /// From when, as RFC 3339 writes it [default: now]
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<chrono::DateTime<chrono::Utc>>,
    /// Until when [default: a week later]
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<chrono::DateTime<chrono::Utc>>,
    /// How to print
    #[arg(long, short, default_value = "table", value_enum)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(args: &[&str]) -> String {
        Args::try_parse_from([&["tidegate"], args].concat()).unwrap_err().to_string()
    }

    #[test]
    fn every_command_shows_an_example_in_its_help() {
        fn check(command: &mut clap::Command) {
            if command.has_subcommands() {
                return command.get_subcommands_mut().for_each(check);
            }
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example") && help.contains("  tidegate"), "{help}");
        }
        check(&mut Args::command());
        Args::command().debug_assert();
    }

    #[test]
    fn called_as_a_plugin_of_kubectl_it_says_how_it_was_called() {
        for (called, plugin) in
            [("/usr/bin/kubectl-tidegate", true), ("kubectl-tidegate.exe", true), ("tidegate", false), ("", false)]
        {
            assert_eq!(is_plugin(OsStr::new(called)), plugin, "{called}");
        }
        let help = as_plugin(command()).try_get_matches_from(["kubectl-tidegate", "explain", "--help"]).unwrap_err();
        let help = help.to_string();
        assert!(help.contains("Usage: kubectl tidegate explain"), "{help}");
        assert!(help.contains("\n  kubectl tidegate explain deployment/task-api"), "{help}");
    }

    #[test]
    fn commands_for_people_have_no_flags_of_the_service() {
        let command = command();
        for name in ["explain", "wake", "version"] {
            let command = command.get_subcommands().find(|command| command.get_name() == name).unwrap();
            for arg in command.get_arguments().filter_map(clap::Arg::get_long) {
                assert!(!["log", "log-format", "scale-kind", "controller-name"].contains(&arg), "{name} --{arg}");
            }
        }
    }

    #[test]
    fn settings_that_need_each_other_are_asked_for_by_name() {
        let tls = refused(&["run", "--tls-cert-file", "tls.crt"]);
        assert!(tls.contains("--tls-key-file"), "{tls}");
        let prometheus = refused(&["run", "--source", "prometheus"]);
        assert!(prometheus.contains("--prometheus-url"), "{prometheus}");
        let authentication = refused(&["render", "-f", "-", "--scaler-authentication", "x"]);
        assert!(authentication.contains("--scaler-tls"), "{authentication}");
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let nowhere = refused(&["routes", "-n", "shop"]);
        assert!(nowhere.contains("--file"), "{nowhere}");
        let credentials = ["--prometheus-username", "me", "--prometheus-password-file", "p"];
        let token = ["--prometheus-bearer-token-file", "t"];
        let two = refused(&[&["run", "--prometheus-url", "http://p"][..], &credentials, &token].concat());
        assert!(two.contains("cannot be used with"), "{two}");
    }

    #[test]
    fn kinds_to_scale_are_named_as_in_the_charts_values() {
        let args = Args::try_parse_from(["tidegate", "run", "--scale-kind", "rollouts.argoproj.io,deployments.apps"]);
        let Command::Run(run) = args.unwrap().command else { panic!("not run") };
        assert_eq!(run.scaled.kinds(), [tidegate_core::workload::WorkloadKind::Rollout]);
        let error = refused(&["run", "--scale-kind", "widgets.example.com"]);
        assert!(error.contains("PLURAL.GROUP/VERSION/KIND"), "{error}");
    }

    #[test]
    fn a_config_map_is_named_with_its_namespace_or_left_out() {
        let config_maps = |name: &str| {
            let args = Args::try_parse_from(["tidegate", "routes", &format!("--envoy-gateway-config={name}")]);
            let Command::Routes(routes) = args.unwrap().command else { panic!("not routes") };
            routes.configuration.config_maps().map(|all| all.len()).map_err(|error| error.to_string())
        };
        assert_eq!(config_maps("edge/eg"), Ok(1));
        assert_eq!(config_maps(""), Ok(0));
        assert!(config_maps("eg").unwrap_err().contains("wants NAMESPACE/NAME"));
    }

    #[test]
    fn a_time_without_a_unit_is_refused_with_the_flag() {
        let error = refused(&["run", "--stale-after", "300"]);
        assert!(error.contains("--stale-after") && error.contains("unit"), "{error}");
    }

    #[test]
    fn several_namespaces_and_proxies_may_be_given_in_one_go() {
        let args =
            Args::try_parse_from(["tidegate", "run", "-n", "a,b", "-n", "c", "--proxy", "10.0.0.7:19001,[::1]:1"]);
        let Command::Run(run) = args.unwrap().command else { panic!("not run") };
        assert_eq!(run.namespaces, ["a", "b", "c"]);
        assert_eq!(run.serve.source.proxies.len(), 2);
    }
}
