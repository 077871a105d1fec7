//! What holds for everything that was read, however it was made: names are names, limits are kept,
//! text is legible, and every static check has a verdict.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use conformance::check::{Needs, Stop};
use conformance::checks::FAMILIES;
use conformance::context::{CheckOptions, Context, Shared};
use conformance::subject::{
    DefectKind, EntryKind, Error, Limits, LoadOptions, Platforms, Reference, Subject, Transport,
    load,
};

/// Small bounds, so that the fuzzer meets them.
pub(super) fn limits() -> Limits {
    Limits {
        document: 64 << 10,
        index_depth: 3,
        index_entries: 24,
        layers: 6,
        stored: 1 << 20,
        uncompressed: 1 << 20,
        entries: 1000,
        names: 128 << 10,
        path: 4096,
        extension: 32 << 10,
        sparse: 256,
        zstd_window: 1 << 20,
        program: 128 << 10,
        wasm: 128 << 10,
        kept: 256 << 10,
        steps: 200_000,
        unasked: 1 << 20,
    }
}

/// Hands some bytes to `read` as a file that nothing else has.
pub(super) fn with_file<T>(bytes: &[u8], read: impl FnOnce(&Path) -> T) -> T {
    let memory = rustix::fs::memfd_create("input", rustix::fs::MemfdFlags::CLOEXEC)
        .expect("a file in memory");
    let mut file = File::from(memory);
    file.write_all(bytes).expect("memory can be written");
    read(&PathBuf::from(format!(
        "/proc/self/fd/{}",
        file.as_raw_fd()
    )))
}

/// Loads every platform of what is at `transport`, looks at all of it and judges it.
pub(super) fn loaded(transport: Transport) -> Result<Vec<Subject>, Error> {
    let subjects = read(transport)?;
    subjects.iter().for_each(judged);
    Ok(subjects)
}

/// As [`loaded`], of what has been judged in another form.
pub(super) fn read(transport: Transport) -> Result<Vec<Subject>, Error> {
    let reference = Reference {
        text: "fuzzed".to_owned(),
        transport,
    };
    let options = LoadOptions {
        platforms: Platforms::All,
        limits: limits(),
        ..LoadOptions::default()
    };
    let subjects = load(&reference, &options).inspect_err(refused)?;
    assert!(subjects.len() <= options.limits.index_entries);
    for subject in &subjects {
        sound(subject, &options.limits);
    }
    Ok(subjects)
}

/// An error is one line that cannot act on a terminal.
pub(super) fn refused(error: &Error) {
    legible(&error.to_string());
    legible(error.hint().unwrap_or_default());
}

/// One line in which nothing moves a cursor, hides or turns text.
pub(super) fn legible(text: &str) {
    let acts =
        |c: char| c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}');
    assert!(!text.chars().any(acts), "{text:?}");
}

fn sound(subject: &Subject, limits: &Limits) {
    let entries = &subject.rootfs.entries;
    let names: usize = entries.keys().map(Vec::len).sum();
    assert!(names as u64 <= limits.names, "{names} bytes of names");
    for (path, entry) in entries {
        let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
        for part in &parts {
            let plain = !matches!(*part, b"" | b"." | b"..");
            assert!(plain && part.len() <= 255 && !part.contains(&0), "{path:?}");
        }
        // A name may land below a directory that a link leads to.
        assert!(path.len() <= 2 * limits.path, "{} bytes", path.len());
        if let Some((_, above)) = parts.split_last().filter(|(_, above)| !above.is_empty()) {
            let parent = entries.get(&above.join(&b'/'));
            let kind = parent.map(|parent| &parent.kind);
            assert!(matches!(kind, Some(EntryKind::Directory)), "{path:?}");
        }
        assert!(entry.mode <= 0o7777);
        if let EntryKind::File {
            size,
            content: Some(content),
        } = &entry.kind
        {
            assert_eq!(*size, content.size(), "{path:?}");
            let read = content.read(limits.program).expect("it was kept");
            assert_eq!(read.is_some(), *size <= limits.program, "{path:?}");
        } else if matches!(entry.kind, EntryKind::File { .. }) {
            panic!("{path:?} has no content");
        }
        if let EntryKind::Symlink(target) = &entry.kind {
            assert!(target.len() <= limits.path);
        }
    }
    for defect in &subject.defects {
        for text in [&defect.subject, &defect.expected, &defect.observed] {
            legible(text);
        }
    }
    for kind in [DefectKind::Layer, DefectKind::Name] {
        let count = subject.defects.iter().filter(|defect| defect.kind == kind);
        assert!(count.count() <= 100 * limits.index_entries);
    }
    match &subject.program {
        Ok(program) => {
            assert!(!program.argv.is_empty());
            let (path, entry) = subject
                .rootfs
                .resolve(&program.path)
                .expect("it was resolved");
            assert_eq!(path, program.path);
            assert!(matches!(entry.kind, EntryKind::File { .. }));
            assert!(program.content.len() as u64 <= limits.program);
        }
        Err(why) => legible(&why.to_string()),
    }
}

/// Runs every check that needs no sandbox: bytes of an image are never the suite's fault.
fn judged(subject: &Subject) {
    let options = CheckOptions {
        kubernetes: conformance::kubernetes::Minor::parse("1.34").ok(),
        ..CheckOptions::default()
    };
    let offered = Needs::from(subject.traits()) | Needs::KUBERNETES | Needs::HINTS;
    let shared = Shared::new(subject.clone(), options, None, 1.0);
    // A program that is run, even on a virtual clock, has a target of its own.
    let families = FAMILIES.iter().filter(|family| family.name != "wasi");
    for check in families.flat_map(|family| family.checks) {
        if offered.contains(check.needs)
            && let Err(Stop::Error(why)) = (check.run)(&Context::new(&shared))
        {
            panic!("{}: {why}", check.id);
        }
    }
}
