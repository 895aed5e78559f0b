//! Tasks that generate and check parts of the project, besides cargo's own.

mod circles;
mod docs;
mod links;
mod modules;

use std::{path::Path, process::ExitCode};

use anyhow::Result;

const USAGE: &str = "Usage: cargo xtask circles | docs [--check] | links

  circles   files that use each other in a circle; fails when there are any
  docs      writes docs/reference/, the README's table, the Calendar's CRD and the chart's read rules
            from the code's own tables and types
            --check fails when they are stale
  links     links between Markdown pages that lead nowhere, and pages that docs/SUMMARY.md leaves out; fails when there are any";

fn main() -> Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let args: Vec<_> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["circles"] => circles::check(root),
        ["docs"] => docs::run(root, false),
        ["docs", "--check"] => docs::run(root, true),
        ["links"] => links::check(root),
        _ => {
            eprintln!("{USAGE}");
            Ok(ExitCode::from(2))
        }
    }
}
