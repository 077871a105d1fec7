//! `cargo xtask sizes`: writes the README's table of sizes, with upstream's beside them.

use crate::image::wasi::Form;
use crate::{image, platform};
use anyhow::{Context as _, Result, bail};
use std::fmt::Write as _;

/// The table in the README lies between these two.
const BEGIN: &str = "<!-- begin: cargo xtask sizes -->\n";
const END: &str = "<!-- end: cargo xtask sizes -->\n";

/// Arguments of `sizes`.
#[derive(Debug, clap::Args)]
pub struct Sizes {
    /// Change nothing; fail if the README is not up to date
    #[arg(long)]
    pub check: bool,
}

impl Sizes {
    /// Builds, and writes the table.
    pub fn run(&self) -> Result<()> {
        let path = crate::workspace().join("README.md");
        let old = std::fs::read_to_string(&path).context("read README.md")?;
        let table = table()?;
        let new =
            replaced(&old, &table).context("README.md has no place for the table of sizes")?;
        if !self.check {
            print!("{table}");
            std::fs::write(&path, new).context("write README.md")?;
        } else if new != old {
            bail!("the table of sizes in README.md is not up to date\n  try: cargo xtask sizes");
        }
        Ok(())
    }
}

/// `readme` with `table` between the marks.
fn replaced(readme: &str, table: &str) -> Option<String> {
    let (head, rest) = readme.split_once(BEGIN)?;
    let (_, tail) = rest.split_once(END)?;
    Some(format!("{head}{BEGIN}\n{table}\n{END}{tail}"))
}

/// Sizes in bytes. Upstream's are of the published image for amd64.
fn table() -> Result<String> {
    let out = crate::workspace().join("target/reference");
    let written = image::write(&platform::ALL, &out)?;
    let wasi = image::wasi::write(&out)?;
    let mut table =
        "| | program | image: manifest, configuration, layer |\n|---|---:|---:|\n".to_owned();
    // Program and layer of registry.k8s.io/pause:3.9; its image is larger than its layer.
    writeln!(table, "| upstream 3.9, linux/amd64 | 743,952 | > 317,616 |")?;
    for size in &written.sizes {
        let image = grouped(size.image);
        writeln!(
            table,
            "| linux/{} | {} | {image} |",
            size.platform.name, size.program
        )?;
    }
    let artifacts = wasi.sizes.iter().filter(|size| size.form == Form::Artifact);
    for size in artifacts {
        let image = grouped(size.image);
        writeln!(
            table,
            "| {}/wasm | {} | {image} |",
            size.preview.os(),
            size.program
        )?;
    }
    Ok(table)
}

/// A number with a comma before each three digits.
fn grouped(number: usize) -> String {
    if number < 1000 {
        number.to_string()
    } else {
        format!("{},{:03}", number / 1000, number % 1000)
    }
}
