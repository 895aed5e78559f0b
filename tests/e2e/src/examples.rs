//! The manifests of `examples/`: end-to-end tests apply what people copy.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidegate_core::yaml;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

/// The text of a file of `examples/` for a namespace of a test, so without `namespace: default`. Each change replaces a text that has to
/// be there.
pub fn example(file: &str, changes: &[(&str, &str)]) -> Result<String> {
    let path = folder().join(file);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let text = text.split_inclusive('\n').filter(|line| line.trim_end() != "  namespace: default").collect::<String>();
    changes.iter().try_fold(text, |text, (from, to)| {
        ensure!(text.contains(from), "examples/{file} has no {from:?}");
        Ok(text.replace(from, to))
    })
}

/// All YAML files of `examples/`, each with its objects.
pub fn all() -> Result<Vec<(PathBuf, Vec<Value>)>> {
    let mut files = Vec::new();
    collect(&folder(), &mut files)?;
    files.sort();
    files.into_iter().map(|path| Ok((path.clone(), yaml::read_all(&fs::read_to_string(path)?)?))).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            files.push(path);
        }
    }
    Ok(())
}
