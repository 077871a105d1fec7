//! What this build is, for `--version`.

use crate::checks::FAMILIES;
use crate::event::SCHEMA_VERSION;
use crate::suite::{COMMIT, SPEC_VERSION};

/// Version, commit, requirements and features; `-V` prints the version alone.
pub fn long() -> String {
    let checks: usize = FAMILIES.iter().map(|family| family.checks.len()).sum();
    let features = [
        (cfg!(feature = "cri"), "cri"),
        (cfg!(feature = "engines"), "engines"),
        (cfg!(feature = "junit"), "junit"),
        (cfg!(feature = "registry"), "registry"),
        (cfg!(feature = "schema"), "schema"),
        (cfg!(feature = "self-test"), "self-test"),
        (cfg!(feature = "wasmtime"), "wasmtime"),
    ];
    let features = features.iter().filter(|(built_in, _)| *built_in);
    let features: Vec<_> = features.map(|(_, name)| *name).collect();
    let commit = match COMMIT {
        "" => "not recorded: built from a checkout",
        commit => commit,
    };
    format!(
        "{}\ncommit {commit}\nrequirements {SPEC_VERSION}, {checks} checks\nreport schema {SCHEMA_VERSION}\nfeatures {}",
        env!("CARGO_PKG_VERSION"),
        if features.is_empty() {
            "none".to_owned()
        } else {
            features.join(" ")
        },
    )
}
