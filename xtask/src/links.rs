//! Links between the project's pages: the file and the heading that each names exist, and the site's table of contents has
//! every page of `docs/`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// The site's table of contents.
const SUMMARY: &str = "docs/SUMMARY.md";

/// Prints what is wrong, and fails if there is anything.
pub(crate) fn check(root: &Path) -> Result<ExitCode> {
    let problems = problems(&root.canonicalize()?)?;
    for problem in &problems {
        println!("{problem}");
    }
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn problems(root: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    find_pages(root, &mut files)?;
    let mut pages = BTreeMap::new();
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        pages.insert(file, Page::of(&text));
    }
    let name = |file: &Path| file.strip_prefix(root).unwrap_or(file).display().to_string();
    let mut problems = Vec::new();
    for (file, page) in &pages {
        let broken = page.links.iter().filter(|link| !leads_somewhere(file, link, &pages));
        problems.extend(broken.map(|link| format!("{}: {link} leads nowhere", name(file))));
    }
    problems.extend(left_out(root, &pages).map(|file| format!("{SUMMARY} leaves out {}", name(file))));
    Ok(problems)
}

/// Collects the Markdown files of a folder, but for hidden ones and what builds leave.
fn find_pages(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if name.starts_with('.') || ["target", "node_modules"].contains(&&*name) {
            continue;
        }
        // Not through symbolic links, which could lead in a circle.
        if entry.file_type()?.is_dir() {
            find_pages(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    Ok(())
}

/// A page: its links as they are written, and the anchors of its headings.
#[derive(Debug, Default)]
struct Page {
    links: Vec<String>,
    anchors: BTreeSet<String>,
}

impl Page {
    fn of(markdown: &str) -> Self {
        let mut page = Self::default();
        let mut heading: Option<String> = None;
        for event in Parser::new_ext(markdown, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(dest_url.to_string());
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => page.add_anchor(&heading.take().unwrap_or_default()),
                Event::Text(text) | Event::Code(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                _ => {}
            }
        }
        page
    }

    /// The anchor that both GitHub and mdBook give a heading; one that is taken gets a number.
    fn add_anchor(&mut self, heading: &str) {
        let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>().to_lowercase();
        let numbered = (1..).map(|number| format!("{anchor}-{number}"));
        let free = std::iter::once(anchor.clone()).chain(numbered).find(|anchor| !self.anchors.contains(anchor));
        self.anchors.extend(free);
    }
}

/// Whether a link of a page leads to a file that exists, and to a heading of it. Addresses on the web are not looked at.
fn leads_somewhere(from: &Path, link: &str, pages: &BTreeMap<PathBuf, Page>) -> bool {
    if link.contains("://") || link.starts_with("mailto:") {
        return true;
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let Some(file) = target(from, path) else { return false };
    anchor.is_empty() || pages.get(&file).is_some_and(|page| page.anchors.contains(anchor))
}

/// The file that a link's path names; the page itself where it has none.
fn target(from: &Path, path: &str) -> Option<PathBuf> {
    if path.is_empty() {
        return Some(from.to_owned());
    }
    from.parent()?.join(path).canonicalize().ok()
}

/// Pages of the folder of the table of contents that it does not link.
fn left_out<'a>(root: &Path, pages: &'a BTreeMap<PathBuf, Page>) -> impl Iterator<Item = &'a Path> {
    let summary = root.join(SUMMARY);
    let links = pages.get(&summary).into_iter().flat_map(|page| &page.links);
    let listed: BTreeSet<_> = links.filter_map(|link| target(&summary, link)).collect();
    let folder = summary.parent().unwrap_or(root).to_owned();
    let of_site = pages.keys().filter(move |file| file.starts_with(&folder) && **file != summary);
    of_site.filter(move |file| !listed.contains(*file)).map(PathBuf::as_path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems_of(pages: &[(&str, &str)]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for (path, text) in pages {
            let file = root.join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        problems(&root).unwrap()
    }

    #[test]
    fn a_link_to_a_file_or_a_heading_that_is_not_there_is_named() {
        let page = "# A `page`\n[a](b.md) [b](b.md#two-words) [c](#a-page) [d](https://x/y) ![e](gone.svg)\n[f](b.md#gone)\n`[g](code.md)`\n";
        let pages = [("README.md", page), ("b.md", "## Two words!\n"), ("docs/SUMMARY.md", "")];
        let wanted = ["README.md: gone.svg leads nowhere", "README.md: b.md#gone leads nowhere"];
        assert_eq!(problems_of(&pages), wanted);
    }

    #[test]
    fn a_page_of_the_site_that_the_table_of_contents_leaves_out_is_named() {
        let pages =
            [("docs/SUMMARY.md", "- [A](a.md)\n"), ("docs/a.md", ""), ("docs/reference/b.md", ""), ("c.md", "")];
        assert_eq!(problems_of(&pages), ["docs/SUMMARY.md leaves out docs/reference/b.md"]);
    }

    #[test]
    fn a_second_heading_of_the_same_text_has_a_number() {
        let page = Page::of("# Why?\n## Why?\n");
        assert_eq!(page.anchors.into_iter().collect::<Vec<_>>(), ["why", "why-1"]);
    }
}
