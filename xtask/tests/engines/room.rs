//! A room for a container engine: namespaces with which everything ends that it starts, and
//! everything vanishes that it writes outside of its folder.
//!
//! The suite's table of hosts has its containers in such rooms too.
#![allow(dead_code, reason = "each test uses a part")]

#[path = "../../../conformance/tests/common/script.rs"]
mod script;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io::{BufRead as _, BufReader};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

/// Folders that container engines of this age write to whatever their options; the room covers them
/// with empty ones.
const COVERED: [&str; 3] = ["/run", "/var/lib", "/etc/docker"];

/// The cgroup, in every hierarchy, below which podman has its containers by default.
const OF_PODMAN: &str = "libpod_parent";

/// Mount, pid and network namespaces. A shell holds them, and ends when its standard input is
/// closed, at the latest with this test. As process 1 it reaps what others leave: an engine cannot
/// remove a container before its last member is reaped.
pub(crate) struct Room {
    holder: Child,
    /// The shell, which is process 1 of the room.
    init: Pid,
    init_fd: OwnedFd,
    folder: TempDir,
    /// The cgroup of the room's containers, in every hierarchy.
    cgroup: String,
    /// Podman's own, in the hierarchies that had none: podman leaves it, empty.
    of_podman: Vec<PathBuf>,
}

impl Room {
    /// Opens a room, which needs root.
    pub(crate) fn open() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let covers = COVERED
            .iter()
            .filter(|folder| Path::new(folder).exists())
            .map(|folder| format!("mount -t tmpfs none {folder}; "));
        let script = format!(
            "set -e; {} ip link set lo up; exec 3<&0; cat <&3 >&2 & echo open; wait",
            covers.collect::<String>()
        );
        let mut holder = Command::new("unshare")
            .args([
                "--mount",
                "--pid",
                "--net",
                "--fork",
                "--kill-child",
                "--mount-proc",
            ])
            .args(["sh", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("util-linux is installed");
        let mut line = String::new();
        BufReader::new(holder.stdout.take().expect("a pipe"))
            .read_line(&mut line)
            .expect("it says that it is there");
        assert_eq!(line, "open\n", "the room was not furnished");
        let children = format!("/proc/{0}/task/{0}/children", holder.id());
        let init = std::fs::read_to_string(children).expect("the holder is there");
        let init = init
            .trim()
            .parse()
            .ok()
            .and_then(Pid::from_raw)
            .expect("one child");
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self {
            holder,
            init,
            init_fd: pidfd_open(init, PidfdFlags::empty()).expect("the shell is there"),
            folder: TempDir::new().expect("a temporary folder"),
            cgroup: format!("/pause-engines-{}-{number}", std::process::id()),
            of_podman: hierarchies()
                .into_iter()
                .map(|root| root.join(OF_PODMAN))
                .filter(|path| !path.exists())
                .collect(),
        }
    }

    /// A command that runs `program` in the room.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--mount", "--pid", "--net", "--target"])
            .arg(self.init.as_raw_nonzero().to_string())
            .args(["--", program])
            .stdin(Stdio::null())
            .env("HOME", self.folder.path());
        command
    }

    /// Runs `program`, which must succeed. Returns what it prints.
    pub(crate) fn run(&self, program: &str, args: &[&str]) -> String {
        text(self.command(program).args(args))
    }

    /// Starts a daemon, with its output in a file of the room.
    pub(crate) fn daemon(&self, program: &str, args: &[&str]) -> Daemon {
        let log = self.path(&format!("{program}.log"));
        let file = std::fs::File::create(&log).expect("a file for the log");
        let process = self
            .command(program)
            .args(args)
            .stdout(file.try_clone().expect("one more descriptor"))
            .stderr(file)
            .spawn()
            .expect("it starts");
        Daemon { process, log }
    }

    /// A path in the room's folder, which is removed with the room.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same, and writes this text to the file.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    }

    /// A folder for what an engine keeps, which is gone with the room and seen from inside alone: in
    /// memory, for a disk is slow to make and remove thousands of files again and again.
    pub(crate) fn kept(engine: &str) -> PathBuf {
        Path::new("/var/lib").join(engine)
    }

    /// A folder in which `name` is a program that runs this command, for those outside.
    pub(crate) fn program(&self, name: &str, command: &Command) -> PathBuf {
        let quoted = |word: &std::ffi::OsStr| {
            let word = word.to_str().expect("text");
            format!("'{}'", word.replace('\'', r"'\''"))
        };
        let set = command.get_envs().map(|(key, value)| {
            let mut pair = key.to_owned();
            pair.push("=");
            pair.push(value.unwrap_or_default());
            pair
        });
        let typed = [command.get_program()]
            .into_iter()
            .chain(command.get_args());
        let words: Vec<String> = set
            .chain(typed.map(ToOwned::to_owned))
            .map(|word| quoted(&word))
            .collect();
        let script = format!("#!/bin/sh\nexec env {} \"$@\"\n", words.join(" "));
        let folder = self.path("programs");
        std::fs::create_dir_all(&folder).expect("a folder");
        script::write(&folder.join(name), &script);
        folder
    }

    /// The cgroup for the room's containers, from the root of a hierarchy.
    pub(crate) fn cgroup(&self) -> &str {
        &self.cgroup
    }

    /// A file of `/proc` of process `pid` of the room.
    pub(crate) fn proc(&self, pid: &str, name: &str) -> String {
        self.run("cat", &[&format!("/proc/{pid}/{name}")])
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // Its end is that of the first process, and so of all processes in the room.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        let gone = PollFd::new(&self.init_fd, PollFlags::IN);
        let _ = poll(&mut [gone], None);
        for root in hierarchies() {
            remove_cgroup(&root.join(self.cgroup.trim_start_matches('/')));
        }
        for path in &self.of_podman {
            // Of another podman's, what is in use stays.
            let _ = std::fs::remove_dir(path.join("conmon"));
            let _ = std::fs::remove_dir(path);
        }
    }
}

/// The roots of the cgroup hierarchies: one of version 2, or those of version 1.
pub(crate) fn hierarchies() -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let mut roots = vec![root.to_owned()];
    let entries = std::fs::read_dir(root).expect("cgroups are mounted");
    roots.extend(entries.map(|entry| entry.expect("an entry").path()));
    roots
}

/// Removes a cgroup and those below it, none of which has a member any more.
fn remove_cgroup(path: &Path) {
    let Ok(entries) = std::fs::read_dir(path) else {
        return;
    };
    for entry in entries.flatten().map(|entry| entry.path()) {
        if entry.is_dir() {
            remove_cgroup(&entry);
        }
    }
    let removed = std::fs::remove_dir(path);
    if !std::thread::panicking() {
        removed.expect("an empty cgroup");
    }
}

/// A server in a room.
pub(crate) struct Daemon {
    process: Child,
    log: PathBuf,
}

impl Daemon {
    /// Waits until it answers this `curl`, which retries, or ends.
    pub(crate) fn answers(&self, curl: &mut Command) {
        let retry = ["--retry", "240", "--retry-delay", "1", "--retry-all-errors"];
        let curl = curl
            .args(["--fail", "--silent", "--show-error"])
            .args(retry)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut curl = curl.spawn().expect("it starts");
        let handles = [&self.process, &curl].map(|it| {
            let pid = Pid::from_child(it);
            pidfd_open(pid, PidfdFlags::empty()).expect("it was not waited for")
        });
        let mut polled = handles.each_ref().map(|it| PollFd::new(it, PollFlags::IN));
        retry_on_intr(|| poll(&mut polled, None)).expect("polled");
        if !polled[0].revents().is_empty() {
            let _ = curl.kill();
        }
        let output = curl.wait_with_output().expect("its output");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{complaint}{}", self.log());
    }

    /// The end of its output.
    fn log(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // `nsenter` waits for the daemon, which ends at the latest with the room.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// Runs `command`, which must succeed.
pub(crate) fn succeeds(command: &mut Command) -> Output {
    let output = command.output().expect("it starts");
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout)
    );
    output
}

/// The output of `command`, without its last line end.
pub(crate) fn text(command: &mut Command) -> String {
    let text = String::from_utf8(succeeds(command).stdout).expect("text");
    text.trim_end().to_owned()
}

/// What a command lists; its error where it fails, as podman does while an image goes: then something
/// is left.
pub(crate) fn listed(command: &mut Command) -> String {
    let output = command.output().expect("it starts");
    let text = if output.status.success() {
        output.stdout
    } else {
        output.stderr
    };
    String::from_utf8_lossy(&text).trim_end().to_owned()
}
