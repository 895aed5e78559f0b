//! `tidegate reference`: every command with its flags and environment variables, as Markdown, from the table that parses them.

use std::fmt::Write;

use clap::{Arg, Command, CommandFactory};

use crate::args::Args;

pub(crate) fn print() {
    print!("{}", page());
}

fn page() -> String {
    let mut page = "# Commands\n\nEvery command takes `--help`, `--log` and `--log-format`. A flag with an environment variable takes its \
                    value from there when it is absent.\n"
        .to_owned();
    let command = Args::command();
    write_commands(&mut page, &command, command.get_name());
    page
}

fn write_commands(page: &mut String, parent: &Command, path: &str) {
    for command in parent.get_subcommands().filter(|command| !command.is_hide_set()) {
        let path = format!("{path} {}", command.get_name());
        if command.has_subcommands() {
            write_commands(page, command, &path);
            continue;
        }
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = write!(page, "\n## {path}\n\n{about}.\n");
        if let Some(examples) = command.get_after_help() {
            let examples = examples.to_string();
            let lines = examples.lines().skip(1).map(|line| format!("    {}", line.trim_start()));
            let _ = write!(page, "\n{}\n", lines.collect::<Vec<_>>().join("\n"));
        }
        let args: Vec<_> = command.get_arguments().filter(|arg| !arg.is_hide_set() && !arg.is_global_set()).collect();
        let args: Vec<_> = args.into_iter().filter(|arg| arg.get_id() != "help").collect();
        if !args.is_empty() {
            page.push_str("\n| flag | environment | default | meaning |\n|---|---|---|---|\n");
        }
        for arg in args {
            write_arg(page, arg);
        }
    }
}

fn write_arg(page: &mut String, arg: &Arg) {
    let value = || {
        let names = arg.get_value_names().unwrap_or_default();
        let names: Vec<_> = names.iter().map(clap::builder::Str::as_str).collect();
        if arg.get_action().takes_values() { format!(" {}", names.join(" ")) } else { String::new() }
    };
    let name = match arg.get_long() {
        Some(long) => format!("--{long}{}", value()),
        None => value().trim_start().to_owned(),
    };
    let variable = arg.get_env().map(|name| format!("`{}`", name.to_string_lossy())).unwrap_or_default();
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let default = if defaults.is_empty() { String::new() } else { format!("`{}`", defaults.join(",")) };
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default().replace('|', "\\|").replace('\n', " ");
    let _ = writeln!(page, "| `{name}` | {variable} | {default} | {help} |");
}
