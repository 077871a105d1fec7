//! What a package holds: the files, and where each belongs.

use super::NAME;
use anyhow::{Context as _, Result, ensure};
use std::path::Path;

/// One file of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path in an archive.
    pub name: String,
    /// Its path in a system, below `/`.
    pub installed: String,
    /// Its mode.
    pub mode: u32,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// The files of a package, sorted by name.
#[derive(Debug, Clone)]
pub struct Content(pub Vec<File>);

impl Content {
    /// The program, the project's licence and page, those of others, and what [`super::program::pages`]
    /// wrote.
    pub fn gather(program: &[u8], pages: &Path, sbom: &[u8], notices: &str) -> Result<Self> {
        let root = crate::workspace();
        let documents = format!("usr/share/doc/{NAME}");
        let mut files = vec![File {
            name: NAME.to_owned(),
            installed: format!("usr/bin/{NAME}"),
            mode: 0o755,
            bytes: program.to_vec(),
        }];
        let mut add = |name: String, installed: String, bytes: Vec<u8>| {
            let mode = 0o644;
            files.push(File {
                name,
                installed,
                mode,
                bytes,
            });
        };
        for name in ["LICENSE", "README.md"] {
            let path = root.join(name);
            let bytes = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            // Debian's name for the licence of a package (policy, 12.5).
            let installed = name.replace("LICENSE", "copyright");
            add(name.to_owned(), format!("{documents}/{installed}"), bytes);
        }
        for (name, bytes) in [("NOTICES", notices.as_bytes()), ("sbom.cdx.json", sbom)] {
            add(
                name.to_owned(),
                format!("{documents}/{name}"),
                bytes.to_vec(),
            );
        }
        for folder in ["completions", "man"] {
            for (name, bytes) in read(&pages.join(folder))? {
                let installed = installed(folder, &name)?;
                add(format!("{folder}/{name}"), installed, bytes);
            }
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self(files))
    }
}

/// Where a page or a script is looked for: man(1), and the shells' folders for packages.
fn installed(folder: &str, name: &str) -> Result<String> {
    let extension = Path::new(name).extension().and_then(|it| it.to_str());
    Ok(match (folder, extension) {
        ("man", Some(section)) => format!("usr/share/man/man{section}/{name}"),
        (_, Some("bash")) => format!("usr/share/bash-completion/completions/{NAME}"),
        (_, Some("fish")) => format!("usr/share/fish/vendor_completions.d/{name}"),
        (_, None) if name.starts_with('_') => format!("usr/share/zsh/vendor-completions/{name}"),
        _ => anyhow::bail!("{folder}/{name} has no place in a system"),
    })
}

/// The files of a folder, in the order of their names.
fn read(folder: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let list = || format!("list {}", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(list)? {
        let path = entry.with_context(list)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let bytes = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        files.push((name.into_owned(), bytes));
    }
    ensure!(!files.is_empty(), "{} is empty", folder.display());
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("man", "a.7", "usr/share/man/man7/a.7")]
    #[case(
        "completions",
        "_pause-conformance",
        "usr/share/zsh/vendor-completions/_pause-conformance"
    )]
    #[case(
        "completions",
        "pause-conformance.bash",
        "usr/share/bash-completion/completions/pause-conformance"
    )]
    fn each_file_goes_where_it_is_looked_for(
        #[case] folder: &str,
        #[case] name: &str,
        #[case] expected: &str,
    ) {
        assert_eq!(installed(folder, name).expect("it has a place"), expected);
    }

    #[test]
    fn what_has_no_place_is_an_error() {
        assert!(installed("completions", "x.elv").is_err());
        assert!(read(tempfile::tempdir().expect("a folder").path()).is_err());
    }
}
