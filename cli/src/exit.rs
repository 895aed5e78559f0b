//! The exit codes of all commands, and the error that carries one.

use std::{fmt, io, process::ExitCode};

/// The exit code of a command. The README of the commands is made from this table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    Wrong = 1,
    Usage = 2,
    Missing = 3,
    NotAnnotated = 4,
    NoAnswer = 5,
    NotAllowed = 6,
}

impl Exit {
    pub(crate) const ALL: [Self; 6] =
        [Self::Wrong, Self::Usage, Self::Missing, Self::NotAnnotated, Self::NoAnswer, Self::NotAllowed];

    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Wrong => {
                "Something is wrong with what was asked about: see the output. Or the command could not do its work: see stderr"
            }
            Self::Usage => "The command line is wrong",
            Self::Missing => "It does not exist",
            Self::NotAnnotated => "It exists, and has no annotations of Tidegate",
            Self::NoAnswer => "The cluster, or Tidegate in it, did not answer",
            Self::NotAllowed => "The credentials are not accepted, or lack a permission",
        }
    }

    /// An error that ends the process with this code.
    pub(crate) fn with(self, message: impl Into<String>) -> Failure {
        Failure { exit: self, message: message.into() }
    }

    /// The same where the output has said it all.
    pub(crate) fn silently(self) -> Failure {
        self.with("")
    }
}

/// Why a command ends, in one sentence that says what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The code of a process that a closed pipe ended, as a shell reports it: 128 and the number of SIGPIPE.
const BROKEN_PIPE: u8 = 141;

/// Reports how a command ended. A reader that has seen enough, as in `tidegate explain … | head`, is no error to report.
pub(crate) fn report(outcome: &anyhow::Result<()>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    if has_broken_pipe(error) {
        return ExitCode::from(BROKEN_PIPE);
    }
    let text = format!("{error:#}");
    if !text.is_empty() {
        eprintln!("tidegate: {text}");
    }
    ExitCode::from(code(error) as u8)
}

/// The code that an error stands for.
pub(crate) fn code(error: &anyhow::Error) -> Exit {
    error.downcast_ref::<Failure>().map_or(Exit::Wrong, |failure| failure.exit)
}

pub(crate) fn has_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    // serde_json wraps the error of the writer that it prints to.
    let of_json = |cause: &serde_json::Error| cause.io_error_kind() == Some(io::ErrorKind::BrokenPipe);
    error.chain().any(|cause| cause.downcast_ref().is_some_and(broken) || cause.downcast_ref().is_some_and(of_json))
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn an_error_keeps_its_code_under_any_context() {
        let outcome: anyhow::Result<()> = Err(Exit::Missing.with("gone").into());
        assert_eq!(code(&outcome.context("deployment/api").unwrap_err()), Exit::Missing);
        assert_eq!(code(&anyhow!("anything else")), Exit::Wrong);
    }

    #[test]
    fn a_closed_pipe_is_found_under_whatever_wrote_to_it() {
        let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(has_broken_pipe(&anyhow!(closed()).context("stdout")));
        assert!(has_broken_pipe(&anyhow!(serde_json::Error::io(closed()))));
        assert!(!has_broken_pipe(&anyhow!(io::Error::from(io::ErrorKind::NotFound))));
    }
}
