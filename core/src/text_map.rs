//! The annotations or labels of an object, in one piece of memory.
//!
//! Ten thousand workloads have some fifty thousand of these maps. A `BTreeMap` with three pairs takes 0.8 KB, this one 0.1 KB.

use std::{collections::BTreeMap, fmt, iter, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Follows each key and each value. No key and no label may contain it; in the value of an annotation it is replaced by U+FFFD.
const END: u8 = 0;

/// A small map from texts to texts, ordered by key. Copies share its memory.
///
/// ```
/// use tidegate_core::text_map::TextMap;
///
/// let labels = TextMap::from([("tier", "web"), ("app", "api")]);
/// assert_eq!(labels.get("app"), Some("api"));
/// assert_eq!(labels.keys().collect::<Vec<_>>(), ["app", "tier"]);
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TextMap(Option<Arc<str>>);

impl TextMap {
    /// An empty map, which takes no memory.
    pub const fn new() -> Self {
        Self(None)
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        let (found, value) = self.iter().find(|(known, _)| *known >= key)?;
        (found == key).then_some(value)
    }

    /// Whether there is a value of this key.
    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// The keys, in their order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|(key, _)| key)
    }

    /// All pairs, ordered by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut rest = self.0.as_deref().unwrap_or_default();
        let mut next = move || {
            let (text, after) = rest.split_at_checked(memchr::memchr(END, rest.as_bytes())?)?;
            rest = after.get(1..)?;
            Some(text)
        };
        iter::from_fn(move || Some((next()?, next()?)))
    }

    /// Whether there are no pairs.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

/// Of several values of a key, the last one counts.
impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for TextMap {
    fn from_iter<T: IntoIterator<Item = (K, V)>>(pairs: T) -> Self {
        let sorted: BTreeMap<String, String> =
            pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        if sorted.is_empty() {
            return Self::new();
        }
        let mut text = String::with_capacity(sorted.iter().map(|(key, value)| key.len() + value.len() + 2).sum());
        for part in sorted.into_iter().flat_map(|(key, value)| [key, value]) {
            let is_legal = memchr::memchr(END, part.as_bytes()).is_none();
            text.push_str(&if is_legal { part } else { part.replace(char::from(END), "\u{fffd}") });
            text.push(char::from(END));
        }
        Self(Some(text.into()))
    }
}

impl<K: Into<String>, V: Into<String>, const N: usize> From<[(K, V); N]> for TextMap {
    fn from(pairs: [(K, V); N]) -> Self {
        pairs.into_iter().collect()
    }
}

impl fmt::Debug for TextMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for TextMap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for TextMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeMap::<String, String>::deserialize(deserializer).map(|pairs| pairs.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_map_has_the_pairs_that_a_tree_has(pairs in proptest::collection::vec(("[a-c]{0,2}", "[^\0]{0,5}"), 0..8)) {
            let tree: BTreeMap<String, String> = pairs.iter().cloned().collect();
            let map: TextMap = pairs.into_iter().collect();
            prop_assert!(map.iter().eq(tree.iter().map(|(key, value)| (key.as_str(), value.as_str()))));
            prop_assert_eq!(map.is_empty(), tree.is_empty());
            for key in ["", "a", "ab", "c", "cc", "z"] {
                prop_assert_eq!(map.get(key), tree.get(key).map(String::as_str));
            }
            let json = serde_json::to_string(&map).unwrap();
            prop_assert_eq!(&json, &serde_json::to_string(&tree).unwrap());
            prop_assert_eq!(serde_json::from_str::<TextMap>(&json).unwrap(), map);
        }
    }

    #[test]
    fn a_value_with_a_nul_ends_no_pair() {
        let map = TextMap::from([("a", "1\0b\x002"), ("c", "3")]);
        assert_eq!(map.iter().collect::<Vec<_>>(), [("a", "1\u{fffd}b\u{fffd}2"), ("c", "3")]);
    }
}
