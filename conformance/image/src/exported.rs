//! Images that a program of an engine exports: what it writes to its standard output is an archive,
//! kept in a file without a name.
//!
//! The program is trusted with nothing more than a registry: its output is bounded in size and in
//! time, and it ends with the suite's interest in it.

use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::LoadOptions;
use super::archive::Archive;
use super::error::{Error, io_words};
use super::limits::Budget;
use super::pace::Pace;
use super::temporary::Temporary;

/// What of its complaints is read.
const COMPLAINT: u64 = 64 << 10;
/// A program that packs an image may be silent for longer than a registry.
const PATIENCE: u32 = 8;
/// How long one may take to end that was killed.
const ENDS: Duration = Duration::from_secs(5);

/// A program that exports, and what a user can do where it does not.
pub(super) struct Export<'a> {
    /// As the user named the image.
    pub(super) what: &'a str,
    /// Its name; [`LoadOptions::programs`] says where it is.
    pub(super) program: &'static str,
    pub(super) args: Vec<String>,
    /// Where there is no such program.
    pub(super) install: &'static str,
    /// Where it fails.
    pub(super) hint: String,
}

impl Export<'_> {
    /// Runs it, and reads what it exports.
    pub(super) fn archive(&self, options: &LoadOptions) -> Result<Archive, Error> {
        let program = self.program;
        let kept = |error: io::Error| Error::io(self.what, &error);
        let complaints = Temporary::new().map_err(kept)?.into_file();
        let said = complaints.try_clone().map_err(kept)?;
        let mut running = self.start(complaints.into(), options)?;
        let output = running.0.stdout.take();
        let output = output.ok_or_else(|| Error::new(self.what, "no pipe from the program"))?;
        let stall = options.stall * PATIENCE;
        let copied = copy(Awaited { output, stall }, self.what, program, options);
        let ended = match copied {
            Ok(file) => running.end(stall).map(|status| (status, file)),
            // It may have said why, and what it says is better than that it stopped.
            Err(Failure::Read(error)) => Err(error),
            Err(Failure::Kept(error)) => return Err(error),
        };
        drop(running);
        match ended {
            Ok((status, file)) if status.success() => {
                Archive::of(file.into_file(), self.what, &options.limits)
            }
            Ok((status, _)) => {
                let words = last_words(said).unwrap_or_else(|| ended_with(status));
                // ctr puts its own name before it.
                let words = words.trim_start_matches(&format!("{program}: "));
                Err(Error::new(self.what, format_args!("{program}: {words}")).with_hint(&self.hint))
            }
            Err(error) => {
                let cause = format!("{program}: {}", io_words(&error));
                Err(Error::new(self.what, cause).with_hint(&self.hint))
            }
        }
    }

    fn start(&self, complaints: Stdio, options: &LoadOptions) -> Result<Running, Error> {
        let program = match &options.programs {
            Some(folder) => folder.join(self.program),
            None => self.program.into(),
        };
        let child = Command::new(program)
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(complaints)
            .spawn();
        child.map(Running).map_err(|error| {
            let cause = format!("{}: {}", self.program, io_words(&error));
            let hint = match error.kind() {
                io::ErrorKind::NotFound => self.install,
                _ => &self.hint,
            };
            Error::new(self.what, cause).with_hint(hint)
        })
    }
}

/// What keeps an export from being read to its end.
enum Failure {
    /// The program's.
    Read(io::Error),
    /// The file's or a limit's.
    Kept(Error),
}

fn copy(
    from: Awaited,
    what: &str,
    program: &str,
    options: &LoadOptions,
) -> Result<Temporary, Failure> {
    let kept = |error: io::Error| Failure::Kept(Error::io(what, &error));
    let mut file = Temporary::new().map_err(kept)?;
    let mut budget = Budget::new(of(program), options.limits.stored);
    let mut reader = Pace::start(from.stall).hold(from);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(0) => return Ok(file),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::Read(error)),
        };
        budget
            .take(count as u64)
            .map_err(|error| Failure::Kept(Error::limit(what, &error)))?;
        file.write_all(&buffer[..count]).map_err(kept)?;
    }
}

/// What a budget counts.
fn of(program: &str) -> &'static str {
    match program {
        "podman" => "bytes from podman",
        _ => "bytes from containerd",
    }
}

/// A process that goes when it is no longer wanted.
struct Running(Child);

impl Running {
    /// How it ends, once it has closed its output.
    fn end(&mut self, limit: Duration) -> io::Result<ExitStatus> {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
            readable(PollFd::new(&pidfd, PollFlags::IN), limit)?;
        }
        self.0.wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing of it is wanted, and an ended one is not there to be told.
        let _ = self.0.kill();
        let _ = self.end(ENDS);
    }
}

/// Its output, for which nobody waits for ever.
struct Awaited {
    output: std::process::ChildStdout,
    stall: Duration,
}

impl Read for Awaited {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        readable(PollFd::new(&self.output, PollFlags::IN), self.stall)?;
        self.output.read(buffer)
    }
}

fn readable(fd: PollFd<'_>, limit: Duration) -> io::Result<()> {
    let time = Timespec::try_from(limit).ok();
    match poll(&mut [fd], time.as_ref())? {
        0 => Err(io::Error::other(format!("nothing within {limit:?}"))),
        _ => Ok(()),
    }
}

/// The last line of its complaints.
fn last_words(mut from: std::fs::File) -> Option<String> {
    use std::io::Seek as _;
    from.rewind().ok()?;
    let mut said = Vec::new();
    from.take(COMPLAINT).read_to_end(&mut said).ok()?;
    let said = String::from_utf8_lossy(&said).into_owned();
    let line = said.lines().rev().find(|line| !line.trim().is_empty())?;
    Some(line.trim().to_owned())
}

fn ended_with(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}
