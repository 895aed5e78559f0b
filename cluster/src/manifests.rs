//! Objects from files: YAML and JSON, several documents in one file, lists, directories, standard input.

mod documents;
mod error;
mod kustomize;
mod meant;
mod named;
mod text;
mod twice;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tidegate_core::{intent::Managed, plan::ADOPTED_REPLICAS, workload::WorkloadKind};

pub use self::error::{Location, ManifestError, ManifestErrors};
use self::{
    documents::{Document, SyntaxError, documents, parse},
    kustomize::{is_kustomization, kustomization, unseen},
    meant::Meant,
    named::Named,
    text::{UNSEEN_MARKERS, decoded, has_only_returns, with_line_feeds},
    twice::{Again, Seen},
};
use super::{Kind, Misplaced, ObjectError, Objects, lenient::Placeholder, misplaced};

/// The largest file that is read, in bytes. The manifests of 10,000 workloads are a fifth of it.
const MAX_BYTES: u64 = 64 << 20;

/// Maximum depth of the search in directories.
const MAX_DEPTH: usize = 16;

/// How manifests are read.
#[derive(Debug, Clone, Default)]
pub struct ManifestSettings {
    /// The namespace of objects that name none; `default` when absent
    pub namespace: Option<String>,
    /// Controller names of Envoy Gateways, besides those whose configuration is among the files
    pub controller_names: Vec<String>,
    /// The kinds of workload besides Deployments and StatefulSets that are scaled; every kind that is known when empty
    pub scaled: Vec<WorkloadKind>,
    /// Whether requests to workloads without replicas are held, as where the chart's `activator.enabled` is true
    pub activates: bool,
}

/// The objects that could be read, and everything that could not.
#[derive(Debug)]
pub struct Manifests {
    /// The objects
    pub objects: Objects,
    /// Errors, in the order of the files
    pub errors: Vec<ManifestError>,
    /// Annotations of Tidegate on objects of kinds that are not scaled, in the order of the files
    pub misplaced: Vec<ManifestError>,
    /// Kinds and names of the objects whose namespace is an assumption
    assumed: BTreeSet<(String, String)>,
    /// Kinds, namespaces and names of the workloads whose `spec.replicas` cannot be read
    unknown_replicas: BTreeSet<(String, String, String)>,
    /// By the same, the objects of kinds that are not read here which scale a workload: `HTTPScaledObject shop/api`
    scaled_by: BTreeMap<(String, String, String), String>,
}

impl Manifests {
    /// Reads the objects in files, in directories (all `.yaml`, `.yml` and `.json` files below them, except hidden ones), and from
    /// standard input (`-`). Kinds that Tidegate does not read are skipped, and in directories also documents that are not
    /// Kubernetes objects, such as a chart's values. Of several versions of one object, the last wins.
    ///
    /// What cannot be read is an error, and reading goes on after it: with the next document, or without the field.
    pub fn read(paths: &[PathBuf], settings: &ManifestSettings) -> Self {
        let mut reader = Reader::new(settings);
        reader.read(paths);
        reader.read
    }

    /// Reads the objects in a text, as [`read`](Self::read) does in a file at `path`.
    pub fn of_text(path: &Path, text: &str, settings: &ManifestSettings) -> Self {
        let mut reader = Reader::new(settings);
        reader.read_text(path, text, Strictness::OnlyObjects);
        reader.read
    }

    /// Leaves out the ScaledObjects that would keep the replicas of a workload whose replicas are not known.
    pub fn without_unknown_replicas(&self, scaled_objects: &mut Vec<Value>) {
        scaled_objects.retain(|object| {
            let keeps_them = object["metadata"]["annotations"].get(ADOPTED_REPLICAS).is_some();
            !keeps_them || !self.unknown_replicas.contains(&target(object))
        });
    }

    /// Leaves out the ScaledObjects of workloads that an object of another kind scales, such as an `HTTPScaledObject`. Returns a
    /// message for each.
    pub fn without_scaled_by_others(&self, scaled_objects: &mut Vec<Value>) -> Vec<String> {
        let mut told = Vec::new();
        scaled_objects.retain(|object| {
            let (kind, namespace, name) = target(object);
            let id = format!("{kind} {namespace}/{name}");
            let other = self.scaled_by.get(&(kind, namespace, name));
            told.extend(other.map(|other| {
                format!("{id}: {other} scales it already (spec.scaleTargetRef), so that it gets no ScaledObject. Remove one of the two")
            }));
            other.is_none()
        });
        told
    }

    /// Takes the namespace out of the ScaledObjects whose workload named none, so that they are applied beside it, wherever that is.
    pub fn without_assumed_namespaces(&self, scaled_objects: &mut [Value]) {
        for object in scaled_objects {
            let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            let target = (text("/spec/scaleTargetRef/kind"), text("/spec/scaleTargetRef/name"));
            let assumed = text("/metadata/namespace") == ASSUMED && self.assumed.contains(&target);
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut).filter(|_| assumed) {
                metadata.remove("namespace");
            }
        }
    }
}

/// Kind, namespace and name of what a ScaledObject, or a similar object, scales: a Deployment unless it says otherwise.
fn target(object: &Value) -> (String, String, String) {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    let kind = text("/spec/scaleTargetRef/kind").unwrap_or("Deployment");
    let of = |pointer: &str| text(pointer).unwrap_or_default().to_owned();
    (kind.to_owned(), of("/metadata/namespace"), of("/spec/scaleTargetRef/name"))
}

/// Reads manifests of which all must be readable, with the default settings. All errors are returned together, so that they can be
/// fixed in one go.
pub fn read_manifests(paths: &[PathBuf]) -> Result<Objects, ManifestErrors> {
    let Manifests { objects, errors, .. } = Manifests::read(paths, &ManifestSettings::default());
    if errors.is_empty() { Ok(objects) } else { Err(ManifestErrors(errors)) }
}

/// Reads the same files as [`read_manifests`], but the objects of every kind, as they stand there.
pub fn read_values(paths: &[PathBuf]) -> Result<Vec<Value>, ManifestErrors> {
    let (values, errors) = read_all_values(paths);
    if errors.is_empty() { Ok(values) } else { Err(ManifestErrors(errors)) }
}

/// The same, but goes on past what cannot be read.
pub fn read_all_values(paths: &[PathBuf]) -> (Vec<Value>, Vec<ManifestError>) {
    let mut reader = Reader { values: Some(Vec::new()), ..Reader::new(&ManifestSettings::default()) };
    reader.read(paths);
    (reader.values.unwrap_or_default(), reader.read.errors)
}

/// The namespace of objects that name none, as with `kubectl apply`.
const ASSUMED: &str = "default";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Strictness {
    OnlyObjects,
    SkipOthers,
}

struct Reader {
    read: Manifests,
    namespace: Option<String>,
    seen: Seen,
    /// The folders that were read, by their real paths: links may lead back to them
    folders: BTreeSet<PathBuf>,
    /// The objects themselves, where they are wanted instead
    values: Option<Vec<Value>>,
}

impl Reader {
    fn new(settings: &ManifestSettings) -> Self {
        let mut objects = Objects::default();
        // Files do not show which kinds a release may switch off, so all are assumed.
        objects.set_manageable(Managed { cron_jobs: true, daemon_sets: true });
        objects.set_activates(settings.activates);
        objects.set_controller_names(settings.controller_names.clone());
        if !settings.scaled.is_empty() {
            objects.set_scaled_kinds(&settings.scaled);
        }
        let read = Manifests {
            objects,
            errors: Vec::new(),
            misplaced: Vec::new(),
            assumed: BTreeSet::new(),
            unknown_replicas: BTreeSet::new(),
            scaled_by: BTreeMap::new(),
        };
        Self {
            read,
            namespace: settings.namespace.clone(),
            seen: Seen::default(),
            folders: BTreeSet::new(),
            values: None,
        }
    }

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
        if directory.canonicalize().is_ok_and(|path| !self.folders.insert(path)) {
            return;
        }
        let entries = fs::read_dir(directory).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut paths: Vec<_> = match entries {
            Ok(entries) => entries.into_iter().map(|entry| entry.path()).collect(),
            Err(error) => return self.error(directory, None, error.to_string()),
        };
        paths.sort();
        for path in paths {
            let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
            let manifest = path.extension().is_some_and(|ext| ["yaml", "yml", "json"].iter().any(|e| ext == *e));
            let manifest = manifest || is_kustomization(&path);
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
            Err(error) => self.error(path, None, error.to_string()),
        }
    }

    fn read_from(&mut self, path: &Path, source: &mut dyn Read, strictness: Strictness) {
        let mut bytes = Vec::new();
        if let Err(error) = source.take(MAX_BYTES + 1).read_to_end(&mut bytes) {
            return self.error(path, None, error.to_string());
        }
        if bytes.len() as u64 > MAX_BYTES {
            return self.error(path, None, format!("larger than {} MiB: split it", MAX_BYTES >> 20));
        }
        match decoded(bytes) {
            Some(text) => self.read_text(path, &text, strictness),
            None => self.error(path, None, "not UTF-8 text".to_owned()),
        }
    }

    fn read_text(&mut self, path: &Path, original: &str, strictness: Strictness) {
        let text = with_line_feeds(original);
        let documents = documents(&text);
        if documents.len() > 1 && has_only_returns(original) {
            self.error(path, None, UNSEEN_MARKERS.to_owned());
        }
        for document in documents {
            let (values, error) = parse(&document);
            for value in values {
                self.apply(path, &document, value, strictness);
            }
            if let Some(SyntaxError { line, reason }) = error {
                self.error(path, Some(line), reason);
            }
        }
    }

    fn apply(&mut self, path: &Path, document: &Document<'_>, value: Value, strictness: Strictness) {
        match items_of_list(value) {
            Ok(items) => items.into_iter().for_each(|item| self.apply(path, document, item, strictness)),
            Err(value) => self.apply_object(path, document, value, strictness),
        }
    }

    fn apply_object(&mut self, path: &Path, document: &Document<'_>, mut value: Value, strictness: Strictness) {
        if self.values.is_some() {
            self.report_meant(path, document, &Named::of(&value));
            return self.values.iter_mut().for_each(|values| values.push(value.take()));
        }
        if is_kustomization(path) && value["metadata"]["name"].is_null() {
            let unseen = unseen(path, &value, self.namespace.as_deref());
            return unseen.into_iter().for_each(|what| self.error(path, Some(document.first_line()), what));
        }
        for field in ["name", "namespace"] {
            if let Some(text) = quoted(&mut value, field) {
                let line = document.line_of(field, &Value::from(text.as_str()));
                self.error(
                    path,
                    Some(line),
                    format!("metadata.{field} is read as {text} without quotes, but is a text: set it in quotes"),
                );
            }
        }
        let object = Named::of(&value);
        self.report_meant(path, document, &object);
        let place = |line| Location { path: path.to_owned(), line: Some(line) };
        let start = place(document.first_line());
        for (field, text) in [("name", &object.name), ("namespace", &object.namespace)] {
            if let Some(placeholder) = Placeholder::of(text) {
                let line = document.line_of(field, &Value::from(text.as_str()));
                self.error(path, Some(line), format!("{object}: its {field} is {placeholder}"));
            }
        }
        self.place_in_namespace(&object, &mut value);
        if let Some(kind) = object.known {
            let name = (kind, Named::of(&value).namespace, object.name.clone());
            match self.seen.note(name, &value, &start, kustomization) {
                Again::No => {}
                Again::Replaces(what) => self.error(path, start.line, what),
                Again::LeftOut(what) => return self.error(path, start.line, what),
            }
        }
        if object.known.is_none() && value.pointer("/spec/scaleTargetRef/name").is_some() {
            self.read.scaled_by.insert(target(&value), Named::of(&value).to_string());
        }
        for wrong in misplaced::of_file(&self.read.objects, object.known, &value) {
            self.misplaced(place(document.line_of("", &Value::from(wrong.first_key()))), &object, &wrong);
        }
        let namespace = Named::of(&value).namespace;
        match self.read.objects.apply_leniently(value) {
            Err(ObjectError::NotAnObject(_)) if strictness == Strictness::SkipOthers => {}
            Err(error) => self.error(path, start.line, error.to_string()),
            Ok(misread) => {
                for field in misread.into_iter().flatten() {
                    if field.field == "spec.replicas" && !field.is_read() {
                        let workload = (object.kind.clone(), namespace.clone(), object.name.clone());
                        self.read.unknown_replicas.insert(workload);
                    }
                    let line = document.line_of(&field.field, &field.got);
                    self.error(path, Some(line), format!("{object}: {field}"));
                }
            }
        }
    }

    fn report_meant(&mut self, path: &Path, document: &Document<'_>, object: &Named) {
        if let Some(meant) = Meant::of(&object.api_version, &object.kind) {
            self.error(path, Some(document.first_line()), format!("{object}: {meant}"));
        }
    }

    /// Writes the namespace into an object that names none.
    fn place_in_namespace(&mut self, object: &Named, value: &mut Value) {
        let without = object.namespace.is_empty() && object.known.is_none_or(Kind::namespaced);
        let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut).filter(|_| without) else {
            return;
        };
        if let Some(namespace) = &self.namespace {
            metadata.insert("namespace".to_owned(), Value::from(namespace.as_str()));
        } else {
            metadata.insert("namespace".to_owned(), Value::from(ASSUMED));
            self.read.assumed.insert((object.kind.clone(), object.name.clone()));
        }
    }

    fn misplaced(&mut self, place: Location, object: &Named, wrong: &Misplaced) {
        self.read.misplaced.push(ManifestError { place, reason: format!("{object}: {wrong}") });
    }

    fn error(&mut self, path: &Path, line: Option<usize>, reason: String) {
        let place = Location { path: path.to_owned(), line };
        self.read.errors.push(ManifestError { place, reason });
    }
}

/// Makes a text of a name that is a number or a flag, and returns it.
fn quoted(object: &mut Value, field: &str) -> Option<String> {
    let value = object.get_mut("metadata")?.get_mut(field)?;
    let text = matches!(value, Value::Number(_) | Value::Bool(_)).then(|| value.to_string())?;
    *value = Value::from(text.as_str());
    Some(text)
}

/// The items of a list of objects, of a `kind: List`, or of a `kind: DeploymentList` as the API server answers, whose items may omit
/// their kind. Anything else is given back.
fn items_of_list(value: Value) -> Result<Vec<Value>, Value> {
    if let Value::Array(items) = value {
        return Ok(items);
    }
    let kind = value.get("kind").and_then(Value::as_str).and_then(|kind| kind.strip_suffix("List")).map(str::to_owned);
    let (Some(kind), Some(items)) = (kind, value.get("items").and_then(Value::as_array)) else { return Err(value) };
    let api_version = value.get("apiVersion").filter(|_| !kind.is_empty());
    let with_kind = |item: &Value| {
        let mut item = item.clone();
        if let Some(fields) = item.as_object_mut().filter(|_| !kind.is_empty()) {
            fields.entry("kind").or_insert_with(|| Value::from(kind.as_str()));
            if let Some(api_version) = api_version {
                fields.entry("apiVersion").or_insert_with(|| api_version.clone());
            }
        }
        item
    };
    Ok(items.iter().map(with_kind).collect())
}

#[cfg(test)]
mod tests;
