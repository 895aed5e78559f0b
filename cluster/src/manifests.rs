//! Objects from files: YAML and JSON, several documents in one file, lists, directories, standard input.

use std::{
    fmt, fs,
    io::Read,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tidegate_core::{intent::Managed, workload::WorkloadKind};

use super::{ObjectError, Objects};

/// The largest file that is read, in bytes. The manifests of 10,000 workloads are a fifth of it.
const MAX_BYTES: u64 = 64 << 20;

/// Maximum depth of the search in directories.
const MAX_DEPTH: usize = 16;

/// Reads the objects in files, in directories (all `.yaml`, `.yml` and `.json` files below them, except hidden ones), and from
/// standard input (`-`). Kinds that Tidegate does not read are skipped, and in directories also documents that are not Kubernetes
/// objects, such as a chart's values. Of several versions of one object, the last wins.
///
/// All errors are returned together, so that they can be fixed in one go.
pub fn read_manifests(paths: &[PathBuf]) -> Result<Objects, ManifestErrors> {
    read_manifests_scaling(paths, &[])
}

/// As [`read_manifests`], where only these kinds of workload are scaled, besides Deployments and StatefulSets; all that are known,
/// where none is given.
pub fn read_manifests_scaling(paths: &[PathBuf], scaled: &[WorkloadKind]) -> Result<Objects, ManifestErrors> {
    let mut reader = ManifestReader { objects: Objects::default(), values: None, errors: Vec::new() };
    // Files do not show which kinds a release may switch off, so all are assumed.
    reader.objects.set_manageable(Managed { cron_jobs: true, daemon_sets: true });
    if !scaled.is_empty() {
        reader.objects.set_scaled_kinds(scaled);
    }
    reader.read(paths);
    if reader.errors.is_empty() { Ok(reader.objects) } else { Err(ManifestErrors(reader.errors)) }
}

/// Reads the same files as [`read_manifests`], but the objects of every kind, as they stand there.
pub fn read_values(paths: &[PathBuf]) -> Result<Vec<Value>, ManifestErrors> {
    let mut reader = ManifestReader { objects: Objects::default(), values: Some(Vec::new()), errors: Vec::new() };
    reader.read(paths);
    if reader.errors.is_empty() { Ok(reader.values.unwrap_or_default()) } else { Err(ManifestErrors(reader.errors)) }
}

/// All errors in some manifests; at least one.
#[derive(Debug, thiserror::Error)]
pub struct ManifestErrors(pub Vec<ManifestError>);

impl fmt::Display for ManifestErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if i == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

/// An error in a manifest, and its location.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file cannot be read.
    #[error("{path}: {reason}", path = path.display())]
    Unreadable {
        /// The file
        path: PathBuf,
        /// The reason
        reason: String,
    },
    /// Neither YAML nor JSON.
    #[error("{path}, document {document}, line {line}: {reason}", path = path.display())]
    Syntax {
        /// The file
        path: PathBuf,
        /// The number of the document in it, from 1
        document: usize,
        /// The line in the file, from 1
        line: usize,
        /// The parser's message
        reason: String,
    },
    /// Not a Kubernetes object, or one with a field of the wrong type.
    #[error("{path}, document {document}, line {line}: {source}", path = path.display())]
    Object {
        /// The file
        path: PathBuf,
        /// The number of the document in it, from 1
        document: usize,
        /// The line on which the document starts, from 1
        line: usize,
        /// The error
        source: ObjectError,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Strictness {
    OnlyObjects,
    SkipOthers,
}

struct ManifestReader {
    objects: Objects,
    /// The objects themselves, where they are asked for instead
    values: Option<Vec<Value>>,
    errors: Vec<ManifestError>,
}

impl ManifestReader {
    fn read(&mut self, paths: &[PathBuf]) {
        for path in paths {
            if path.as_os_str() == "-" {
                self.read_from(Path::new("standard input"), &mut std::io::stdin().lock(), Strictness::OnlyObjects);
            } else if path.is_dir() {
                self.read_directory(path, 0);
            } else {
                self.read_file(path, Strictness::OnlyObjects);
            }
        }
    }

    fn read_directory(&mut self, directory: &Path, depth: usize) {
        let entries = fs::read_dir(directory).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut paths: Vec<_> = match entries {
            Ok(entries) => entries.into_iter().map(|entry| entry.path()).collect(),
            Err(error) => return self.unreadable(directory, &error.to_string()),
        };
        paths.sort();
        for path in paths {
            let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
            let manifest = path.extension().is_some_and(|ext| ["yaml", "yml", "json"].iter().any(|e| ext == *e));
            if hidden {
            } else if path.is_dir() {
                if depth < MAX_DEPTH {
                    self.read_directory(&path, depth + 1);
                }
            } else if manifest {
                self.read_file(&path, Strictness::SkipOthers);
            }
        }
    }

    fn read_file(&mut self, path: &Path, strictness: Strictness) {
        match fs::File::open(path) {
            Ok(mut file) => self.read_from(path, &mut file, strictness),
            Err(error) => self.unreadable(path, &error.to_string()),
        }
    }

    fn read_from(&mut self, path: &Path, source: &mut dyn Read, strictness: Strictness) {
        let mut bytes = Vec::new();
        if let Err(error) = source.take(MAX_BYTES + 1).read_to_end(&mut bytes) {
            return self.unreadable(path, &error.to_string());
        }
        if bytes.len() as u64 > MAX_BYTES {
            return self.unreadable(path, &format!("larger than {} MiB: split it", MAX_BYTES >> 20));
        }
        match String::from_utf8(bytes) {
            Ok(text) => self.read_text(path, &text, strictness),
            Err(_) => self.unreadable(path, "not UTF-8 text"),
        }
    }

    fn read_text(&mut self, path: &Path, text: &str, strictness: Strictness) {
        for (i, document) in documents(text).into_iter().enumerate() {
            match parse(document.text) {
                Ok(values) => {
                    for value in values {
                        self.apply(path, i + 1, document.line, value, strictness);
                    }
                }
                Err((line, reason)) => self.errors.push(ManifestError::Syntax {
                    path: path.to_owned(),
                    document: i + 1,
                    line: document.line + line.saturating_sub(1),
                    reason,
                }),
            }
        }
    }

    fn apply(&mut self, path: &Path, document: usize, line: usize, value: Value, strictness: Strictness) {
        if let Some(items) = items_of_list(&value) {
            for item in items {
                self.apply(path, document, line, item, strictness);
            }
            return;
        }
        if let Some(values) = &mut self.values {
            return values.push(value);
        }
        match self.objects.apply(value) {
            Err(ObjectError::NotAnObject(_)) if strictness == Strictness::SkipOthers => {}
            Err(source) => self.errors.push(ManifestError::Object { path: path.to_owned(), document, line, source }),
            Ok(_) => {}
        }
    }

    fn unreadable(&mut self, path: &Path, reason: &str) {
        self.errors.push(ManifestError::Unreadable { path: path.to_owned(), reason: reason.to_owned() });
    }
}

/// The items of a `kind: List`, or of a `kind: DeploymentList` as the API server answers, whose items may omit their kind.
fn items_of_list(value: &Value) -> Option<Vec<Value>> {
    let kind = value.get("kind")?.as_str()?.strip_suffix("List")?;
    let items = value.get("items")?.as_array()?;
    let api_version = value.get("apiVersion").cloned();
    let with_kind = |item: &Value| {
        let mut item = item.clone();
        if let Some(fields) = item.as_object_mut()
            && !kind.is_empty()
        {
            fields.entry("kind").or_insert_with(|| Value::String(kind.to_owned()));
            if let Some(api_version) = &api_version {
                fields.entry("apiVersion").or_insert_with(|| api_version.clone());
            }
        }
        item
    };
    Some(items.iter().map(with_kind).collect())
}

struct Document<'a> {
    /// From 1
    line: usize,
    text: &'a str,
}

/// Splits a stream at lines that start like YAML's document markers, as nothing else can. Documents that contain only comments are
/// left out.
fn documents(text: &str) -> Vec<Document<'_>> {
    let mut documents = Vec::new();
    let mut start = (0, 1);
    let mut offset = 0;
    for (i, line) in text.split_inclusive('\n').enumerate() {
        if is_marker(line) {
            documents.push(Document { line: start.1, text: text.get(start.0..offset).unwrap_or_default() });
            // Text after the marker on its line is content: `--- {kind: Service}`.
            let content = line.trim_end().get(3..).unwrap_or_default().trim_start();
            let inline = line.starts_with("---") && !content.is_empty() && !content.starts_with('#');
            start = if inline { (offset + 3, i + 1) } else { (offset + line.len(), i + 2) };
        }
        offset += line.len();
    }
    documents.push(Document { line: start.1, text: text.get(start.0..).unwrap_or_default() });
    documents.retain(|document| {
        let mut lines = document.text.lines().map(str::trim);
        lines.any(|line| !line.is_empty() && !line.starts_with(['#', '%']))
    });
    documents
}

fn is_marker(line: &str) -> bool {
    let line = line.trim_end();
    ["---", "..."]
        .iter()
        .any(|marker| line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t'])))
}

/// The values of one document: one if YAML, any number if JSON. An error has the line within the document.
fn parse(text: &str) -> Result<Vec<Value>, (usize, String)> {
    if text.trim_start().starts_with('{') {
        let values = serde_json::Deserializer::from_str(text).into_iter().collect::<Result<Vec<Value>, _>>();
        // YAML's flow style starts with a brace too.
        if let Ok(values) = values {
            return Ok(values);
        }
    }
    let failed = |error: serde_yaml_ng::Error| {
        (error.location().map_or(1, |location| location.line()), without_location(&error.to_string()))
    };
    let mut value: serde_yaml_ng::Value = serde_yaml_ng::from_str(text).map_err(failed)?;
    value.apply_merge().map_err(failed)?;
    let value = serde_json::to_value(value).map_err(|error| (1, error.to_string()))?;
    Ok(if value.is_null() { vec![] } else { vec![value] })
}

/// The message without its location: the parser counts lines within the document, and our error gives those of the file.
fn without_location(message: &str) -> String {
    message.split(" at line ").next().unwrap_or(message).to_owned()
}

#[cfg(test)]
mod tests;
