//! The bases of images: the files besides the program.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use conformance::subject::build::Tar;

/// Commands of busybox that entrypoints use.
const COMMANDS: [&str; 4] = ["sh", "sleep", "tail", "cat"];

/// Its path in the distribution.
pub(crate) const BUSYBOX: &str = "/bin/busybox";

/// The name of the base that mmdebstrap(1) makes.
pub(crate) const MMDEBSTRAP: &str = "mmdebstrap";

/// Directories that every distribution has, and their modes.
const DIRECTORIES: [(&str, u32); 8] = [
    ("dev", 0o755),
    ("etc", 0o755),
    ("proc", 0o555),
    ("run", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("var", 0o755),
];

/// Adds the base of this name.
pub(crate) fn add(base: &str, layer: &mut Tar, program: &Path) -> anyhow::Result<()> {
    match base {
        // The tree is a separate layer, the lowest.
        "scratch" | MMDEBSTRAP => Ok(()),
        "busybox" => busybox(layer),
        "debian" => debian(layer, program),
        other => bail!("there is no base {other}"),
    }
}

fn busybox(layer: &mut Tar) -> anyhow::Result<()> {
    directories(layer);
    layer.directory("bin", 0o755);
    commands("bin", layer)
}

fn commands(folder: &str, layer: &mut Tar) -> anyhow::Result<()> {
    let content = fs::read(BUSYBOX).context("read busybox")?;
    layer.file(format!("{folder}/busybox"), 0o755, &content);
    for command in COMMANDS {
        layer.symlink(format!("{folder}/{command}"), "busybox");
    }
    Ok(())
}

/// The loader and libraries of a program, at the paths where `dpkg` has put them on this host, in a
/// tree with Debian's layout.
fn debian(layer: &mut Tar, program: &Path) -> anyhow::Result<()> {
    directories(layer);
    for name in ["bin", "lib", "lib64"] {
        layer.directory(format!("usr/{name}"), 0o755);
        layer.symlink(name, format!("usr/{name}"));
    }
    commands("usr/bin", layer)?;
    layer.file(
        "etc/debian_version",
        0o644,
        &fs::read("/etc/debian_version").unwrap_or_default(),
    );
    for library in libraries(program)? {
        let content = fs::read(&library).with_context(|| format!("read {}", library.display()))?;
        let path = library.strip_prefix("/")?.display().to_string();
        let path = if path.starts_with("usr/") {
            path
        } else {
            format!("usr/{path}")
        };
        layer.file(path, 0o755, &content);
    }
    Ok(())
}

fn directories(layer: &mut Tar) {
    for (name, mode) in DIRECTORIES {
        layer.directory(name, mode);
    }
}

/// The files that ldd(1) names.
fn libraries(program: &Path) -> anyhow::Result<BTreeSet<PathBuf>> {
    let output = Command::new("ldd")
        .arg(program)
        .output()
        .context("run ldd")?;
    ensure!(
        output.status.success(),
        "{} is not dynamically linked",
        program.display()
    );
    let text = String::from_utf8_lossy(&output.stdout);
    let words = text.split_ascii_whitespace();
    Ok(words
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect())
}
