//! What the kernel runs beside programs of its own architecture, and what only seems to be so.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[test]
fn another_architecture_is_not_beside_this_one() {
    let host = Platform::host();
    for name in [
        "linux/s390x",
        "linux/riscv64",
        "windows/386",
        "windows/arm/v7",
    ] {
        let platform: Platform = name.parse().expect("a platform");
        assert!(!runs(&platform, &host), "{name}");
    }
}

#[test]
fn what_the_kernel_cannot_execute_does_not_run() {
    let unknown = Beside {
        machine: 0xffff,
        ..ALL[0]
    };
    for program in [&b""[..], b"no program", &elf(&unknown)] {
        assert!(!is_run_by_kernel(program).unwrap_or(false));
    }
}

/// As with an entry of binfmt_misc, or the first line of a script: what the kernel executes is
/// not what was asked for.
#[test]
fn what_an_interpreter_runs_is_seen_not_to_be_what_is_executed() {
    let mut child = Command::new("/bin/cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("cat");
    let [itself, other] = ["/bin/cat", "/proc/self/exe"].map(|it| File::open(it).expect("read"));
    let seen = [&itself, &other].map(|file| is_executed(&child, file).expect("it runs"));
    drop(child.stdin.take());
    child.wait().expect("our child");
    assert_eq!(seen, [true, false]);
    assert!(!is_run_by_kernel(b"#!/bin/sh\nexit 42\n").unwrap_or(false));
}

#[test]
fn one_that_ends_otherwise_shows_nothing() {
    let Some(own) = ALL
        .iter()
        .find(|it| it.host == Platform::host().architecture)
    else {
        return;
    };
    let mut other = elf(own);
    let exit = other
        .iter()
        .rposition(|byte| *byte == 42)
        .expect("in its code");
    other[exit] = 41;
    assert!(!is_run_by_kernel(&other).unwrap_or(false));
}

/// An emulator knows no kernel: the codes do what they say, also where no kernel here runs them.
#[test]
fn the_code_of_each_ends_as_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    for beside in &ALL {
        let emulator = match beside.architecture {
            "386" => "qemu-i386-static",
            _ => "qemu-arm-static",
        };
        let program = folder.path().join(beside.architecture);
        fs::write(&program, elf(beside)).expect("written");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("mode set");
        let status = Command::new(emulator)
            .arg(&program)
            .stdin(Stdio::null())
            .status();
        match status {
            Ok(status) => assert_eq!(status.code(), Some(STATUS), "{emulator}"),
            Err(error) => eprintln!("{emulator}: {error}: not tried"),
        }
    }
}
