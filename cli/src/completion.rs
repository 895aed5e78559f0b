//! `tidegate completion` and `tidegate man`: scripts for shells, and manual pages, from the table that parses the command line.
//!
//! A script asks this program at each TAB, so that it completes what is in the cluster, too (`names`).

mod names;

use std::{
    io::{Write, stdout},
    path::Path,
};

use anyhow::{Context, Result};
use clap_complete::{CompleteEnv, Shell, engine::ArgValueCompleter, env::Shells};

use crate::args::command;

/// The environment variable by which a script asks for completions.
const ASKED: &str = "TIDEGATE_COMPLETE";

/// Answers a shell's question and ends the process, if this is one.
pub(crate) fn answer_shell() {
    CompleteEnv::with_factory(completed).var(ASKED).complete();
}

pub(crate) fn completion(shell: Shell) -> Result<()> {
    Ok(stdout().write_all(&script(shell)?)?)
}

fn script(shell: Shell) -> Result<Vec<u8>> {
    let (shells, name) = (Shells::builtins(), command().get_name().to_owned());
    let shell = shells.completer(&shell.to_string()).with_context(|| format!("{shell} cannot be completed"))?;
    let mut script = Vec::new();
    shell.write_registration(ASKED, &name, &name, &name, &mut script)?;
    Ok(script)
}

/// The command line, with what completes its values.
fn completed() -> clap::Command {
    fn with_names(command: clap::Command) -> clap::Command {
        let command = command.mut_args(|arg| match arg.get_id().as_str() {
            "objects" => arg.add(ArgValueCompleter::new(names::objects)),
            "namespace" => arg.add(ArgValueCompleter::new(names::namespaces)),
            "context" => arg.add(ArgValueCompleter::new(names::contexts)),
            _ => arg,
        });
        command.mut_subcommands(with_names)
    }
    with_names(command())
}

pub(crate) fn man(folder: &Path) -> Result<()> {
    let shown = folder.display();
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {shown}"))?;
    clap_mangen::generate_to(command(), folder).with_context(|| format!("cannot write to {shown}"))
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn the_script_of_every_shell_asks_this_program() {
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(*shell).unwrap()).unwrap();
            assert!(script.contains(ASKED) && script.contains("tidegate"), "{shell}: {script}");
        }
    }

    #[test]
    fn commands_their_flags_and_the_values_of_these_are_completed() {
        for (line, expected) in [
            (&["expl"][..], "explain"),
            (&["get", "--all"], "--all-namespaces"),
            (&["explain", "--request-t"], "--request-timeout"),
            (&["version", "-o", "ya"], "yaml"),
        ] {
            let words = [&["tidegate"], line].concat().into_iter().map(Into::into).collect();
            let found = clap_complete::engine::complete(&mut completed(), words, line.len(), None).unwrap();
            assert!(found.iter().any(|candidate| candidate.get_value() == expected), "{line:?}: {found:?}");
        }
    }

    #[test]
    fn each_command_has_a_manual_page() {
        let folder = tempfile::tempdir().unwrap();
        man(folder.path()).unwrap();
        for page in ["tidegate.1", "tidegate-explain.1", "tidegate-calendar-show.1"] {
            let text = std::fs::read_to_string(folder.path().join(page)).unwrap();
            assert!(text.contains(".TH"), "{page}");
        }
    }
}
