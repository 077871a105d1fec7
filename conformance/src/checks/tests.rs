//! What every check says of a failure, and that each check exists which others name.

use std::collections::BTreeSet;

use super::FAMILIES;
use crate::check::Check;
use crate::context::Lack;
use crate::figures::FIGURES;

fn all() -> impl Iterator<Item = &'static Check> {
    FAMILIES.iter().flat_map(|family| family.checks).copied()
}

#[test]
fn every_check_has_advice_in_whole_sentences() {
    for check in all() {
        let advice = &check.advice;
        for sentence in [advice.why, advice.mend] {
            let begins = sentence.starts_with(|c: char| c.is_uppercase() || c == '`');
            assert!(
                begins && sentence.ends_with('.'),
                "{}: {sentence}",
                check.id
            );
            assert!(sentence.chars().count() <= 200, "{}: {sentence}", check.id);
        }
        assert_ne!(advice.why, advice.mend, "{}", check.id);
    }
}

#[test]
fn recipes_differ_and_say_something_in_each_language() {
    let recipes: Vec<_> = all().filter_map(|check| check.advice.code).collect();
    let distinct: BTreeSet<_> = recipes.iter().map(|recipe| recipe.c).collect();
    assert!(distinct.len() > 10, "{distinct:?}");
    for (language, lines) in recipes.iter().flat_map(|recipe| recipe.languages()) {
        assert!(
            !lines.is_empty() && !lines.ends_with('\n'),
            "{language}: {lines}"
        );
    }
}

#[test]
fn every_figure_is_measured_by_a_check_that_there_is() {
    for figure in &FIGURES {
        let id = figure.check;
        assert!(all().any(|check| check.id == id), "{id}");
    }
}

#[test]
fn each_lack_has_a_check_that_speaks_of_it() {
    for lack in Lack::ALL {
        assert!(all().any(|check| check.id == lack.check()), "{lack:?}");
    }
}
