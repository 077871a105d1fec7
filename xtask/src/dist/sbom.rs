//! The bill of material: every crate that became part of the program, in CycloneDX 1.5 as JSON.

use super::program::Program;
use super::route::Route;
use super::{NAME, VERSION, sha256};
use crate::cargo;
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A crate in the program.
#[derive(Debug, Clone)]
pub struct Crate {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its licence, an SPDX expression.
    pub license: Option<String>,
    /// Where its sources are.
    pub folder: PathBuf,
    /// The SHA-256 of its package; a crate of this project has none.
    pub checksum: Option<String>,
    /// The crates it uses, as [`Crate::reference`] names them.
    pub uses: BTreeSet<String>,
}

impl Crate {
    /// Its package URL.
    pub fn reference(&self) -> String {
        reference(&self.name, &self.version)
    }
}

fn reference(name: &str, version: &str) -> String {
    format!("pkg:cargo/{name}@{version}")
}

/// The crates that become part of the program for a target, without those that only run when it is
/// built.
pub fn crates(triple: &str) -> Result<Vec<Crate>> {
    let list = ["tree", "--locked", "--package", NAME, "--target", triple];
    let form = [
        "--edges",
        "normal,no-proc-macro",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ];
    let tree = printed(&[&list[..], &form].concat())?;
    let members: BTreeSet<(String, String)> = tree.lines().filter_map(member).collect();
    let metadata = ["metadata", "--locked", "--format-version=1"];
    let metadata = printed(&[&metadata[..], &["--filter-platform", triple]].concat())?;
    let metadata: Value = serde_json::from_str(&metadata).context("read cargo metadata")?;
    let lock = std::fs::read_to_string(crate::workspace().join("Cargo.lock"));
    let checksums = checksums(&lock.context("read Cargo.lock")?);
    let found = select(&metadata, &members, &checksums)?;
    ensure!(
        found.len() == members.len(),
        "cargo metadata lacks a crate of cargo tree"
    );
    Ok(found)
}

/// The crates of `cargo metadata` that are among `members`.
fn select(
    metadata: &Value,
    members: &BTreeSet<(String, String)>,
    checksums: &BTreeMap<(String, String), String>,
) -> Result<Vec<Crate>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let mut by_id: BTreeMap<&str, Crate> = BTreeMap::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = text(&package["name"]).context("a package without a name")?;
        let version = text(&package["version"]).context("a package without a version")?;
        let key = (name.clone(), version.clone());
        if !members.contains(&key) {
            continue;
        }
        let manifest = package["manifest_path"].as_str().unwrap_or_default();
        let folder = Path::new(manifest).parent().unwrap_or(Path::new(""));
        let it = Crate {
            name,
            version,
            license: text(&package["license"]),
            folder: folder.to_owned(),
            checksum: checksums.get(&key).cloned(),
            uses: BTreeSet::new(),
        };
        by_id.insert(package["id"].as_str().unwrap_or_default(), it);
    }
    for node in metadata["resolve"]["nodes"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let uses = node["dependencies"].as_array().into_iter().flatten();
        let uses: BTreeSet<String> = uses
            .filter_map(|id| Some(by_id.get(id.as_str()?)?.reference()))
            .collect();
        let id = node["id"].as_str().unwrap_or_default();
        if let Some(it) = by_id.get_mut(id) {
            it.uses = uses;
        }
    }
    let mut found: Vec<Crate> = by_id.into_values().collect();
    found.sort_by_key(Crate::reference);
    Ok(found)
}

/// `NAME vVERSION …`, a line of `cargo tree`.
fn member(line: &str) -> Option<(String, String)> {
    let mut words = line.split_whitespace();
    let name = words.next()?;
    let version = words.next()?.strip_prefix('v')?;
    Some((name.to_owned(), version.to_owned()))
}

/// The checksums of Cargo.lock, by name and version.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let field = |entry: &str, name: &str| {
        let rest = entry.lines().find_map(|line| line.strip_prefix(name))?;
        Some(rest.strip_prefix(" = \"")?.strip_suffix('"')?.to_owned())
    };
    let entries = lock.split("[[package]]").skip(1);
    entries
        .filter_map(|entry| {
            let key = (field(entry, "name")?, field(entry, "version")?);
            Some((key, field(entry, "checksum")?))
        })
        .collect()
}

/// The document. It has no serial number and no time, which would differ each time.
pub fn write(route: &Route, program: &Program, crates: &[Crate]) -> Result<Vec<u8>> {
    let own = crates.iter().find(|it| it.name == NAME);
    let own = own.context("the program is not among its crates")?;
    let dependencies = crates.iter().map(|it| {
        let uses = &it.uses;
        json!({ "ref": it.reference(), "dependsOn": uses })
    });
    let mut components: Vec<Value> = crates
        .iter()
        .filter(|it| it.name != NAME)
        .map(component)
        .collect();
    components.push(json!({
        "type": "library",
        "name": "rust-std",
        "version": route.toolchain.release,
        "licenses": [{ "expression": "MIT OR Apache-2.0" }],
    }));
    let license = if route.library == "musl" {
        "MIT"
    } else {
        "LGPL-2.1-or-later"
    };
    components.push(json!({
        "type": "library",
        "name": route.library,
        "licenses": [{ "expression": license }],
    }));
    let document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": {
            "type": "application",
            "bom-ref": own.reference(),
            "name": NAME,
            "version": VERSION,
            "purl": own.reference(),
            "licenses": [{ "expression": own.license }],
            "hashes": [{ "alg": "SHA-256", "content": sha256(&program.bytes) }],
            "properties": [{ "name": "target", "value": route.triple }],
        }},
        "components": components,
        "dependencies": dependencies.collect::<Vec<_>>(),
    });
    let mut bytes = serde_json::to_vec_pretty(&document).context("write the bill of material")?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn component(it: &Crate) -> Value {
    let mut component = json!({
        "type": "library",
        "bom-ref": it.reference(),
        "name": it.name,
        "version": it.version,
        "purl": it.reference(),
    });
    if let Some(license) = &it.license {
        // Cargo took a slash for OR once; SPDX does not.
        let expression = license.replace('/', " OR ");
        component["licenses"] = json!([{ "expression": expression }]);
    }
    if let Some(checksum) = &it.checksum {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    component
}

fn printed(args: &[&str]) -> Result<String> {
    let output = cargo::command().args(args).output().context("run cargo")?;
    ensure!(
        output.status.success(),
        "cargo {}: {}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr).trim_end()
    );
    String::from_utf8(output.stdout).context("cargo printed what is not Unicode")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("adler2 v2.0.1", Some(("adler2", "2.0.1")))]
    #[case("clap v4.6.9 (*)", Some(("clap", "4.6.9")))]
    #[case("pause-image v0.1.0 (/w/conformance/image)", Some(("pause-image", "0.1.0")))]
    #[case("", None)]
    #[case("[dev-dependencies]", None)]
    fn a_line_of_the_tree_names_a_crate(
        #[case] line: &str,
        #[case] expected: Option<(&str, &str)>,
    ) {
        let expected = expected.map(|(name, version)| (name.to_owned(), version.to_owned()));
        assert_eq!(member(line), expected);
    }

    #[test]
    fn a_crate_has_the_checksum_of_its_version() {
        let lock = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nchecksum = \"aa\"\n\n\
                    [[package]]\nname = \"a\"\nversion = \"2.0.0\"\nchecksum = \"bb\"\n\n\
                    [[package]]\nname = \"own\"\nversion = \"0.1.0\"\n";
        let found = checksums(lock);
        let of = |version: &str| found.get(&("a".to_owned(), version.to_owned()));
        assert_eq!(of("2.0.0").map(String::as_str), Some("bb"));
        assert_eq!(found.len(), 2);
    }

    /// What only builds or tests is in the metadata, and must not be in the bill.
    #[test]
    fn only_members_are_taken_and_only_members_are_used() {
        let package = |name: &str| {
            let license = "MIT/Apache-2.0";
            json!({ "name": name, "version": "1.0.0", "id": name, "license": license, "manifest_path": "/c/Cargo.toml" })
        };
        let metadata = json!({
            "packages": [package("a"), package("b"), package("build")],
            "resolve": { "nodes": [{ "id": "a", "dependencies": ["b", "build"] }] },
        });
        let members = ["a", "b"].map(|name| (name.to_owned(), "1.0.0".to_owned()));
        let found = select(&metadata, &members.into(), &BTreeMap::new()).expect("it is whole");
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].uses, BTreeSet::from([reference("b", "1.0.0")]));
        let component = component(&found[1]);
        assert_eq!(component["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(component.get("hashes"), None);
    }
}
