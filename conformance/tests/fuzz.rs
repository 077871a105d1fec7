//! The fuzz targets on their committed corpora, with the stable toolchain. So the targets always
//! compile, and what the fuzzer has found is tested. `cargo xtask fuzz` runs the fuzzer.

#[path = "fuzz/found.rs"]
mod found;
#[path = "../fuzz/src/lib.rs"]
#[allow(unreachable_pub, reason = "it is a crate of its own as well")]
mod fuzz;
#[path = "fuzz/seeds.rs"]
mod seeds;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use fuzz::targets::TARGETS;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz")
        .join(name)
}

/// The names of the files in a folder, without extension.
fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).expect("the folder is there");
    let stem = |path: PathBuf| Some(path.file_stem()?.to_str()?.to_owned());
    entries
        .filter_map(|entry| stem(entry.expect("a folder can be listed").path()))
        .collect()
}

#[test]
fn every_target_holds_on_its_corpus_and_on_every_beginning_of_it() {
    for (name, target) in TARGETS {
        target(b"");
        let entries = fs::read_dir(folder("corpus").join(name)).expect("each has a corpus");
        let mut seeds = 0;
        for entry in entries {
            let path = entry.expect("a folder can be listed").path();
            let bytes = fs::read(&path).expect("a seed can be read");
            eprintln!("{}", path.display());
            target(&bytes);
            for part in 1..8 {
                target(&bytes[..bytes.len() * part / 8]);
            }
            seeds += 1;
        }
        assert!(seeds > 0, "{name} has no seed");
    }
}

#[test]
fn every_target_has_a_program_for_the_fuzzer_and_a_corpus() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&folder("fuzz_targets")), targets);
    assert_eq!(names(&folder("corpus")), targets);
    let manifest = fs::read_to_string(folder("Cargo.toml")).expect("the fuzz crate");
    for name in targets {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
}

/// `cargo test --package pause-conformance --test fuzz -- --ignored` rewrites the seeds.
#[test]
#[ignore = "writes into the source tree"]
fn the_seeds_are_written() {
    for (target, name, bytes) in seeds::all() {
        let folder = folder("corpus").join(target);
        fs::create_dir_all(&folder).expect("a folder can be made");
        fs::write(folder.join(name), bytes).expect("a seed can be written");
    }
}
