//! `tidegate.dev/wake-ignore`: requests that do not wake a workload.

use std::{fmt, str::FromStr};

/// Most paths and user agents together: each is compared with every request.
const MOST: usize = 32;
/// Longest path or user agent, in bytes.
const LONGEST: usize = 256;

/// Requests that wake nothing, written `path=/metrics,path=/internal/*,user-agent=MyProbe`.
///
/// ```
/// # use tidegate_core::wake::WakeIgnore;
/// let ignore: WakeIgnore = "path=/internal/*,user-agent=MyProbe".parse()?;
/// assert!(ignore.covers("/internal/jobs", "curl/8"));
/// assert!(ignore.covers("/", "myprobe/1.0"));
/// assert!(!ignore.covers("/", "curl/8"));
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WakeIgnore(Vec<Ignored>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Ignored {
    /// This path, or all that begin with it
    Path { text: String, is_prefix: bool },
    /// User agents that begin with this, in upper or lower case
    UserAgent(String),
}

impl WakeIgnore {
    /// Whether a request with this path (without its query) and this `user-agent` wakes nothing.
    pub fn covers(&self, path: &str, user_agent: &str) -> bool {
        self.0.iter().any(|ignored| match ignored {
            Ignored::Path { text, is_prefix: true } => path.starts_with(text),
            Ignored::Path { text, is_prefix: false } => path == text,
            Ignored::UserAgent(prefix) => starts_with(user_agent, prefix),
        })
    }
}

/// Whether a text begins with a prefix, where the case of ASCII letters does not matter.
pub(super) fn starts_with(text: &str, prefix: &str) -> bool {
    let start = text.as_bytes().get(..prefix.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
}

impl FromStr for WakeIgnore {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let items: Vec<_> = text.split(',').take(MOST + 1).collect();
        if items.len() > MOST {
            return Err(format!("at most {MOST} paths and user agents"));
        }
        items.into_iter().map(ignored).collect::<Option<_>>().map(Self).ok_or_else(|| {
            format!(
                "paths (exact, or with \"*\" at the end for all that begin so) and user agents (their beginning), of at most \
                 {LONGEST} bytes, such as \"path=/metrics,path=/internal/*,user-agent=MyProbe\""
            )
        })
    }
}

fn ignored(item: &str) -> Option<Ignored> {
    let (key, value) = item.split_once('=')?;
    let value = value.trim();
    let printable = value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if value.is_empty() || value.len() > LONGEST || !printable {
        return None;
    }
    match key.trim() {
        "user-agent" => Some(Ignored::UserAgent(value.to_owned())),
        "path" => {
            let (text, is_prefix) = value.strip_suffix('*').map_or((value, false), |text| (text, true));
            // A query is no part of the path, and a "*" in the middle would look as if it were understood.
            let is_path = text.starts_with('/') && !text.contains(['*', '?', '#', ' ']);
            is_path.then(|| Ignored::Path { text: text.to_owned(), is_prefix })
        }
        _ => None,
    }
}

impl fmt::Display for WakeIgnore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, ignored) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match ignored {
                Ignored::Path { text, is_prefix } => {
                    write!(f, "{comma}path={text}{}", if *is_prefix { "*" } else { "" })?;
                }
                Ignored::UserAgent(prefix) => write!(f, "{comma}user-agent={prefix}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_is_exact_unless_it_ends_with_an_asterisk() {
        let ignore: WakeIgnore = "path=/metrics, path=/internal/*".parse().unwrap();
        for path in ["/metrics", "/internal/", "/internal/a/b"] {
            assert!(ignore.covers(path, ""), "{path}");
        }
        for path in ["/", "/metrics/", "/metric", "/internal", "metrics"] {
            assert!(!ignore.covers(path, ""), "{path}");
        }
    }

    #[test]
    fn a_user_agent_is_compared_by_its_beginning_in_any_case() {
        let ignore: WakeIgnore = "user-agent=My Probe/".parse().unwrap();
        assert!(ignore.covers("/", "my probe/1.2 (linux)"));
        assert!(!ignore.covers("/", "My Prob"));
        assert!(!ignore.covers("/", "Not My Probe/1"));
    }

    #[test]
    fn anything_else_is_refused_with_what_is_wanted() {
        let too_long = format!("path=/{}", "a".repeat(LONGEST));
        for text in
            ["", ",", "path", "path=", "path=metrics", "path=/a*b", "path=/a?b", "agent=x", "user-agent=ä", &too_long]
        {
            assert!(text.parse::<WakeIgnore>().unwrap_err().contains("such as \"path=/metrics"), "{text}");
        }
        assert_eq!(
            vec!["path=/a"; MOST + 1].join(",").parse::<WakeIgnore>(),
            Err("at most 32 paths and user agents".into())
        );
    }

    proptest! {
        #[test]
        fn a_list_is_read_back_as_it_is_written(items in prop::collection::vec(
            "path=/[a-z/._-]{0,20}\\*?|user-agent=[A-Za-z]([A-Za-z/.; =-]{0,20}[a-z])?", 1..MOST,
        )) {
            let text = items.join(",");
            let ignore: WakeIgnore = text.parse().unwrap();
            prop_assert_eq!(ignore.to_string(), text);
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*|(path|user-agent)=\\PC*", path in "\\PC*", agent in "\\PC*") {
            if let Ok(ignore) = text.parse::<WakeIgnore>() {
                prop_assert_eq!(ignore.to_string().parse::<WakeIgnore>(), Ok(ignore.clone()));
                ignore.covers(&path, &agent);
            }
        }
    }
}
