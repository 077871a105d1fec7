//! **SIGTERM, SIGINT and SIGHUP end the suite within a second, whatever it does**: it may be reading,
//! judging or writing. A report that can be written is written, and states that it is partial.

#[path = "common/busy.rs"]
mod busy;

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use conformance::programs::REFERENCE;
use conformance::wait::readable;
use rstest::rstest;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use rustix::pty::OpenptFlags;
use serde_json::Value;

/// How long the suite may take to end, on an idle machine.
const SOON: Duration = Duration::from_secs(1);
/// A suite that still runs after this time does not end by itself.
const STUCK: Duration = Duration::from_millis(300);

/// A suite in a temporary folder.
struct Suite {
    folder: tempfile::TempDir,
}

impl Suite {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("pause"), REFERENCE).expect("written");
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn fifo(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("made");
        path
    }

    /// A command that runs it, with its output in files of the folder.
    fn command(&self) -> Command {
        // What the tests are started with may ignore SIGHUP, and the suite would leave it so.
        let mut command = Command::new("env");
        command
            .arg("--default-signal=HUP")
            .arg(env!("CARGO_BIN_EXE_pause-conformance"));
        let file = |name: &str| fs::File::create(self.path(name)).expect("a file");
        command
            .current_dir(self.folder.path())
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"));
        command
    }

    /// The same, to judge the reference by these checks, with a JSON report.
    fn judging(&self, filter: &str) -> Command {
        let mut command = self.command();
        let options = ["--image", "binary:pause", "--report", "json"];
        command.args(options).args(["--filter", filter]);
        command
    }

    fn said(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("it was made")
    }

    /// Waits until it runs checks, and asserts that it then does not end: a report is not read.
    fn is_stuck(&self, child: &Child) {
        while !self.said("stderr").contains("checks") {
            assert!(!ended_within(child, STUCK / 10), "it ended at once");
        }
        assert!(!ended_within(child, STUCK), "it ended");
    }
}

fn ended_within(child: &Child, time: Duration) -> bool {
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).expect("our child");
    readable(pidfd.as_fd(), time).expect("it can be polled")
}

/// Sends the signal. Returns the status with which it ends in time.
fn interrupt(child: &mut Child, signal: Signal) -> Option<i32> {
    let began = Instant::now();
    kill_process(Pid::from_child(child), signal).expect("our child");
    let ended = ended_within(child, 20 * SOON);
    let took = began.elapsed();
    if !ended {
        let _ = child.kill();
    }
    let status = child.wait().expect("our child").code();
    let soon = SOON.mul_f64(busy::factor());
    assert!(ended && took < soon, "{signal:?} took {took:.1?}");
    status
}

/// A full pipe: its read end, which nobody reads, and its write end.
fn full_pipe() -> (OwnedFd, OwnedFd) {
    let (read, write) = rustix::pipe::pipe().expect("a pipe");
    rustix::io::ioctl_fionbio(&write, true).expect("it is ours");
    while rustix::io::write(&write, &[b'x'; 4096]).is_ok() {}
    rustix::io::ioctl_fionbio(&write, false).expect("it is ours");
    (read, write)
}

fn writable(fd: &OwnedFd, within: Duration) -> bool {
    let mut polled = [PollFd::new(fd, PollFlags::OUT)];
    let within = Timespec::try_from(within).expect("it is short");
    rustix::event::poll(&mut polled, Some(&within)).expect("it can be polled") > 0
}

/// The master and slave of a pseudoterminal.
fn terminal() -> (OwnedFd, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let reader = rustix::pty::openpt(flags).expect("a terminal");
    rustix::pty::grantpt(&reader).expect("it is ours");
    rustix::pty::unlockpt(&reader).expect("it is ours");
    let path = rustix::pty::ptsname(&reader, Vec::new()).expect("it has a name");
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let terminal = rustix::fs::open(&path, flags, Mode::empty()).expect("it is ours");
    (reader, terminal)
}

/// The same with a full buffer that nobody reads.
fn full_terminal() -> (OwnedFd, OwnedFd) {
    let (reader, terminal) = terminal();
    rustix::io::ioctl_fionbio(&terminal, true).expect("it is ours");
    // The kernel moves the first bytes on once, and has room again.
    while writable(&terminal, STUCK / 3) {
        while rustix::io::write(&terminal, &[b'x'; 4096]).is_ok() {}
    }
    rustix::io::ioctl_fionbio(&terminal, false).expect("it is ours");
    (reader, terminal)
}

/// All that a reader gets from the terminal at the end.
fn shown(reader: &OwnedFd) -> String {
    let mut shown = Vec::new();
    let mut part = [0; 4096];
    while readable(reader.as_fd(), STUCK).expect("it can be polled")
        && let Ok(length @ 1..) = rustix::io::read(reader, &mut part)
    {
        shown.extend_from_slice(&part[..length]);
    }
    String::from_utf8_lossy(&shown).into_owned()
}

fn is_whole(report: &Path) -> Value {
    let report = fs::read(report).expect("it is there");
    serde_json::from_slice(&report).expect("a whole report")
}

fn is_partial(report: &Path) {
    let report = is_whole(report);
    assert_eq!(report["interrupted"], true);
    assert_eq!(report["conclusion"], "not-judged");
}

#[rstest]
fn it_ends_where_it_waits_for_an_image_that_is_a_pipe(
    #[values(Signal::INT, Signal::TERM, Signal::HUP)] signal: Signal,
    #[values("docker-archive", "oci-archive", "binary")] transport: &str,
) {
    let suite = Suite::new();
    let fifo = suite.fifo("image");
    let image = format!("{transport}:{}", fifo.display());
    let child = suite.command().args(["--image", &image]).spawn();
    let mut child = child.expect("it starts");
    // The reader of the image may refuse a pipe instead.
    if !ended_within(&child, STUCK) {
        assert_eq!(interrupt(&mut child, signal), Some(2));
        assert_eq!(suite.said("stderr").lines().count(), 1);
    }
    assert_eq!(child.wait().expect("our child").code(), Some(2));
}

#[rstest]
fn it_ends_where_a_registry_says_nothing(
    #[values(Signal::INT, Signal::TERM, Signal::HUP)] signal: Signal,
) {
    let suite = Suite::new();
    let registry = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = registry.local_addr().expect("an address");
    let image = format!("docker://{address}/pause:1");
    let child = suite.command().args(["--image", &image]).spawn();
    let mut child = child.expect("it starts");
    let (mut stream, _) = registry.accept().expect("it connects");
    assert!(stream.read(&mut [0; 64]).expect("it asks") > 0);
    assert_eq!(interrupt(&mut child, signal), Some(2));
    assert!(suite.said("stderr").contains("interrupted"));
}

#[rstest]
fn it_ends_where_nobody_reads_one_report_and_writes_the_other(
    #[values(Signal::INT, Signal::TERM, Signal::HUP)] signal: Signal,
    #[values(
        "human", "json", "tap", "markdown", "html", "junit", "github", "gitlab", "sarif"
    )]
    format: &str,
    #[values(full_pipe, full_terminal)] full: fn() -> (OwnedFd, OwnedFd),
) {
    let suite = Suite::new();
    let (_unread, full) = full();
    let report = suite.path("report.json");
    let child = suite
        .command()
        .args(["--image", "binary:pause", "--filter", "binary/static"])
        .args(["--report", format])
        .arg(format!("--report=json={}", report.display()))
        .stdout(full)
        .spawn();
    let mut child = child.expect("it starts");
    suite.is_stuck(&child);
    assert_eq!(interrupt(&mut child, signal), Some(2));
    if format == "human" {
        is_partial(&report);
    } else {
        // The report for the pipe was complete before it was lost, and this one may be too.
        is_whole(&report);
    }
}

#[test]
fn it_ends_where_nobody_opens_the_pipe_that_a_report_is_for() {
    let suite = Suite::new();
    let fifo = suite.fifo("report");
    let report = suite.path("report.json");
    let child = suite
        .command()
        .args(["--image", "binary:pause", "--filter", "binary/static"])
        .arg(format!("--report=tap={}", fifo.display()))
        .arg(format!("--report=json={}", report.display()))
        .spawn();
    let mut child = child.expect("it starts");
    suite.is_stuck(&child);
    assert_eq!(interrupt(&mut child, Signal::TERM), Some(2));
    is_whole(&report);
}

#[test]
fn a_report_waits_for_whoever_opens_its_pipe_late_and_reads_slowly() {
    let suite = Suite::new();
    let fifo = suite.fifo("report");
    let child = suite
        .command()
        .args(["--image", "binary:pause", "--filter", "binary"])
        .arg(format!("--report=json={}", fifo.display()))
        .spawn();
    let mut child = child.expect("it starts");
    assert!(!ended_within(&child, STUCK), "nobody opened it");
    let reader = rustix::fs::open(&fifo, OFlags::RDONLY, Mode::empty()).expect("a pipe");
    let mut text = Vec::new();
    let mut byte = [0; 37];
    while let Ok(length @ 1..) = rustix::io::read(&reader, &mut byte) {
        text.extend_from_slice(&byte[..length]);
    }
    let report: Value = serde_json::from_slice(&text).expect("a whole report");
    assert_eq!(report["conclusion"], "conformant");
    assert_eq!(child.wait().expect("our child").code(), Some(0));
}

#[rstest]
fn it_ends_where_nobody_reads_what_it_says_on_stderr(
    #[values("binary:pause", "binary:nothing")] image: &str,
) {
    let suite = Suite::new();
    let (_unread, full) = full_pipe();
    let child = suite
        .command()
        .args(["--image", image, "--filter", "binary/static"])
        .stderr(full)
        .spawn();
    let mut child = child.expect("it starts");
    assert!(!ended_within(&child, STUCK), "nobody read it");
    assert_eq!(interrupt(&mut child, Signal::TERM), Some(2));
}

#[test]
fn a_line_on_the_terminal_says_how_far_it_is_and_is_gone_in_the_end() {
    let suite = Suite::new();
    let (reader, terminal) = terminal();
    let mut command = suite.judging("signals");
    let child = command.stderr(terminal).spawn();
    let status = child.expect("it starts").wait().expect("our child");
    drop(command);
    let shown = shown(&reader);
    assert_eq!(status.code(), Some(0), "{shown}");
    assert!(
        shown.contains("binary:pause") && shown.contains(" signals/"),
        "{shown:?}"
    );
    let last = shown.rsplit('\r').next().expect("some");
    assert_eq!(last, "\x1b[2K", "{shown:?}");
}

/// A progress line that nobody reads is lost, and delays nothing.
#[test]
fn it_judges_to_the_end_where_the_terminal_takes_no_progress() {
    let suite = Suite::new();
    let (_unread, full) = full_terminal();
    let mut command = suite.judging("pid1");
    let child = command.stderr(full).spawn();
    let mut child = child.expect("it starts");
    assert!(ended_within(&child, 60 * SOON), "nobody read its progress");
    assert_eq!(child.wait().expect("our child").code(), Some(0));
    let report: Value = serde_json::from_str(&suite.said("stdout")).expect("a whole report");
    assert_eq!(report["conclusion"], "conformant");
}

#[rstest]
fn it_ends_on_a_terminal_that_nobody_reads_with_a_partial_report(
    #[values(Signal::INT, Signal::TERM, Signal::HUP)] signal: Signal,
) {
    let suite = Suite::new();
    let (_unread, full) = full_terminal();
    let report = suite.path("report.json");
    let output = full.try_clone().expect("one more descriptor");
    let child = suite
        .command()
        .args(["--image", "binary:pause", "--report", "human"])
        .arg(format!("--report=json={}", report.display()))
        .stdout(output)
        .stderr(full)
        .spawn();
    let mut child = child.expect("it starts");
    assert!(!ended_within(&child, STUCK), "it is amid its checks");
    assert_eq!(interrupt(&mut child, signal), Some(2));
    is_partial(&report);
}

/// A terminal that was stopped, as by Ctrl-S, gets the rest of the report once it goes on.
#[test]
fn a_report_waits_for_a_terminal_that_is_read_late() {
    let suite = Suite::new();
    let (reader, full) = full_terminal();
    let output = full.try_clone().expect("one more descriptor");
    let mut command = suite.judging("pid1");
    let child = command.stdout(output).stderr(full).spawn();
    let mut child = child.expect("it starts");
    assert!(!ended_within(&child, 2 * SOON), "nobody read its report");
    drop(command);
    let shown = shown(&reader);
    assert_eq!(child.wait().expect("our child").code(), Some(0));
    let (_, report) = shown.split_once('{').expect("a report");
    let report: Value = serde_json::from_str(&format!("{{{report}")).expect("a whole report");
    assert_eq!(report["conclusion"], "conformant");
}

#[rstest]
fn it_ends_amid_its_checks_with_a_partial_report(
    #[values(Signal::INT, Signal::TERM, Signal::HUP)] signal: Signal,
) {
    let suite = Suite::new();
    let child = suite
        .command()
        .args(["--image", "binary:pause", "--report", "json"])
        .spawn();
    let mut child = child.expect("it starts");
    while !suite.said("stderr").contains("checks") {
        assert!(!ended_within(&child, STUCK / 30), "it has yet to begin");
    }
    assert_eq!(interrupt(&mut child, signal), Some(2));
    is_partial(&suite.path("stdout"));
}

#[test]
fn a_hangup_that_the_parent_ignores_is_ignored() {
    let suite = Suite::new();
    let mut command = Command::new("nohup");
    command
        .arg(env!("CARGO_BIN_EXE_pause-conformance"))
        .args(["--image", "binary:pause", "--report", "json"])
        .current_dir(suite.folder.path())
        .stdin(Stdio::null())
        .stdout(fs::File::create(suite.path("stdout")).expect("a file"))
        .stderr(fs::File::create(suite.path("stderr")).expect("a file"))
        .process_group(0);
    let mut child = command.spawn().expect("it starts");
    while !suite.said("stderr").contains("checks") {
        assert!(!ended_within(&child, STUCK / 30), "it has yet to begin");
    }
    kill_process(Pid::from_child(&child), Signal::HUP).expect("our child");
    assert_eq!(child.wait().expect("our child").code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let suite = Suite::new();
    let child = suite.command().args(["--image", "binary:pause"]).spawn();
    let mut child = child.expect("it starts");
    while !suite.said("stderr").contains("checks") {
        assert!(!ended_within(&child, STUCK / 30), "it has yet to begin");
    }
    kill_process(Pid::from_child(&child), Signal::TERM).expect("our child");
    assert_eq!(interrupt(&mut child, Signal::INT), Some(2));
}
