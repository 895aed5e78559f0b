//! Files that a page names in backquotes.

use std::path::Path;

/// The files that do not exist, each as the page writes it. Only paths with a folder and an extension are checked.
pub(super) fn missing<'a>(root: &Path, page: &'a str) -> Vec<&'a str> {
    let quoted = page.split('`').skip(1).step_by(2);
    let path = |text: &&str| {
        let name = text.rsplit('/').next().unwrap_or_default();
        text.contains('/') && name.contains('.') && !text.contains(|c: char| c.is_whitespace() || "*:<>$~{".contains(c))
    };
    quoted.filter(path).filter(|path| !root.join(path).exists()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_gone_is_named_and_what_is_no_path_is_not() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let page = "`src/main.rs`, `src/gone.rs`, `make test`, `a/b`, `http://x/y.z`, `tests/*.rs`";
        assert_eq!(missing(root, page), ["src/gone.rs"]);
    }
}
