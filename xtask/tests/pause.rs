//! The reference pause on every architecture: natively on the host's, under an emulator on others.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rstest::rstest;
use std::fs::read_to_string;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use xtask::platform::{self, Platform};
use xtask::{build, link, packages};

/// The longest wait for any event, on a loaded machine and under emulation.
const DEADLINE: Duration = Duration::from_secs(30);

const ORPHANS: usize = 200;

#[rstest]
fn every_program_keeps_its_promises(
    #[values(
        "amd64", "arm64", "arm/v7", "ppc64le", "s390x", "riscv64", "loong64", "386"
    )]
    name: &str,
) {
    let platform = platform::parse(name).expect("a platform of the table");
    if !build::buildable().contains(&platform) {
        eprintln!("skipped: no toolchain here builds for {name}");
        return;
    }
    let pause = Program::build(name);
    assert!(
        pause.size <= pause.platform.budget(),
        "{} B on {name}",
        pause.size
    );
    pause.prints_its_version();
    pause.reaps_and_ends_on(Signal::SIGTERM);
    pause.reaps_and_ends_on(Signal::SIGINT);
    pause.reaps_what_died_before_it();
    pause.takes_a_signal_from_before_its_start();
}

#[test]
fn it_makes_two_system_calls_before_it_sleeps() {
    packages::ensure(&["strace"]).expect("strace");
    let pause = Program::build(platform::host().expect("a row for this machine").name);
    let log = tempfile::NamedTempFile::new().expect("a temporary file");
    let mut strace = Command::new("strace");
    strace
        .arg("-o")
        .arg(log.path())
        .args(with_pending_term(&pause.command()));
    assert_eq!(finished(&mut strace).status.code(), Some(0));
    let log = read_to_string(log.path()).expect("the log of strace");
    let calls: Vec<&str> = log
        .rsplit_once("execve(")
        .expect("it was executed")
        .1
        .lines()
        .skip(1)
        .filter_map(|line| Some(line.split_once('(')?.0))
        .collect();
    assert_eq!(
        calls,
        ["rt_sigprocmask", "wait4", "rt_sigtimedwait", "exit_group"],
        "{log}"
    );
}

#[test]
fn a_first_signal_other_than_its_own_ends_it_outside_a_pod() {
    let pause = Program::build(platform::host().expect("a row for this machine").name);
    let mut child = Command::new(&pause.path).spawn().expect("it starts");
    let pid = Pid::from_raw(child.id().cast_signed());
    kill(pid, Signal::SIGUSR1).expect("it is there");
    assert_eq!(
        child.wait().expect("it ends").signal(),
        Some(Signal::SIGUSR1 as i32)
    );
}

#[test]
fn after_the_first_death_no_child_wakes_it() {
    let pause = Program::build(platform::host().expect("a row for this machine").name);
    let pod = Pod::start(&pause.command());
    for pidfd in pod.leaves_orphans(1) {
        awaits(&pidfd, PollFlags::empty(), "reaped");
    }
    let before = slept(pod.init);
    for pidfd in pod.leaves_orphans(ORPHANS) {
        awaits(&pidfd, PollFlags::empty(), "reaped");
    }
    assert_eq!(slept(pod.init), before);
}

/// A program of 130 bytes that calls pause(2) in a loop, and does nothing else.
#[cfg(target_arch = "x86_64")]
fn bare_assembly() -> Vec<u8> {
    const AT: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    // mov eax, SYS_pause; syscall; jmp to the first
    const CODE: &[u8] = b"\xb8\x22\0\0\0\x0f\x05\xeb\xf7";
    let size = HEADERS + CODE.len() as u64;
    let words =
        |words: &[u64]| -> Vec<u8> { words.iter().flat_map(|it| it.to_le_bytes()).collect() };
    let halves =
        |halves: &[u16]| -> Vec<u8> { halves.iter().flat_map(|it| it.to_le_bytes()).collect() };
    [
        b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec(),
        // ET_EXEC for EM_X86_64; one segment, behind this header.
        halves(&[2, 62, 1, 0]),
        words(&[AT + HEADERS, 64, 0]),
        halves(&[0, 0, 64, 56, 1, 0, 0, 0]),
        // PT_LOAD, read and executed.
        words(&[1 | 5 << 32, 0, AT, AT, size, size, 0x1000]),
        CODE.to_vec(),
    ]
    .concat()
}

#[cfg(target_arch = "x86_64")]
#[test]
fn it_takes_no_more_memory_than_bare_assembly() {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let bare = folder.path().join("pause");
    std::fs::write(&bare, bare_assembly()).expect("writing");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&bare, mode).expect("chmod");
    // The kernel writes to more or fewer pages of the stack, as its random start has it: take the
    // least of many starts.
    let resident = |program: &Path| {
        let starts = (0..200).map(|_| resident_asleep(program));
        starts.min().expect("a figure")
    };
    let (pause, bare) = (resident(&Program::build("amd64").path), resident(&bare));
    assert!(
        0 < bare && pause <= bare,
        "{pause} KiB, bare assembly {bare} KiB"
    );
}

/// Resident memory of a program that was started and sleeps, in KiB.
#[cfg(target_arch = "x86_64")]
fn resident_asleep(program: &Path) -> u64 {
    // This returns once the program is executed.
    let mut child = Command::new(program).spawn().expect("it starts");
    let pid = child.id().cast_signed();
    slept(pid);
    let rollup = read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("it is there");
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    child.kill().expect("it is there");
    child.wait().expect("it ends");
    kilobytes.expect("a figure").parse().expect("a number")
}

/// A pause that was built.
struct Program {
    platform: Platform,
    path: PathBuf,
    size: usize,
}

impl Program {
    fn build(name: &str) -> Self {
        let platform = platform::parse(name).expect("a platform of the table");
        let out = xtask::workspace().join("target/programs");
        let mut programs =
            build::programs(&[platform], &[link::PAUSE], &out).expect("it can be built here");
        let program = programs.pop().expect("one program for one platform");
        Self {
            platform,
            path: program.path,
            size: program.size,
        }
    }

    /// The command that runs it, with an emulator if it is not of the host's architecture.
    fn command(&self) -> Vec<String> {
        let program = self.path.to_str().expect("a path in Unicode").to_owned();
        if self.platform == platform::host().expect("a row for this machine") {
            return vec![program];
        }
        packages::ensure(&["qemu-user-static"]).expect("the emulators");
        let emulator = self.platform.emulator().expect("QEMU has one");
        vec![format!("qemu-{emulator}-static"), program]
    }

    fn prints_its_version(&self) {
        for args in [&["-v"][..], &["-V"], &["x", "-v", "y"]] {
            let command = self.command();
            let output = finished(Command::new(&command[0]).args(&command[1..]).args(args));
            assert_eq!(output.status.code(), Some(0));
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(text, format!("pause {}\n", env!("CARGO_PKG_VERSION")));
        }
    }

    fn reaps_and_ends_on(&self, signal: Signal) {
        let pod = Pod::start(&self.command());
        let pidfds = pod.leaves_orphans(ORPHANS);
        for pidfd in &pidfds {
            awaits(pidfd, PollFlags::empty(), "reaped");
        }
        assert_eq!(children(pod.init), [] as [i32; 0]);
        kill(Pid::from_raw(pod.init), signal).expect("it is there");
        assert_eq!(pod.status(), Some(0), "on {signal}");
    }

    fn reaps_what_died_before_it(&self) {
        // Not another shell: dash may reap a child that it does not know of, as seen once in 400 times.
        let reader = "$| = 1; print qq(started\\n); <STDIN>; exec { $ARGV[0] } @ARGV";
        let script = format!("sleep 1000 & exec perl -e '{reader}' \"$@\"");
        let shell = ["sh".into(), "-c".into(), script, "sh".into()];
        let mut pod = Pod::start(&[&shell[..], &self.command()].concat());
        let mut line = String::new();
        pod.stdout
            .read_line(&mut line)
            .expect("the reader says that there is a child");
        let child = *children(pod.init).first().expect("a child");
        let zombie = pidfd(child);
        kill(Pid::from_raw(child), Signal::SIGKILL).expect("it is there");
        awaits(&zombie, PollFlags::POLLIN, "dead");
        assert_eq!(
            children(pod.init),
            [child],
            "the reader leaves it to the pause"
        );
        let stdin = pod.process.stdin.as_mut().expect("a pipe");
        stdin.write_all(b"go\n").expect("the reader reads");
        awaits(&zombie, PollFlags::empty(), "reaped");
    }

    fn takes_a_signal_from_before_its_start(&self) {
        let command = with_pending_term(&self.command());
        assert_eq!(
            finished(Command::new(&command[0]).args(&command[1..]))
                .status
                .code(),
            Some(0)
        );
    }
}

/// `command`, started with SIGTERM blocked and already sent, and with SIGINT
/// and SIGCHLD ignored.
fn with_pending_term(command: &[String]) -> Vec<String> {
    let outer = [
        "env",
        "--ignore-signal=INT,CHLD",
        "--block-signal=TERM",
        "sh",
        "-c",
    ];
    let inner = ["kill -TERM $$; exec \"$@\"", "sh"];
    outer
        .into_iter()
        .chain(inner)
        .map(str::to_owned)
        .chain(command.iter().cloned())
        .collect()
}

fn finished(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().expect("it starts")
}

/// A pid namespace whose first process is the command.
struct Pod {
    process: Child,
    stdout: BufReader<std::process::ChildStdout>,
    init: i32,
}

impl Pod {
    fn start(command: &[String]) -> Self {
        // The empty line says that the init exists and can be found; what follows is the command's
        // own output.
        let script = "echo; exec \"$@\"";
        let mut process = Command::new("unshare")
            .args([
                "--user",
                "--map-root-user",
                "--pid",
                "--fork",
                "--kill-child",
            ])
            .args(["sh", "-c", script, "sh"])
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("util-linux is installed");
        let mut stdout = BufReader::new(process.stdout.take().expect("a pipe"));
        stdout
            .read_line(&mut String::new())
            .expect("it says that it is there");
        let unshare = process.id().cast_signed();
        let init = *children(unshare).first().expect("a first process");
        Self {
            process,
            stdout,
            init,
        }
    }

    /// Leaves this many orphans to the init, ends all at once, and returns their pidfds.
    fn leaves_orphans(&self, count: usize) -> Vec<OwnedFd> {
        let script = format!(
            "exec 3<&0; i=0; while [ $i -lt {count} ]; do (cat <&3 >/dev/null &); i=$((i+1)); done"
        );
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let status = Command::new("nsenter")
            .args(["--user", "--preserve-credentials", "--pid", "--target"])
            .arg(self.init.to_string())
            .args(["sh", "-c", &script])
            .stdin(reader)
            .status()
            .expect("util-linux is installed");
        assert!(status.success());
        let orphans = children(self.init);
        assert_eq!(
            orphans.len(),
            count,
            "each is a child of the init and alive"
        );
        let pidfds = orphans.into_iter().map(pidfd).collect();
        drop(writer);
        pidfds
    }

    fn status(mut self) -> Option<i32> {
        self.process.wait().expect("it ends").code()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        // Killing the init kills all processes of its namespace.
        let _ = kill(Pid::from_raw(self.init), Signal::SIGKILL);
        let _ = self.process.wait();
        let _ = self.stdout.read_to_end(&mut Vec::new());
    }
}

/// How often a process went to sleep, read once it sleeps.
fn slept(pid: i32) -> u64 {
    loop {
        let status = read_to_string(format!("/proc/{pid}/status")).expect("it is there");
        let field = |name| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.expect("it is in every status").trim()
        };
        if field("State:").starts_with('S') {
            return field("voluntary_ctxt_switches:").parse().expect("a number");
        }
    }
}

fn children(pid: i32) -> Vec<i32> {
    let list = PathBuf::from(format!("/proc/{pid}/task/{pid}/children"));
    let list = read_to_string(Path::new(&list)).expect("the process is there");
    list.split_whitespace()
        .map(|pid| pid.parse().expect("a number"))
        .collect()
}

fn pidfd(pid: i32) -> OwnedFd {
    let pid = rustix::process::Pid::from_raw(pid).expect("not 0");
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).expect("the process")
}

/// Waits for `flags`, or for the hang-up of a pidfd whose process was reaped.
fn awaits(pidfd: &OwnedFd, flags: PollFlags, what: &str) {
    let start = Instant::now();
    let timeout = PollTimeout::try_from(DEADLINE).expect("it is short");
    let mut fds = [PollFd::new(pidfd.as_fd(), flags)];
    let ready = poll(&mut fds, timeout).expect("poll");
    assert_eq!(ready, 1, "not {what} within {:?}", start.elapsed());
}
