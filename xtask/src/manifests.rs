//! `cargo xtask manifests`: what has a cluster run the suite, with this version's image.

use anyhow::{Context as _, Result, bail};
use std::fmt::Write as _;
use std::path::PathBuf;

/// What stands for the image.
const IMAGE: &str = "IMAGE";
/// The templates, by the name of the file that each becomes.
const TEMPLATES: [(&str, &str); 3] = [
    ("audit.yaml", include_str!("manifests/audit.yaml")),
    ("judge.yaml", include_str!("manifests/judge.yaml")),
    ("sonobuoy.yaml", include_str!("manifests/sonobuoy.yaml")),
];

/// Arguments of `manifests`.
#[derive(Debug, clap::Args)]
pub struct Manifests {
    /// Change nothing; fail if a manifest is not up to date
    #[arg(long)]
    check: bool,

    /// The image of the suite, as the cluster pulls it
    #[arg(long, value_name = "REF", conflicts_with = "check", default_value_t = image())]
    image: String,

    /// The folder that they are written to
    #[arg(long, value_name = "DIR", conflicts_with = "check")]
    out: Option<PathBuf>,
}

/// As `cargo xtask image --suite` names it.
fn image() -> String {
    format!("localhost/pause-conformance:{}", env!("CARGO_PKG_VERSION"))
}

/// The folder of those that are kept.
pub fn folder() -> PathBuf {
    crate::workspace().join("conformance/manifests")
}

/// Each manifest: the name of its file, and its text.
pub fn all(image: &str) -> [(&'static str, String); 3] {
    TEMPLATES.map(|(name, text)| {
        let mut filled = format!("# Written by `cargo xtask manifests`; change {name} in xtask.\n");
        for line in text.lines() {
            let line = match line.strip_suffix(IMAGE) {
                Some(before) => format!("{before}{image}"),
                None => line.to_owned(),
            };
            // Writing to a string does not fail.
            let _ = writeln!(filled, "{line}");
        }
        (name, filled)
    })
}

impl Manifests {
    /// Writes them, or only checks that they are up to date.
    ///
    /// # Errors
    /// A name that is no image's, a file that cannot be written, or one that is old.
    pub fn run(&self) -> Result<()> {
        let image = &self.image;
        if image.is_empty() || image.chars().any(|c| c.is_whitespace() || c == '#') {
            bail!("--image {image:?}: this is no image's name");
        }
        let folder = self.out.clone().unwrap_or_else(folder);
        for (name, text) in all(image) {
            let path = folder.join(name);
            if self.check {
                let old = std::fs::read_to_string(&path);
                let old = old.with_context(|| format!("read {}", path.display()))?;
                if old != text {
                    bail!(
                        "{} is not up to date\n  try: cargo xtask manifests",
                        path.display()
                    );
                }
                continue;
            }
            std::fs::create_dir_all(&folder)
                .with_context(|| format!("make {}", folder.display()))?;
            std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        }
        Ok(())
    }
}
