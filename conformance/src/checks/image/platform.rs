//! Platforms: declared, agreeing, complete.

use std::collections::BTreeSet;

use super::image_of;
use crate::advice::{self, Advice};
use crate::check::{Check, Finding, Level, Needs, Outcome, Pass, Source, Stop, ensure};
use crate::context::Context;
use crate::subject::elf::is_of;
use crate::subject::{Config, ElfArchitecture, Platform, quote};

/// Platforms that clusters mix most.
const COMMON: &[&str] = &["linux/amd64", "linux/arm64"];

pub(super) static PLATFORM_DECLARED: Check = Check {
    id: "image/platform-declared",
    title: "the configuration says its platform",
    level: Level::Must,
    requirement: "The configuration MUST have architecture and os.",
    source: Source {
        title: "OCI image-spec v1.1.1, config.md, Properties",
        url: "https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md#properties",
    },
    advice: Advice::new(
        "An engine cannot tell for which nodes the image is, and may run it on the wrong ones.",
        "Build with a tool that writes `architecture` and `os`, such as `docker buildx build --platform`.",
    ),
    needs: Needs::IMAGE,
    after: &[],
    run: platform_declared,
};

fn platform_declared(cx: &Context<'_>) -> Outcome {
    let config = &image_of(cx)?.config;
    let word = |field: &Option<String>| field.as_ref().map_or("none".to_owned(), quote);
    let observed = format!(
        "os {}, architecture {}",
        word(&config.os),
        word(&config.architecture)
    );
    ensure(
        config.platform().is_some(),
        "both os and architecture",
        observed.clone(),
    )?;
    Ok(Pass::new(observed))
}

pub(super) static PLATFORM_AGREES: Check = Check {
    id: "image/platform-agrees",
    title: "index, configuration and program agree on the platform",
    level: Level::Must,
    requirement: "The system and architecture in the index, in the configuration and of the program MUST be the same, for every platform of the index.",
    source: Source {
        title: "kubernetes#87325",
        url: "https://github.com/kubernetes/kubernetes/issues/87325",
    },
    advice: Advice::new(
        "A node chooses by the index and then executes a program of another architecture: exec format error, and no pod starts.",
        "Build each platform's program for that platform, and write the index from the configurations.",
    )
    .as_in(&advice::CROSS),
    needs: Needs::IMAGE,
    after: &[],
    run: platform_agrees,
};

fn platform_agrees(cx: &Context<'_>) -> Outcome {
    let subject = cx.subject();
    let mut pass = Pass::new("");
    let mut wrong: Option<Finding> = None;
    let mut compared = 0;
    let mut judge = |indexed: Option<&Platform>, config: &Config, elf: Option<&ElfArchitecture>| {
        let (sides, disagrees) = compare(indexed, config, elf);
        let line = sides.join(", ");
        compared += usize::from(sides.len() > 1);
        if disagrees {
            wrong = Some(match wrong.take() {
                None => Finding::new("the same platform everywhere", line),
                Some(finding) => finding.with(line),
            });
        } else {
            pass.evidence.push(line);
        }
    };
    match &subject.index {
        None => {
            let elf = subject.elf().map(|elf| elf.architecture);
            judge(None, &image_of(cx)?.config, elf.as_ref());
        }
        Some(index) => {
            // A companion is compared by itself.
            let own = image_of(cx)?.digest.as_str();
            let entries = index.entries.iter();
            for entry in entries.filter(|entry| !subject.companion || entry.digest == own) {
                if let Ok(image) = &entry.image {
                    judge(
                        entry.platform.as_ref(),
                        &image.config,
                        entry.program_architecture.as_ref(),
                    );
                }
            }
            for entry in index.entries.iter().filter(|_| !subject.companion) {
                if let Err(error) = &entry.image {
                    pass.evidence
                        .push(format!("{} not compared: {error}", entry.digest));
                }
            }
        }
    }
    match wrong {
        Some(finding) => Err(finding.into()),
        None if compared == 0 => Err(Stop::Skip("only one side says a platform".to_owned())),
        None => Ok(Pass {
            observed: format!("{compared} platforms compared, all agree"),
            ..pass
        }),
    }
}

/// What the index or the configuration says about the platform.
struct Named {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
}

impl Named {
    /// A missing half is taken from the other side: nothing contradicts it.
    fn beside(&self, other: &Self) -> Platform {
        let or = |own: &Option<String>, other: &Option<String>| {
            own.clone().or(other.clone()).unwrap_or_default()
        };
        Platform {
            os: or(&self.os, &other.os),
            architecture: or(&self.architecture, &other.architecture),
            variant: self.variant.clone(),
        }
    }

    fn words(&self) -> Option<String> {
        match (&self.os, &self.architecture) {
            (Some(_), Some(_)) => Some(quote(self.beside(self).to_string())),
            (Some(os), None) => Some(format!("os {}", quote(os))),
            (None, Some(architecture)) => Some(format!("architecture {}", quote(architecture))),
            (None, None) => None,
        }
    }

    fn contradicts(&self, elf: &ElfArchitecture) -> bool {
        let named = self.beside(self).normal();
        self.os.as_deref().is_some_and(|os| !is_of(os))
            || (self.architecture.is_some() && !elf.architectures.contains(&&*named.architecture))
    }
}

/// The sides that say something, in words, and whether two of them disagree.
fn compare(
    indexed: Option<&Platform>,
    config: &Config,
    elf: Option<&ElfArchitecture>,
) -> (Vec<String>, bool) {
    let indexed = indexed.map(|platform| Named {
        os: Some(platform.os.clone()),
        architecture: Some(platform.architecture.clone()),
        variant: platform.variant.clone(),
    });
    let config = Named {
        os: config.os.clone(),
        architecture: config.architecture.clone(),
        variant: config.variant.clone(),
    };
    let mut disagrees = indexed
        .as_ref()
        .is_some_and(|indexed| indexed.beside(&config).contradicts(&config.beside(indexed)));
    let mut sides = Vec::new();
    for (name, side) in [
        ("index", indexed.as_ref()),
        ("configuration", Some(&config)),
    ] {
        if let Some((side, words)) = side.and_then(|side| Some((side, side.words()?))) {
            sides.push(format!("{name} {words}"));
            disagrees |= elf.is_some_and(|elf| side.contradicts(elf));
        }
    }
    if let Some(elf) = elf {
        sides.push(format!("ELF program {}", elf.words));
    }
    (sides, disagrees)
}

pub(super) static INDEX_COMPLETE: Check = Check {
    id: "image/index-complete",
    title: "the index holds the common platforms, each once",
    level: Level::Should,
    requirement: "An index SHOULD hold linux/amd64 and linux/arm64, and no platform twice.",
    source: Source {
        title: "kubernetes#5770",
        url: "https://github.com/kubernetes/kubernetes/issues/5770",
    },
    advice: Advice::new(
        "In a cluster of mixed nodes the pods on the missing platform do not start.",
        "Build for both platforms and push one index: `docker buildx build --platform linux/amd64,linux/arm64`.",
    )
    .as_in(&advice::CROSS),
    needs: Needs::NATIVE_IMAGE.union(Needs::INDEX),
    after: &[],
    run: index_complete,
};

fn index_complete(cx: &Context<'_>) -> Outcome {
    let platforms = cx.subject().platforms();
    let common: Vec<Platform> = COMMON.iter().filter_map(|text| text.parse().ok()).collect();
    has_all(&platforms, &common)?;
    let mut seen = BTreeSet::new();
    for (platform, os_version) in &platforms {
        // Windows has one entry for each of its versions.
        let first = seen.insert((platform.normal(), os_version));
        ensure(
            first,
            "each platform once",
            format!("{} twice", quote(platform.to_string())),
        )?;
    }
    Ok(Pass::new(list(&platforms)))
}

pub(super) static REQUIRED_PLATFORMS: Check = Check {
    id: "image/required-platforms",
    title: "the index holds the platforms of --require-platform",
    level: Level::Must,
    requirement: "The image MUST hold every platform that --require-platform names.",
    source: Source {
        title: "OCI image-spec v1.1.1, image-index.md",
        url: "https://github.com/opencontainers/image-spec/blob/v1.1.1/image-index.md",
    },
    advice: Advice::new(
        "Nodes of a platform that you require find no image.",
        "Build the program for the missing platform and add its manifest to the index.",
    )
    .as_in(&advice::CROSS),
    needs: Needs::NATIVE_IMAGE.union(Needs::REQUIRED_PLATFORMS),
    after: &[],
    run: required_platforms,
};

fn required_platforms(cx: &Context<'_>) -> Outcome {
    let platforms = cx.subject().platforms();
    has_all(&platforms, &cx.options().required_platforms)?;
    Ok(Pass::new(list(&platforms)))
}

pub(super) static WINDOWS_HAS_OS_VERSION: Check = Check {
    id: "image/windows-has-os-version",
    title: "Windows entries say their version",
    level: Level::Must,
    requirement: "Every Windows entry of the index MUST have os.version, by which a node chooses the entry for its kernel.",
    source: Source {
        title: "kubernetes#80032",
        url: "https://github.com/kubernetes/kubernetes/issues/80032",
    },
    advice: Advice::new(
        "A Windows node cannot choose the entry for its kernel, and pulls one that does not start.",
        "Annotate each entry: `docker manifest annotate --os-version`.",
    ),
    needs: Needs::IMAGE.union(Needs::INDEX).union(Needs::WINDOWS),
    after: &[],
    run: windows_has_os_version,
};

fn windows_has_os_version(cx: &Context<'_>) -> Outcome {
    let mut pass = Pass::new("every Windows entry has os.version");
    for (platform, os_version) in cx.subject().windows() {
        let name = quote(platform.to_string());
        match os_version {
            Some(version) => pass.evidence.push(format!("{name} {}", quote(version))),
            None => {
                return Err(Finding::new(
                    "os.version on every Windows entry",
                    format!("{name} has none"),
                )
                .into());
            }
        }
    }
    Ok(pass)
}

fn has_all(there: &[(Platform, Option<String>)], wanted: &[Platform]) -> Result<(), Finding> {
    let missing = |wanted: &&Platform| {
        !there
            .iter()
            .any(|(offered, _)| wanted.accepts(offered).is_some())
    };
    let missing: Vec<String> = wanted
        .iter()
        .filter(missing)
        .map(Platform::to_string)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let wanted: Vec<String> = wanted.iter().map(Platform::to_string).collect();
    Err(Finding::new(
        wanted.join(", "),
        format!("no {}; there are {}", missing.join(", "), list(there)),
    ))
}

fn list(platforms: &[(Platform, Option<String>)]) -> String {
    let names: Vec<String> = platforms
        .iter()
        .map(|(platform, _)| platform.to_string())
        .collect();
    crate::subject::escape(names.join(", ").as_bytes())
}
