//! Known to be zero is not unknown: three values for everything that is measured.
//!
//! What is exact may raise and lower. A lower bound may raise, and must not lower. What is unknown does neither: whoever needs a
//! number holds the last one that was exact.

/// A measured value, and why it is no better than it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Measured<T, Why> {
    /// All of it was measured; zero is a number like any other
    Exact(T),
    /// Not all of it was measured: it is this, or more
    AtLeast(T, Why),
    /// None of it was measured
    Unknown(Why),
}

impl<T, Why> Measured<T, Why> {
    /// The value, where it is exact.
    pub fn exact(self) -> Result<T, Why> {
        match self {
            Self::Exact(value) => Ok(value),
            Self::AtLeast(_, why) | Self::Unknown(why) => Err(why),
        }
    }

    /// The least that it is, where anything is known.
    pub fn at_least(self) -> Option<T> {
        match self {
            Self::Exact(value) | Self::AtLeast(value, _) => Some(value),
            Self::Unknown(_) => None,
        }
    }

    /// The same of another value.
    pub fn map<U>(self, map: impl FnOnce(T) -> U) -> Measured<U, Why> {
        match self {
            Self::Exact(value) => Measured::Exact(map(value)),
            Self::AtLeast(value, why) => Measured::AtLeast(map(value), why),
            Self::Unknown(why) => Measured::Unknown(why),
        }
    }

    /// The same for another reason.
    pub fn map_why<V>(self, map: impl FnOnce(Why) -> V) -> Measured<T, V> {
        match self {
            Self::Exact(value) => Measured::Exact(value),
            Self::AtLeast(value, why) => Measured::AtLeast(value, map(why)),
            Self::Unknown(why) => Measured::Unknown(map(why)),
        }
    }

    /// Two parts of one value: exact where both are. The first reason stands.
    #[must_use]
    pub fn and(self, other: Self, add: impl FnOnce(T, T) -> T) -> Self {
        match (self, other) {
            (Self::Exact(a), Self::Exact(b)) => Self::Exact(add(a, b)),
            (Self::Exact(a), Self::AtLeast(b, why)) | (Self::AtLeast(a, why), Self::Exact(b) | Self::AtLeast(b, _)) => {
                Self::AtLeast(add(a, b), why)
            }
            (Self::Exact(value) | Self::AtLeast(value, _), Self::Unknown(why))
            | (Self::Unknown(why), Self::Exact(value) | Self::AtLeast(value, _)) => Self::AtLeast(value, why),
            (Self::Unknown(why), Self::Unknown(_)) => Self::Unknown(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn measured() -> impl Strategy<Value = Measured<u32, &'static str>> {
        prop_oneof![
            (0u32..100).prop_map(Measured::Exact),
            (0u32..100).prop_map(|value| Measured::AtLeast(value, "part")),
            Just(Measured::Unknown("none")),
        ]
    }

    #[test]
    fn zero_and_unknown_is_at_least_zero_and_not_zero() {
        let sum = Measured::Exact(0).and(Measured::Unknown("silent"), |a: u32, b| a + b);
        assert_eq!(sum, Measured::AtLeast(0, "silent"));
        assert_eq!(sum.exact(), Err("silent"));
    }

    proptest! {
        #[test]
        fn a_sum_is_exact_only_where_all_its_parts_are(parts in proptest::collection::vec(measured(), 1..6)) {
            let sum = parts.iter().cloned().reduce(|sum, part| sum.and(part, |a, b| a + b)).unwrap();
            let known: u32 = parts.iter().cloned().filter_map(Measured::at_least).sum();
            let all = parts.iter().all(|part| matches!(part, Measured::Exact(_)));
            let any = parts.iter().any(|part| !matches!(part, Measured::Unknown(_)));
            prop_assert_eq!(sum.clone().exact().ok(), all.then_some(known));
            prop_assert_eq!(sum.at_least(), any.then_some(known));
        }
    }
}
