//! Cache of questions to a server (PromQL, Kafka lags) and their last answers.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    time::Duration,
};

use tidegate_core::measured::Measured;
use tokio::time::Instant;

use super::{FORGET_AFTER, MAX_NAMED, NoReading};

/// A question from the Plan lives as long as the Plan has it; one from a hand-written trigger, 10 min after its last use.
#[derive(Debug)]
pub(super) struct Questions<Q, A> {
    asked: HashMap<Q, Question<A>>,
    planned: HashSet<Q>,
    /// Text for messages: `Prometheus was not asked yet; …`
    nobody_asked: &'static str,
}

#[derive(Debug)]
struct Question<A> {
    wanted: Instant,
    answer: Option<(Instant, A)>,
    /// A newer answer that was incomplete
    at_least: Option<(Instant, A)>,
    error: Option<String>,
}

impl<Q: Clone + Eq + Hash + Ord, A: Copy> Questions<Q, A> {
    pub(super) fn new(nobody_asked: &'static str) -> Self {
        Self { asked: HashMap::new(), planned: HashSet::new(), nobody_asked }
    }

    pub(super) fn len(&self) -> usize {
        self.asked.len()
    }

    pub(super) fn has(&self, question: &Q) -> bool {
        self.asked.contains_key(question)
    }

    pub(super) fn plan(&mut self, questions: impl Iterator<Item = Q>, now: Instant) {
        self.planned = questions.collect();
        for question in self.planned.clone() {
            self.keep(question, now);
        }
    }

    pub(super) fn keep(&mut self, question: Q, now: Instant) {
        if let Some(known) = self.asked.get_mut(&question) {
            known.wanted = now;
        } else if self.asked.len() < MAX_NAMED {
            self.asked.insert(question, Question { wanted: now, answer: None, at_least: None, error: None });
        }
    }

    /// Returns the questions to ask now, in a stable order.
    pub(super) fn wanted(&mut self, now: Instant) -> Vec<Q> {
        let planned = &self.planned;
        self.asked
            .retain(|question, known| planned.contains(question) || now.duration_since(known.wanted) < FORGET_AFTER);
        let mut wanted: Vec<_> = self.asked.keys().cloned().collect();
        wanted.sort_unstable();
        wanted
    }

    pub(super) fn commit(&mut self, question: &Q, answer: Measured<A, String>, now: Instant) {
        let Some(known) = self.asked.get_mut(question) else { return };
        match answer {
            Measured::Exact(answer) => {
                (known.answer, known.at_least, known.error) = (Some((now, answer)), None, None);
            }
            Measured::AtLeast(answer, why) => (known.at_least, known.error) = (Some((now, answer)), Some(why)),
            Measured::Unknown(error) => known.error = Some(error),
        }
    }

    /// Returns the last incomplete answer, its age, and why it is incomplete; `None` if a later one was complete, or it is too old.
    pub(super) fn at_least(&self, question: &Q, now: Instant, stale_after: Duration) -> Option<(A, Duration, String)> {
        let known = self.asked.get(question)?;
        let (at, answer) = known.at_least?;
        let age = now.saturating_duration_since(at);
        (age <= stale_after).then(|| (answer, age, known.error.clone().unwrap_or_default()))
    }

    /// Returns the last answer, however old.
    pub(super) fn last(&self, question: &Q) -> Option<A> {
        Some(self.asked.get(question)?.answer?.1)
    }

    /// Returns why the question was not answered the last time that it was asked.
    pub(super) fn error(&self, question: &Q) -> Option<String> {
        self.asked.get(question)?.error.clone()
    }

    /// Returns the last answer and its age. A question that fails keeps its last answer for a while, as every source does.
    pub(super) fn answer(&self, question: &Q, now: Instant, stale_after: Duration) -> Result<(A, Duration), NoReading> {
        let known = self.asked.get(question);
        let error = known.and_then(|known| known.error.clone());
        let Some((at, answer)) = known.and_then(|known| known.answer) else {
            return Err(match error {
                Some(reason) => NoReading::BadAnswer { reason },
                None if known.is_none() && self.asked.len() >= MAX_NAMED => {
                    let waiting_for = format!("{MAX_NAMED} others are asked for already, and no more are taken");
                    NoReading::NotYet { waiting_for }
                }
                None => NoReading::NotYet { waiting_for: self.nobody_asked.to_owned() },
            });
        };
        let age = now.saturating_duration_since(at);
        if age <= stale_after {
            return Ok((answer, age));
        }
        Err(NoReading::Stale { age, reason: error.unwrap_or_else(|| "nobody answered since".to_owned()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALE: Duration = Duration::from_secs(300);

    #[test]
    fn the_last_answer_is_held_until_it_is_too_old_and_then_it_says_why() {
        let (mut asked, now) = (Questions::new("nobody was asked"), Instant::now());
        asked.keep("q", now);
        let nobody = NoReading::NotYet { waiting_for: "nobody was asked".to_owned() };
        assert_eq!(asked.answer(&"q", now, STALE), Err(nobody));
        asked.commit(&"q", Measured::Exact(7), now);
        asked.commit(&"q", Measured::Unknown("no series".to_owned()), now + STALE / 2);
        assert_eq!(asked.answer(&"q", now + STALE, STALE), Ok((7, STALE)));
        let late = STALE + Duration::from_secs(1);
        let stale = asked.answer(&"q", now + late, STALE).unwrap_err();
        assert_eq!(stale, NoReading::Stale { age: late, reason: "no series".to_owned() });
    }

    #[test]
    fn a_question_is_asked_while_somebody_wants_it_and_forgotten_after() {
        let (mut asked, now) = (Questions::<_, ()>::new(""), Instant::now());
        asked.keep("trigger", now);
        asked.plan(["plan"].into_iter(), now);
        assert_eq!(asked.wanted(now), ["plan", "trigger"]);
        assert_eq!(asked.wanted(now + FORGET_AFTER), ["plan"]);
        asked.plan([].into_iter(), now + FORGET_AFTER);
        assert!(asked.wanted(now + FORGET_AFTER * 2).is_empty());
    }
}
