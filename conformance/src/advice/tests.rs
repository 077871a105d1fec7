//! Every check says why it matters and what to change, in whole sentences of its own.

use std::collections::BTreeSet;

use crate::checks::FAMILIES;

#[test]
fn every_check_has_advice_in_whole_sentences() {
    for check in FAMILIES.iter().flat_map(|family| family.checks) {
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
    let recipes = FAMILIES.iter().flat_map(|family| family.checks);
    let recipes: Vec<_> = recipes.filter_map(|check| check.advice.code).collect();
    let distinct: BTreeSet<_> = recipes.iter().map(|recipe| recipe.c).collect();
    assert!(distinct.len() > 10, "{distinct:?}");
    for (language, lines) in recipes.iter().flat_map(|recipe| recipe.languages()) {
        assert!(
            !lines.is_empty() && !lines.ends_with('\n'),
            "{language}: {lines}"
        );
    }
}
