//! **Whatever the kernel refuses while a sandbox is made, there is one clean error, or none,
//! and nothing is left behind.** A child process makes the sandbox, and this process answers its
//! system calls (seccomp_unotify(2)). In each trial one call fails once, of the suite or of a child
//! before its exec.
//!
//! The short form takes the first occurrence of each call in plain sandboxes, and a sample of all.
//! With `PAUSE_CONFORMANCE_FAULTS=all` each occurrence of each call fails with each error, in all
//! kinds of sandboxes; with the name of a call, each occurrence of that call; with `NAME:NUMBER`,
//! that occurrence.

#[path = "common/cgroups.rs"]
mod cgroups;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use cgroups::Cgroups;
use conformance::backend::embedded::Embedded;
use conformance::backend::{Backend as _, Join, Launch, Spec};
use conformance::subject::{Platform, Subject};
use conformance::{inherited, programs, wait};
use libtest_mimic::{Arguments, Failed, Trial};
use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, waitpid};
use pause_sandbox::supervise;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use syscalls::Sysno;

/// The environment variable that tells the child process which kind of sandbox to make.
const MAKE: &str = "PAUSE_CONFORMANCE_MAKE";
/// The limit of a trial, on however busy a machine.
const HANGS: Duration = Duration::from_mins(1);
/// How long processes and cgroups may take to vanish.
const GONE: Duration = Duration::from_secs(5);
/// The errors with which calls fail.
const ERRORS: [Errno; 4] = [Errno::EAGAIN, Errno::ENOMEM, Errno::EMFILE, Errno::EPERM];
/// The short form takes every n-th trial.
const SAMPLE: usize = 61;

/// Calls that never fail here. Those for memory, since Rust aborts a process that gets none. Those
/// that need no resource: they release, wait, kill a child, or ask for ids, limits or random bytes.
const LET_BE: &[Sysno] = &[
    Sysno::brk,
    Sysno::close,
    Sysno::exit,
    Sysno::exit_group,
    Sysno::futex,
    Sysno::getegid,
    Sysno::geteuid,
    Sysno::getpid,
    Sysno::getppid,
    Sysno::getrandom,
    Sysno::gettid,
    Sysno::madvise,
    Sysno::mmap,
    Sysno::mprotect,
    Sysno::mremap,
    Sysno::munmap,
    Sysno::pidfd_send_signal,
    Sysno::prlimit64,
    Sysno::rseq,
    Sysno::rt_sigprocmask,
    Sysno::rt_sigreturn,
    Sysno::sched_yield,
    Sysno::set_robust_list,
    Sysno::sigaltstack,
    Sysno::umask,
    Sysno::uname,
    Sysno::wait4,
    Sysno::waitid,
];

/// Kinds of sandboxes, each made in a different way.
fn spec(kind: &str) -> Spec {
    let plain = Spec::default();
    match kind {
        "limited" => Spec {
            memory_limit: Some(64 << 20),
            pids_limit: Some(16),
            ..plain
        },
        "node" => Spec {
            own_pid_namespace: false,
            ..plain
        },
        "late" => Spec {
            own_time: true,
            held: true,
            ..plain
        },
        _ => plain,
    }
}

/// Prepares the backend, makes a sandbox, removes everything.
fn make(kind: &str) -> Result<(), String> {
    let engine = Embedded::prepare().map_err(|error| error.to_string())?;
    // Like a check, in a thread, which stays in the cgroup of the sandboxes until its end.
    thread::scope(|scope| {
        let sandbox = thread::Builder::new().spawn_scoped(scope, || make_sandbox(&engine, kind));
        let sandbox = sandbox.map_err(|error| format!("cannot start a thread: {error}"))?;
        sandbox.join().map_err(|_| "a panic".to_owned())?
    })
}

/// Starts a sandbox, enters it, ends it.
fn make_sandbox(engine: &Embedded, kind: &str) -> Result<(), String> {
    let words = |error: std::io::Error| format!("cannot do it: {error}");
    engine.adopt_thread().map_err(words)?;
    let mut program = programs::REFERENCE.to_vec();
    if kind == "big" {
        // Its root is on disk.
        program.resize(17 << 20, 0);
    }
    let subject = Subject::of_program("pause", program.into(), Platform::host());
    let launch = Launch {
        rootfs: &subject.rootfs,
        program: subject.program.as_ref().map_err(ToString::to_string)?,
    };
    let mut sandbox = engine
        .start(&launch, &spec(kind))
        .map_err(|error| error.to_string())?;
    if kind == "late" {
        sandbox.release().map_err(|error| error.to_string())?;
    }
    let probe = sandbox.enter(&Join::default()).map_err(words)?;
    probe.who().map_err(words)?;
    drop(probe);
    sandbox.signal(conformance::signal::KILL).map_err(words)?;
    if !wait::readable(sandbox.pidfd(), HANGS).map_err(words)? {
        return Err("it does not end".to_owned());
    }
    match sandbox.try_wait().map_err(words)? {
        Some(_) => Ok(()),
        None => Err("it has no status".to_owned()),
    }
}

fn open_descriptors() -> BTreeSet<String> {
    let open = fs::read_dir("/proc/self/fd").expect("/proc").flatten();
    open.map(|entry| {
        let target = fs::read_link(entry.path()).unwrap_or_default();
        format!("{} {}", entry.file_name().display(), target.display())
    })
    // That of the listing itself.
    .filter(|line| !line.contains("/fd"))
    .collect()
}

/// The process whose calls fail. It exits 0 on success, 2 after an error line, 3 after a list of
/// descriptors left open or children left unreaped.
fn subject(kind: &str) -> ExitCode {
    inherited::settle().expect("its signals");
    rustix::thread::set_no_new_privs(true).expect("it may always");
    // The lowest number that is free.
    let number = fs::File::open("/dev/null").expect("it is there");
    println!("{}", std::os::fd::AsRawFd::as_raw_fd(&number));
    drop(number);
    // The answering thread has its copy by then.
    drop(supervise::supervise().expect("Linux 5.5"));
    let before = open_descriptors();
    let _ = rustix::process::getppid();
    let made = make(kind);
    let _ = rustix::process::getppid();
    let after = open_descriptors();
    let left: Vec<_> = after.difference(&before).collect();
    let child = waitpid(None, Some(WaitPidFlag::WNOHANG));
    if !left.is_empty() || child != Err(Errno::ECHILD) {
        eprintln!("left {left:?}, child {child:?}, after {made:?}");
        return ExitCode::from(3);
    }
    match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// The call that fails, and its error.
#[derive(Clone, Copy, Debug)]
struct Fault {
    number: Sysno,
    /// Which occurrence of it fails, from 0.
    occurrence: usize,
    errno: Errno,
}

/// The result of a run.
#[derive(Debug)]
struct Made {
    status: Option<i32>,
    said: String,
    /// How often each call that may fail was made.
    calls: BTreeMap<Sysno, usize>,
    failed: bool,
}

/// Makes sandboxes while one call fails. Returns the result, or an error if something is left
/// behind.
fn run(kind: &str, fault: Option<Fault>) -> Result<Made, String> {
    let (mounts, cgroups) = (mounts(), Cgroups::now());
    let mut child = Command::new(std::env::current_exe().expect("its path"))
        .env(MAKE, kind)
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let pid = Pid::from_child(&child);
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("our child");
    let mut said = child.stdout.take().expect("piped");
    let mut line = String::new();
    BufReader::new(&mut said)
        .read_line(&mut line)
        .expect("it says a number");
    let listener = listener(&pidfd, line.trim().parse().expect("a number"));
    let began = Instant::now();
    let answered = answer(&listener, pid, fault, began);
    let ended = wait::readable(pidfd.as_fd(), GONE).expect("it can be polled");
    if answered.is_err() || !ended {
        let _ = child.kill();
        // A process left behind would spin, since no one answers its calls any more.
        let until = Instant::now() + GONE;
        while Instant::now() < until
            && let Ok(Some(call)) = supervise::next_call(&listener, GONE)
        {
            let _ = supervise::answer(&listener, call, None);
        }
    }
    drop(listener);
    let status = child.wait().expect("our child").code();
    let (calls, failed) = answered?;
    let mut said = String::new();
    let stderr = child.stderr.as_mut().expect("piped");
    stderr.read_to_string(&mut said).expect("UTF-8");
    let left = left_behind(pid, &cgroups);
    for pid in children() {
        // It is no other trial's.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    if !left.is_empty() {
        return Err(format!("it left {left:?}; {status:?}, {said}"));
    }
    let new: Vec<_> = self::mounts().difference(&mounts).cloned().collect();
    if !new.is_empty() {
        return Err(format!("it left the mounts {new:?}"));
    }
    Ok(Made {
        status,
        said,
        calls,
        failed,
    })
}

/// The listener of the child's system calls, once it exists.
fn listener(pidfd: &OwnedFd, number: i32) -> OwnedFd {
    let deadline = Instant::now() + HANGS;
    loop {
        match pidfd_getfd(pidfd, number, PidfdGetfdFlags::empty()) {
            // Until then it may be what showed the number to be free.
            Ok(listener) if is_listener(&listener) => return listener,
            other => assert!(Instant::now() < deadline, "no listener: {other:?}"),
        }
        let ended = wait::readable(pidfd.as_fd(), Duration::from_millis(1));
        assert!(!ended.expect("it can be polled"), "it ended before");
    }
}

fn is_listener(fd: &OwnedFd) -> bool {
    let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(fd));
    fs::read_link(link).is_ok_and(|target| target.to_string_lossy().contains("seccomp"))
}

/// Answers all calls. Returns the counts of those that may fail, and whether the chosen one failed.
fn answer(
    listener: &OwnedFd,
    suite: Pid,
    fault: Option<Fault>,
    began: Instant,
) -> Result<(BTreeMap<Sysno, usize>, bool), String> {
    let mut calls = BTreeMap::<Sysno, usize>::new();
    let mut failed = false;
    let mut marks = 0;
    // Processes that are no longer of the suite.
    let mut executed = BTreeSet::new();
    let words = |error: std::io::Error| error.to_string();
    while let Some(call) = supervise::next_call(listener, HANGS).map_err(words)? {
        if began.elapsed() > HANGS {
            return Err("it hangs".to_owned());
        }
        let number = Sysno::new(usize::try_from(call.number).unwrap_or(usize::MAX));
        let suites = call.pid == suite.as_raw_pid();
        let mut errno = None;
        if let Some(number) = number {
            if number == Sysno::getppid && suites {
                marks += 1;
            }
            if marks == 1 && !executed.contains(&call.pid) && !LET_BE.contains(&number) {
                let occurrence = calls.entry(number).or_default();
                errno = fault
                    .filter(|it| it.number == number && it.occurrence == *occurrence)
                    .map(|it| it.errno as i32);
                *occurrence += 1;
                failed |= errno.is_some();
            }
            if [Sysno::execve, Sysno::execveat].contains(&number) && errno.is_none() {
                executed.insert(call.pid);
            }
        }
        supervise::answer(listener, call, errno).map_err(words)?;
    }
    Ok((calls, failed))
}

/// Processes that the suite left behind and that do not end in time, and its cgroups.
fn left_behind(suite: Pid, before: &Cgroups) -> Vec<String> {
    let deadline = Instant::now() + GONE;
    loop {
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            if status == nix::sys::wait::WaitStatus::StillAlive {
                break;
            }
        }
        let mut left: Vec<_> = children().map(name).collect();
        let groups = before.left_by(suite.as_raw_pid());
        left.extend(groups.iter().map(|group| group.display().to_string()));
        if left.is_empty() || Instant::now() > deadline {
            return left;
        }
        wait::any_readable(&[], Duration::from_millis(5)).expect("it can be waited");
    }
}

fn children() -> impl Iterator<Item = Pid> {
    let path = format!("/proc/self/task/{}/children", std::process::id());
    let children = fs::read_to_string(path).unwrap_or_default();
    let pids = children.split_whitespace().map(str::parse);
    let pids: Vec<_> = pids.flatten().filter_map(Pid::from_raw).collect();
    pids.into_iter()
}

fn name(pid: Pid) -> String {
    let path = format!("/proc/{}/stat", pid.as_raw_pid());
    let stat = fs::read_to_string(path).unwrap_or_default();
    stat.split(')').next().unwrap_or_default().to_owned()
}

fn mounts() -> BTreeSet<String> {
    let lines = fs::read_to_string("/proc/self/mountinfo").expect("/proc");
    lines.lines().map(str::to_owned).collect()
}

/// What is wrong with the result of a fault, if anything.
fn judge(kind: &str, fault: Fault) -> Result<bool, String> {
    let made = run(kind, Some(fault))?;
    match (made.status, made.said.lines().count()) {
        (Some(0), 0) => Ok(made.failed),
        (Some(2), 1) if made.failed => Ok(true),
        (status, _) => Err(format!("status {status:?}: {}", made.said)),
    }
}

fn faults(calls: &BTreeMap<Sysno, usize>) -> impl Iterator<Item = Fault> {
    let each = calls
        .iter()
        .flat_map(|(number, count)| (0..*count).map(|occurrence| (*number, occurrence)));
    let each = each.flat_map(|(number, occurrence)| {
        ERRORS.map(|errno| Fault {
            number,
            occurrence,
            errno,
        })
    });
    each.filter(can_be)
}

/// Whether the call can fail with this error: poll(2) opens no descriptor and needs no permission.
fn can_be(fault: &Fault) -> bool {
    ![Sysno::poll, Sysno::ppoll].contains(&fault.number)
        || [Errno::EAGAIN, Errno::ENOMEM].contains(&fault.errno)
}

/// Whether it is the first trial of its call.
fn is_first(fault: &Fault) -> bool {
    fault.occurrence == 0 && fault.errno == ERRORS[0]
}

fn trial(kind: &'static str, step: usize, call: Option<&str>) -> Result<(), Failed> {
    let whole = run(kind, None)?;
    if whole.status != Some(0) {
        return Err(format!("without a fault: {:?} {}", whole.status, whole.said).into());
    }
    let places: usize = whole.calls.values().sum();
    let (mut tried, mut met, mut wrong) = (0, 0, Vec::new());
    let wanted = |fault: &Fault| {
        let (name, number) = (fault.number.name(), fault.occurrence);
        call.is_none_or(|call| call == name || call == format!("{name}:{number}"))
    };
    let sampled = faults(&whole.calls).filter(wanted).enumerate();
    let plain = kind == "plain";
    let sampled = sampled.filter(|(at, fault)| at % step == 0 || plain && is_first(fault));
    for (_, fault) in sampled {
        tried += 1;
        match judge(kind, fault) {
            Ok(failed) => met += usize::from(failed),
            Err(what) => {
                let line = format!("{fault:?}: {what}");
                let _ = writeln!(std::io::stderr(), "{line}");
                wrong.push(line);
            }
        }
    }
    let mut stderr = std::io::stderr();
    let _ = writeln!(
        stderr,
        "{kind}: {} calls at {places} places x {} errors; {tried} tried, {met} met",
        whole.calls.len(),
        ERRORS.len(),
    );
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("\n").into())
    }
}

fn main() -> ExitCode {
    if let Ok(kind) = std::env::var(MAKE) {
        return subject(&kind);
    }
    let mut arguments = Arguments::from_args();
    // Orphans of a suite become children of this process.
    nix::sys::prctl::set_child_subreaper(true).expect("prctl");
    arguments.test_threads = Some(1);
    let wanted = std::env::var("PAUSE_CONFORMANCE_FAULTS").ok();
    let all = wanted.is_some();
    let call = wanted.filter(|wanted| wanted != "all");
    let trials = ["plain", "limited", "node", "late", "big"].map(|kind| {
        let step = match (all, kind) {
            (true, _) => 1,
            (false, "plain") => SAMPLE,
            (false, _) => 4 * SAMPLE - 1,
        };
        let call = call.clone();
        Trial::test(
            format!("a_call_fails_while_a_{kind}_sandbox_is_made"),
            move || trial(kind, step, call.as_deref()),
        )
    });
    libtest_mimic::run(&arguments, trials.into()).exit_code()
}
