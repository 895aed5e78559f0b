//! The topics whose lag is measured, as they are written: names, and regular expressions between slashes.

use std::{collections::BTreeSet, fmt, str::FromStr};

use regex::bytes::{Regex, RegexBuilder};

use crate::value_kind::ValueKind;

/// Most patterns in one list: a trigger is parsed, and its patterns compiled, with every call of KEDA.
const MOST_PATTERNS: usize = 10;
/// Longest pattern, in bytes: about as long as a topic's name may be.
const LONGEST_PATTERN: usize = 250;
/// Most bytes that a compiled pattern may take.
const MOST_COMPILED: usize = 64 << 10;
/// Most topics that the patterns of one list may match: more look like a mistake, and each costs requests in every sweep.
pub const MOST_MATCHED: usize = 100;
/// The prefix of topics that belong to Kafka itself, such as `__consumer_offsets`.
const INTERNAL: &str = "__";

/// The topics of a consumer group whose lag is measured; without a selector, all topics that the group has offsets for.
///
/// ```
/// use tidegate_core::kafka::Topics;
///
/// let topics: Topics = "/orders-.*/, audit".parse()?;
/// assert_eq!(topics.names().collect::<Vec<_>>(), ["audit"]);
/// assert_eq!(topics.matched(&["audit", "orders-eu", "orders"])?, ["orders-eu"].into());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topics(Vec<TopicSelector>);

/// One item of a list of topics.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TopicSelector {
    /// The topic of this name
    Name(String),
    /// All topics that a pattern matches
    Pattern(TopicPattern),
}

/// A regular expression (of the crate `regex`, without Unicode classes) that matches whole names of topics.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPattern(String);

/// The error that a text is not a list of topics.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotTopics {
    /// An item is not the name of a topic
    #[error("{}", ValueKind::Topics.wanted())]
    Name,
    /// A pattern has no second slash, or something else than a comma follows it
    #[error("a second slash after the pattern, and then a comma or nothing, as in \"/orders-.*/, audit\"")]
    Slash,
    /// There are too many patterns
    #[error("at most {MOST_PATTERNS} patterns")]
    TooMany,
    /// A pattern is not a regular expression that can be used
    #[error(transparent)]
    Pattern(#[from] NotAPattern),
}

/// The error that a text is not a pattern of topics.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a regular expression between slashes, such as \"/orders-.*/\"; /{pattern}/ {reason}")]
pub struct NotAPattern {
    pattern: String,
    reason: String,
}

/// Why the topics that patterns match are not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoMatch {
    /// A pattern matches nothing, which may be a mistake or a missing permission: it is not taken for "nothing waits"
    #[error("/{0}/ matches no topic that exists and that Tidegate's user may describe")]
    Nothing(TopicPattern),
    /// The patterns match too many topics
    #[error(
        "{patterns} matches {found} topics, and at most {MOST_MATCHED} may be matched: narrow the pattern, or split the workload"
    )]
    TooMany {
        /// The patterns as they are written
        patterns: String,
        /// The number of topics that they match
        found: usize,
    },
    /// A pattern cannot be compiled
    #[error(transparent)]
    Pattern(#[from] NotAPattern),
}

impl Topics {
    /// Whether all topics are meant that the group has offsets for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The items in the order in which they are written.
    pub fn selectors(&self) -> &[TopicSelector] {
        &self.0
    }

    /// The topics that are named.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|selector| match selector {
            TopicSelector::Name(name) => Some(name.as_str()),
            TopicSelector::Pattern(_) => None,
        })
    }

    /// The patterns.
    pub fn patterns(&self) -> impl Iterator<Item = &TopicPattern> {
        self.0.iter().filter_map(|selector| match selector {
            TopicSelector::Name(_) => None,
            TopicSelector::Pattern(pattern) => Some(pattern),
        })
    }

    /// The topics among `all` that the patterns match, without Kafka's internal ones. Every pattern has to match one at least, and
    /// all together [`MOST_MATCHED`] at most.
    pub fn matched<'a>(&self, all: &(impl IntoIterator<Item = &'a str> + Clone)) -> Result<BTreeSet<&'a str>, NoMatch> {
        let mut matched = BTreeSet::new();
        for pattern in self.patterns() {
            let regex = pattern.compiled()?;
            let found = |topic: &&str| !topic.starts_with(INTERNAL) && regex.is_match(topic.as_bytes());
            let mut topics = all.clone().into_iter().filter(found).peekable();
            if topics.peek().is_none() {
                return Err(NoMatch::Nothing(pattern.clone()));
            }
            matched.extend(topics);
        }
        match matched.len() {
            0..=MOST_MATCHED => Ok(matched),
            found => Err(NoMatch::TooMany { patterns: self.written_patterns(), found }),
        }
    }

    fn written_patterns(&self) -> String {
        self.patterns().map(|pattern| format!("/{pattern}/")).collect::<Vec<_>>().join(", ")
    }
}

impl FromStr for Topics {
    type Err = NotTopics;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (mut topics, mut rest) = (Self::default(), Some(text));
        while let Some(text) = rest {
            let (selector, more) = first(text)?;
            topics.0.push(selector);
            rest = more;
        }
        if topics.patterns().count() > MOST_PATTERNS { Err(NotTopics::TooMany) } else { Ok(topics) }
    }
}

impl fmt::Display for Topics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().map(TopicSelector::to_string).collect::<Vec<_>>().join(", "))
    }
}

impl fmt::Display for TopicSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Pattern(pattern) => write!(f, "/{pattern}/"),
        }
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Splits off the first item, and what follows its comma. Names of topics have no slash, so that a pattern needs none either and
/// ends at the next one; commas within it (`/orders-.{2,3}/`) are its own.
fn first(text: &str) -> Result<(TopicSelector, Option<&str>), NotTopics> {
    let Some(text) = text.trim_start().strip_prefix('/') else {
        let (name, more) = text.split_once(',').map_or((text, None), |(name, more)| (name, Some(more)));
        let name = Some(name.trim()).filter(|name| is_legal(name)).ok_or(NotTopics::Name)?;
        return Ok((TopicSelector::Name(name.to_owned()), more));
    };
    let (pattern, after) = text.split_once('/').ok_or(NotTopics::Slash)?;
    let pattern = TopicSelector::Pattern(pattern.parse()?);
    match after.trim() {
        "" => Ok((pattern, None)),
        _ => Ok((pattern, Some(after.trim_start().strip_prefix(',').ok_or(NotTopics::Slash)?))),
    }
}

/// Legal characters and length as Kafka checks them (`org.apache.kafka.common.internals.Topic`).
fn is_legal(topic: &str) -> bool {
    (1..=249).contains(&topic.len())
        && topic != "."
        && topic != ".."
        && topic.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

impl FromStr for TopicPattern {
    type Err = NotAPattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let pattern = Self(text.to_owned());
        pattern.compiled().map(|_| pattern)
    }
}

impl TopicPattern {
    /// The expression, anchored at both ends.
    fn compiled(&self) -> Result<Regex, NotAPattern> {
        let Self(pattern) = self;
        let refused = |reason: String| NotAPattern { pattern: pattern.clone(), reason };
        if !(1..=LONGEST_PATTERN).contains(&pattern.len()) {
            return Err(refused(format!("has {} bytes, and 1 to {LONGEST_PATTERN} are taken", pattern.len())));
        }
        if !pattern.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(refused("has characters that no topic's name has".to_owned()));
        }
        let build = |pattern: &str| RegexBuilder::new(pattern).unicode(false).size_limit(MOST_COMPILED).build();
        // It must also compile by itself: `a)|(b` is an expression only in parentheses, and would not be anchored there.
        let anchored = build(pattern).and_then(|_| build(&format!("^(?:{pattern})$")));
        anchored.map_err(|error| refused(reason(&error)))
    }
}

/// The reason in one line: the crate draws the pattern with an arrow below it, and names the error in the last line.
fn reason(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => format!("takes more than {} KiB when it is compiled", MOST_COMPILED >> 10),
        error => {
            let text = error.to_string();
            let last = text.lines().next_back().unwrap_or_default();
            format!("is none: {}", last.strip_prefix("error: ").unwrap_or(last))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Topics {
        text.parse().unwrap()
    }

    fn refused(text: &str) -> String {
        text.parse::<Topics>().unwrap_err().to_string()
    }

    fn matched<'a>(topics: &str, all: &[&'a str]) -> Result<Vec<&'a str>, String> {
        let matched = parsed(topics).matched(&all.iter().copied());
        matched.map(|topics| topics.into_iter().collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn names_and_patterns_stand_in_one_list_and_a_comma_in_a_pattern_is_its_own() {
        let topics = parsed(" /orders-.{2,3}/ ,audit, task.retries");
        assert_eq!(topics.names().collect::<Vec<_>>(), ["audit", "task.retries"]);
        assert_eq!(topics.patterns().map(ToString::to_string).collect::<Vec<_>>(), ["orders-.{2,3}"]);
        assert_eq!(topics.to_string(), "/orders-.{2,3}/, audit, task.retries");
    }

    #[test]
    fn a_pattern_matches_whole_names_and_never_internal_topics() {
        let all = ["orders", "orders-eu", "orders-us", "reorders-eu", "__orders-eu", "audit"];
        assert_eq!(matched("/orders-.*/", &all), Ok(vec!["orders-eu", "orders-us"]));
        assert_eq!(matched("/orders|audit/", &all), Ok(vec!["audit", "orders"]));
        assert_eq!(matched("/.*-eu/, /re.*/, audit", &all), Ok(vec!["orders-eu", "reorders-eu"]), "each topic once");
        assert_eq!(matched("/(?i)ORDERS/", &all), Ok(vec!["orders"]));
        assert_eq!(matched("audit", &all), Ok(vec![]), "a name is no pattern");
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_no_zero() {
        let error = "/billing-.*/ matches no topic that exists and that Tidegate's user may describe";
        assert_eq!(matched("/orders-.*/, /billing-.*/", &["orders-eu"]), Err(error.to_owned()));
        assert!(matched("/.*/", &["__consumer_offsets"]).is_err());
    }

    #[test]
    fn patterns_that_match_too_many_topics_are_an_error_and_not_cut() {
        let names: Vec<_> = (0..=MOST_MATCHED).map(|n| format!("t{n}")).collect();
        let all: Vec<_> = names.iter().map(String::as_str).collect();
        let most = matched("/t.*/", &all[..MOST_MATCHED]);
        assert_eq!(most.map(|topics| topics.len()), Ok(MOST_MATCHED));
        let error =
            "/t.*/, /t1/ matches 101 topics, and at most 100 may be matched: narrow the pattern, or split the workload";
        assert_eq!(matched("/t.*/, /t1/", &all), Err(error.to_owned()));
    }

    #[test]
    fn what_is_no_list_of_topics_says_why() {
        for wrong in ["", ",", "a,", "a b", "orders-*", "..", "a,/b.*/,", &"x".repeat(250)] {
            assert_eq!(refused(wrong), ValueKind::Topics.wanted(), "{wrong}");
        }
        for wrong in ["/orders", "/a/b", "/a/ /b/", "a, /b"] {
            assert!(refused(wrong).starts_with("a second slash"), "{wrong}");
        }
        let wants = "a regular expression between slashes, such as \"/orders-.*/\"; ";
        for (wrong, reason) in [
            ("/orders-(/", "/orders-(/ is none: unclosed group"),
            ("/*-eu/", "/*-eu/ is none: repetition operator missing expression"),
            ("/a)|(b/", "/a)|(b/ is none: unopened group"),
            ("/((a{50}){50}){50}/", "/((a{50}){50}){50}/ takes more than 64 KiB when it is compiled"),
            ("//", "// has 0 bytes, and 1 to 250 are taken"),
            ("/a\n/", "/a\n/ has characters that no topic's name has"),
        ] {
            assert_eq!(refused(wrong), format!("{wants}{reason}"));
        }
        assert!(refused(&format!("/{}/", "x".repeat(251))).ends_with("x/ has 251 bytes, and 1 to 250 are taken"));
        assert_eq!(refused(&["/a/"; 11].join(",")), "at most 10 patterns");
    }

    proptest! {
        #[test]
        fn topics_are_read_back(
            items in proptest::collection::vec("[a-z._-]{1,8}x|/[a-z.]{1,5}(-\\.\\{2,3\\}|\\.\\*|\\[a-c\\])?/", 1..5),
            between in " {0,2}, {0,2}",
        ) {
            let topics = parsed(&items.join(&between));
            prop_assert_eq!(topics.selectors().len(), items.len());
            prop_assert_eq!(parsed(&topics.to_string()), topics);
        }

        #[test]
        fn no_text_panics_and_what_is_read_is_read_back(text in "[a/,. *()|{}\\[\\]\\\\?^$#x-]{0,30}|.{0,40}") {
            if let Ok(topics) = text.parse::<Topics>() {
                prop_assert_eq!(parsed(&topics.to_string()), topics);
            }
        }

        #[test]
        fn a_pattern_that_is_taken_matches_nothing_but_whole_names(pattern in "[ab|()?#x:.-]{1,12}", name in "[ab]{1,6}") {
            if let Ok(topics) = format!("/{pattern}/").parse::<Topics>() {
                let whole = Regex::new(&format!("\\A(?:{pattern})\\z")).unwrap().is_match(name.as_bytes());
                prop_assert_eq!(topics.matched(&[name.as_str()]).is_ok(), whole);
            }
        }
    }
}
