//! Files of profiles, sound and wrong.

use rstest::rstest;

use super::{Budget, Profile, ProfileError};
use crate::check::{Check, Family, Level, Pass};

static ONE: Check = named("pid1/is-one");
static THREAD: Check = named("pid1/single-thread");
static SMALL: Check = named("image/small");
static BEFORE: Check = named("reaping/before-handler");

static FAMILIES: &[&Family] = &[&Family {
    name: "any",
    title: "what the profiles name",
    checks: &[&ONE, &THREAD, &SMALL, &BEFORE],
}];

const fn named(id: &'static str) -> Check {
    Check::made_up(id, |_| Ok(Pass::new("seen")))
}

fn read(text: &str, name: &str) -> Result<Profile, ProfileError> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(&file, text).expect("written");
    Profile::read(file.path(), name, FAMILIES)
}

const SOUND: &str = r#"
[profile.daily]

[profile.release]
strict = true
require-all = true
filter = ["signals", "pid1"]
skip = ["cli/version"]
kubernetes = "1.33"
budget = { rss = "1MiB", term_latency_p99 = "50ms" }
levels = { "pid1/single-thread" = "must", "image/small" = "info" }

[[profile.release.expect]]
id = "reaping/before-handler"
reason = "upstream"
until = "2026-12-31"
"#;

#[test]
fn a_profile_has_what_is_written_under_its_name() {
    let release = read(SOUND, "release").expect("a profile");
    assert!(release.strict && release.require_all);
    assert_eq!(release.filters, ["signals", "pid1"]);
    assert_eq!(release.skips, ["cli/version"]);
    assert!(release.kubernetes.is_some());
    let budgets: Vec<_> = release.budgets.iter().map(Budget::words).collect();
    assert_eq!(budgets, ["rss=1MiB", "term_latency_p99=50ms"]);
    assert_eq!(release.levels["image/small"], Level::Info);
    assert!(
        release
            .words
            .ends_with("image/small INFO, pid1/single-thread MUST")
    );
    let daily = read(SOUND, "daily").expect("a profile");
    assert!(!daily.strict && daily.levels.is_empty() && daily.words.starts_with("daily of "));
}

#[rstest]
#[case("[profile.a]\nstict = true\n", "line 2: unknown field `stict`")]
#[case("[profile.a]\nstrict = 1\n", "line 2: invalid type")]
#[case("[profile.a\n", "line 1: ")]
#[case("[other]\n", "unknown field `other`")]
#[case("[profile.b]\n", "no profile `a` in ")]
#[case(
    "[profile.a]\nlevels = { \"pid1/x\" = \"must\" }\n",
    "levels: unknown check `pid1/x`"
)]
#[case(
    "[profile.a]\nlevels = { \"pid1/is-one\" = \"may\" }\n",
    "unknown variant `may`"
)]
#[case(
    "[profile.a]\nbudget = { rss = \"much\" }\n",
    "budget: `much` is no limit of rss"
)]
#[case("[profile.a]\nkubernetes = \"latest\"\n", "kubernetes: ")]
#[case(
    "[[profile.a.expect]]\nid = \"pid1/is-one\"\nreason = \" \"\n",
    "no reason for `pid1/is-one`"
)]
#[case(
    "[[profile.a.expect]]\nid = \"pid1/is-one\"\nreason = \"x\"\nuntil = \"soon\"\n",
    "`soon` is no day"
)]
fn what_is_wrong_is_said_in_a_line(#[case] text: &str, #[case] message: &str) {
    let error = read(text, "a").expect_err(text);
    let said = error.to_string();
    assert!(said.contains(message), "{said}");
    assert!(!said.contains('\n'), "{said}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Profile::read("/nonexistent/x.toml".as_ref(), "a", FAMILIES).expect_err("none");
    assert_eq!(
        error.to_string(),
        "cannot read the profiles `/nonexistent/x.toml`"
    );
    assert!(!error.is_special() && error.hint().is_some());
}
