//! Objects that are among the manifests more than once.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tidegate_core::hash::fnv1a_64;

use super::error::Location;
use crate::Kind;

/// Every object that was read, where, and a summary of it.
#[derive(Default)]
pub(super) struct Seen(HashMap<(Kind, String, String), (Location, Summary)>);

#[derive(Clone, Copy, PartialEq, Eq)]
struct Summary {
    length: usize,
    hash: u64,
}

/// What to do with an object that was read before in another form.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// It is the first of its name, or the same as before
    No,
    /// It replaces the one before, as with `kubectl apply`
    Replaces(String),
    /// It is left out: a patch of kustomize, which is only a part of an object
    LeftOut(String),
}

impl Seen {
    /// Notes an object, and compares it with one of the same name. `kustomization` finds the folder of kustomize that a file is in.
    pub(super) fn note(
        &mut self,
        name: (Kind, String, String),
        object: &Value,
        at: &Location,
        kustomization: impl Fn(&Path) -> Option<PathBuf>,
    ) -> Again {
        let text = object.to_string();
        let summary = Summary { length: text.len(), hash: fnv1a_64(&text) };
        let shown = format!("{} {}", name.0, Named { namespace: &name.1, name: &name.2 });
        let Some((before, known)) = self.0.get(&name).cloned() else {
            self.0.insert(name, (at.clone(), summary));
            return Again::No;
        };
        if known == summary {
            return Again::No;
        }
        let Some(folder) = kustomization(&at.path).or_else(|| kustomization(&before.path)) else {
            self.0.insert(name, (at.clone(), summary));
            return Again::Replaces(format!(
                "{shown} is in {before} too, and differs: this one is used. Remove one of them"
            ));
        };
        let what = format!(
            "{shown} is in {before} too: kustomize makes one of the two. Run `kustomize build {} | tidegate render -f -`",
            folder.display()
        );
        // A patch has less to say than what it patches.
        if summary.length <= known.length {
            return Again::LeftOut(what);
        }
        self.0.insert(name, (at.clone(), summary));
        Again::Replaces(what)
    }
}

struct Named<'a> {
    namespace: &'a str,
    name: &'a str,
}

impl std::fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.namespace.is_empty() { f.write_str(self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(path: &str) -> Location {
        Location { path: path.into(), line: Some(1) }
    }

    fn note(seen: &mut Seen, object: &Value, path: &str, built: bool) -> Again {
        let name = (Kind::Deployment, "shop".to_owned(), "api".to_owned());
        seen.note(name, object, &at(path), |file| file.parent().filter(|_| built).map(Path::to_owned))
    }

    #[test]
    fn the_last_form_of_an_object_is_used_and_both_places_are_named() {
        let mut seen = Seen::default();
        assert_eq!(note(&mut seen, &json!({"a": 1}), "x.yaml", false), Again::No);
        assert_eq!(note(&mut seen, &json!({"a": 1}), "y.yaml", false), Again::No, "the same is no news");
        let Again::Replaces(told) = note(&mut seen, &json!({"a": 2}), "z.yaml", false) else { panic!("not replaced") };
        assert!(told.starts_with("Deployment shop/api is in x.yaml:1 too, and differs"), "{told}");
    }

    #[test]
    fn of_an_object_and_its_patch_the_whole_one_is_used_whichever_comes_first() {
        let (whole, patch) = (json!({"a": 1, "b": 2}), json!({"a": 3}));
        let mut seen = Seen::default();
        note(&mut seen, &whole, "base/all.yaml", true);
        let Again::LeftOut(told) = note(&mut seen, &patch, "overlay/patch.yaml", true) else { panic!("not left out") };
        assert!(told.ends_with("Run `kustomize build overlay | tidegate render -f -`"), "{told}");
        let mut seen = Seen::default();
        note(&mut seen, &patch, "a/patch.yaml", true);
        assert!(matches!(note(&mut seen, &whole, "base/all.yaml", true), Again::Replaces(_)));
    }
}
