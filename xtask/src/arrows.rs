//! Which room of a crate may use which: arrows go one way, down.
//!
//! A room is a module of a crate's root, with all files below it. The compiler allows circles
//! between modules; between crates it does not.

use std::collections::BTreeSet;

/// A crate and its rooms, floor by floor, the lowest first. A room uses rooms of lower floors.
struct House {
    /// Folder of its sources.
    source: &'static str,
    floors: &'static [&'static [&'static str]],
}

const HOUSES: [House; 2] = [
    House {
        source: "conformance/src/",
        floors: &[
            &["need", "requirement", "suggest", "programs", "wasi_abi"],
            &["outcome", "event"],
            &["shortage", "seccomp", "wasi_host", "wasi_sim"],
            &["wasi_engine"],
            &["context"],
            &["check"],
            &["checks", "catalogue"],
            &["expect", "report", "runner"],
            &["calibration", "cli"],
            &["self_test"],
            &["suite"],
        ],
    },
    House {
        source: "conformance/sandbox/src/",
        floors: &[
            &["features", "programs", "shortage", "signal", "wait"],
            &["sys"],
            &["inherited", "interrupt", "process", "supervise"],
            &["emulator", "probe", "trace", "workload"],
            &["backend"],
        ],
    },
];

/// Files that put the rooms together.
const ROOTS: [&str; 2] = ["lib", "main"];

/// What is wrong with the file `name`: rooms that it uses and may not, and a room without a floor.
pub(crate) fn judge(name: &str, text: &str) -> Vec<String> {
    let Some((house, path)) = HOUSES
        .iter()
        .find_map(|house| Some((house, name.strip_prefix(house.source)?)))
    else {
        return Vec::new();
    };
    let Some(path) = path.strip_suffix(".rs") else {
        return Vec::new();
    };
    let room = path.split('/').next().unwrap_or_default();
    // Tests may use whatever serves them.
    if ROOTS.contains(&room) || path.split('/').any(|part| part == "tests") {
        return Vec::new();
    }
    let Some(own) = house.floor(room) else {
        return vec![format!("the room {room} stands on no floor of arrows.rs")];
    };
    let used = used(without_tests(text));
    used.iter()
        .filter(|other| **other != room)
        .filter(|other| house.floor(other).is_some_and(|floor| floor >= own))
        .map(|other| format!("{room} uses {other}, which is not below it"))
        .collect()
}

impl House {
    fn floor(&self, room: &str) -> Option<usize> {
        self.floors.iter().position(|floor| floor.contains(&room))
    }
}

fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or(text)
}

/// The rooms that a text names by `crate::ROOM`, comments aside.
fn used(text: &str) -> BTreeSet<&str> {
    let code = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split("crate::").skip(1))
        .flat_map(|rest| match rest.strip_prefix('{') {
            Some(list) => list
                .split('}')
                .next()
                .unwrap_or_default()
                .split(", ")
                .collect(),
            None => vec![rest],
        })
        .map(|path| {
            let end = path.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            &path[..end.unwrap_or(path.len())]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    /// Sketches of files that would break the house.
    #[rstest]
    #[case::upwards(
        "conformance/src/context/pod.rs",
        "use crate::runner::Settings;",
        "context uses runner"
    )]
    #[case::circle(
        "conformance/src/check.rs",
        "use crate::checks::FAMILIES;",
        "check uses checks"
    )]
    #[case::beside(
        "conformance/src/report/json.rs",
        "fn f() { crate::runner::run() }",
        "report uses runner"
    )]
    #[case::sandbox(
        "conformance/sandbox/src/sys/clone.rs",
        "use crate::probe::Probe;",
        "sys uses probe"
    )]
    #[case::list(
        "conformance/src/event.rs",
        "use crate::{need, suite};",
        "event uses suite"
    )]
    #[case::no_floor("conformance/src/attic.rs", "", "attic stands on no floor")]
    fn an_arrow_upwards_is_named(#[case] name: &str, #[case] text: &str, #[case] expected: &str) {
        let complaints = judge(name, text);
        assert!(
            complaints.iter().any(|what| what.contains(expected)),
            "{complaints:?}"
        );
    }

    #[rstest]
    #[case::down("conformance/src/runner.rs", "use crate::context::Context;")]
    #[case::own("conformance/src/runner.rs", "use crate::runner::Run;")]
    #[case::comment("conformance/src/event.rs", "/// See [`crate::suite`].")]
    #[case::tests("conformance/src/event/tests.rs", "use crate::suite::Suite;")]
    #[case::tests_inside(
        "conformance/src/event.rs",
        "#[cfg(test)]\nmod tests {\nuse crate::suite::Suite;"
    )]
    #[case::another_crate("conformance/image/src/elf.rs", "use crate::wasm::Wasm;")]
    fn an_arrow_down_is_let_be(#[case] name: &str, #[case] text: &str) {
        assert_eq!(judge(name, text), [] as [String; 0]);
    }

    #[test]
    fn no_room_stands_on_two_floors() {
        for house in &HOUSES {
            let rooms: Vec<_> = house.floors.iter().copied().flatten().collect();
            let once: BTreeSet<_> = rooms.iter().collect();
            assert_eq!(rooms.len(), once.len(), "{}", house.source);
        }
    }
}
