//! The suite with sandboxes that OCI runtimes make, and containerd by the Container Runtime
//! Interface: the reference is conformant, each kind of fault is found by the check that is for it,
//! and nothing is left where the suite is killed.
//!
//! Each runs in a mount namespace in which cgroups are of version 1 alone where the host has both:
//! crun refuses hosts with both.

#[path = "common/through.rs"]
mod through;

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use conformance::programs::REFERENCE;
use conformance::wait;
use libtest_mimic::{Arguments, Failed, Trial};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::process::{Pid, PidfdFlags, WaitOptions, pidfd_open};
use serde_json::Value;
use through::{FAULTS, Faults, Program, is_installed, moments, report, said, with_verdict};

/// As `--runtime` has it, and the program that must be there.
const RUNTIMES: [(&str, &str); 4] = [
    ("runc", "runc"),
    ("crun", "crun"),
    (YOUKI, "youki"),
    (CRI, "containerd"),
];
/// No distribution packages it: the long form builds it.
const YOUKI: &str = "youki";
const CRI: &str = "cri";

/// Checks that the interface has no way to provoke, and the one of a stop: containerd kills.
const NOT_BY_CRI: [&str; 3] = [
    "namespaces/teardown",
    "output/quiet",
    "engine/stop-is-clean",
];

/// In the first part of a run it prepares, and judges.
const PART: Duration = Duration::from_secs(2);
/// Within this everything must be gone, also on a machine that is busy.
const SOON: Duration = Duration::from_mins(1);

/// Has one hierarchy of cgroups for each controller where there is one of version 2 besides.
const SCRIPT: &str = "if [ -d /sys/fs/cgroup/unified ]; then \
    mount -t tmpfs none /sys/fs/cgroup/unified || exit 125; fi; exec \"$@\"";

fn suite(arguments: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", SCRIPT, "sh"])
        .arg(env!("CARGO_BIN_EXE_pause-conformance"))
        .args(arguments)
        .stdin(Stdio::null());
    command
}

fn conformant(runtime: &str) -> Result<(), Failed> {
    let program = Program::of(REFERENCE);
    let image = program.image();
    let arguments = ["--image", &image, "--runtime", "embedded", "--runtime"];
    let arguments = [&arguments[..], &[runtime, "--report", "json"]].concat();
    let output = suite(&arguments).output()?;
    let report = report(&output)?;
    let [own, through] = report["runs"].as_array().expect("runs").as_slice() else {
        return Err("not one run each".into());
    };
    let name = through["runtime"].as_str().unwrap_or_default();
    assert!(name.starts_with(&format!("{runtime} ")), "{name}");
    for run in [own, through] {
        let wrong = through::complaints(run);
        if !wrong.is_empty() {
            return Err(format!("{}: {wrong}", run["runtime"]).into());
        }
    }
    // What runs nothing is judged once.
    let ids = |run: &Value| with_verdict(run, &["pass", "skipped"]);
    let of_files = |run| ids(run).iter().any(|id| id.starts_with("image/"));
    assert!(of_files(own) && !of_files(through));
    let passed = with_verdict(through, &["pass"]);
    let of_engines = passed.iter().filter(|id| id.starts_with("engine/"));
    // The interface names no program: it is the image's. And containerd kills what it stops.
    let made = if runtime == CRI { 4 } else { 6 };
    assert_eq!(of_engines.count(), made, "{through:#}");
    if runtime == CRI {
        is_shown(through);
    }
    // The interface has no words for much that an OCI runtime is asked.
    let least = if runtime == CRI { 55 } else { 60 };
    assert!(passed.len() > least, "{} passed through it", passed.len());
    assert_eq!(output.status.code(), Some(0));
    Ok(())
}

/// A sandbox is shown as the runtime's own tools show it.
fn is_shown(run: &Value) {
    let facts = run["engine_facts"].as_array().expect("facts");
    let facts: Vec<_> = facts.iter().filter_map(Value::as_str).collect();
    for part in [
        "killed by SIGKILL (9) when the pod is stopped",
        "crictl pods: ",
        "SANDBOX_READY",
        "crictl inspectp: image localhost/pause-conformance:subject, pid ",
        "namespaces network POD, pid POD, ipc POD",
        "crictl inspectp: made with namespaces pid, ipc, ",
        "crictl ps: ",
        "image localhost/pause-conformance:member CONTAINER_RUNNING member-",
        // A kubelet numbers the containers that it starts for one another.
        " attempt 1 of pod ",
    ] {
        assert!(facts.iter().any(|fact| fact.contains(part)), "{facts:?}");
    }
}

fn finds(runtime: &str, faults: Faults) -> Result<(), Failed> {
    let unprovoked: &[_] = if runtime == CRI { &NOT_BY_CRI } else { &[] };
    through::finds(faults, unprovoked, |arguments| {
        let through = ["--runtime", runtime, "--report", "json"];
        let output = suite(&[arguments, &through].concat()).output()?;
        Ok((report(&output)?, output))
    })
}

/// What there is of a suite: the cgroups of its run, and what is in them.
fn left_of(suite: u32) -> Vec<PathBuf> {
    let name = format!("pause-conformance-run-{suite}-");
    let root = Path::new("/sys/fs/cgroup");
    let below = fs::read_dir(root).into_iter().flatten().flatten();
    let hierarchies = below.map(|entry| entry.path()).chain([root.to_owned()]);
    let directories = hierarchies.filter_map(|hierarchy| fs::read_dir(hierarchy).ok());
    let entries = directories.flatten().flatten().map(|entry| entry.path());
    entries
        .filter(|path| {
            let file = path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned());
            file.is_some_and(|file| file.starts_with(&name))
        })
        .collect()
}

/// Each image has a containerd of its own, which ends with the run of the image.
fn runs_one_daemon_at_a_time() -> Result<(), Failed> {
    let programs = [(); 3].map(|()| Program::of(REFERENCE));
    let images = programs.each_ref().map(Program::image);
    let images = images.iter().flat_map(|image| ["--image", image.as_str()]);
    let through = ["--runtime", CRI, "--filter", "signals/term-exits-zero"];
    let arguments: Vec<_> = images.chain(through).collect();
    let mut child = suite(&arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let mut seen = BTreeSet::new();
    let mut most = 0;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        let is_daemon = |pid: &Pid| {
            // One that is asked for its version is none.
            let words = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero()));
            words.is_ok_and(|words| words.ends_with(b"/config.toml\0"))
        };
        let daemons = children_of(Pid::from_child(&child));
        let daemons: Vec<_> = daemons.into_iter().filter(is_daemon).collect();
        most = most.max(daemons.len());
        seen.extend(daemons.into_iter().map(Pid::as_raw_nonzero));
        std::thread::yield_now();
    };
    assert_eq!(status.code(), Some(0));
    // One for the trial besides.
    assert_eq!((most, seen.len()), (1, 4), "at a time, and in all");
    Ok(())
}

fn leaves_nothing(runtime: &str) -> Result<(), Failed> {
    let program = Program::of(REFERENCE);
    let image = program.image();
    let mut had_any = false;
    for moment in moments(PART) {
        let mut command = suite(&["--image", &image, "--runtime", runtime, "--report", "json"]);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let pid = Pid::from_child(&child);
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        let _ = wait::readable(pidfd.as_fd(), moment)?;
        had_any |= !left_of(child.id()).is_empty();
        kill(&mut child).map_err(|left| format!("after a kill at {moment:?}: {left}"))?;
    }
    assert!(had_any, "there was nothing to remove at any moment");
    Ok(())
}

/// Kills a suite, and waits for what goes with it; an error says what does not.
fn kill(suite: &mut Child) -> Result<(), String> {
    let words = |error: std::io::Error| error.to_string();
    suite.kill().map_err(words)?;
    suite.wait().map_err(words)?;
    // The last of them is the leash, which removes the cgroups before it ends.
    let deadline = Instant::now() + SOON;
    loop {
        let orphans = children();
        if orphans.is_empty() {
            break;
        }
        let pidfds = orphans
            .iter()
            .map(|pid| pidfd_open(*pid, PidfdFlags::empty()));
        let pidfds: Result<Vec<_>, _> = pidfds.collect();
        let pidfds = pidfds.map_err(|error| words(error.into()))?;
        let fds: Vec<_> = pidfds.iter().map(|pidfd| pidfd.as_fd()).collect();
        let time = deadline.saturating_duration_since(Instant::now());
        // Process 1 of a pid namespace ends when all others in it have been waited for.
        let Some(first) = wait::any_readable(&fds, time).map_err(words)? else {
            return Err(format!("{orphans:?} run after {SOON:?}"));
        };
        rustix::process::waitpid(Some(orphans[first]), WaitOptions::NOHANG)
            .map_err(|error| words(error.into()))?;
    }
    match left_of(suite.id()) {
        left if left.is_empty() => Ok(()),
        left => Err(format!("left: {left:?}")),
    }
}

/// A runtime has processes of its own before it has made a container.
fn what_a_runtime_has_started_ends() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let (runtime, begun) = (folder.path().join("runc"), folder.path().join("begun"));
    let (mode, none) = (Mode::from_raw_mode(0o600), 0);
    mknodat(CWD, &begun, FileType::Fifo, mode, none)?;
    // Longer than it is waited for.
    let script = format!(
        "#!/bin/sh\ncase \" $* \" in *' create '*)\nsleep {} &\necho > {}\nwait\nesac\nexec runc \"$@\"\n",
        SOON.as_secs() * 2,
        begun.display()
    );
    fs::write(&runtime, script)?;
    fs::set_permissions(&runtime, fs::Permissions::from_mode(0o755))?;
    let begins = rustix::fs::open(&begun, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?;
    let program = Program::of(REFERENCE);
    let runtime = format!("runc={}", runtime.display());
    let mut command = suite(&["--image", &program.image(), "--runtime", &runtime]);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let has_begun = wait::readable(begins.as_fd(), SOON)?;
    kill(&mut child)?;
    assert!(has_begun, "no container was to be made");
    Ok(())
}

/// What this process is to wait for: what it has started, and orphans of that.
fn children() -> Vec<Pid> {
    children_of(rustix::process::getpid())
}

fn children_of(process: Pid) -> Vec<Pid> {
    let threads = fs::read_dir(format!("/proc/{}/task", process.as_raw_nonzero()));
    let threads = threads.into_iter().flatten();
    let lists = threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let ids: Vec<_> = lists
        .flat_map(|list| {
            let ids = list.split_whitespace().map(str::to_owned);
            ids.collect::<Vec<_>>()
        })
        .collect();
    ids.into_iter()
        .filter_map(|id| id.parse().ok().and_then(Pid::from_raw))
        .collect()
}

fn says_what_is_missing() -> Result<(), Failed> {
    let program = Program::of(REFERENCE);
    let image = program.image();
    let output = suite(&["--image", &image, "--runtime", "runc=/nonexistent/runc"]).output()?;
    let said = said(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    let first = said.lines().next().unwrap_or_default();
    assert!(
        first.contains("--runtime runc: /nonexistent/runc: "),
        "{said}"
    );
    assert!(said.contains("hint: install runc"), "{said}");
    Ok(())
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // What a suite leaves becomes a child of this process.
    nix::sys::prctl::set_child_subreaper(true).expect("prctl");
    // Each run takes all processors.
    arguments.test_threads.get_or_insert(1);
    let is_root = rustix::process::geteuid().is_root();
    let in_ci = std::env::var_os("CI").is_some();
    let mut trials = vec![
        Trial::test("a_missing_runtime_is_named", says_what_is_missing).with_ignored_flag(!is_root),
    ];
    for (runtime, program) in RUNTIMES {
        if runtime == CRI && !cfg!(feature = "cri") {
            continue;
        }
        // Where all is installed that tests need, nothing is left out.
        let must_be_there = in_ci && runtime != YOUKI;
        let ignored = !is_root || !(must_be_there || is_installed(program));
        let mut add = |name: String, run: Box<dyn FnOnce() -> Result<(), Failed> + Send>| {
            trials.push(Trial::test(format!("{runtime}_{name}"), run).with_ignored_flag(ignored));
        };
        add(
            "runs_the_reference".to_owned(),
            Box::new(move || conformant(runtime)),
        );
        for (family, faults) in FAULTS {
            let found = move || finds(runtime, faults);
            add(format!("finds_faults_of_{family}"), Box::new(found));
        }
        if runtime == "runc" {
            let run = Box::new(what_a_runtime_has_started_ends);
            add("leaves_nothing_of_an_order".to_owned(), run);
        }
        if runtime == CRI {
            let run = Box::new(runs_one_daemon_at_a_time);
            add("runs_one_daemon_at_a_time".to_owned(), run);
        }
        add(
            "leaves_nothing".to_owned(),
            Box::new(move || leaves_nothing(runtime)),
        );
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}
