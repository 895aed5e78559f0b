//! `cargo xtask docs`: `docs/reference/`, the README's table, the Calendar's CRD and the chart's read rules, generated from the tables that the code itself uses.

mod calendar;
mod commands;
mod crd;
mod paths;
mod rbac;
mod tables;
mod values;

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context, Result};

const BEGIN: &str = "<!-- keys: `cargo xtask docs` writes this table -->\n";
const END: &str = "<!-- end of keys -->";

/// Writes all pages; with `check`, only reports the stale ones, and fails if there are any.
pub(crate) fn run(root: &Path, check: bool) -> Result<ExitCode> {
    let crd = crd::calendar()?;
    let pages = [
        ("docs/reference/annotations.md", tables::annotations()),
        ("docs/reference/events.md", tables::events()),
        ("docs/reference/metrics.md", tables::metrics()),
        ("docs/reference/probes.md", tables::probes()),
        ("docs/reference/commands.md", commands::page(root)?),
        ("docs/reference/values.md", values::page(&read(root, "charts/tidegate/values.yaml")?)),
        ("docs/reference/calendar.md", calendar::page(&crd)?),
        ("charts/tidegate/crds/calendars.yaml", crd),
        ("charts/tidegate/templates/_read-rules.tpl", rbac::template()),
        ("README.md", with_keys(&read(root, "README.md")?)?),
    ];
    let mut stale = Vec::new();
    for (path, page) in pages {
        let file = root.join(path);
        if fs::read_to_string(&file).is_ok_and(|there| there == page) {
            continue;
        }
        if check {
            stale.push(path);
        } else {
            fs::create_dir_all(file.parent().unwrap_or(root))?;
            fs::write(&file, page).with_context(|| path.to_owned())?;
            println!("wrote {path}");
        }
    }
    if !stale.is_empty() {
        println!("stale: {}; run `cargo xtask docs`", stale.join(", "));
    }
    let contributing = read(root, "CONTRIBUTING.md")?;
    let missing = paths::missing(root, &contributing);
    if !missing.is_empty() {
        println!("CONTRIBUTING.md names files that are not there: {}", missing.join(", "));
    }
    Ok(if stale.is_empty() && missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(root: &Path, path: &str) -> Result<String> {
    fs::read_to_string(root.join(path)).with_context(|| path.to_owned())
}

/// The README with the table of keys between its two marks.
fn with_keys(readme: &str) -> Result<String> {
    let (before, rest) = readme.split_once(BEGIN).context("README.md has no mark where the table of keys begins")?;
    let (_, after) = rest.split_once(END).context("README.md has no mark where the table of keys ends")?;
    Ok(format!("{before}{BEGIN}{}{END}{after}", tables::keys_in_short()))
}
