//! Problems with a user's input: the key, the value that it got, the value that it wants.

use std::fmt;

use crate::key::{Key, PREFIX, Place};

/// One problem with an object's annotations or a trigger's metadata.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Problem {
    /// The key has Tidegate's prefix, but there is no such key.
    #[error("{PREFIX}{name} is not a key of Tidegate{}", DidYouMean(nearest.map(|key| key.annotation().to_owned())))]
    UnknownAnnotation {
        /// As written, without the prefix
        name: String,
        /// The key that was probably meant
        nearest: Option<Key>,
    },
    /// The key exists, but means nothing on this kind of object.
    #[error("{} has no meaning on {place}", key.annotation())]
    Misplaced {
        /// The key
        key: Key,
        /// The kind of object on which it was written
        place: Place,
    },
    /// A key of a trigger's metadata that does not exist.
    #[error("trigger metadata has no key {name}{}", DidYouMean(nearest.map(|key| key.camel_case().to_owned())))]
    UnknownMetadata {
        /// As written
        name: String,
        /// The key that was probably meant
        nearest: Option<Key>,
    },
    /// The value is not valid for the key.
    #[error("{key}: got \"{got}\", wants {wanted}{}", InheritedFrom(inherited.as_deref()))]
    Malformed {
        /// The key as the user wrote it
        key: String,
        /// The value as the user wrote it, shortened when very long
        got: String,
        /// Description of a valid value
        wanted: String,
        /// The Namespace that the value comes from, when it is not the object's own
        inherited: Option<String>,
    },
    /// Each value is valid, but not all together.
    #[error("{0}")]
    Contradiction(String),
}

/// Shortens a value for display: events, which show values, have room for 1024 characters in all.
pub fn shortened(value: &str) -> String {
    const ROOM: usize = 120;
    if value.chars().count() <= ROOM {
        return value.to_owned();
    }
    value.chars().take(ROOM).chain(['…']).collect()
}

struct DidYouMean(Option<String>);

impl fmt::Display for DidYouMean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(key) => write!(f, "; did you mean {key}?"),
            None => Ok(()),
        }
    }
}

struct InheritedFrom<'a>(Option<&'a str>);

impl fmt::Display for InheritedFrom<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(namespace) => write!(f, " (a default of namespace {namespace})"),
            None => Ok(()),
        }
    }
}
