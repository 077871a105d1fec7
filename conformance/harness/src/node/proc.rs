//! A picture of the processes of a node, read from a /proc below any path.
//!
//! All answers are bounded: in number of processes, and in bytes a file. A process that ends while
//! it is read is left out.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use procfs::FromRead as _;
use procfs::process::{Stat, Status};
use rustix::fs::{Dir, Mode, OFlags};

use crate::node::patience::{Key, Patience};
use crate::node::place::Place;

/// More processes than any node runs: the kernel's most is 4 Mi.
pub const MOST_PROCESSES: usize = 1 << 18;
/// The most that is read of a file: `status` lists up to 65,536 groups.
const MOST_BYTES: u64 = 1 << 20;
/// The most names that are read of a folder.
pub const MOST_NAMES: usize = 4096;
/// The kernel's own threads have this flag (include/linux/sched.h, PF_KTHREAD).
const KERNEL_THREAD: u32 = 0x0020_0000;
/// The inode of the first pid namespace (include/linux/proc_ns.h, PROC_PID_INIT_INO).
const FIRST_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// A mounted /proc, or a folder that looks like one.
#[derive(Clone, Debug)]
pub struct ProcRoot {
    dir: Arc<OwnedFd>,
    path: PathBuf,
    patience: Arc<Patience>,
}

/// One process, by its folder in /proc: it never becomes another's, however pids are reused.
#[derive(Debug)]
pub struct Handle {
    dir: OwnedFd,
    /// Its number.
    pub pid: i32,
}

/// What is known of every process.
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    /// Its number, as this /proc has it.
    pub pid: i32,
    /// Its parent; 0 where that is outside.
    pub parent: i32,
    /// Its name (comm), up to 15 bytes, as it named itself.
    pub name: String,
    /// Its state, a letter as in proc(5).
    pub state: char,
    /// Threads.
    pub threads: u32,
    /// When it started, in clock ticks since the boot: with the pid it names a process.
    pub started: u64,
    /// Processor time, user and system, in clock ticks.
    pub ticks: u64,
    /// Where it is.
    pub place: Place,
}

impl Process {
    /// It has ended, and nobody has waited for it. Where only its first thread has ended, the state
    /// is the same and the other threads are counted.
    pub fn is_zombie(&self) -> bool {
        self.state == 'Z' && self.threads <= 1
    }

    /// What tells it from every other.
    pub fn key(&self) -> Key {
        (self.pid, self.started)
    }

    /// It lives.
    pub fn is_alive(&self) -> bool {
        !self.is_zombie() && !matches!(self.state, 'X' | 'x')
    }
}

/// All processes, each as it was at some moment while they were read.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// By pid.
    pub processes: BTreeMap<i32, Process>,
    /// Seconds since the boot.
    pub uptime: f64,
    /// Clock ticks in a second.
    pub ticks_per_second: u64,
    /// Some processes are left out: one that is not here may live.
    pub hides: bool,
    /// It is of a pid namespace below the node's.
    pub is_below: bool,
    /// Why this is not all, a line each.
    pub notes: Vec<String>,
}

impl Snapshot {
    /// How long ago a process started, in seconds.
    pub fn age(&self, process: &Process) -> f64 {
        (self.uptime - self.seconds(process.started)).max(0.0)
    }

    /// Clock ticks in seconds.
    pub fn seconds(&self, ticks: u64) -> f64 {
        ticks as f64 / self.ticks_per_second.max(1) as f64
    }

    /// The children of a process.
    pub fn children(&self, pid: i32) -> impl Iterator<Item = &Process> {
        self.processes.values().filter(move |it| it.parent == pid)
    }
}

impl ProcRoot {
    /// Opens the folder.
    ///
    /// # Errors
    /// As open(2).
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            dir: Arc::new(rustix::fs::open(path, flags, Mode::empty())?),
            path: path.to_owned(),
            patience: Arc::default(),
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The time that its processes are given where they may not answer.
    pub fn patience(&self) -> &Patience {
        &self.patience
    }

    /// The arguments of processes; none of one that has ended or does not answer.
    pub fn arguments(&self, of: &[&Process]) -> BTreeMap<i32, Vec<String>> {
        let asked = of
            .iter()
            .map(|it| (it.key(), (self.clone(), (*it).clone())));
        let answers = self.patience.each(asked.collect(), |(root, process)| {
            let handle = root.hold(process).ok()??;
            handle.arguments().ok()
        });
        let pids = of.iter().map(|it| it.pid).zip(answers);
        pids.filter_map(|(pid, answer)| Some((pid, answer??)))
            .collect()
    }

    /// Whether it is of the pid namespace that this process is in.
    pub fn is_own(&self) -> bool {
        let own = rustix::fs::readlinkat(&self.dir, "self", Vec::new()).ok();
        let own = own.and_then(|link| link.to_str().ok()?.parse::<u32>().ok());
        own == Some(std::process::id())
    }

    /// Holds a process.
    ///
    /// # Errors
    /// `NotFound` where there is none.
    pub fn process(&self, pid: i32) -> io::Result<Handle> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(&self.dir, pid.to_string(), flags, Mode::empty())?;
        Ok(Handle { dir, pid })
    }

    /// Holds the process of a snapshot; `None` where it has ended, or its pid is another's.
    ///
    /// # Errors
    /// Where it cannot be held, as for want of descriptors: that says nothing about it.
    pub fn hold(&self, process: &Process) -> io::Result<Option<Handle>> {
        let handle = match self.process(process.pid) {
            Err(error) if is_gone(&error) => return Ok(None),
            other => other?,
        };
        match handle.stat() {
            Ok(stat) => Ok((stat.starttime == process.started).then_some(handle)),
            Err(error) if is_short(&error) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Reads all processes.
    ///
    /// # Errors
    /// Where the folder itself cannot be read.
    pub fn snapshot(&self) -> io::Result<Snapshot> {
        let mut all = Snapshot {
            ticks_per_second: rustix::param::clock_ticks_per_second(),
            ..Snapshot::default()
        };
        let mut unread = 0_usize;
        for entry in Dir::read_from(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name().to_str().ok();
            let Some(pid) = name.and_then(|name| name.parse::<i32>().ok()) else {
                continue;
            };
            if all.processes.len() >= MOST_PROCESSES {
                let most = format!("more than {MOST_PROCESSES} processes: the others are left out");
                all.notes.push(most);
                all.hides = true;
                break;
            }
            match self.process(pid).and_then(|handle| handle.process()) {
                Ok(Some(process)) => {
                    all.processes.insert(pid, process);
                }
                Ok(None) => {}
                Err(error) if is_gone(&error) => {}
                Err(_) => unread += 1,
            }
        }
        // Read last: no process is younger than the picture.
        all.uptime = self.uptime();
        all.hides |= unread > 0 || !all.processes.contains_key(&1);
        all.is_below = self.is_below();
        all.notes.extend(self.hidden(&all, unread));
        Ok(all)
    }

    fn uptime(&self) -> f64 {
        let read = rustix::fs::openat(
            &self.dir,
            "uptime",
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        );
        let text = read.map_err(io::Error::from).and_then(bounded);
        let text = text.unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let first = text.split_whitespace().next();
        first.and_then(|word| word.parse().ok()).unwrap_or_default()
    }

    /// Whether it shows only a part of the node. Of another namespace's /proc process 1 tells: this
    /// process has no number there, or another namespace.
    fn is_below(&self) -> bool {
        let of = if self.is_own() {
            "self/ns/pid"
        } else if is_procfs(&self.dir) {
            "1/ns/pid"
        } else {
            return false;
        };
        let link = rustix::fs::readlinkat(&self.dir, of, Vec::new());
        let namespace = link.ok().and_then(|it| inode("pid", &it.to_string_lossy()));
        namespace.is_some_and(|it| it != FIRST_PID_NAMESPACE)
    }

    /// What of the node this /proc does not show.
    fn hidden(&self, all: &Snapshot, unread: usize) -> Vec<String> {
        let path = self.path.display();
        let mut notes = Vec::new();
        if !all.processes.contains_key(&1) {
            notes.push(format!(
                "{path} hides processes of others (hidepid=, proc(5)): run as root to see all pods"
            ));
        } else if unread > 0 {
            notes.push(format!(
                "{path} does not let {unread} processes be read: pods may be missing"
            ));
        }
        if all.is_below {
            notes.push(format!(
                "{path} is of a pid namespace below the node's: only pods in that are seen"
            ));
        }
        notes
    }
}

impl Handle {
    /// A file of it, whole, if it is not too long.
    ///
    /// # Errors
    /// As open(2) and read(2): `NotFound` or ESRCH where the process has ended.
    pub fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        bounded(self.open(name, OFlags::RDONLY)?)
    }

    /// The same as text: a process names itself in any bytes.
    ///
    /// # Errors
    /// As [`Handle::read`].
    pub fn text(&self, name: &str) -> io::Result<String> {
        Ok(String::from_utf8_lossy(&self.read(name)?).into_owned())
    }

    /// Opens a file of it, for reading only.
    ///
    /// # Errors
    /// As open(2).
    pub fn open(&self, name: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let opened = rustix::fs::openat(&self.dir, name, flags, Mode::empty());
        opened.map_err(io::Error::from)
    }

    /// Where a link leads, as the kernel prints it.
    ///
    /// # Errors
    /// As readlink(2).
    pub fn link(&self, name: &str) -> io::Result<OsString> {
        let target = rustix::fs::readlinkat(&self.dir, name, Vec::new())?;
        Ok(OsString::from_vec(target.into_bytes()))
    }

    /// The inode of one of its namespaces, such as `net` (namespaces(7)).
    ///
    /// # Errors
    /// As readlink(2), and `InvalidData` where the link names none.
    pub fn namespace(&self, kind: &str) -> io::Result<u64> {
        let link = self.link(&format!("ns/{kind}"))?;
        inode(kind, &link.to_string_lossy()).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// The names in a folder of it.
    ///
    /// # Errors
    /// As open(2).
    pub fn names(&self, folder: &str) -> io::Result<Vec<String>> {
        let dir = self.open(folder, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut names = Vec::new();
        for entry in Dir::read_from(dir.as_fd())?.take(MOST_NAMES) {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// `stat`, as in proc_pid_stat(5).
    ///
    /// # Errors
    /// As [`Handle::read`], and `InvalidData`.
    pub fn stat(&self) -> io::Result<Stat> {
        let text = self.text("stat")?;
        Stat::from_read(text.as_bytes()).map_err(|_| io::ErrorKind::InvalidData.into())
    }

    /// `status`, as in proc_pid_status(5).
    ///
    /// # Errors
    /// As [`Handle::read`], and `InvalidData`.
    pub fn status(&self) -> io::Result<Status> {
        let text = self.text("status")?;
        Status::from_read(text.as_bytes()).map_err(|_| io::ErrorKind::InvalidData.into())
    }

    /// Its arguments, without empty ones at the end.
    ///
    /// # Errors
    /// As [`Handle::read`].
    pub fn arguments(&self) -> io::Result<Vec<String>> {
        let line = self.read("cmdline")?;
        let words = line.split(|byte| *byte == 0);
        let mut words: Vec<_> = words
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        while words.last().is_some_and(String::is_empty) {
            words.pop();
        }
        Ok(words)
    }

    /// What is known of every process; `None` of the kernel's own.
    ///
    /// # Errors
    /// As [`Handle::stat`].
    pub fn process(&self) -> io::Result<Option<Process>> {
        let stat = self.stat()?;
        if stat.flags & KERNEL_THREAD != 0 {
            return Ok(None);
        }
        let place = self.text("cgroup").unwrap_or_default();
        Ok(Some(Process {
            pid: self.pid,
            parent: stat.ppid,
            name: stat.comm,
            state: stat.state,
            threads: u32::try_from(stat.num_threads).unwrap_or(0),
            started: stat.starttime,
            ticks: stat.utime.saturating_add(stat.stime),
            place: Place::read(&place),
        }))
    }
}

/// The number in the name of a namespace, `net:[4026531840]`.
fn inode(kind: &str, link: &str) -> Option<u64> {
    let rest = link.strip_prefix(kind)?.strip_prefix(":[")?;
    rest.strip_suffix(']')?.parse().ok()
}

/// Whether it says that the process has ended.
pub fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

/// Whether it says that this process, or the node, has no more of something.
pub fn is_short(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let short = [Errno::MFILE, Errno::NFILE, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|it| short.contains(&it))
}

fn is_procfs(dir: &OwnedFd) -> bool {
    rustix::fs::fstatfs(dir).is_ok_and(|it| it.f_type == rustix::fs::PROC_SUPER_MAGIC)
}

fn bounded(file: OwnedFd) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let read = File::from(file).take(MOST_BYTES).read_to_end(&mut text)?;
    if read as u64 == MOST_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too long"));
    }
    Ok(text)
}
