//! The commands of the documentation, given to the binary: each exists, with the flags that it is written with.
#![allow(missing_docs, reason = "tests say what they do in their names")]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What stands before a command: nothing, a prompt, a pipe, or what runs it in a pod.
const BEFORE: [&str; 4] = ["", "$ ", "| ", "-- "];

fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folders = ["docs", "docs/reference"].map(|folder| fs::read_dir(root.join(folder)).unwrap());
    let of_folders = folders.into_iter().flatten().map(|entry| entry.unwrap().path());
    let alone = ["README.md", "charts/tidegate/README.md", "examples/README.md"].map(|page| root.join(page));
    alone.into_iter().chain(of_folders.filter(|path| path.extension().is_some_and(|ending| ending == "md"))).collect()
}

/// The arguments of each `tidegate` in the code of a page: in lines of its blocks, and between backquotes.
fn commands(page: &str) -> Vec<Vec<String>> {
    let page = page.replace("\\\n", " ");
    let (mut found, mut fenced) = (Vec::new(), false);
    for line in page.lines() {
        fenced ^= line.starts_with("```");
        if fenced || line.starts_with("    ") {
            found.extend(arguments(line.trim_start()));
        } else {
            found.extend(line.split('`').skip(1).step_by(2).filter_map(arguments));
        }
    }
    found
}

fn arguments(code: &str) -> Option<Vec<String>> {
    let (before, command) = code.split_once("tidegate ")?;
    let runs =
        BEFORE.iter().any(|allowed| if allowed.is_empty() { before.is_empty() } else { before.ends_with(allowed) });
    runs.then(|| words(command))
}

/// The words of a command, as a shell splits them, up to a comment or what another command does with its output.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote): (Vec<String>, Option<String>, Option<char>) = Default::default();
    for c in command.chars() {
        match c {
            c if quote == Some(c) => quote = None,
            // $(…) is one word, whatever is in it.
            '\'' | '"' | '(' if quote.is_none() => {
                quote = Some(if c == '(' { ')' } else { c });
                word.get_or_insert_default();
            }
            '|' | '>' | '<' | ';' | '&' | '#' if quote.is_none() && word.is_none() => break,
            ';' if quote.is_none() => break,
            c if c.is_whitespace() && quote.is_none() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[test]
fn every_command_of_the_documentation_exists_with_its_flags() {
    let (mut tried, mut wrong) = (0, Vec::new());
    for page in pages() {
        for arguments in commands(&fs::read_to_string(&page).unwrap()) {
            // With --help nothing is done, but what stands before it is read.
            let output = Command::new(env!("CARGO_BIN_EXE_tidegate")).args(&arguments).arg("--help").output().unwrap();
            tried += 1;
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr);
                wrong.push(format!("{}: tidegate {}: {said}", page.display(), arguments.join(" ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tried > 50, "only {tried} commands were found");
}

#[test]
fn commands_are_found_in_blocks_and_between_backquotes_and_end_where_the_shell_goes_on() {
    let page = "Run `tidegate routes -o json`, not `helm install tidegate charts`.\n\n    $ tidegate calendar show --hours 'Mo-Fr 08:00; PH off' # why\n    \
                kubectl get hpa | tidegate migrate -f - | sh\n    kubectl exec a -- tidegate \\\n      explain b\n";
    let wanted = [
        vec!["routes", "-o", "json"],
        vec!["calendar", "show", "--hours", "Mo-Fr 08:00; PH off"],
        vec!["migrate", "-f", "-"],
        vec!["explain", "b"],
    ];
    assert_eq!(commands(page), wanted);
}
