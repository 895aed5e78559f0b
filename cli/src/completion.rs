//! `tidegate completion` and `tidegate man`: scripts for shells, and manual pages, from the table that parses the command line.

use std::{
    io::{Write, stdout},
    path::Path,
};

use anyhow::{Context, Result};
use clap_complete::Shell;

use crate::args::command;

pub(crate) fn completion(shell: Shell) -> Result<()> {
    let mut command = command();
    let name = command.get_name().to_owned();
    // Into memory first: the generator takes a closed pipe for a bug, and panics.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    Ok(stdout().write_all(&script)?)
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
    fn every_shell_completes_the_commands_and_their_flags() {
        for shell in Shell::value_variants() {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut command(), "tidegate", &mut script);
            let script = String::from_utf8(script).unwrap();
            for word in ["explain", "all-namespaces", "request-timeout"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
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
