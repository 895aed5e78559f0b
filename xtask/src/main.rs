//! What the project checks of itself, besides what cargo does.

mod circles;
mod modules;

use std::{path::Path, process::ExitCode};

use anyhow::Result;

const USAGE: &str = "Usage: cargo xtask circles

  circles   files that use each other in a circle; fails when there are any";

fn main() -> Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    if std::env::args().nth(1).as_deref() == Some("circles") {
        return circles::check(root);
    }
    eprintln!("{USAGE}");
    Ok(ExitCode::from(2))
}
