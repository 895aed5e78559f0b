//! Groups without committed offsets: groups that have committed nothing yet, and share groups, which never commit.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use tidegate_kafka_admin::Offsets;

/// How long a group's kind is remembered: the group may end, and one of another kind may begin under its name.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// The error for a group that [is of another kind](tidegate_kafka_admin::Admin::is_of_another_kind).
pub(super) const ANOTHER_KIND: &str = "it is a share group, or a group of Kafka Streams that has committed nothing. A share group commits no offsets, so its lag is not \
     known: scale by something else, such as tidegate.dev/prometheus-query with the lag that an exporter reports";

/// The kinds of groups, as they were last looked up.
#[derive(Default)]
pub(super) struct Groups(HashMap<String, KnownGroup>);

struct KnownGroup {
    at: Instant,
    is_other: bool,
}

impl Groups {
    /// Puts an error in place of empty offsets, for groups that only look as if they had committed nothing. `look` says whether a
    /// group is of another kind; after it failed it is not called again, since it would wait for the same broker.
    pub(super) fn refuse_others(
        &mut self,
        committed: &mut HashMap<String, Result<Offsets, String>>,
        now: Instant,
        look: impl Fn(&str) -> Result<bool, String>,
    ) {
        let is_empty = |answer: &Result<Offsets, String>| answer.as_ref().is_ok_and(HashMap::is_empty);
        self.0.retain(|group, _| committed.get(group).is_some_and(is_empty));
        let mut failure = None;
        for (group, answer) in committed.iter_mut().filter(|(_, answer)| is_empty(answer)) {
            let is_fresh = self.0.get(group).is_some_and(|known| now.duration_since(known.at) < LOOK_EVERY);
            if !is_fresh && failure.is_none() {
                match look(group) {
                    Ok(is_other) => _ = self.0.insert(group.clone(), KnownGroup { at: now, is_other }),
                    Err(error) => failure = Some(error),
                }
            }
            match (self.0.get(group), &failure) {
                (Some(KnownGroup { is_other: true, .. }), _) => *answer = Err(ANOTHER_KIND.to_owned()),
                (None, Some(error)) => *answer = Err(format!("whether it is a share group is not known: {error}")),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Groups that have committed nothing, after a look at them.
    fn looked(
        groups: &mut Groups,
        now: Instant,
        look: impl Fn(&str) -> Result<bool, String>,
    ) -> HashMap<String, Result<Offsets, String>> {
        let mut committed = ["billing", "ledger"].map(|group| (group.to_owned(), Ok(Offsets::new()))).into();
        groups.refuse_others(&mut committed, now, look);
        committed
    }

    #[test]
    fn a_group_of_another_kind_is_an_error_that_says_what_to_do_and_one_that_has_committed_nothing_is_none() {
        let found = looked(&mut Groups::default(), Instant::now(), |group| Ok(group == "ledger"));
        assert_eq!(found["billing"], Ok(Offsets::new()));
        let error = found["ledger"].as_ref().unwrap_err();
        assert!(error.starts_with("it is a share group") && error.contains("tidegate.dev/prometheus-query"), "{error}");
    }

    #[test]
    fn a_group_with_offsets_is_not_looked_up() {
        let offsets: Offsets = [(("orders".to_owned(), 0), Ok(7))].into();
        let all = [("billing".to_owned(), Ok(offsets)), ("away".to_owned(), Err("no answer".to_owned()))];
        let mut committed = HashMap::from(all);
        let before = committed.clone();
        Groups::default().refuse_others(&mut committed, Instant::now(), |group| panic!("{group}"));
        assert_eq!(committed, before);
    }

    #[test]
    fn a_kind_is_looked_up_again_after_a_while_and_stands_while_that_fails() {
        let (mut groups, now, looks) = (Groups::default(), Instant::now(), Cell::new(0));
        let look = |answer: Result<bool, &str>| {
            looks.set(looks.get() + 1);
            answer.map_err(str::to_owned)
        };
        assert!(looked(&mut groups, now, |_| look(Ok(true))).values().all(Result::is_err));
        assert!(looked(&mut groups, now + LOOK_EVERY / 2, |_| look(Ok(false))).values().all(Result::is_err));
        assert_eq!(looks.get(), 2, "each once");
        let failed = looked(&mut groups, now + LOOK_EVERY, |_| look(Err("no answer")));
        assert!(failed.values().all(|answer| *answer == Err(ANOTHER_KIND.to_owned())), "{failed:?}");
        assert_eq!(looks.get(), 3, "one failure is enough");
        assert!(looked(&mut groups, now + LOOK_EVERY, |_| look(Ok(false))).values().all(Result::is_ok));
    }

    #[test]
    fn a_group_of_which_the_kind_was_never_known_has_no_lag_yet() {
        let found = looked(&mut Groups::default(), Instant::now(), |_| Err("no answer".to_owned()));
        let error = Err("whether it is a share group is not known: no answer".to_owned());
        assert!(found.values().all(|answer| *answer == error), "{found:?}");
    }
}
