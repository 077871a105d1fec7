//! A tree that the distribution's own tools make, with `/proc`, `/sys` and devices. It is made once
//! and kept, since it is a download.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

const SUITE: &str = "bookworm";

/// The packages of the tree, without those that they depend on.
const PACKAGES: [&str; 5] = ["base-files", "busybox-static", "dumb-init", "s6", "tini"];

/// The archive of the tree, or the reason why there is none.
pub(crate) fn tree() -> Result<&'static Path, String> {
    static MADE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let made = MADE.get_or_init(make).as_deref();
    made.map_err(Clone::clone)
}

fn make() -> Result<PathBuf, String> {
    // Another list of packages makes another tree.
    let name = format!("{SUITE}-{}.tar", PACKAGES.join("-"));
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if kept.exists() {
        return Ok(kept);
    }
    let begun = kept.with_extension(format!("{}.tar", std::process::id()));
    let made = Command::new("mmdebstrap")
        // No scripts of packages, which need more of the host than an image does.
        .args(["--quiet", "--variant=extract", "--format=tar"])
        .arg(format!("--include={}", PACKAGES.join(",")))
        .arg(SUITE)
        .arg(&begun)
        .stdin(Stdio::null())
        .output();
    let made = match made {
        Ok(made) if made.status.success() => {
            fs::rename(&begun, &kept).map_err(|error| format!("a tree of {SUITE}: {error}"))
        }
        Ok(made) => {
            let words = String::from_utf8_lossy(&made.stderr);
            let last = words.lines().last().unwrap_or_default().to_owned();
            Err(format!("a tree of {SUITE} by mmdebstrap: {last}"))
        }
        Err(error) => Err(format!("mmdebstrap: {error}")),
    };
    if made.is_err() {
        let _ = fs::remove_file(&begun);
    }
    made.map(|()| kept)
}
