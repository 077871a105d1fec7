//! The licences of others: most of them want their text to go with the program.

use super::sbom::Crate;
use anyhow::{Context as _, Result};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// How the files begin that hold a licence or a notice.
const NAMES: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE"];

/// The texts in the packages of these crates, each once, below the names of those that have it.
pub fn write(crates: &[Crate]) -> Result<String> {
    let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut without = Vec::new();
    // A crate of this project has no checksum, and the project's licence.
    for it in crates.iter().filter(|it| it.checksum.is_some()) {
        let name = format!("{} {}", it.name, it.version);
        let texts = texts(&it.folder)?;
        if texts.is_empty() {
            without.push(format!(
                "{name}: {}",
                it.license.as_deref().unwrap_or("unknown")
            ));
        }
        for text in texts {
            users.entry(text).or_default().push(name.clone());
        }
    }
    let mut users: Vec<(String, String)> = users
        .into_iter()
        .map(|(text, names)| (names.join(", "), text))
        .collect();
    users.sort();
    let mut page = "The program holds code of others, under these licences.\n".to_owned();
    for (names, text) in users {
        write!(page, "\n\n{names}\n\n{}\n", text.trim_end())?;
    }
    if !without.is_empty() {
        let list = without.join("\n");
        write!(page, "\n\nWithout a text in their packages:\n\n{list}\n")?;
    }
    Ok(page)
}

/// The licences and notices in a folder, in the order of their names.
fn texts(folder: &Path) -> Result<Vec<String>> {
    let list = || format!("list {}", folder.display());
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(list)? {
        let path = entry.with_context(list)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.to_uppercase();
        if path.is_file() && NAMES.iter().any(|begin| name.starts_with(begin)) {
            paths.push(path);
        }
    }
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    paths.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_text_stands_once_for_all_that_have_it_and_none_is_left_out() {
        let root = tempfile::tempdir().expect("a folder");
        let it = |name: &str, text: Option<&str>, checksum: Option<&str>| {
            let folder = root.path().join(name);
            std::fs::create_dir(&folder).expect("a folder");
            if let Some(text) = text {
                std::fs::write(folder.join("LICENSE-MIT"), text).expect("writing");
            }
            std::fs::write(folder.join("lib.rs"), "secret").expect("writing");
            Crate {
                name: name.to_owned(),
                version: "1.0.0".to_owned(),
                license: Some("MIT".to_owned()),
                folder,
                checksum: checksum.map(str::to_owned),
                uses: BTreeSet::new(),
            }
        };
        let crates = [
            it("a", Some("one\n"), Some("0")),
            it("b", Some("one\n"), Some("0")),
            it("c", None, Some("0")),
            it("own", Some("own text"), None),
        ];
        let page = write(&crates).expect("the files can be read");
        assert!(page.contains("a 1.0.0, b 1.0.0\n\none\n"), "{page}");
        assert_eq!(page.matches("one\n").count(), 1);
        assert!(page.contains("c 1.0.0: MIT"), "{page}");
        assert!(!page.contains("own") && !page.contains("secret"), "{page}");
    }
}
