//! The page of the chart's values, from the comments in `values.yaml`.

use std::fmt::Write;

/// A value with a comment that begins with `# --`.
struct Value {
    path: String,
    default: String,
    meaning: String,
}

pub(super) fn page(yaml: &str) -> String {
    let mut page = "# Values of the chart\n\nOf `charts/tidegate`. `values.schema.json` holds the same in types: a misspelled key is an \
                    error.\n\n| value | default | meaning |\n|---|---|---|\n"
        .to_owned();
    for Value { path, default, meaning } in values(yaml) {
        let _ = writeln!(page, "| `{path}` | {default} | {meaning} |");
    }
    page
}

/// Values in the order of the file. The comment of a section itself belongs to no value.
fn values(yaml: &str) -> Vec<Value> {
    let (mut path, mut comment, mut found): (Vec<(usize, &str)>, Option<String>, Vec<Value>) = Default::default();
    for line in yaml.lines() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if let Some(begun) = text.strip_prefix("# -- ") {
            comment = Some(begun.to_owned());
        } else if let Some(more) = text.strip_prefix("# ") {
            if let Some(comment) = &mut comment {
                *comment = format!("{comment} {more}");
            }
        } else if let Some((key, default)) = text.split_once(':').filter(|_| !text.starts_with('-')) {
            path.retain(|(outer, _)| *outer < indent);
            path.push((indent, key));
            let names: Vec<_> = path.iter().map(|(_, key)| *key).collect();
            let default = default.trim();
            if let Some(meaning) = comment.take() {
                let default = if default.is_empty() { "see values.yaml".to_owned() } else { format!("`{default}`") };
                found.push(Value { path: names.join("."), default, meaning: escaped(&meaning) });
            }
        } else {
            comment = None;
        }
    }
    found
}

/// Escapes the characters that Markdown would take for columns and for HTML.
fn escaped(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "\\<")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_the_path_of_its_keys_and_the_lines_of_its_comment() {
        let yaml = "# A chart.\nimage:\n  # -- Where from.\n  # No image yet.\n  repository: a\n# -- How many\nreplicas: 2\nlog: {}\n";
        let found: Vec<_> = values(yaml).into_iter().map(|value| (value.path, value.default, value.meaning)).collect();
        let wanted = [("image.repository", "`a`", "Where from. No image yet."), ("replicas", "`2`", "How many")];
        let wanted = wanted.map(|(path, default, meaning)| (path.to_owned(), default.to_owned(), meaning.to_owned()));
        assert_eq!(found, wanted);
    }
}
