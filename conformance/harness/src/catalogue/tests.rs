//! The catalogue over a small registry of its own.

use super::{
    ListFormat, WORDS, explain, find, list, missing_in_words, needs_in_words, select_of_audit,
};
use crate::advice::TERM as TERM_RECIPE;
use crate::check::{Advice, Check, Family, Level, Needs, Pass, Source};
use crate::suggest::nearest;

static TERM: Check = Check {
    id: "signals/term-exits-zero",
    title: "TERM ends it with status 0",
    level: Level::Must,
    requirement: "The pause process MUST exit with status 0 within 1 s of SIGTERM",
    source: Source {
        title: "pause.c",
        url: "https://example.org/v1/pause.c",
    },
    advice: Advice::new("The pod hangs.", "Handle SIGTERM.").as_in(&TERM_RECIPE),
    needs: Needs::SANDBOX.union(Needs::NATIVE).union(Needs::EXCLUSIVE),
    after: &["startup/stays"],
    run: |_| Ok(Pass::new("seen")),
};
static STAYS: Check = Check {
    id: "startup/stays",
    title: "it stays",
    level: Level::Should,
    requirement: "The pause process SHOULD block",
    source: Source {
        title: "pause.c",
        url: "https://example.org/v1/pause.c",
    },
    advice: Advice::new("The pod restarts.", "Block."),
    needs: Needs::empty(),
    after: &[],
    run: |_| Ok(Pass::new("seen")),
};
static FAMILIES: [&Family; 2] = [
    &Family {
        name: "startup",
        title: "how it starts",
        checks: &[&STAYS],
    },
    &Family {
        name: "signals",
        title: "what signals do",
        checks: &[&TERM],
    },
];

#[test]
fn every_need_but_the_hints_has_words_once() {
    let named = WORDS.iter().fold(Needs::empty(), |all, (need, _)| {
        assert_eq!(need.iter().count(), 1);
        assert!(!all.contains(*need), "{need:?} twice");
        all | *need
    });
    assert_eq!(named | Needs::HINTS, Needs::all());
    assert!(!named.intersects(Needs::HINTS));
}

#[test]
fn missing_needs_are_a_reason() {
    let missing = Needs::PIDS_LIMIT | Needs::MEMORY_LIMIT | Needs::EXCLUSIVE;
    assert_eq!(
        missing_in_words(missing),
        "needs a memory cgroup, a pids cgroup"
    );
    assert!(needs_in_words(Needs::empty()).is_empty());
}

#[test]
fn the_nearest_id_is_suggested_and_nothing_far_off() {
    let unknown = find(&FAMILIES, "signals/term-exit-zero").unwrap_err();
    assert_eq!(unknown.nearest, Some("signals/term-exits-zero"));
    assert_eq!(
        unknown.to_string(),
        "unknown check `signals/term-exit-zero`"
    );
    assert_eq!(unknown.hint(), "did you mean `signals/term-exits-zero`?");
    let unknown = find(&FAMILIES, "zzz\x1b").unwrap_err();
    assert_eq!(unknown.to_string(), "unknown check `zzz\\x1b`");
    assert_eq!(unknown.hint(), "`list` shows all checks");
    assert_eq!(nearest("jsn", ["human", "json", "junit"]), Some("json"));
}

#[test]
fn what_is_far_too_long_is_compared_with_nothing() {
    for (length, found) in [(200, true), (201, false), (400, false)] {
        let name = "a".repeat(length);
        assert_eq!(nearest(&name, [&*name]).is_some(), found, "{length}");
    }
}

#[test]
fn a_check_is_found_by_its_whole_id() {
    assert_eq!(
        find(&FAMILIES, "startup/stays").map(|check| check.title),
        Ok("it stays")
    );
    assert!(find(&FAMILIES, "startup").is_err());
}

#[test]
fn list_and_explain_read_well() {
    let breakers = |id: &str| match id {
        "startup/stays" => vec!["exits-1", "spins"],
        _ => Vec::new(),
    };
    let of_audit = select_of_audit(&["node/user".to_owned()], &[], Level::Info);
    let list = |format| list(&FAMILIES, &[&STAYS, &TERM], &of_audit, format, &breakers).unwrap();
    insta::assert_snapshot!("list_human", list(ListFormat::Human));
    insta::assert_snapshot!("list_json", list(ListFormat::Json));
    insta::assert_snapshot!("list_markdown", list(ListFormat::Markdown));
    let explain = |format| {
        let filters = ["startup", "signals/term-exits-zero", "node/user"].map(str::to_owned);
        explain(&FAMILIES, &filters, format).unwrap()
    };
    insta::assert_snapshot!("explain", explain(ListFormat::Human).unwrap());
    insta::assert_snapshot!("explain_json", explain(ListFormat::Json).unwrap());
    insta::assert_snapshot!("explain_markdown", explain(ListFormat::Markdown).unwrap());
}

#[test]
fn checks_of_audit_are_selected_as_others_and_are_of_no_image() {
    let select = |filters: &[&str], skips: &[&str], level| {
        let [filters, skips] = [filters, skips].map(|all| {
            let all = all.iter().map(|it| (*it).to_owned());
            all.collect::<Vec<_>>()
        });
        let found = select_of_audit(&filters, &skips, level).into_iter();
        found.map(|it| it.id).collect::<Vec<_>>()
    };
    let all = select(&[], &[], Level::Info);
    assert_eq!(select(&["node"], &[], Level::Info), all);
    assert_eq!(select(&["node/us*"], &[], Level::Info), ["node/user"]);
    assert!(select(&["node/user"], &[], Level::Must).is_empty());
    assert!(select(&["signals"], &[], Level::Info).is_empty());
    assert_eq!(
        select(&[], &["node/user"], Level::Info).len(),
        all.len() - 1
    );
    let unknown = find(&FAMILIES, "node/user").unwrap_err();
    assert!(unknown.hint().contains("pause-conformance audit"));
    let family = ["node".to_owned()];
    let text = explain(&FAMILIES, &family, ListFormat::Human).unwrap();
    let text = text.unwrap();
    assert_eq!(text.matches("\n  judged by").count(), all.len());
}
