//! Emulators of other processors (qemu-user): what each runs, where it is, which it is.
//!
//! Owns the table of architectures and the words for how an emulator is put to use. What
//! the kernel is told of it is the backend's.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::process;
use crate::signal;
use crate::sys::ExitStatus;
use pause_image::elf::Elf;
use pause_image::{Architecture, Platform, escape};

pub mod baseline;
pub mod limits;

/// The package that holds the emulators, as Debian and its descendants call it.
pub const PACKAGE: &str = "qemu-user-static";

/// What the emulator of an architecture may be called.
fn names_of(architecture: &Architecture) -> Option<[String; 2]> {
    let qemu = architecture.qemu?;
    Some([format!("qemu-{qemu}-static"), format!("qemu-{qemu}")])
}

/// The architecture of a platform whose programs can be emulated.
fn guest_of(platform: &Platform) -> Option<&'static Architecture> {
    let guest = Architecture::named(&platform.normal().architecture)?;
    (platform.os == "linux" && guest.qemu.is_some()).then_some(guest)
}

/// What the emulator of a platform may be called.
fn names(platform: &Platform) -> Option<[String; 2]> {
    names_of(guest_of(platform)?)
}

/// Bytes of an ELF header that tell its architecture: `e_ident`, `e_type`, `e_machine`.
pub const HEADER: usize = 20;

/// An emulator that is installed.
#[derive(Clone, Debug)]
pub struct Emulator {
    guest: &'static Architecture,
    /// Its name without the path: `qemu-aarch64-static`.
    pub name: String,
    /// `7.2.22`; empty where it does not say.
    pub version: String,
    /// Where it is, absolute.
    pub path: PathBuf,
    /// Opened, so that the file that was looked at is the one that runs, in any root.
    pub file: Arc<File>,
}

/// Why programs of a platform cannot be run here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoEmulator {
    /// There is none that the suite knows of.
    #[error("no emulator runs programs for {0}")]
    Unknown(String),
    /// It is not installed, or the installed one needs libraries that no sandbox has.
    #[error("programs for {platform} need an emulator, and {why}; the package {PACKAGE} holds it")]
    Missing {
        /// What was to be run.
        platform: String,
        /// What was looked for, or what is wrong with what was found.
        why: String,
    },
}

impl Emulator {
    /// Looks in PATH for one that runs programs of this platform.
    ///
    /// # Errors
    /// [`NoEmulator`] where there is none.
    pub fn find(platform: &Platform) -> Result<Self, NoEmulator> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        Self::find_in(platform, &folders)
    }

    /// As [`Emulator::find`], in these folders.
    ///
    /// # Errors
    /// [`NoEmulator`] where there is none.
    pub fn find_in(platform: &Platform, folders: &[PathBuf]) -> Result<Self, NoEmulator> {
        let unknown = || NoEmulator::Unknown(escape(platform.to_string().as_bytes()));
        let guest = guest_of(platform).ok_or_else(unknown)?;
        let names = names_of(guest).ok_or_else(unknown)?;
        let mut why = format!("neither {} nor {} is in PATH", names[0], names[1]);
        for name in names {
            for path in folders.iter().map(|folder| folder.join(&name)) {
                if !path.is_absolute() || !path.exists() {
                    continue;
                }
                match open(&path) {
                    Ok(file) => {
                        return Ok(Self {
                            guest,
                            version: version(&path),
                            name,
                            file: Arc::new(file),
                            path,
                        });
                    }
                    Err(error) => why = format!("{}: {error}", path.display()),
                }
            }
        }
        Err(NoEmulator::Missing {
            platform: escape(platform.to_string().as_bytes()),
            why,
        })
    }

    /// The architecture that it runs, as the OCI image specification names it.
    pub fn architecture(&self) -> &'static str {
        self.guest.name
    }

    /// Major and minor version.
    pub fn release(&self) -> Option<(u32, u32)> {
        let mut numbers = self.version.split('.').map(|number| number.parse().ok());
        Some((numbers.next()??, numbers.next()??))
    }

    /// The first bytes of its programs, and which of their bits count: fixed-address and
    /// position-independent executables of that machine, whatever their ABI (elf(5)).
    pub fn pattern(&self) -> ([u8; HEADER], [u8; HEADER]) {
        let Architecture {
            wide,
            little,
            machine,
            ..
        } = *self.guest;
        let order = |number: u16| {
            if little {
                number.to_le_bytes()
            } else {
                number.to_be_bytes()
            }
        };
        let mut magic = [0; HEADER];
        magic[..7].copy_from_slice(&[
            0x7f,
            b'E',
            b'L',
            b'F',
            if wide { 2 } else { 1 },
            if little { 1 } else { 2 },
            1,
        ]);
        magic[16..18].copy_from_slice(&order(2));
        magic[18..].copy_from_slice(&order(machine));
        let mut mask = [0xff; HEADER];
        mask[7..16].fill(0);
        // ET_EXEC is 2 and ET_DYN 3.
        mask[16..18].copy_from_slice(&order(0xfffe));
        (magic, mask)
    }
}

impl fmt::Display for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

/// How programs for another processor are executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmulationMode {
    /// By an entry in a private binfmt_misc, in the sandboxes' own user namespace (Linux 6.7).
    Private,
    /// By the entry of the host's binfmt_misc.
    Host,
    /// By no entry: the emulator is started, with the program as its argument.
    Program,
}

impl fmt::Display for EmulationMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EmulationMode::Private => "private binfmt_misc",
            EmulationMode::Host => "the host's binfmt_misc",
            EmulationMode::Program => "started as the program",
        })
    }
}

/// Signals by which a process ends over a fault: SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE,
/// SIGSEGV, SIGSYS (signal(7)).
const FAULTS: [i32; 7] = [4, 5, 6, 7, 8, 11, 31];

/// SIGABRT, with which a program says itself that it is at fault.
const ABORT: i32 = 6;

/// Prefix of the line in which QEMU reports a signal that the program does not handle and that it
/// ends itself by; the signal's number follows.
const UNCAUGHT: &str = "qemu: uncaught target signal ";

/// How a line begins in which QEMU, or the library that it is built on, gives up.
const LAST_WORDS: [&str; 3] = ["qemu: ", "QEMU internal SIG", "Bail out! ERROR:"];

/// How an emulator shows that it crashed, or gave a program up over a fault: its last words on
/// standard error, or a silent end that it gives to no program. Whether the program or
/// the emulation was at fault cannot be known, so no program fails for it.
pub fn gave_up(stderr: &str, end: Option<ExitStatus>) -> Option<String> {
    let told = |line: &str| {
        let number = line.strip_prefix(UNCAUGHT)?.split(' ').next()?;
        number.parse::<i32>().ok()
    };
    let last_word = |line: &&str| match told(line) {
        Some(signal) => signal != ABORT && FAULTS.contains(&signal),
        None => {
            LAST_WORDS.iter().any(|words| line.starts_with(words))
                || speaks_as_itself(line).is_some_and(|words| !words.starts_with("warning: "))
        }
    };
    if let Some(line) = stderr.lines().find(last_word) {
        return Some(escape(line.as_bytes()));
    }
    match end {
        Some(ExitStatus::Signaled(signal))
            if FAULTS.contains(&signal)
                && !stderr.lines().any(|line| told(line) == Some(signal)) =>
        {
            Some(format!(
                "it ended silently, killed by {} ({signal})",
                signal::name(signal)
            ))
        }
        _ => None,
    }
}

/// What follows the emulator's own name in a line: `qemu-aarch64-static: WORDS`.
fn speaks_as_itself(line: &str) -> Option<&str> {
    let (name, words) = line.split_once(": ")?;
    let name = name.strip_prefix("qemu-")?;
    let is_name = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    is_name.then_some(words)
}

/// Opens an emulator that can run in any root: one that needs no interpreter of its own.
fn open(path: &Path) -> Result<File, String> {
    let mut file = File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    match Elf::parse(&bytes) {
        Ok(elf) if elf.interpreter.is_none() => Ok(file),
        Ok(_) => Err("it is not statically linked".to_owned()),
        Err(error) => Err(error),
    }
}

/// The number after `version` in the first line that it prints about itself.
fn version(path: &Path) -> String {
    let output = process::ask(path, &["--version"]);
    let text = output.map(|output| output.stdout).unwrap_or_default();
    version_in(&String::from_utf8_lossy(&text)).to_owned()
}

fn version_in(text: &str) -> &str {
    let mut words = text.lines().next().unwrap_or_default().split(' ');
    words.find(|word| *word == "version");
    words.next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn emulator(architecture: &str) -> Emulator {
        Emulator {
            guest: Architecture::named(architecture).expect("a row"),
            name: String::new(),
            version: "7.2.22".to_owned(),
            path: PathBuf::new(),
            file: Arc::new(File::open("/dev/null").expect("it is there")),
        }
    }

    fn header(bytes: &[u8], pattern: ([u8; HEADER], [u8; HEADER])) -> bool {
        let (magic, mask) = pattern;
        (0..HEADER).all(|at| bytes[at] & mask[at] == magic[at] & mask[at])
    }

    #[rstest]
    #[case("arm64", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0", true)]
    #[case(
        "arm64",
        b"\x7fELF\x02\x01\x01\x03\x01\0\0\0\0\0\0\0\x03\0\xb7\0",
        true
    )]
    #[case("arm64", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0", false)]
    #[case("arm64", b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0", false)]
    #[case("arm64", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x01\0\xb7\0", false)]
    #[case("s390x", b"\x7fELF\x02\x02\x01\0\0\0\0\0\0\0\0\0\0\x03\0\x16", true)]
    #[case("s390x", b"\x7fELF\x02\x02\x01\0\0\0\0\0\0\0\0\0\x03\0\x16\0", false)]
    fn a_program_is_known_by_its_header(
        #[case] architecture: &str,
        #[case] bytes: &[u8],
        #[case] runs: bool,
    ) {
        assert_eq!(header(bytes, emulator(architecture).pattern()), runs);
    }

    #[rstest]
    #[case(
        "qemu-aarch64 version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\nC",
        "7.2.22"
    )]
    #[case("qemu-arm version 10.0.2", "10.0.2")]
    #[case("", "")]
    #[case("usage: nothing", "")]
    fn it_says_its_version(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(version_in(text), expected);
    }

    #[rstest]
    #[case(
        "qemu: uncaught target signal 11 (Segmentation fault) - core dumped\n",
        true
    )]
    #[case("x\nQEMU internal SIGSEGV {code=MAPERR, addr=0x20}\n", true)]
    #[case("qemu: unhandled CPU exception 0x5 - aborting\n", true)]
    #[case("qemu-aarch64-static: Unable to reserve 0x1000 bytes\n", true)]
    #[case("qemu-arm: ../accel/tcg/a.c:1: f: Assertion `x' failed.\n", true)]
    #[case("qemu-aarch64-static: warning: TCG doesn't support it\n", false)]
    #[case("qemu: uncaught target signal 6 (Aborted) - core dumped\n", false)]
    #[case("qemu: uncaught target signal 1 (Hangup)\n", false)]
    #[case("I read of qemu: uncaught target signal 11 (\n", false)]
    #[case("qemu-what I say: nothing\n", false)]
    #[case("", false)]
    fn a_fault_under_it_is_known_by_its_words(#[case] stderr: &str, #[case] fault: bool) {
        assert_eq!(gave_up(stderr, None).is_some(), fault);
        let ended = Some(ExitStatus::Exited(1));
        assert_eq!(gave_up(stderr, ended).is_some(), fault, "however it ends");
    }

    #[rstest]
    #[case(ExitStatus::Signaled(11), "", true)]
    #[case(ExitStatus::Signaled(6), "", true)]
    #[case(
        ExitStatus::Signaled(6),
        "qemu: uncaught target signal 6 (Aborted) - core dumped\n",
        false
    )]
    #[case(ExitStatus::Signaled(9), "", false)]
    #[case(ExitStatus::Signaled(15), "", false)]
    #[case(ExitStatus::Exited(0), "", false)]
    #[case(ExitStatus::Exited(139), "", false)]
    fn a_fault_of_its_own_is_known_by_its_end(
        #[case] end: ExitStatus,
        #[case] stderr: &str,
        #[case] fault: bool,
    ) {
        assert_eq!(gave_up(stderr, Some(end)).is_some(), fault);
    }

    #[test]
    fn its_release_is_two_numbers() {
        assert_eq!(emulator("arm64").release(), Some((7, 2)));
    }

    #[test]
    fn where_there_is_none_the_package_is_named() {
        let platform: Platform = "linux/arm64".parse().expect("a platform");
        let folder = tempfile::tempdir().expect("a folder");
        let error = Emulator::find_in(&platform, &[folder.path().to_owned()])
            .expect_err("the folder is empty");
        let text = error.to_string();
        assert!(text.contains("linux/arm64"), "{text}");
        assert!(text.contains("qemu-aarch64-static"), "{text}");
        assert!(text.contains(PACKAGE), "{text}");
        assert!(!text.contains('\n'), "{text}");
    }

    #[test]
    fn a_script_is_no_emulator() {
        let platform: Platform = "linux/arm64".parse().expect("a platform");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("qemu-aarch64"), "#!/bin/sh\n").expect("written");
        let error =
            Emulator::find_in(&platform, &[folder.path().to_owned()]).expect_err("it is a script");
        assert!(error.to_string().contains("qemu-aarch64: "), "{error}");
    }

    #[test]
    fn what_nobody_emulates_is_said() {
        let platform: Platform = "windows/amd64".parse().expect("a platform");
        let error = Emulator::find_in(&platform, &[]).expect_err("there is none");
        assert_eq!(error, NoEmulator::Unknown("windows/amd64".to_owned()));
    }
}
