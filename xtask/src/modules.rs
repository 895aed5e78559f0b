//! The files of a crate as modules, and the names that each uses from each other.
//!
//! Read from the syntax alone: `use`, and paths in types and expressions that begin with `crate`, `self`, `super`, a module or a
//! name that was imported. A re-exported name is followed to its definition. Names from an enclosing module do not make a use,
//! because a module is a part of it. Items for tests alone are ignored, and so are the arguments of macros.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use syn::{
    Attribute, Item, ItemUse, UseTree, Visibility,
    visit::{self, Visit},
};

/// The names that a file (the first index) uses from another (the second).
pub(crate) type Uses = BTreeMap<(usize, usize), BTreeSet<String>>;

/// Most re-exports through which a name is followed.
const DEEPEST: usize = 16;

/// All modules of a crate that are files.
pub(crate) struct Crate {
    modules: Vec<Module>,
}

struct Module {
    path: PathBuf,
    parent: usize,
    syntax: syn::File,
    names: HashMap<String, Name>,
    /// Paths that are imported by `*`
    globs: Vec<Vec<String>>,
}

/// The meaning of a name in a module.
enum Name {
    Module(usize),
    Defined,
    Imported(Vec<String>),
}

impl Crate {
    /// Reads `lib.rs`, or `main.rs`, of a folder and all modules below it.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let root = [folder.join("lib.rs"), folder.join("main.rs")].into_iter().find(|path| path.is_file());
        let root = root.with_context(|| format!("{} has neither lib.rs nor main.rs", folder.display()))?;
        let mut read = Self { modules: Vec::new() };
        read.add(&root, folder, 0)?;
        Ok(read)
    }

    /// Adds a module and its submodules, whose files are in `folder`.
    fn add(&mut self, path: &Path, folder: &Path, parent: usize) -> Result<usize> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let mut syntax = syn::parse_file(&text).with_context(|| path.display().to_string())?;
        syntax.items.retain(|item| !is_of_tests(attributes(item)));
        let (mut names, mut globs, mut below) = (HashMap::new(), Vec::new(), Vec::new());
        for item in &syntax.items {
            match item {
                Item::Mod(module) if module.content.is_none() => below.push(module.ident.to_string()),
                Item::Use(item) => imported(&item.tree, &mut Vec::new(), &mut |name, path| match name {
                    Some(name) => _ = names.insert(name, Name::Imported(path)),
                    None => globs.push(path),
                }),
                other => names.extend(defined(other).map(|name| (name, Name::Defined))),
            }
        }
        let index = self.modules.len();
        self.modules.push(Module { path: path.to_owned(), parent, syntax, names, globs });
        for name in below {
            let (flat, nested) = (folder.join(format!("{name}.rs")), folder.join(&name).join("mod.rs"));
            let file = if flat.is_file() { flat } else { nested };
            let child = self.add(&file, &folder.join(&name), index).with_context(|| format!("mod {name}"))?;
            self.modules[index].names.insert(name, Name::Module(child));
        }
        Ok(index)
    }

    /// The number of files.
    pub(crate) fn files(&self) -> usize {
        self.modules.len()
    }

    /// The path of a file.
    pub(crate) fn path(&self, file: usize) -> &Path {
        &self.modules[file].path
    }

    /// The names that each file uses from each other.
    pub(crate) fn uses(&self) -> Uses {
        let mut uses = Uses::new();
        for (index, module) in self.modules.iter().enumerate() {
            let mut found = Found { paths: Vec::new() };
            found.visit_file(&module.syntax);
            for path in found.paths {
                let Some((file, name)) = self.resolve(index, &path, 0) else { continue };
                if !self.is_around(file, index) {
                    uses.entry((index, file)).or_default().insert(name);
                }
            }
        }
        uses
    }

    /// Whether `outer` is `inner` or encloses it.
    fn is_around(&self, outer: usize, inner: usize) -> bool {
        let mut at = inner;
        while at != outer && at != 0 {
            at = self.modules[at].parent;
        }
        at == outer
    }

    /// The file in which a path ends, and its name there. `None` if it leads to a module alone, or out of the crate.
    fn resolve(&self, from: usize, path: &[String], depth: usize) -> Option<(usize, String)> {
        let (mut at, mut rest) = (from, path);
        while let Some((first, after)) = rest.split_first() {
            match first.as_str() {
                "crate" => at = 0,
                "self" => {}
                "super" => at = self.modules[at].parent,
                _ => break,
            }
            rest = after;
        }
        while let Some((first, after)) = rest.split_first() {
            match self.modules[at].names.get(first) {
                Some(Name::Module(child)) => (at, rest) = (*child, after),
                Some(Name::Defined) => return Some((at, first.clone())),
                Some(Name::Imported(path)) if depth < DEEPEST => {
                    return self.resolve(at, &[path, after].concat(), depth + 1);
                }
                Some(Name::Imported(_)) => return None,
                None => {
                    let globs = self.modules[at].globs.iter().filter(|_| depth < DEEPEST);
                    let mut found = globs.filter_map(|glob| self.resolve(at, &[glob, rest].concat(), depth + 1));
                    return found.next();
                }
            }
        }
        None
    }
}

/// The paths of a file.
struct Found {
    paths: Vec<Vec<String>>,
}

impl<'ast> Visit<'ast> for Found {
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        // A re-export is a use by the files that import it, not by this one.
        if !is_of_tests(&item.attrs) && matches!(item.vis, Visibility::Inherited) {
            imported(&item.tree, &mut Vec::new(), &mut |_, path| self.paths.push(path));
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.paths.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }
}

/// The name that a `use` gives each path; `None` for `*`.
fn imported(tree: &UseTree, before: &mut Vec<String>, found: &mut impl FnMut(Option<String>, Vec<String>)) {
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            imported(&path.tree, before, found);
            before.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| imported(tree, before, found)),
        UseTree::Glob(_) => found(None, before.clone()),
        UseTree::Name(name) if name.ident == "self" => found(before.last().cloned(), before.clone()),
        UseTree::Name(name) => {
            let name = name.ident.to_string();
            found(Some(name.clone()), [&before[..], &[name]].concat());
        }
        UseTree::Rename(name) => {
            found(Some(name.rename.to_string()), [&before[..], &[name.ident.to_string()]].concat());
        }
    }
}

fn defined(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Mod(item) => &item.ident,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// `#[cfg(test)]`
fn is_of_tests(attributes: &[Attribute]) -> bool {
    let of_tests = |attribute: &Attribute| {
        attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|ident| ident == "test")
    };
    attributes.iter().any(of_tests)
}
