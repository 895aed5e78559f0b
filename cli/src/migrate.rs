//! `tidegate migrate`: the annotations that say what other autoscalers and schedulers say.

use std::io::{Write, stdout};

use anyhow::{Result, bail};
use serde_json::json;
use tidegate_cluster::{migrate, read_values};

use crate::args::{MigrateArgs, PatchFormat};

pub(crate) fn migrate(args: &MigrateArgs) -> Result<()> {
    let migration = migrate::migrate(&read_values(&args.files)?);
    let patches = migration.patches();
    let mut out = stdout().lock();
    match args.output {
        PatchFormat::Yaml => {
            for patch in &patches {
                write!(out, "---\n{}", serde_yaml_ng::to_string(patch)?)?;
            }
        }
        PatchFormat::Json => {
            let list = json!({"apiVersion": "v1", "kind": "List", "items": patches});
            writeln!(out, "{}", serde_json::to_string_pretty(&list)?)?;
        }
    }
    for remark in &migration.remarks {
        eprintln!("tidegate: {remark}");
    }
    match migration.lost() {
        0 if patches.is_empty() => eprintln!(
            "tidegate: nothing to migrate: no ScaledObject, HorizontalPodAutoscaler, HTTPScaledObject or SleepInfo, and no annotation \
             downscaler/…"
        ),
        0 => {}
        1 => bail!("1 field could not be turned"),
        lost => bail!("{lost} fields could not be turned"),
    }
    Ok(())
}
