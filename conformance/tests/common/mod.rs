//! Helpers for tests of images: handmade programs, loading, judging.
#![allow(dead_code, reason = "each test uses a part")]

pub(crate) mod cgroups;
pub(crate) mod server;
pub(crate) mod suite;

use std::collections::BTreeSet;
use std::path::Path;

use conformance::check::{Needs, Stop};
use conformance::checks::FAMILIES;
use conformance::context::{CheckOptions, Context, Shared};
use conformance::subject::build::LayoutBuilder;
use conformance::subject::{Error, LoadOptions, Platforms, Reference, Subject, load};

/// A 64-bit little-endian ELF executable, well-formed; it need not do anything.
#[derive(Clone)]
pub(crate) struct Elf {
    pub(crate) machine: u16,
    pub(crate) kind: u16,
    pub(crate) alignment: u64,
    pub(crate) offset: u64,
    pub(crate) load_flags: u32,
    pub(crate) stack_flags: Option<u32>,
    pub(crate) interpreter: Option<&'static str>,
    pub(crate) needed: Vec<&'static str>,
    pub(crate) symbols: bool,
}

impl Default for Elf {
    fn default() -> Self {
        Self {
            machine: 62,
            kind: 2,
            alignment: 0x1_0000,
            offset: 0,
            load_flags: 5,
            stack_flags: Some(6),
            interpreter: None,
            needed: Vec::new(),
            symbols: false,
        }
    }
}

impl Elf {
    pub(crate) fn of(machine: u16) -> Self {
        Self {
            machine,
            ..Self::default()
        }
    }

    /// Address `0x40_0000` is the start of the file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let count = 1
            + u64::from(self.stack_flags.is_some())
            + u64::from(self.interpreter.is_some())
            + u64::from(!self.needed.is_empty());
        let start = 64 + 56 * count;
        let mut tail: Vec<u8> = Vec::new();
        let mut headers: Vec<Vec<u8>> = Vec::new();
        if let Some(interpreter) = self.interpreter {
            let offset = start + tail.len() as u64;
            tail.extend([interpreter.as_bytes(), b"\0"].concat());
            headers.push(program_header(
                3,
                4,
                offset,
                interpreter.len() as u64 + 1,
                1,
            ));
        }
        if !self.needed.is_empty() {
            headers.push(self.dynamic(start, &mut tail));
        }
        if let Some(flags) = self.stack_flags {
            headers.push(program_header(0x6474_e551, flags, 0, 0, 16));
        }
        let sections = if self.symbols {
            section_headers(start, &mut tail)
        } else {
            Vec::new()
        };
        let sections_at = start + tail.len() as u64;
        let total = sections_at + sections.len() as u64;
        let mut load = program_header(1, self.load_flags, 0, total, self.alignment);
        load[8..16].copy_from_slice(&self.offset.to_le_bytes());
        headers.insert(0, load);
        [
            self.file_header(headers.len(), sections_at),
            headers.concat(),
            tail,
            sections,
        ]
        .concat()
    }

    fn file_header(&self, headers: usize, sections_at: u64) -> Vec<u8> {
        let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        bytes.extend(self.kind.to_le_bytes());
        bytes.extend(self.machine.to_le_bytes());
        bytes.extend(1_u32.to_le_bytes());
        for word in [BASE + 64, 64, if self.symbols { sections_at } else { 0 }] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(0_u32.to_le_bytes());
        let headers = u16::try_from(headers).expect("few headers");
        let shown = if self.symbols { (4, 3) } else { (0, 0) };
        for half in [64, 56, headers, 64, shown.0, shown.1] {
            bytes.extend(u16::to_le_bytes(half));
        }
        bytes
    }

    /// Appends the dynamic section and its strings. Returns its header.
    fn dynamic(&self, start: u64, tail: &mut Vec<u8>) -> Vec<u8> {
        let strings_at = start + tail.len() as u64;
        let mut strings = vec![0];
        let mut entries: Vec<(u64, u64)> = Vec::new();
        for name in &self.needed {
            entries.push((1, strings.len() as u64));
            strings.extend([name.as_bytes(), b"\0"].concat());
        }
        strings.resize(strings.len().next_multiple_of(8), 0);
        entries.extend([(5, BASE + strings_at), (10, strings.len() as u64), (0, 0)]);
        tail.extend(&strings);
        let offset = start + tail.len() as u64;
        for (tag, value) in &entries {
            tail.extend(tag.to_le_bytes());
            tail.extend(value.to_le_bytes());
        }
        program_header(2, 6, offset, entries.len() as u64 * 16, 8)
    }
}

/// The address of a test's program.
const BASE: u64 = 0x40_0000;

fn program_header(kind: u32, flags: u32, offset: u64, size: u64, align: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(kind.to_le_bytes());
    bytes.extend(flags.to_le_bytes());
    for word in [offset, BASE + offset, BASE + offset, size, size, align] {
        bytes.extend(word.to_le_bytes());
    }
    bytes
}

/// Appends the names of the sections. Returns their headers.
fn section_headers(start: u64, tail: &mut Vec<u8>) -> Vec<u8> {
    tail.resize(tail.len().next_multiple_of(8), 0);
    let names_at = start + tail.len() as u64;
    tail.extend(b"\0.symtab\0.debug_info\0.shstrtab\0\0");
    let mut sections = Vec::new();
    let mut section = |name: u32, kind: u32, offset: u64, size: u64, link: u32, each: u64| {
        sections.extend(name.to_le_bytes());
        sections.extend(kind.to_le_bytes());
        for word in [0, 0, offset, size] {
            sections.extend(u64::to_le_bytes(word));
        }
        sections.extend(link.to_le_bytes());
        sections.extend([0; 4]);
        sections.extend(8_u64.to_le_bytes());
        sections.extend(each.to_le_bytes());
    };
    section(0, 0, 0, 0, 0, 0);
    section(1, 2, 0, 48, 3, 24);
    section(9, 1, 0, 8, 0, 0);
    section(21, 3, names_at, 32, 0, 0);
    sections
}

/// OCI name of this machine's architecture.
pub(crate) fn host() -> String {
    conformance::subject::Platform::host().architecture
}

/// Loads the image of a reference.
pub(crate) fn load_text(text: &str, platforms: Platforms) -> Result<Vec<Subject>, Error> {
    let reference: Reference = text.parse()?;
    load(
        &reference,
        &LoadOptions {
            platforms,
            ..LoadOptions::default()
        },
    )
}

/// Loads an archive with these bytes through a transport.
pub(crate) fn load_archive(transport: &str, bytes: &[u8]) -> Result<Vec<Subject>, Error> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("image.tar");
    std::fs::write(&path, bytes).expect("writing the archive");
    load_text(&format!("{transport}:{}", path.display()), Platforms::Host)
}

/// Loads a layout from an archive of it.
pub(crate) fn load_layout(layout: &LayoutBuilder) -> Result<Vec<Subject>, Error> {
    load_archive("oci-archive", &layout.archive(""))
}

/// Loads the only subject of a layout.
pub(crate) fn subject(layout: &LayoutBuilder) -> Subject {
    let mut subjects = load_layout(layout).expect("an image that can be read");
    assert_eq!(subjects.len(), 1);
    subjects.remove(0)
}

/// Ids of the static checks that neither pass nor are skipped, with the verdict if it is not
/// `fail`.
pub(crate) fn failures(subject: &Subject, options: &CheckOptions) -> BTreeSet<String> {
    let mut offered = Needs::from(subject.traits());
    if options.kubernetes.is_some() {
        offered |= Needs::KUBERNETES;
    }
    if !options.required_platforms.is_empty() {
        offered |= Needs::REQUIRED_PLATFORMS;
    }
    let shared = Shared::new(subject.clone(), options.clone(), None, 1.0);
    let cx = Context::new(&shared);
    let mut failed = BTreeSet::new();
    for check in FAMILIES.iter().flat_map(|family| family.checks) {
        let applies =
            offered.contains(check.needs) && !check.after.iter().any(|id| failed.contains(*id));
        if !applies
            || !["image", "binary"].contains(&check.id.split('/').next().unwrap_or_default())
        {
            continue;
        }
        match (check.run)(&cx) {
            Ok(_) | Err(Stop::Skip(_)) => {}
            Err(Stop::Fail(_)) => {
                failed.insert(check.id.to_owned());
            }
            Err(other) => {
                failed.insert(format!("{} {other:?}", check.id));
            }
        }
    }
    failed
}

/// Whether a program is installed. In CI it must be, or tests that need it would test nothing.
pub(crate) fn has(program: &str) -> bool {
    let found = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join(program).exists())
    });
    assert!(
        found || std::env::var_os("CI").is_none(),
        "{program} is not installed"
    );
    found
}

/// Runs a program that must succeed.
pub(crate) fn run(program: &str, arguments: &[&str], folder: &Path) {
    let mut command = std::process::Command::new(program);
    command.args(arguments).current_dir(folder);
    let output = suite::between_runs(|| command.output()).expect("the program starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {text}");
}
