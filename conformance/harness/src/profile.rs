//! `--profile NAME`: options, levels, budgets and expectations that a project keeps under a name, in
//! `.pause-conformance.toml`.
//!
//! ```toml
//! [profile.release]
//! strict = true
//! skip = ["cli/version-matches-cluster"]
//! budget = { rss = "1MiB", term_latency_p99 = "50ms" }
//! levels = { "pid1/single-thread" = "must", "image/small" = "info" }
//!
//! [[profile.release.expect]]
//! id = "reaping/before-handler"
//! image = "registry.example/*"
//! reason = "upstream has no initial wait"
//! until = "2026-12-31"
//! ```
//!
//! It is read only where a profile is asked for. What the command line says goes before it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use pause_image::escape_text as escape;
#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::Deserialize;

use crate::budget::Budget;
use crate::catalogue;
use crate::check::{Family, Level};
use crate::expect::Expectations;
use crate::kubernetes::Minor;
use crate::subject::regular;

/// The file that is read where no other is named.
pub const FILE: &str = ".pause-conformance.toml";

/// Version of the shape of the file: raised when a key changes meaning or goes.
pub const SCHEMA_VERSION: u32 = 1;

/// What stands in the file.
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profiles {
    /// By the names that `--profile` takes.
    #[serde(default)]
    profile: BTreeMap<String, Written>,
}

/// A profile as it is written.
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Written {
    /// As `--strict`: a failed SHOULD fails the run.
    strict: bool,
    /// As `--require-all`: a MUST that the host could not judge makes the run inconclusive.
    require_all: bool,
    /// As `--filter`: only these checks, by id, family or pattern.
    filter: Vec<String>,
    /// As `--skip`: none of these checks, by id, family or pattern.
    skip: Vec<String>,
    /// As `--kubernetes`: the minor version that the image is meant for, such as `1.34`.
    kubernetes: Option<String>,
    /// As `--budget`: what each figure may be at most, such as `1MiB`, `50ms` or `0`.
    budget: BTreeMap<String, String>,
    /// The levels of checks, by id.
    levels: BTreeMap<String, Level>,
    /// Known failures, as `--expect` has them.
    expect: Vec<Expected>,
}

/// A known failure.
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    /// The check.
    id: String,
    /// Of which image; `*` stands for anything. Of all where it is absent.
    image: Option<String>,
    /// Why it fails.
    reason: String,
    /// The last day on which it may, such as `2026-12-31`.
    until: Option<String>,
}

/// The schema of the file (JSON Schema 2020-12), as published in `schema/`.
///
/// # Errors
/// When the schema cannot be serialised.
#[cfg(feature = "schema")]
pub fn schema() -> serde_json::Result<String> {
    let settings = schemars::generate::SchemaSettings::draft2020_12();
    let mut schema = settings.into_generator().into_root_schema_for::<Profiles>();
    schema.insert(
        "title".to_owned(),
        format!("pause-conformance profiles, version {SCHEMA_VERSION}").into(),
    );
    let mut text = serde_json::to_string_pretty(&schema)?;
    text.push('\n');
    Ok(text)
}

/// A profile.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// Its name, and the levels that it sets, for reports.
    pub words: String,
    /// As `--strict`.
    pub strict: bool,
    /// As `--require-all`.
    pub require_all: bool,
    /// As `--filter`, where the command line has none.
    pub filters: Vec<String>,
    /// As `--skip`.
    pub skips: Vec<String>,
    /// As `--kubernetes`, where the command line has none.
    pub kubernetes: Option<Minor>,
    /// As `--budget`, where the command line has none of that figure.
    pub budgets: Vec<Budget>,
    /// The levels of checks, by id, in the place of the requirements' own.
    pub levels: BTreeMap<String, Level>,
    /// As of `--expect`.
    pub expectations: Expectations,
}

/// What is wrong with a profile, or its file.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// It cannot be read.
    #[error("cannot read the profiles `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not as documented.
    #[error("profiles `{}`, line {line}: {what}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// In one line.
        what: String,
    },
    /// It has no profile of this name.
    #[error("no profile `{}` in `{}`", escape(name), path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// As typed.
        name: String,
        /// The names that it has.
        known: Vec<String>,
    },
    /// A value of it is wrong.
    #[error("profile `{}`: {what}", escape(name))]
    Value {
        /// The profile.
        name: String,
        /// What is wrong, in one line.
        what: String,
        /// What the user can do.
        hint: Option<String>,
    },
}

impl ProfileError {
    /// Whether the path leads to a FIFO, a device or the like: no file that could be read.
    pub fn is_special(&self) -> bool {
        match self {
            ProfileError::Read { source, .. } => {
                source.kind() == io::ErrorKind::Other && source.raw_os_error().is_none()
            }
            _ => false,
        }
    }

    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            ProfileError::Read { .. } => Some(format!(
                "profiles are kept in {FILE}; --config names another file"
            )),
            ProfileError::Form { .. } => {
                Some("`pause-conformance schema profile` prints the form".to_owned())
            }
            ProfileError::Unknown { known, .. } if known.is_empty() => {
                Some("it has none: write [profile.NAME]".to_owned())
            }
            ProfileError::Unknown { known, .. } => Some(format!("it has {}", known.join(", "))),
            ProfileError::Value { hint, .. } => hint.clone(),
        }
    }
}

impl Profile {
    /// Reads the profile of this name.
    ///
    /// # Errors
    /// When the file cannot be read or is not as documented, has no such profile, or names what
    /// there is not.
    pub fn read(
        path: &Path,
        name: &str,
        families: &[&'static Family],
    ) -> Result<Self, ProfileError> {
        let text = regular::open(path)
            .and_then(io::read_to_string)
            .map_err(|source| ProfileError::Read {
                path: path.to_owned(),
                source,
            })?;
        let mut profiles: Profiles = toml::from_str(&text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let before = text.get(..at).unwrap_or_default();
            ProfileError::Form {
                path: path.to_owned(),
                line: 1 + before.matches('\n').count(),
                what: one_line(error.message()),
            }
        })?;
        match profiles.profile.remove(name) {
            Some(written) => written.checked(path, name, families),
            None => Err(ProfileError::Unknown {
                path: path.to_owned(),
                name: name.to_owned(),
                known: profiles
                    .profile
                    .into_keys()
                    .map(|it| one_line(&it))
                    .collect(),
            }),
        }
    }
}

fn one_line(text: &str) -> String {
    escape(text.trim_end()).replace("\\n", ", ")
}

impl Written {
    /// The profile, where all that it names is known.
    fn checked(
        self,
        path: &Path,
        name: &str,
        families: &[&'static Family],
    ) -> Result<Profile, ProfileError> {
        let wrong = |what: String, hint: Option<String>| ProfileError::Value {
            name: name.to_owned(),
            what,
            hint,
        };
        let mut profile = Profile {
            words: self.words(path, name),
            strict: self.strict,
            require_all: self.require_all,
            filters: self.filter,
            skips: self.skip,
            ..Profile::default()
        };
        if let Some(minor) = self.kubernetes {
            let minor =
                Minor::parse(&minor).map_err(|why| wrong(format!("kubernetes: {why}"), None));
            profile.kubernetes = Some(minor?);
        }
        for (figure, limit) in self.budget {
            let budget = format!("{figure}={limit}").parse();
            let refused = |error| wrong(format!("budget: {error}"), None);
            profile.budgets.push(budget.map_err(refused)?);
        }
        for (id, level) in self.levels {
            let known = catalogue::find(families, &id);
            let refused = |error: catalogue::UnknownCheck| {
                wrong(format!("levels: {error}"), Some(error.hint()))
            };
            known.map_err(refused)?;
            profile.levels.insert(id, level);
        }
        for it in self.expect {
            let about = (&*it.id, it.image.as_deref());
            let added = &mut profile.expectations;
            added
                .add(about, it.until.as_deref(), &it.reason, families)
                .map_err(|error| wrong(format!("expect: {error}"), Some(error.hint())))?;
        }
        Ok(profile)
    }

    fn words(&self, path: &Path, name: &str) -> String {
        let levels = self.levels.iter();
        let levels: Vec<_> = levels.map(|(id, level)| format!("{id} {level}")).collect();
        let own = match levels[..] {
            [] => String::new(),
            _ => format!("; levels of its own: {}", levels.join(", ")),
        };
        format!("{name} of {}{own}", path.display())
    }
}

#[cfg(test)]
mod tests;
