//! WASI programs whose faults are known: the texts of `fixtures/wasi`, each of which says
//! of itself what it is, judged by their bytes and on the virtual clock; and guests in hosts whose
//! faults are known, as PID 1 of a sandbox.

use std::sync::LazyLock;

use crate::subject::Subject;
use crate::wasi_engine::Engine;
use crate::wasi_host::Fault;

/// One program.
#[derive(Clone, Debug)]
pub struct WasiFixture {
    /// As its file.
    pub name: &'static str,
    /// What it does.
    pub about: String,
    /// The checks that must fail on it; none for a sound one.
    pub breaks: Vec<&'static str>,
    /// Bytes of a custom section at its end, where there is one.
    padding: Option<usize>,
    text: &'static str,
}

/// A guest in a host.
#[derive(Clone, Copy, Debug)]
pub struct PairFixture {
    /// Unique, in words with hyphens.
    pub name: &'static str,
    /// What is wrong, in a sentence without its subject.
    pub about: &'static str,
    /// The checks that must fail on it; none for a sound one.
    pub breaks: &'static [&'static str],
    /// The host.
    pub engine: Engine,
    guest: WasmProgram,
}

#[derive(Clone, Copy, Debug)]
enum WasmProgram {
    /// One of the programs, all of which take their time.
    Program(&'static str),
    /// A module that is its entry alone.
    Entry(&'static str),
}

macro_rules! texts {
    ($($name:literal,)*) => {
        &[$(($name, include_str!(concat!("wasi/programs/", $name, ".wat"))),)*]
    };
}

/// Name and text of every program.
const TEXTS: &[(&str, &str)] = texts![
    "broken_component_early_wake",
    "broken_component_entry",
    "broken_component_entry_type",
    "broken_component_exits",
    "broken_component_imports",
    "broken_component_leaks",
    "broken_component_memory_grows",
    "broken_component_memory_large",
    "broken_component_memory_unbounded",
    "broken_component_polls_nothing",
    "broken_component_preview",
    "broken_component_returns",
    "broken_component_spins",
    "broken_component_start_section",
    "broken_component_traps",
    "broken_component_wakes_often",
    "broken_component_works_more_and_more",
    "broken_component_works_much",
    "broken_eagain",
    "broken_early_wake",
    "broken_eintr",
    "broken_entry_type",
    "broken_error_ignored",
    "broken_error_reserved",
    "broken_exits",
    "broken_imports_env",
    "broken_imports_files",
    "broken_memory_grows",
    "broken_memory_large",
    "broken_memory_unbounded",
    "broken_no_entry",
    "broken_polls_nothing",
    "broken_polls_stdin",
    "broken_program_huge",
    "broken_program_large",
    "broken_returns",
    "broken_spins",
    "broken_start_section",
    "broken_traps",
    "broken_wakes_often",
    "broken_works_more_and_more",
    "broken_works_much",
    "broken_yields",
    "sound_component",
    "sound_component_poll",
    "sound_deadline",
    "sound_forever",
    "sound_hourly",
];

static PROGRAMS: LazyLock<Vec<WasiFixture>> =
    LazyLock::new(|| TEXTS.iter().map(WasiFixture::read).collect());

/// Whether the texts can be made into programs: their assembler is left out of builds that
/// only judge.
pub(super) const ASSEMBLES: bool = cfg!(feature = "self-test");

#[cfg(feature = "self-test")]
fn assemble(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("a text of the suite's own")
}

#[cfg(not(feature = "self-test"))]
fn assemble(_: &str) -> Vec<u8> {
    Vec::new()
}

/// Every program.
pub(super) fn programs() -> impl Iterator<Item = &'static WasiFixture> {
    PROGRAMS
        .iter()
        .take(if ASSEMBLES { TEXTS.len() } else { 0 })
}

/// Name and broken checks of every program and pair, also where none can be assembled.
pub(super) fn described() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    let programs = PROGRAMS.iter().map(|it| (it.name, it.breaks.as_slice()));
    programs.chain(PAIRS.iter().map(|it| (it.name, it.breaks)))
}

/// The bytes of the program of that name.
pub(super) fn program(name: &str) -> Vec<u8> {
    programs()
        .find(|fixture| fixture.name == name)
        .expect("it is in the table")
        .program()
}

impl WasiFixture {
    /// The comments at the head of a text say what it is: a sentence or two, then `sound`,
    /// or `breaks` and the checks; `padded N` adds a section of N bytes.
    fn read((name, text): &(&'static str, &'static str)) -> Self {
        let head: Vec<&str> = text
            .lines()
            .map_while(|line| line.strip_prefix(";; "))
            .collect();
        let word = |key: &str| head.iter().find_map(|line| line.strip_prefix(key));
        let about = head
            .iter()
            .take_while(|line| **line != "sound" && !line.starts_with("breaks "));
        Self {
            name,
            about: about.copied().collect::<Vec<_>>().join(" "),
            breaks: word("breaks ")
                .into_iter()
                .flat_map(str::split_whitespace)
                .collect(),
            padding: word("padded ").and_then(|size| size.parse().ok()),
            text,
        }
    }

    /// Its bytes.
    pub fn program(&self) -> Vec<u8> {
        let mut program = assemble(self.text);
        if let Some(size) = self.padding {
            program.extend(custom_section(size));
        }
        program
    }

    /// To be judged.
    pub fn subject(&self) -> Subject {
        Subject::of_wasm(self.name, self.program().into())
    }

    /// A component, for which a build may have no WASI runtime.
    pub fn is_component(&self) -> bool {
        self.text.lines().any(|line| line == "(component")
    }
}

impl PairFixture {
    /// The guest, to be judged.
    pub fn subject(&self) -> Subject {
        let program = match self.guest {
            WasmProgram::Program(name) => program(name),
            WasmProgram::Entry(entry) => {
                let exit =
                    r#"(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#;
                let memory = r#"(memory (export "memory") 1 1)"#;
                let text = format!(r#"(module {exit} {memory} (func (export "_start") {entry}))"#);
                assemble(&text)
            }
        };
        Subject::of_wasm(self.name, program.into())
    }
}

/// A custom section called `x` of `size` zeros (WebAssembly 2.0, "Custom Section").
fn custom_section(size: usize) -> Vec<u8> {
    let mut section = vec![0];
    let mut left = size + 2;
    while left >= 128 {
        section.push(0x80 | (left & 127) as u8);
        left >>= 7;
    }
    section.extend([left as u8, 1, b'x']);
    section.resize(section.len() + size, 0);
    section
}

const HOLDS: &str = "wasi/host-holds";
const TERM: &str = "wasi/host-ends-on-term";
const INT: &str = "wasi/host-ends-on-int";
const KILL: &str = "wasi/host-kill-is-137";
const REAPS: &str = "wasi/host-reaps";
const IDLE: &str = "wasi/host-idle";
const STAYS: &str = "wasi/stays";

const fn spoilt(
    name: &'static str,
    about: &'static str,
    fault: Fault,
    breaks: &'static [&'static str],
) -> PairFixture {
    PairFixture {
        name,
        about,
        breaks,
        engine: Engine::Faulty(fault),
        guest: WasmProgram::Program("sound_hourly"),
    }
}

const fn hosted(
    name: &'static str,
    about: &'static str,
    guest: WasmProgram,
    breaks: &'static [&'static str],
) -> PairFixture {
    PairFixture {
        name,
        about,
        breaks,
        engine: Engine::Builtin,
        guest,
    }
}

/// Every guest in a host.
pub(super) fn pairs() -> impl Iterator<Item = &'static PairFixture> {
    PAIRS.iter().take(if ASSEMBLES { PAIRS.len() } else { 0 })
}

static PAIRS: &[PairFixture] = &[
    hosted(
        "host-of-hourly",
        "runs a guest that sleeps by the hour",
        WasmProgram::Program("sound_hourly"),
        &[],
    ),
    hosted(
        "host-of-forever",
        "runs a guest that sleeps once and for all",
        WasmProgram::Program("sound_forever"),
        &[],
    ),
    hosted(
        "host-of-deadline",
        "runs a guest that sleeps to a time",
        WasmProgram::Program("sound_deadline"),
        &[],
    ),
    hosted(
        "host-of-one-that-returns",
        "runs a guest that returns at once",
        WasmProgram::Entry(""),
        &[HOLDS, KILL, STAYS],
    ),
    hosted(
        "host-of-one-that-exits",
        "runs a guest that exits 42 at once",
        WasmProgram::Entry("(call $exit (i32.const 42))"),
        &[HOLDS, KILL, STAYS],
    ),
    hosted(
        "host-of-one-that-traps",
        "runs a guest that traps at once",
        WasmProgram::Entry("(unreachable)"),
        &[HOLDS, KILL, STAYS],
    ),
    hosted(
        "host-of-one-that-spins",
        "runs a guest that never sleeps",
        WasmProgram::Entry("(loop (br 0))"),
        &[IDLE, STAYS],
    ),
    spoilt(
        "host-deaf",
        "leaves TERM and INT to the kernel, which drops them",
        Fault::Deaf,
        &[TERM, INT],
    ),
    spoilt(
        "host-ignores-int",
        "does not end on INT",
        Fault::IgnoresInt,
        &[INT],
    ),
    spoilt(
        "host-fails-on-term",
        "exits 1 on TERM",
        Fault::FailsOnTerm,
        &[TERM],
    ),
    spoilt(
        "host-slow",
        "takes three seconds to end on TERM",
        Fault::Slow,
        &[TERM],
    ),
    spoilt(
        "host-negligent",
        "never waits for children",
        Fault::Negligent,
        &[REAPS],
    ),
    spoilt(
        "host-tardy",
        "waits for children only when the guest wakes",
        Fault::Tardy,
        &[REAPS],
    ),
    spoilt(
        "host-restless",
        "looks at the clock instead of sleeping",
        Fault::Restless,
        &[IDLE],
    ),
    spoilt(
        "host-ends",
        "ends as soon as the guest waits",
        Fault::Ends,
        &[HOLDS, KILL],
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::{TEXTS, pairs, programs};
    use pause_image::Traits;

    #[test]
    fn every_text_is_in_the_table() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/self_test/wasi/programs");
        let files: BTreeSet<String> = std::fs::read_dir(folder)
            .expect("the folder is there")
            .map(|entry| entry.expect("it can be listed").path())
            .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
            .collect();
        let named: BTreeSet<String> = TEXTS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(files, named);
    }

    #[test]
    fn every_text_says_what_it_is() {
        for fixture in programs() {
            let sound = fixture.text.lines().any(|line| line == ";; sound");
            assert_eq!(sound, fixture.breaks.is_empty(), "{}", fixture.name);
            assert_eq!(fixture.name.starts_with("sound"), sound, "{}", fixture.name);
            assert!(!fixture.program().is_empty());
            let about = &fixture.about;
            assert!(about.ends_with('.') && !about.contains('/'), "{about}");
        }
        let of = |kind| programs().filter(|it| it.name.starts_with(kind)).count();
        let (broken, sound) = (of("broken"), of("sound"));
        assert!(broken >= 12 && sound >= 4, "{broken} broken, {sound} sound");
    }

    #[test]
    fn every_guest_of_a_host_is_a_module() {
        for pair in pairs() {
            let offers = pair.subject().traits();
            assert!(offers.contains(Traits::WASM_MODULE), "{}", pair.name);
        }
    }
}
