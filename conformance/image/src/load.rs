//! From a reference to the subjects to judge: transport, platforms, layers.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::archive::Archive;
use super::blob::Blob;
use super::containerd;
use super::docker_archive::{self, Nothing};
use super::elf::{self, Elf};
use super::error::{Error, WHOLE};
use super::image::{
    Collected, Found, Outcome, Parsed, ResolvedRef, Store, collect, fold, wasm_content,
    wrong_digest,
};
use super::layout::Layout;
use super::limits::Limits;
use super::program::program;
#[cfg(feature = "registry")]
use super::registry::Registry;
use super::{
    Config, Content, Defect, ElfArchitecture, Entry, EntryKind, Format, Index, IndexEntry, Kind,
    NoProgram, Platform, Reference, RegistryName, Rootfs, Subject, Transport, WasmSubject,
};

/// How an image is read.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Which platforms become subjects.
    pub platforms: Platforms,
    /// Registries may be reached by plain HTTP or with a certificate that cannot be verified.
    pub insecure_registry: bool,
    /// A registry that sends nothing for so long has stalled.
    pub stall: Duration,
    /// Docker's configuration with stored credentials; `None` is the user's own
    /// (`$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`).
    pub docker_config: Option<PathBuf>,
    /// Where docker listens, as `DOCKER_HOST` has it; `None` is that variable, else
    /// `unix:///var/run/docker.sock`.
    pub docker_host: Option<String>,
    /// Folder of the programs that engines' stores are asked by, `podman` and `ctr`; `None` is
    /// `PATH`.
    pub programs: Option<PathBuf>,
    /// Bounds on what is read.
    pub limits: Limits,
    /// Keep what is judged as it is stored too, for [`Subject::docker_archive`].
    pub keep_original: bool,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            platforms: Platforms::Host,
            insecure_registry: false,
            stall: Duration::from_secs(8),
            docker_config: None,
            docker_host: None,
            programs: None,
            limits: Limits::default(),
            keep_original: false,
        }
    }
}

/// Which platforms of an image become subjects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Platforms {
    /// The host's; an image without index is taken as it is.
    #[default]
    Host,
    /// The host's, and as companions all others of its index for Linux. Where the index has
    /// none for the host there are only those.
    HostFirst,
    /// These, each of which must be there.
    List(Vec<Platform>),
    /// Every platform of the index, Windows left out.
    All,
}

/// Reads an image or a program: one subject for each platform that is asked for.
///
/// # Errors
/// One line with cause and hint, where the reference leads to nothing that can be judged.
pub fn load(reference: &Reference, options: &LoadOptions) -> Result<Vec<Subject>, Error> {
    let limits = &options.limits;
    match &reference.transport {
        Transport::Binary { path } => {
            let blob = open(path)?;
            binary(reference, &blob, &path.display().to_string(), options)
                .map(|subject| vec![subject])
        }
        Transport::Wasm { path } => {
            let blob = open(path)?;
            wasm(reference, &blob, &path.display().to_string(), options)
                .map(|subject| vec![subject])
        }
        Transport::OciLayout { path, tag } => {
            layout(reference, &Layout::folder(path)?, tag.as_deref(), options)
                .map_err(|error| error.within(path.display()))
        }
        Transport::OciArchive { path, tag } => layout(
            reference,
            &Layout::archive(path, limits)?,
            tag.as_deref(),
            options,
        )
        .map_err(|error| error.within(path.display())),
        Transport::DockerArchive { path, image } => Archive::open(path, limits)
            .and_then(|archive| saved(reference, &archive, image.as_deref(), options))
            .map_err(|error| error.within(path.display())),
        Transport::DockerDaemon { image } => daemon(reference, image, options),
        Transport::ContainersStorage { image } => super::containers_storage::save(image, options)
            .and_then(|archive| saved(reference, &archive, None, options))
            .map_err(|error| error.within(&reference.text)),
        Transport::Containerd { image } => containerd::export(&reference.text, image, options)
            .and_then(|archive| layout(reference, &Layout::Archive(archive), None, options))
            .map_err(|error| error.within(&reference.text)),
        Transport::Registry(name) => registry(reference, name, options),
    }
}

/// Reads what `docker save` writes.
fn saved(
    reference: &Reference,
    archive: &Archive,
    image: Option<&str>,
    options: &LoadOptions,
) -> Result<Vec<Subject>, Error> {
    let collected = Collected {
        index: None,
        found: vec![docker_archive::read(archive, image, &options.limits)?],
        defects: Vec::new(),
    };
    subjects(reference, &Nothing, collected, options)
}

#[cfg(feature = "registry")]
fn daemon(
    reference: &Reference,
    image: &str,
    options: &LoadOptions,
) -> Result<Vec<Subject>, Error> {
    let archive = super::docker_daemon::save(image, options)?;
    saved(reference, &archive, None, options).map_err(|error| error.within(&reference.text))
}

#[cfg(not(feature = "registry"))]
fn daemon(reference: &Reference, image: &str, _: &LoadOptions) -> Result<Vec<Subject>, Error> {
    Err(
        Error::new(&reference.text, "this build cannot ask a docker daemon").with_hint(format!(
            "build with --features registry, or: docker save {image} > FILE, then docker-archive:FILE"
        )),
    )
}

#[cfg(feature = "registry")]
fn registry(
    reference: &Reference,
    name: &RegistryName,
    options: &LoadOptions,
) -> Result<Vec<Subject>, Error> {
    let registry = Registry::new(name, options);
    let top = registry.top()?;
    image(reference, &registry, top, options).map_err(|error| error.within(name))
}

#[cfg(not(feature = "registry"))]
fn registry(_: &Reference, name: &RegistryName, _: &LoadOptions) -> Result<Vec<Subject>, Error> {
    Err(
        Error::new(name, "this build cannot read registries").with_hint(
            "build with --features registry; cargo xtask conformance does so by itself. \
         If a file is meant, it does not exist",
        ),
    )
}

fn layout(
    reference: &Reference,
    layout: &Layout,
    tag: Option<&str>,
    options: &LoadOptions,
) -> Result<Vec<Subject>, Error> {
    let top = layout.top(tag, &options.limits)?;
    image(reference, layout, top, options)
}

/// Reads all that a manifest or index leads to.
fn image(
    reference: &Reference,
    store: &dyn Store,
    top: ResolvedRef,
    options: &LoadOptions,
) -> Result<Vec<Subject>, Error> {
    let collected = collect(store, top, &options.limits)?;
    subjects(reference, store, collected, options)
}

fn subjects(
    reference: &Reference,
    store: &dyn Store,
    collected: Collected,
    options: &LoadOptions,
) -> Result<Vec<Subject>, Error> {
    let Collected {
        index,
        mut found,
        mut defects,
    } = collected;
    let chosen = choose(&found, index.is_some(), &options.platforms)?;
    let beside: Vec<usize> = match options.platforms {
        Platforms::HostFirst if index.is_some() => (0..found.len())
            .filter(|at| !chosen.contains(at) && is_companion(&found[*at]))
            .collect(),
        _ => Vec::new(),
    };
    if chosen.is_empty() && beside.is_empty() {
        return Err(none(&found, &Platform::host().to_string()));
    }
    let mut outcomes = read_entries(store, &mut found, &chosen, &beside, options)?;
    for entry in chosen.iter().copied().chain(all_but(&chosen, found.len())) {
        defects.append(&mut found[entry].defects);
    }
    let index = index.map(|digest| Index {
        digest,
        entries: found
            .iter()
            .zip(&outcomes)
            .map(|(found, outcome)| entry(found, outcome.as_ref()))
            .collect(),
    });
    let mut subjects = Vec::new();
    for at in chosen {
        if let (Some(outcome), Ok(parsed)) = (outcomes[at].take(), &found[at].read) {
            let mut subject = subject(reference, &found[at], parsed, outcome, index.clone());
            // What is wrong anywhere in the index is said where it is judged as a whole.
            subject.defects.extend(defects.iter().cloned());
            subjects.push(subject);
        }
    }
    for at in beside {
        let subject = match (outcomes[at].take(), &found[at].read) {
            (Some(outcome), Ok(parsed)) => {
                subject(reference, &found[at], parsed, outcome, index.clone())
            }
            (_, Err(error)) => unreadable(reference, &found[at], error),
            (None, Ok(_)) => continue,
        };
        subjects.push(Subject {
            companion: true,
            ..subject
        });
    }
    Ok(subjects)
}

/// The numbers below `count` that are not among `some`.
fn all_but(some: &[usize], count: usize) -> impl Iterator<Item = usize> {
    (0..count).filter(|at| !some.contains(at))
}

/// Folds the layers of all entries, of those that were asked for first: all together stay within
/// the limits.
fn read_entries(
    store: &dyn Store,
    found: &mut [Found],
    chosen: &[usize],
    beside: &[usize],
    options: &LoadOptions,
) -> Result<Vec<Option<Outcome>>, Error> {
    let mut outcomes: Vec<Option<Outcome>> = found.iter().map(|_| None).collect();
    let mut left = options.limits.clone();
    for at in chosen.iter().copied().chain(all_but(chosen, found.len())) {
        let role = if chosen.contains(&at) {
            Role::Asked
        } else if beside.contains(&at) {
            Role::Beside
        } else {
            Role::Other
        };
        let keeps = role == Role::Asked && options.keep_original;
        outcomes[at] = read_layers(store, &mut found[at], (role, keeps), &mut left)?;
    }
    Ok(outcomes)
}

fn subject(
    reference: &Reference,
    found: &Found,
    parsed: &Parsed,
    outcome: Outcome,
    index: Option<Index>,
) -> Subject {
    let platform = found
        .platform()
        .unwrap_or_else(|| undeclared(&parsed.image.config, outcome.architecture.as_ref()));
    Subject {
        reference: reference.text.clone(),
        kind: Kind::Image,
        platform,
        index,
        image: Some(parsed.image.clone()),
        rootfs: outcome.rootfs,
        program: outcome.program,
        wasm: outcome.wasm,
        defects: outcome.defects,
        companion: false,
        original: outcome.original,
    }
}

/// Whether an entry is a platform to be judged by its files: of Linux, or it does not say.
/// What is no image, or is not in the archive, is none.
fn is_companion(found: &Found) -> bool {
    let is_linux = found
        .platform()
        .is_none_or(|it| it.os.to_lowercase() == "linux");
    is_linux
        && found
            .read
            .as_ref()
            .err()
            .is_none_or(|error| !error.is_absent() && !error.is_no_image())
}

/// A platform of an index whose manifest or configuration cannot be read.
fn unreadable(reference: &Reference, found: &Found, error: &Error) -> Subject {
    Subject {
        reference: reference.text.clone(),
        kind: Kind::Image,
        platform: found.platform().unwrap_or_else(|| guess(None)),
        index: None,
        image: None,
        rootfs: Arc::default(),
        program: Err(NoProgram::Unread(error.to_string())),
        wasm: None,
        defects: Vec::new(),
        companion: true,
        original: None,
    }
}

/// What an entry of an index is read for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// It is judged: what keeps it from being read is an error.
    Asked,
    /// Its files are judged beside.
    Beside,
    /// Its digests and its platform are.
    Other,
}

/// Folds the layers of an entry. What was not asked for is read as far as it can be;
/// its defects count, since every digest of an index is a promise. All platforms
/// together stay within the limits, those that were asked for first.
fn read_layers(
    store: &dyn Store,
    found: &mut Found,
    (role, keeps): (Role, bool),
    left: &mut Limits,
) -> Result<Option<Outcome>, Error> {
    let unread = |why: String| (role == Role::Beside).then(|| Outcome::unread(why, Vec::new()));
    let platform = found.platform();
    let Ok(parsed) = &mut found.read else {
        return Ok(None);
    };
    let stored: u64 = parsed
        .image
        .layers
        .iter()
        .fold(0, |sum, layer| sum.saturating_add(layer.size));
    let declared = platform.as_ref().map(|it| it.os.clone());
    if let Some(os) = parsed.image.config.os.clone().or(declared)
        && !(Platform { os, ..guess(None) }).is_judged()
    {
        return match role {
            Role::Asked => mislabelled(store, parsed, stored, left).map(Some),
            Role::Beside | Role::Other => Ok(None),
        };
    }
    if role != Role::Asked && store.is_remote() && stored > left.unasked {
        return Ok(unread(format!(
            "its layers, {stored} bytes, are fetched only if --platform names it"
        )));
    }
    match fold(store, parsed, left, keeps) {
        Ok(outcome) => {
            left.uncompressed = left.uncompressed.saturating_sub(outcome.uncompressed);
            if role != Role::Asked {
                let digests = outcome.defects.iter().filter(|defect| defect.is_digest());
                found.defects.extend(digests.cloned());
            }
            if role == Role::Other {
                return Ok(Some(Outcome {
                    architecture: outcome.architecture,
                    ..Outcome::unread(String::new(), Vec::new())
                }));
            }
            take_kept(left, &outcome);
            Ok(Some(outcome))
        }
        Err(error) if role == Role::Asked => Err(error),
        Err(error) => {
            if error.is_limit() {
                left.uncompressed = 0;
            } else if !error.is_absent() {
                found.defects.push(unfolded(found, &error));
            }
            Ok(unread(error.to_string()))
        }
    }
}

/// The defect of an entry whose layers cannot be read.
fn unfolded(found: &Found, error: &Error) -> Defect {
    let subject = found
        .platform()
        .map_or_else(|| found.digest.clone(), |platform| platform.to_string());
    let expected = "layers that can be read".to_owned();
    wrong_digest(subject, expected, error.to_string())
}

/// An image that is not for Linux: of others the suite judges only what is none, but says so.
fn mislabelled(
    store: &dyn Store,
    parsed: &mut Parsed,
    stored: u64,
    left: &Limits,
) -> Result<Outcome, Error> {
    let config = &parsed.image.config;
    let os = config.os.clone().unwrap_or_default();
    let other = || {
        Error::new(
            WHOLE,
            format_args!("it is for {os}, and the suite judges pause images for Linux"),
        )
        .with_hint("name an image for Linux, or one whose index has an entry for it")
    };
    // The base layers of Windows are large, and a registry has not even all of them.
    if stored > left.unasked {
        return Err(other());
    }
    let outcome = fold(store, parsed, left, false).map_err(|_| other())?;
    if outcome.architecture.is_some() && !elf::is_of(&os) {
        Ok(outcome)
    } else {
        Err(other())
    }
}

/// What stays in memory of a subject is no longer there for the next.
fn take_kept(left: &mut Limits, outcome: &Outcome) {
    let entries = &outcome.rootfs.entries;
    left.entries = left.entries.saturating_sub(entries.len());
    let names: u64 = entries.keys().map(|path| path.len() as u64).sum();
    left.names = left.names.saturating_sub(names);
    let program = outcome.program.as_ref();
    let program = program.map_or(0, |program| program.content.len() as u64);
    left.kept = left.kept.saturating_sub(program);
}

fn entry(found: &Found, outcome: Option<&Outcome>) -> IndexEntry {
    IndexEntry {
        platform: found.platform.clone(),
        os_version: found.os_version.clone(),
        digest: found.digest.clone(),
        image: found
            .read
            .as_ref()
            .map(|parsed| parsed.image.clone())
            .map_err(Error::to_string),
        program_architecture: outcome.and_then(|outcome| outcome.architecture.clone()),
    }
}

/// Which entries become subjects, in the order asked for.
fn choose(found: &[Found], indexed: bool, platforms: &Platforms) -> Result<Vec<usize>, Error> {
    // An image without index is taken as it is: where it does not say its platform, it is for
    // what its program is for, whatever is asked for.
    let undeclared = found.first().is_some_and(|only| only.platform().is_none());
    let asked = match platforms {
        Platforms::Host | Platforms::HostFirst | Platforms::All if !indexed => {
            return readable(found, 0).map(|at| vec![at]);
        }
        Platforms::List(_) if !indexed && undeclared => {
            return readable(found, 0).map(|at| vec![at]);
        }
        Platforms::Host | Platforms::HostFirst => &[Platform::host()][..],
        Platforms::List(asked) => asked,
        Platforms::All => {
            let windows = |found: &Found| found.platform().is_some_and(|it| it.os == "windows");
            let all: Vec<usize> = (0..found.len())
                .filter(|at| !windows(&found[*at]))
                .collect();
            if all.is_empty() {
                return Err(none(found, "linux"));
            }
            return all.into_iter().map(|at| readable(found, at)).collect();
        }
    };
    let mut chosen = Vec::new();
    for platform in asked {
        let offers = found
            .iter()
            .enumerate()
            .filter_map(|(at, found)| Some((platform.accepts(&found.platform()?)?, at)));
        let Some((_, at)) = offers.min() else {
            if *platforms == Platforms::HostFirst {
                break;
            }
            return Err(none(found, &platform.to_string()));
        };
        if !chosen.contains(&at) {
            chosen.push(readable(found, at)?);
        }
    }
    Ok(chosen)
}

fn readable(found: &[Found], at: usize) -> Result<usize, Error> {
    match found.get(at).map(|found| &found.read) {
        Some(Ok(_)) => Ok(at),
        Some(Err(error)) => Err(error.clone()),
        None => Err(Error::new("index", "no image in it")),
    }
}

fn none(found: &[Found], asked: &str) -> Error {
    let mut there: Vec<String> = found
        .iter()
        .filter_map(Found::platform)
        .map(|platform| platform.to_string())
        .collect();
    there.dedup();
    // One unreadable manifest is the better explanation of why nothing is there.
    if there.is_empty()
        && let Some(Err(error)) = found.first().map(|found| &found.read)
    {
        return error.clone();
    }
    let there = if there.is_empty() {
        "no manifest that says its platform".to_owned()
    } else {
        there.join(", ")
    };
    Error::new(
        WHOLE,
        format_args!("no manifest for {asked}; it has {there}"),
    )
    .with_hint("choose with --platform OS/ARCHITECTURE[/VARIANT] or --platform all")
}

/// The platform of an image that does not declare all of it.
fn undeclared(config: &Config, program: Option<&ElfArchitecture>) -> Platform {
    let guessed = guess(program);
    Platform {
        os: config.os.clone().unwrap_or(guessed.os),
        architecture: config.architecture.clone().unwrap_or(guessed.architecture),
        variant: config.variant.clone(),
    }
}

/// The platform of a program.
fn guess(architecture: Option<&ElfArchitecture>) -> Platform {
    let architecture = architecture
        .and_then(|it| it.architectures.first())
        .copied()
        .unwrap_or("unknown");
    Platform {
        os: "linux".to_owned(),
        architecture: architecture.to_owned(),
        variant: None,
    }
}

/// Of a program alone.
const LEAVE_OUT: &str = "leave --platform out: a program is judged for its own platform";

/// A program alone, by its path.
fn open(path: &Path) -> Result<Blob, Error> {
    Blob::open(path).map_err(|error| error.with_hint("check the path after the transport"))
}

/// A program alone, as `/pause` of an otherwise empty image.
fn binary(
    reference: &Reference,
    blob: &Blob,
    name: &str,
    options: &LoadOptions,
) -> Result<Subject, Error> {
    if blob.len() > options.limits.program {
        let cause = format!(
            "{} bytes, more than {}, the suite's limit",
            blob.len(),
            options.limits.program
        );
        return Err(Error::new(name, cause));
    }
    let content: Arc<[u8]> = blob
        .read_all(options.limits.program)
        .map_err(|error| Error::io(name, &error))?
        .into();
    let elf = Elf::parse(&content).map_err(|cause| {
        Error::new(name, cause).with_hint(match Format::of(&content) {
            Format::Wasm => "binary:FILE takes a Linux program; wasm:FILE takes a WASI program",
            _ => "binary:FILE takes a Linux program; name an image archive by its transport",
        })
    })?;
    let platform = guess(Some(&elf.architecture));
    if let Platforms::List(asked) = &options.platforms
        && let Some(other) = asked
            .iter()
            .find(|asked| asked.accepts(&platform).is_none())
    {
        let cause = format!(
            "no program for {other}; it is for {} ({platform})",
            elf.architecture.words
        );
        return Err(Error::new(name, cause).with_hint(LEAVE_OUT));
    }
    Ok(Subject::of_program(&reference.text, content, platform))
}

/// A WebAssembly program alone, for the platform that its format is of.
fn wasm(
    reference: &Reference,
    blob: &Blob,
    name: &str,
    options: &LoadOptions,
) -> Result<Subject, Error> {
    let content: Arc<[u8]> = wasm_content(name, blob, &options.limits)?.into();
    if Format::of(&content) != Format::Wasm {
        return Err(
            Error::new(name, r"does not begin with \0asm: no WebAssembly program").with_hint(
                match Format::of(&content) {
                    Format::Elf => "binary:FILE takes a Linux program",
                    _ => "wasm:FILE takes a module or a component in binary form",
                },
            ),
        );
    }
    let subject = Subject::of_wasm(&reference.text, content);
    if let Platforms::List(asked) = &options.platforms
        && let Some(other) = asked
            .iter()
            .find(|asked| asked.accepts(&subject.platform).is_none())
    {
        let cause = format!("no program for {other}; it is for {}", subject.platform);
        return Err(Error::new(name, cause).with_hint(LEAVE_OUT));
    }
    Ok(subject)
}

impl Subject {
    /// A WebAssembly program alone.
    pub fn of_wasm(name: &str, content: Arc<[u8]>) -> Self {
        let wasm = WasmSubject::new(name, content);
        let os = if wasm.is_module() { "wasip1" } else { "wasip2" };
        Self {
            reference: name.to_owned(),
            kind: Kind::Wasm,
            platform: Platform {
                os: os.to_owned(),
                architecture: "wasm".to_owned(),
                variant: None,
            },
            index: None,
            image: None,
            rootfs: Arc::default(),
            program: Err(NoProgram::Wasm),
            wasm: Some(wasm),
            defects: Vec::new(),
            companion: false,
            original: None,
        }
    }

    /// A program alone, as `/pause` of an otherwise empty image without a user.
    pub fn of_program(name: &str, content: Arc<[u8]>, platform: Platform) -> Self {
        let file = EntryKind::File {
            size: content.len() as u64,
            content: Some(Content::of(Arc::clone(&content))),
        };
        let mut rootfs = Rootfs::default();
        rootfs.entries.insert(
            b"pause".to_vec(),
            Entry {
                kind: file,
                ..Entry::directory()
            },
        );
        let config = Config {
            entrypoint: vec!["/pause".to_owned()],
            ..Config::default()
        };
        Self {
            reference: name.to_owned(),
            kind: Kind::Binary,
            platform,
            index: None,
            image: None,
            rootfs: Arc::new(rootfs),
            program: Ok(program(&config, b"pause".to_vec(), content)),
            wasm: None,
            defects: Vec::new(),
            companion: false,
            original: None,
        }
    }
}
