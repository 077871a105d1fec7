//! The cgroups of suites, in all hierarchies.
//!
//! Their names hold the suite's pid, which comes again in other pid namespaces and later; a suite
//! that was killed together with its sandbox init leaves its cgroup to the next one in that place.
//! So only what was not there before is of a suite.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Below this lie the places where a suite makes them.
const DEPTH: usize = 6;

/// Those that are there now.
#[derive(Debug, Default)]
pub(crate) struct Cgroups(BTreeSet<PathBuf>);

impl Cgroups {
    pub(crate) fn now() -> Self {
        let mut found = Self::default();
        found.look(Path::new("/sys/fs/cgroup"), "pause-conformance-", DEPTH);
        found
    }

    /// Those of a suite that have come since and are still there.
    pub(crate) fn left_by(&self, pid: i32) -> BTreeSet<PathBuf> {
        let prefix = format!("pause-conformance-{pid}-");
        let of_it = |path: &&PathBuf| {
            let name = path.file_name().unwrap_or_default();
            name.to_string_lossy().starts_with(&prefix)
        };
        let now = Self::now();
        now.0.difference(&self.0).filter(of_it).cloned().collect()
    }

    fn look(&mut self, place: &Path, prefix: &str, depth: usize) {
        for entry in fs::read_dir(place).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if entry.file_name().to_string_lossy().starts_with(prefix) {
                self.0.insert(entry.path());
            } else if depth > 0 {
                self.look(&entry.path(), prefix, depth - 1);
            }
        }
    }
}
