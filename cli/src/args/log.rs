//! Flags of the log.

use clap::ValueEnum;
use tracing_subscriber::{EnvFilter, fmt};

use crate::paint::Paint;

/// Where and how to log.
#[derive(Debug, clap::Args)]
pub(crate) struct LogArgs {
    /// What to log: error, warn, info, debug, trace, or a filter such as info,tidegate_scaler=debug
    #[arg(long, env = VARIABLE, default_value = "info,kube_client=error", value_name = "FILTER")]
    log: String,
    /// How to write log lines
    #[arg(long, env = "TIDEGATE_LOG_FORMAT", default_value = "text", value_enum)]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

/// The variable of `--log`, which commands for people know too.
const VARIABLE: &str = "TIDEGATE_LOG";

impl LogArgs {
    /// Logs go to stderr: stdout is for what was asked for.
    pub(crate) fn init(&self) {
        start(&self.log, "info", self.log_format);
    }
}

/// The log of commands for people: what they have to say is in their output.
pub(crate) fn init_quietly() {
    let filter = std::env::var(VARIABLE).unwrap_or_else(|_| "warn,kube_client=error".to_owned());
    start(&filter, "warn", LogFormat::Text);
}

fn start(filter: &str, otherwise: &str, format: LogFormat) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|error| {
        eprintln!("tidegate: --log {filter}: {error}; logging at {otherwise}");
        EnvFilter::new(otherwise)
    });
    let logs = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => logs.with_ansi(Paint::of_stderr().is_on()).init(),
        LogFormat::Json => logs.json().init(),
    }
}
