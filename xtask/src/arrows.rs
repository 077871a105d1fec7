//! Which room of a crate may use which: only those on lower floors.
//!
//! A room is a module with all files below it, either of a crate's root or of a module as big as a
//! crate. The compiler forbids import circles between crates, but not between modules.

use std::collections::BTreeSet;

/// A crate and its rooms, floor by floor, the lowest first.
struct House {
    /// The folder of its sources.
    source: &'static str,
    /// The prefix of a room's name in a path that uses it.
    path: &'static str,
    floors: &'static [&'static [&'static str]],
}

const HOUSES: [House; 7] = [
    // The root has the rooms of the harness too: a check uses those below it alone.
    House {
        source: "conformance/src/",
        path: "crate::",
        floors: &[
            &["check", "context"],
            &["checks"],
            &["catalogue", "expect", "node", "report", "runner"],
            &["budget", "calibration", "cli", "profile"],
            &["suite"],
            &["audit", "self_test", "version"],
            &["completion"],
        ],
    },
    House {
        source: "conformance/harness/src/",
        path: "crate::",
        floors: &[
            &[
                "advice",
                "figures",
                "kubernetes",
                "lock",
                "need",
                "requirement",
                "suggest",
                "programs",
                "wasi_abi",
            ],
            &["outcome", "event"],
            &["shortage", "seccomp", "wasi_host", "wasi_sim"],
            &["wasi_engine"],
            &["context"],
            &["check"],
            &["node"],
            &["catalogue"],
            &["expect", "report", "runner"],
            &["budget"],
            &["profile"],
            &["calibration", "cli"],
            &["suite"],
            &["audit"],
        ],
    },
    House {
        source: "conformance/sandbox/src/",
        path: "crate::",
        floors: &[
            &["features", "programs", "shortage", "signal", "wait"],
            &["sys"],
            &["inherited", "interrupt", "process", "supervise"],
            &["emulator", "probe", "step", "trace", "workload"],
            &["backend"],
        ],
    },
    House {
        source: "conformance/sandbox/src/backend/embedded/",
        path: "super::",
        floors: &[
            &[
                "before_exec",
                "binfmt",
                "capabilities",
                "cgroup",
                "cost",
                "ids",
                "mounts",
            ],
            &["limits"],
            &["emulated", "fill", "holder", "init", "obstacles"],
            &["base", "folder", "outer", "plan", "trial"],
            &["child", "offers", "root"],
            &["lend", "sandbox"],
            &["launch"],
        ],
    },
    House {
        source: "conformance/sandbox/src/backend/oci/",
        path: "super::",
        floors: &[&["config"], &["container"], &["member"], &["sandbox"]],
    },
    House {
        source: "conformance/sandbox/src/backend/cri/",
        path: "super::",
        floors: &[
            &["pod", "view"],
            &["keeper", "member"],
            &["daemon", "host", "sandbox"],
        ],
    },
    House {
        source: "conformance/sandbox/src/backend/engine/",
        path: "super::",
        floors: &[
            &["api", "output"],
            &["pod"],
            &["keeper"],
            &["config", "container", "image"],
            &["member"],
            &["sandbox"],
        ],
    },
];

/// Files that declare the rooms, and may use all; programs beside `main` use a crate from outside.
const ROOTS: [&str; 3] = ["lib", "main", "bin"];

/// The faults of the file `name`: each room that it must not use, or that its own has no floor.
pub(crate) fn judge(name: &str, text: &str) -> Vec<String> {
    let within = |house: &'static House| {
        let path = name.strip_prefix(house.source)?.strip_suffix(".rs")?;
        Some((house, path))
    };
    let judged = HOUSES.iter().filter_map(within);
    judged
        .flat_map(|(house, path)| house.judge(path, text))
        .collect()
}

impl House {
    /// The faults of the file at `path` below its sources.
    fn judge(&self, path: &str, text: &str) -> Vec<String> {
        let room = path.split('/').next().unwrap_or_default();
        // Tests may use any room.
        if ROOTS.contains(&room) || path.split('/').any(|part| part == "tests") {
            return Vec::new();
        }
        let Some(own) = self.floor(room) else {
            return vec![format!("the room {room} is on no floor of arrows.rs")];
        };
        // In deeper files `super` is the room itself.
        if self.path == "super::" && path.contains('/') {
            return Vec::new();
        }
        let used = used(without_tests(text), self.path);
        used.iter()
            .filter(|other| **other != room)
            .filter(|other| self.floor(other).is_some_and(|floor| floor >= own))
            .map(|other| format!("{room} uses {other}, which is not on a lower floor"))
            .collect()
    }

    fn floor(&self, room: &str) -> Option<usize> {
        self.floors.iter().position(|floor| floor.contains(&room))
    }
}

fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or(text)
}

/// The rooms that a text, without its comments, names after `path`.
fn used<'a>(text: &'a str, path: &str) -> BTreeSet<&'a str> {
    let code = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split(path).skip(1))
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

    /// Sketches of files that use a room upwards.
    #[rstest]
    #[case::upwards(
        "conformance/harness/src/context/pod.rs",
        "use crate::runner::Settings;",
        "context uses runner"
    )]
    #[case::circle(
        "conformance/harness/src/check.rs",
        "use crate::catalogue::find;",
        "check uses catalogue"
    )]
    #[case::beside(
        "conformance/harness/src/report/json.rs",
        "fn f() { crate::runner::run() }",
        "report uses runner"
    )]
    #[case::a_check(
        "conformance/src/checks/output.rs",
        "use crate::runner::Settings;",
        "checks uses runner"
    )]
    #[case::sandbox(
        "conformance/sandbox/src/sys/clone.rs",
        "use crate::probe::Probe;",
        "sys uses probe"
    )]
    #[case::backend(
        "conformance/sandbox/src/backend/embedded/init.rs",
        "use super::child;",
        "init uses child"
    )]
    #[case::mounts(
        "conformance/sandbox/src/backend/embedded/base.rs",
        "use super::{init, root};",
        "base uses root"
    )]
    #[case::list(
        "conformance/harness/src/event.rs",
        "use crate::{need, suite};",
        "event uses suite"
    )]
    #[case::no_floor("conformance/harness/src/attic.rs", "", "attic is on no floor")]
    fn an_arrow_upwards_is_named(#[case] name: &str, #[case] text: &str, #[case] expected: &str) {
        let complaints = judge(name, text);
        assert!(
            complaints.iter().any(|what| what.contains(expected)),
            "{complaints:?}"
        );
    }

    #[rstest]
    #[case::down("conformance/harness/src/runner.rs", "use crate::context::Context;")]
    #[case::backend(
        "conformance/sandbox/src/backend/embedded/root.rs",
        "use super::mounts;"
    )]
    #[case::below_a_room(
        "conformance/sandbox/src/backend/embedded/cgroup/lease.rs",
        "use super::sandbox;"
    )]
    #[case::a_check("conformance/src/checks/output.rs", "use crate::context::Context;")]
    #[case::own("conformance/harness/src/runner.rs", "use crate::runner::Run;")]
    #[case::comment("conformance/harness/src/event.rs", "/// See [`crate::suite`].")]
    #[case::tests("conformance/harness/src/event/tests.rs", "use crate::suite::Suite;")]
    #[case::tests_inside(
        "conformance/harness/src/event.rs",
        "#[cfg(test)]\nmod tests {\nuse crate::suite::Suite;"
    )]
    #[case::another_crate("conformance/image/src/elf.rs", "use crate::wasm::Wasm;")]
    fn an_arrow_down_is_no_fault(#[case] name: &str, #[case] text: &str) {
        assert_eq!(judge(name, text), [] as [String; 0]);
    }

    #[test]
    fn no_room_is_on_two_floors() {
        for house in &HOUSES {
            let rooms: Vec<_> = house.floors.iter().copied().flatten().collect();
            let once: BTreeSet<_> = rooms.iter().collect();
            assert_eq!(rooms.len(), once.len(), "{}", house.source);
        }
    }
}
