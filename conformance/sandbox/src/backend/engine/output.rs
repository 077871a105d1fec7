//! What a container writes, which reaches the suite by way of its engine: a thread takes it from
//! the engine's connection, and hands it on through pipes.
//!
//! An engine takes its time. So that nothing is missed, the end of a process waits for the end of
//! the connection, and whoever looks while the process lives has a mark come all the way first.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::libc;

use crate::backend::Stdio;
use crate::backend::embedded::pipe;

/// How long an engine may take to hand on what was written.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much of a frame is taken at once.
const CHUNK: usize = 4096;

/// A thread that makes the others. A thread of which a child was put into another pid namespace, and
/// which may not return to the suite's, can make none itself (clone(2), `CLONE_THREAD`).
pub(super) struct Threads(Mutex<Sender<Wanted>>);

/// What a thread is to do, and where to say whether it was made.
type Wanted = (Box<dyn FnOnce() + Send>, Sender<io::Result<JoinHandle<()>>>);

impl Threads {
    /// Call where threads can be made. It ends with this value.
    ///
    /// # Errors
    /// Where they cannot.
    pub(super) fn start() -> io::Result<Self> {
        let (sender, wanted) = channel::<Wanted>();
        let thread = std::thread::Builder::new().name("threads".to_owned());
        thread.spawn(move || {
            for (run, answer) in wanted {
                let thread = std::thread::Builder::new().name("output".to_owned());
                // Who has asked waits for it.
                let _ = answer.send(thread.spawn(run));
            }
        })?;
        Ok(Self(Mutex::new(sender)))
    }

    fn make(&self, run: Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>> {
        let (answer, answers) = channel();
        let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = |()| io::Error::from(io::ErrorKind::BrokenPipe);
        sender.send((run, answer)).map_err(|_| gone(()))?;
        drop(sender);
        answers.recv().map_err(|_| gone(()))?
    }
}

/// The thread's connection, from this side.
pub(super) struct Output {
    stream: UnixStream,
    thread: Option<JoinHandle<()>>,
    /// At its end once the connection is.
    ended: OwnedFd,
    mark: Vec<u8>,
    seen: Arc<Seen>,
    /// The pipes to which the process has its standard output and error connected.
    pipes: [Option<(u64, u64)>; 2],
    pid: i32,
}

/// How many marks have come, by stream.
#[derive(Default)]
struct Seen {
    marks: Mutex<[usize; 2]>,
    changed: Condvar,
}

impl Output {
    /// Begins to take what comes; and the suite's ends of the pipes.
    ///
    /// # Errors
    /// As pipe(2), and where no thread can be made.
    pub(super) fn begin(stream: UnixStream, threads: &Threads) -> io::Result<(Self, Stdio)> {
        let random = [0u8; 2].map(|seed| RandomState::new().hash_one(seed));
        // A program that writes this, of all things, does not exist.
        let mark = format!("\0mark {:016x}{:016x}\0", random[0], random[1]).into_bytes();
        let (stdout, to_stdout) = pipe()?;
        let (stderr, to_stderr) = pipe()?;
        let (ended, ends) = pipe()?;
        for ours in [&stdout, &stderr] {
            rustix::io::ioctl_fionbio(ours, true)?;
        }
        let seen = Arc::new(Seen::default());
        let mut pump = Pump {
            stream: stream.try_clone()?,
            to: [to_stdout, to_stderr].map(|to| Some(std::fs::File::from(to))),
            held: [const { Vec::new() }; 2],
            mark: mark.clone(),
            seen: Arc::clone(&seen),
        };
        let run = move || {
            pump.run();
            drop(pump);
            drop(ends);
        };
        let output = Self {
            stream,
            thread: Some(threads.make(Box::new(run))?),
            ended,
            mark,
            seen,
            pipes: [None; 2],
            pid: 0,
        };
        let stdio = Stdio {
            stdout: Some(stdout),
            stderr: Some(stderr),
            ..Stdio::default()
        };
        Ok((output, stdio))
    }

    /// Notes to which pipes this process, just executed, has its streams connected.
    pub(super) fn of(&mut self, pid: i32) {
        self.pid = pid;
        self.pipes = [1, 2].map(|number| pipe_of(pid, number));
    }

    /// Waits until all has come that the process has written so far.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] where it does not come.
    pub(super) fn settle(&self) -> io::Result<()> {
        for (index, pipe) in self.pipes.iter().enumerate() {
            let number = index + 1;
            // One that the program has closed, or connected otherwise, is written to no more.
            if pipe.is_none() || pipe_of(self.pid, number) != *pipe {
                continue;
            }
            let count = self.marks()[index];
            let written = std::fs::OpenOptions::new()
                .write(true)
                .custom_flags(libc::O_NONBLOCK)
                .open(stream_of(self.pid, number))
                .and_then(|mut pipe| pipe.write_all(&self.mark));
            match written {
                Ok(()) => self.await_mark(index, count)?,
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                // It has ended meanwhile, or closed it: the kernel has several errors for that.
                Err(_) if pipe_of(self.pid, number) != *pipe => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn marks(&self) -> [usize; 2] {
        *self
            .seen
            .marks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn await_mark(&self, index: usize, before: usize) -> io::Result<()> {
        let marks = self
            .seen
            .marks
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let is_missing = |marks: &mut [usize; 2]| marks[index] <= before;
        let waited = self
            .seen
            .changed
            .wait_timeout_while(marks, PATIENCE, is_missing);
        let waited = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.1.timed_out() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }

    /// Waits until all has come that the process has written in its life.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] where the connection does not end.
    pub(super) fn await_end(&self) -> io::Result<()> {
        if crate::wait::readable(self.ended.as_fd(), PATIENCE)? {
            return Ok(());
        }
        Err(io::ErrorKind::TimedOut.into())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        // It may be writing to a full pipe; whoever has the other end closes that, or reads.
        drop(self.thread.take());
    }
}

fn stream_of(pid: i32, number: usize) -> PathBuf {
    format!("/proc/{pid}/fd/{number}").into()
}

fn pipe_of(pid: i32, number: usize) -> Option<(u64, u64)> {
    let file = std::fs::metadata(stream_of(pid, number)).ok()?;
    file.file_type().is_fifo().then(|| (file.dev(), file.ino()))
}

/// The thread.
struct Pump<R> {
    stream: R,
    to: [Option<std::fs::File>; 2],
    /// What may be the beginning of a mark, by stream.
    held: [Vec<u8>; 2],
    mark: Vec<u8>,
    seen: Arc<Seen>,
}

impl<R: Read> Pump<R> {
    /// Until the connection's end.
    fn run(&mut self) {
        while let Ok(Some((index, mut left))) = self.frame() {
            let mut chunk = [0; CHUNK];
            while left > 0 {
                let part = &mut chunk[..left.min(CHUNK)];
                if self.stream.read_exact(part).is_err() {
                    left = 0;
                    continue;
                }
                left -= part.len();
                let part = part.to_vec();
                self.take(index, &part);
            }
        }
        for index in 0..2 {
            let rest = std::mem::take(&mut self.held[index]);
            self.hand_on(index, &rest);
        }
    }

    /// The stream and length of the next frame: eight bytes, the first is the stream's number, the
    /// last four the length (Docker Engine API, "Attach to a container").
    fn frame(&mut self) -> io::Result<Option<(usize, usize)>> {
        let mut head = [0; 8];
        match self.stream.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let [number, _, _, _, a, b, c, d] = head;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        Ok(Some((usize::from(number == 2), length)))
    }

    /// Hands on what is no mark.
    fn take(&mut self, index: usize, bytes: &[u8]) {
        self.held[index].extend_from_slice(bytes);
        loop {
            let held = &self.held[index];
            let at = held.windows(self.mark.len()).position(|it| it == self.mark);
            let Some(at) = at else { break };
            let before: Vec<u8> = self.held[index].drain(..at + self.mark.len()).collect();
            self.hand_on(index, &before[..at]);
            let marks = self.seen.marks.lock();
            marks.unwrap_or_else(PoisonError::into_inner)[index] += 1;
            self.seen.changed.notify_all();
        }
        let held = &self.held[index];
        let longest = held.len().min(self.mark.len() - 1);
        let begun = (0..=longest)
            .rev()
            .find(|length| held.ends_with(&self.mark[..*length]))
            .unwrap_or(0);
        let known: Vec<u8> = self.held[index].drain(..held.len() - begun).collect();
        self.hand_on(index, &known);
    }

    /// Nobody need be there to read.
    fn hand_on(&mut self, index: usize, bytes: &[u8]) {
        if let Some(to) = &mut self.to[index]
            && to.write_all(bytes).is_err()
        {
            self.to[index] = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(number: u8, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).expect("short").to_be_bytes();
        [&[number, 0, 0, 0][..], &length, content].concat()
    }

    fn pumped(frames: &[Vec<u8>]) -> ([Vec<u8>; 2], [usize; 2]) {
        let pipes = [(), ()].map(|()| pipe().expect("a pipe"));
        let [(stdout, to_stdout), (stderr, to_stderr)] = pipes;
        let seen = Arc::new(Seen::default());
        let mut pump = Pump {
            stream: &frames.concat()[..],
            to: [to_stdout, to_stderr].map(|to| Some(std::fs::File::from(to))),
            held: [const { Vec::new() }; 2],
            mark: b"\0mark\0".to_vec(),
            seen: Arc::clone(&seen),
        };
        pump.run();
        drop(pump);
        let read = [stdout, stderr].map(|pipe| {
            let mut all = Vec::new();
            std::fs::File::from(pipe)
                .read_to_end(&mut all)
                .expect("read");
            all
        });
        (read, *seen.marks.lock().expect("no panic"))
    }

    #[test]
    fn streams_are_told_apart_and_marks_are_taken_out() {
        let (read, marks) = pumped(&[
            frame(1, b"one"),
            frame(2, b"two\0ma"),
            frame(1, b"\0mark\0"),
            frame(2, b"rk\0\0mark"),
            frame(1, b"\0three\0"),
            frame(2, b"\0\0mar"),
        ]);
        assert_eq!(read[0], b"one\0three\0");
        assert_eq!(read[1], b"two\0mar");
        assert_eq!(marks, [1, 2]);
    }

    #[test]
    fn a_connection_that_breaks_off_is_at_its_end() {
        let mut cut = frame(1, b"one, two");
        cut.truncate(cut.len() - 3);
        let (read, _) = pumped(&[frame(1, b"zero "), cut]);
        assert_eq!(read[0], b"zero ");
        let (read, _) = pumped(&[vec![1, 0, 0]]);
        assert_eq!(read[0], b"");
    }
}
