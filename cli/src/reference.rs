//! `tidegate reference`: every command with its flags and environment variables, as Markdown, from the table that parses them.

use std::{
    fmt::Write as _,
    io::{Write, stdout},
};

use anyhow::Result;
use clap::{Arg, Command};

use crate::{args, exit::Exit};

pub(crate) fn print() -> Result<()> {
    Ok(write!(stdout(), "{}", page())?)
}

const TABLE: &str = "\n| flag | environment | default | meaning |\n|---|---|---|---|\n";

/// Headings of flags that many commands have: they stand once, before the commands.
const SHARED: [(&str, &str); 2] = [
    ("Cluster", "Commands that ask a cluster take these, as `kubectl` does"),
    ("Tidegate", "Commands that ask the Tidegate that is installed there take these, too"),
];

fn page() -> String {
    let mut page = "# Commands\n\nEvery command takes `--help` and `--color`. A flag with an environment variable takes its value from there when it \
                    is absent. Called `kubectl-tidegate`, the binary is a plugin: `kubectl tidegate explain deployment/task-api`.\n"
        .to_owned();
    page.push_str("\n## Exit codes\n\n| code | meaning |\n|---|---|\n| 0 | All is well |\n");
    for exit in Exit::ALL {
        let _ = writeln!(page, "| {} | {} |", exit as u8, exit.meaning());
    }
    let command = args::command();
    let mut all = Vec::new();
    leaves(&command, command.get_name(), &mut all);
    for (heading, text) in SHARED {
        let _ = write!(page, "\n## Flags: {}\n\n{text}.\n{TABLE}", heading.to_lowercase());
        let mut written = Vec::new();
        for arg in
            all.iter().flat_map(|(_, command)| flags(command)).filter(|arg| arg.get_help_heading() == Some(heading))
        {
            if !written.contains(&arg.get_id()) {
                written.push(arg.get_id());
                write_arg(&mut page, arg);
            }
        }
    }
    for (path, command) in all {
        write_command(&mut page, &path, command);
    }
    page
}

/// The commands that do something, each with its name from the program's on.
fn leaves<'a>(parent: &'a Command, path: &str, all: &mut Vec<(String, &'a Command)>) {
    for command in parent.get_subcommands().filter(|command| !command.is_hide_set()) {
        let path = format!("{path} {}", command.get_name());
        if command.has_subcommands() {
            leaves(command, &path, all);
        } else {
            all.push((path, command));
        }
    }
}

fn flags(command: &Command) -> impl Iterator<Item = &Arg> {
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set() && !arg.is_global_set());
    shown.filter(|arg| arg.get_id() != "help")
}

fn write_command(page: &mut String, path: &str, command: &Command) {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let _ = write!(page, "\n## {path}\n\n{about}.\n");
    if let Some(examples) = command.get_after_help() {
        let examples = examples.to_string();
        let lines = examples.lines().skip(1).map(|line| format!("    {}", line.trim_start()));
        let _ = write!(page, "\n{}\n", lines.collect::<Vec<_>>().join("\n"));
    }
    let shared = |arg: &&Arg| SHARED.iter().any(|(heading, _)| arg.get_help_heading() == Some(heading));
    let headings: Vec<_> = SHARED
        .iter()
        .filter(|(heading, _)| flags(command).any(|arg| arg.get_help_heading() == Some(heading)))
        .collect();
    if !headings.is_empty() {
        let links =
            headings.iter().map(|(heading, _)| heading.to_lowercase()).map(|name| format!("[{name}](#flags-{name})"));
        let _ = write!(page, "\nTakes the flags of: {}.\n", links.collect::<Vec<_>>().join(", "));
    }
    let own: Vec<_> = flags(command).filter(|arg| !shared(arg)).collect();
    if !own.is_empty() {
        page.push_str(TABLE);
    }
    for arg in own {
        write_arg(page, arg);
    }
}

fn write_arg(page: &mut String, arg: &Arg) {
    let value = || {
        let names = arg.get_value_names().unwrap_or_default();
        let names: Vec<_> = names.iter().map(clap::builder::Str::as_str).collect();
        if arg.get_action().takes_values() { format!(" {}", names.join(" ")) } else { String::new() }
    };
    let name = match arg.get_long() {
        Some(long) => {
            let short = arg.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
            format!("{short}--{long}{}", value())
        }
        None => value().trim_start().to_owned(),
    };
    let variable = arg.get_env().map(|name| format!("`{}`", name.to_string_lossy())).unwrap_or_default();
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let default = if defaults.is_empty() { String::new() } else { format!("`{}`", defaults.join(",")) };
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default().replace('|', "\\|").replace('\n', " ");
    let _ = writeln!(page, "| `{name}` | {variable} | {default} | {help} |");
}
