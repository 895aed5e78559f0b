//! `tidegate.dev/formula`: one number out of several metrics, in place of the largest need.
//!
//! KEDA computes it (`advanced.scalingModifiers`) over the values of *triggers*, by their names. Of several metrics of one trigger it
//! keeps any one (`GetPairTriggerAndMetric` in KEDA 2.21's `pkg/scaling/modifiers/formula.go`), so beside a formula each of Tidegate's
//! signals is a trigger of its own.

use std::collections::BTreeSet;

use super::{Beside, KedaTrigger};
use crate::{
    key::Key,
    problem::shortened,
    signal::{PerReplica, Signal, Target},
    value::Wanted,
    value_kind::ValueKind,
};

/// Longest formula, in bytes.
const LONGEST: usize = 1000;
/// The variable that holds the value of the user's formula.
const VALUE: &str = "tidegate_formula";
/// Words of the language that are no names (`expr-lang/expr`, which KEDA uses).
const WORDS: [&str; 15] = [
    "true",
    "false",
    "nil",
    "and",
    "or",
    "not",
    "in",
    "contains",
    "matches",
    "startsWith",
    "endsWith",
    "let",
    "if",
    "else",
    VALUE,
];

/// A formula, and what one replica carries of its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Formula {
    /// An expression over the names of triggers
    pub text: String,
    /// What one replica carries of its value
    pub target: PerReplica,
    /// A value above this wakes the workload from zero
    pub activation: u64,
}

/// The name of a signal in a formula: `requests_per_second`.
pub fn name_in_formulas(signal: Signal) -> String {
    signal.metric_name().replace('-', "_")
}

/// Whether parentheses close what was opened: the formula is written between two of ours.
fn is_balanced(text: &str) -> bool {
    let mut open = 0_u32;
    for character in without_texts(text).chars() {
        match character {
            '(' => open += 1,
            ')' if open == 0 => return false,
            ')' => open -= 1,
            _ => {}
        }
    }
    open == 0
}

impl Formula {
    /// Checks the text of a formula as far as that can be done without knowing its language: KEDA compiles it.
    pub(crate) fn parse(value: &str) -> Result<String, Wanted> {
        let text = value.trim();
        if text.len() > LONGEST {
            return Err(format!("a formula of at most {LONGEST} bytes, not {}", text.len()));
        }
        let says_something = text.bytes().any(|b| b.is_ascii_alphanumeric());
        if says_something && is_balanced(text) { Ok(text.to_owned()) } else { Err(ValueKind::Formula.wanted().into()) }
    }

    /// The formula as KEDA gets it. `has_hours` says whether there is a trigger `schedule`, whose floor holds beside the formula.
    ///
    /// KEDA turns a value that is infinite or no number into a negative one, at which the HPA would go down. So a division by zero asks
    /// for as many replicas as there may be, and 0/0 is an error, at which the HPA holds.
    pub fn for_keda(&self, has_hours: bool) -> String {
        let Self { text, target, .. } = self;
        let schedule = name_in_formulas(Signal::Schedule);
        let value = if has_hours { format!("max({VALUE}, {schedule} * {target})") } else { VALUE.to_owned() };
        format!("let {VALUE} = ({text}); {VALUE} < 1e12 ? {value} : ({VALUE} >= 1e12 ? 1e12 : [0.0][1])")
    }

    /// What is wrong with it beside these signals and triggers.
    pub(crate) fn problem(&self, targets: &[Target], beside: &Beside) -> Option<String> {
        if self.activation > 0 && targets.iter().any(|target| target.signal == Signal::Schedule) {
            return Some(format!(
                "{} cannot stand beside hours, whose floor has to wake the workload",
                Key::FormulaActivation.annotation()
            ));
        }
        let measured = beside.triggers.iter().filter(|trigger| !trigger.scaler.is_resource());
        if let Some(trigger) = beside.resources().find(|trigger| trigger.container().is_some()) {
            return Some(format!(
                "KEDA leaves {} of one container out beside a formula, only that of whole pods stays: take the container's name away",
                trigger.scaler.as_str()
            ));
        }
        if measured.clone().next().is_none() && targets.iter().all(|target| target.signal == Signal::Schedule) {
            return Some(format!(
                "there is nothing to compute with: add what one replica carries, such as {}, or a trigger of {}",
                Key::RequestsPerSecond.annotation(),
                Key::KedaTriggers.annotation()
            ));
        }
        let own: BTreeSet<_> = targets.iter().map(|target| name_in_formulas(target.signal)).collect();
        if let Some(trigger) = measured.clone().find(|trigger| !can_be_named(trigger, &own)) {
            return Some(format!(
                "each trigger of keda-triggers needs a name beside a formula, of letters, digits and underscores, that is none of \
                 Tidegate's metrics; that of {} has {}",
                trigger.scaler.as_str(),
                trigger.name.as_deref().unwrap_or("none")
            ));
        }
        let known: BTreeSet<_> = own.iter().map(String::as_str).chain(measured.map(KedaTrigger::label)).collect();
        let unknown = names(&self.text).into_iter().find(|name| !known.contains(&**name))?;
        let known: Vec<_> = known.into_iter().collect();
        Some(format!("{} is none of its metrics, which are: {}", shortened(&unknown), known.join(", ")))
    }
}

fn can_be_named(trigger: &KedaTrigger, own: &BTreeSet<String>) -> bool {
    trigger.name.as_deref().is_some_and(|name| {
        let letters = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        letters && !name.starts_with(|c: char| c.is_ascii_digit()) && !WORDS.contains(&name) && !own.contains(name)
    })
}

/// The names of metrics in a formula: what is neither a word of the language, nor a function, nor a field, nor a variable of its own.
fn names(text: &str) -> BTreeSet<String> {
    let text = without_texts(text);
    let mut names = BTreeSet::new();
    let mut variables = BTreeSet::new();
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii();
    let (mut rest, mut before) = (text.as_str(), None);
    while let Some(character) = rest.chars().next() {
        let end = match is_part(character) {
            // A number may have a point and an exponent.
            true if character.is_ascii_digit() => rest.find(|c: char| !is_part(c) && c != '.').unwrap_or(rest.len()),
            true => rest.find(|c: char| !is_part(c)).unwrap_or(rest.len()),
            false => character.len_utf8(),
        };
        let (token, after) = rest.split_at(end);
        rest = after;
        if token.trim().is_empty() {
            continue;
        }
        let is_name = is_part(character) && !character.is_ascii_digit() && !WORDS.contains(&token);
        let is_function = after.trim_start().starts_with('(');
        if is_name && before == Some("let") {
            variables.insert(token.to_owned());
        } else if is_name && !is_function && !matches!(before, Some("." | "#")) {
            names.insert(token.to_owned());
        }
        before = Some(token);
    }
    &names - &variables
}

/// The formula with its texts in quotes taken out.
fn without_texts(text: &str) -> String {
    let mut quote = None;
    let mut escaped = false;
    let mut kept = String::with_capacity(text.len());
    for character in text.chars() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some('"' | '\'') if character == '\\' => escaped = true,
            Some(open) if open == character => quote = None,
            Some(_) => {}
            None if matches!(character, '"' | '\'' | '`') => quote = Some(character),
            None => kept.push(character),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn named(text: &str) -> Vec<String> {
        names(text).into_iter().collect()
    }

    #[test]
    fn names_are_what_a_formula_reads() {
        for (text, expected) in [
            ("requests_per_second + 5 * kafka_lag", &["kafka_lag", "requests_per_second"][..]),
            ("max(jobs / 20, 1e3) > 2.5e1 ? jobs : mail_2", &["jobs", "mail_2"]),
            ("let x = jobs * 2; x + 1", &["jobs"]),
            ("any([jobs], # > 3) and not (mail in [1, 2]) ? 1 : 2", &["jobs", "mail"]),
            ("jobs ?? nil == 'mail (' ? 1 : 0", &["jobs"]),
            ("sum ([jobs]) + object.field", &["jobs", "object"]),
        ] {
            assert_eq!(named(text), expected, "{text}");
        }
    }

    #[test]
    fn a_formula_is_bounded_says_something_and_closes_what_it_opens() {
        for wrong in ["", "?", " + ", "(jobs", "jobs), (1", ")jobs("] {
            assert_eq!(Formula::parse(wrong), Err(ValueKind::Formula.wanted().to_owned()), "{wrong}");
        }
        assert_eq!(Formula::parse(" jobs == ')' ? 1 : 2 ").as_deref(), Ok("jobs == ')' ? 1 : 2"));
        assert_eq!(Formula::parse(&"x".repeat(1001)).unwrap_err(), "a formula of at most 1000 bytes, not 1001");
    }

    #[test]
    fn the_floor_of_hours_holds_beside_a_formula() {
        let formula = Formula { text: "a + b".to_owned(), target: PerReplica::new(2.5).unwrap(), activation: 0 };
        let plain = "let tidegate_formula = (a + b); tidegate_formula < 1e12 ? tidegate_formula : (tidegate_formula >= 1e12 ? 1e12 : \
                     [0.0][1])";
        assert_eq!(formula.for_keda(false), plain);
        assert_eq!(
            formula.for_keda(true),
            plain.replace("? tidegate_formula :", "? max(tidegate_formula, schedule * 2.5) :")
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,60}") {
            let _ = (Formula::parse(&text), names(&text));
        }
    }
}
