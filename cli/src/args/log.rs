//! Flags of the log.

use clap::ValueEnum;
use tracing_subscriber::{EnvFilter, fmt};

/// Where and how to log.
#[derive(Debug, clap::Args)]
pub(crate) struct LogArgs {
    /// What to log: error, warn, info, debug, trace, or a filter such as info,tidegate_scaler=debug
    #[arg(long, global = true, env = "TIDEGATE_LOG", default_value = "info,kube_client=error", value_name = "FILTER")]
    log: String,
    /// How to write log lines
    #[arg(long, global = true, env = "TIDEGATE_LOG_FORMAT", default_value = "text", value_enum)]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl LogArgs {
    /// Logs go to stderr: stdout is for what was asked for.
    pub(crate) fn init(&self) {
        let filter = EnvFilter::try_new(&self.log).unwrap_or_else(|error| {
            eprintln!("tidegate: --log {}: {error}; logging at info", self.log);
            EnvFilter::new("info")
        });
        let logs = fmt().with_env_filter(filter).with_writer(std::io::stderr);
        match self.log_format {
            LogFormat::Text => logs.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
            LogFormat::Json => logs.json().init(),
        }
    }
}
