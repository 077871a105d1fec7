//! The project's tasks, one file each; `main` only dispatches.

mod arrows;
pub mod audit;
pub mod bench;
pub mod build;
pub mod cargo;
pub mod conformance;
pub mod dist;
pub mod excerpts;
pub mod fuzz;
pub mod image;
mod lengths;
#[path = "../../pause/link.rs"]
pub mod link;
pub mod manifests;
pub mod miri;
pub mod packages;
pub mod platform;
pub mod python;
pub mod requirements;
pub mod scoreboard;
pub mod sizes;
pub mod soak;
pub mod test;
pub mod tidy;
pub mod toolchain;
pub mod walkthrough;
pub mod wasi;

use std::path::PathBuf;

/// The root of the project.
pub fn workspace() -> PathBuf {
    let package = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}
