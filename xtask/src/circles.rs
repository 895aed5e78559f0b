//! `cargo xtask circles`: files of one crate that use each other in a circle.

use std::{fmt::Write, path::Path, process::ExitCode};

use anyhow::Result;
use petgraph::{algo::tarjan_scc, graph::DiGraph};

use crate::modules::Crate;

/// The crates that are read: the shipped ones, and those that test and check them.
const CRATES: [&str; 10] =
    ["core", "cluster", "kafka-admin", "scaler", "activator", "operator", "cli", "sim", "tests/stack", "xtask"];

/// Prints all circles. Fails when there is one.
pub(crate) fn check(root: &Path) -> Result<ExitCode> {
    let (mut files, mut found) = (0, Vec::new());
    for name in CRATES {
        let of_crate = Crate::read(&root.join(name).join("src"))?;
        files += of_crate.files();
        found.extend(circles(&of_crate, root));
    }
    for circle in &found {
        println!("{circle}");
    }
    println!("{} circles in {files} files", found.len());
    Ok(if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Each circle with the names that tie it.
fn circles(of_crate: &Crate, root: &Path) -> Vec<String> {
    let uses = of_crate.uses();
    let mut graph = DiGraph::<usize, ()>::new();
    let nodes: Vec<_> = (0..of_crate.files()).map(|file| graph.add_node(file)).collect();
    graph.extend_with_edges(uses.keys().map(|(user, used)| (nodes[*user], nodes[*used])));
    let circles = tarjan_scc(&graph).into_iter().filter(|nodes| nodes.len() > 1);
    let text = |circle: Vec<_>| {
        let inside: Vec<_> = circle.into_iter().map(|node| graph[node]).collect();
        let path = |file: usize| {
            let path = of_crate.path(file);
            path.strip_prefix(root).unwrap_or(path).display().to_string()
        };
        let mut text = format!("a circle of {} files:\n", inside.len());
        for ((user, used), names) in uses.iter().filter(|((a, b), _)| inside.contains(a) && inside.contains(b)) {
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            let _infallible = writeln!(text, "  {} uses {} of {}", path(*user), names.join(", "), path(*used));
        }
        text
    };
    circles.map(text).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn circles_of(files: &[(&str, &str)]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        circles(&Crate::read(folder.path()).unwrap(), folder.path())
    }

    #[test]
    fn two_files_that_use_each_other_are_a_circle_and_what_ties_them_is_named() {
        let found = circles_of(&[
            ("lib.rs", "mod a;\nmod b;"),
            ("a.rs", "use crate::b::B;\npub struct A(B);"),
            ("b.rs", "pub struct B;\nimpl B { fn a() -> Option<super::a::A> { None } }"),
        ]);
        assert_eq!(found, ["a circle of 2 files:\n  a.rs uses B of b.rs\n  b.rs uses A of a.rs\n"]);
    }

    #[test]
    fn what_a_file_hands_on_is_used_where_it_is_defined() {
        let found = circles_of(&[
            ("lib.rs", "mod a;"),
            ("a/mod.rs", "mod b;\nmod c;\npub use b::B;\npub use c::*;"),
            ("a/b.rs", "use super::C;\npub struct B(C);"),
            ("a/c.rs", "pub struct C;"),
        ]);
        assert_eq!(found, [""; 0]);
    }

    #[test]
    fn what_a_part_takes_from_the_module_that_it_is_in_is_no_use_and_what_its_neighbour_takes_is() {
        let whole = ("a.rs", "mod b;\npub const LIMIT: u8 = 1;\npub fn run() { b::go() }");
        let part = |body: &str| ("a/b.rs", format!("pub fn go() {{ {body} }}"));
        let of = |body: &str, neighbour: &str| {
            let (path, part) = part(body);
            circles_of(&[("lib.rs", "mod a;\nmod c;"), whole, (path, &part), ("c.rs", neighbour)])
        };
        assert_eq!(of("let _ = super::LIMIT;", ""), [""; 0]);
        assert_eq!(of("crate::c::go()", "pub fn go() { crate::a::run() }").len(), 1);
    }

    #[test]
    fn tests_may_use_whatever_they_test() {
        let found = circles_of(&[
            ("lib.rs", "mod a;\nmod b;"),
            ("a.rs", "pub struct A;\n#[cfg(test)]\nmod tests { use crate::b::B; }\n#[cfg(test)]\nuse crate::b::B;"),
            ("b.rs", "use crate::a::A;\npub struct B(A);"),
        ]);
        assert_eq!(found, [""; 0]);
    }
}
