//! A mount namespace for a container runtime: a copy of the host's, with a file system in memory in
//! which bundles, roots and the runtime's own state are. It ends with the last process in it.

use std::ffi::{CStr, CString};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::libc;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::mount::UnmountFlags;

use crate::backend::embedded::{before_exec, mounts};
use crate::backend::lease::Doors;
use crate::sys::{self, ExitStatus, InChild, NewNamespaces, StringVector};

/// Mount points to try: no other process sees the mount, but the runtime's program may be below.
const PLACES: [&CStr; 4] = [c"/mnt", c"/home", c"/tmp", c"/var"];
/// Where programs are.
pub(in crate::backend) const PATH: &str =
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How long a container runtime may take for one order.
const ORDER: Duration = Duration::from_mins(1);
/// The most that is read of what one says.
const SAID: u64 = 64 << 10;

/// The mount namespace, which exists for as long as this is open.
#[derive(Debug)]
pub(in crate::backend) struct Stage {
    namespace: OwnedFd,
    /// The file system in memory.
    folder: OwnedFd,
    /// Where it is mounted there.
    place: &'static CStr,
    /// A network namespace beside it, with a loopback device that is up.
    network: Option<OwnedFd>,
}

impl Stage {
    /// Makes one in which `program` can be executed; `options` are those of the file system in memory.
    pub(in crate::backend) fn make(program: &Path, options: &CStr) -> io::Result<Self> {
        Self::with(program, options, NewNamespaces::MOUNT)
    }

    /// The same, with a network namespace of its own.
    #[cfg(feature = "cri")]
    pub(in crate::backend) fn make_with_network(
        program: &Path,
        options: &CStr,
    ) -> io::Result<Self> {
        Self::with(
            program,
            options,
            NewNamespaces::MOUNT | NewNamespaces::NETWORK,
        )
    }

    fn with(program: &Path, options: &CStr, namespaces: NewNamespaces) -> io::Result<Self> {
        let proc = sys::proc()?;
        let made = sys::in_helper(|| {
            sys::unshare(namespaces)?;
            let mut network = None;
            if namespaces.contains(NewNamespaces::NETWORK) {
                sys::bring_loopback_up()?;
                network = Some(mounts::own_network(proc.as_fd())?);
            }
            mounts::make_private()?;
            let mut failed = io::ErrorKind::NotFound.into();
            for place in PLACES {
                if program.starts_with(text(place)) {
                    continue;
                }
                match mounts::mount_memory(place, options) {
                    Ok(()) => {
                        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                        return Ok(Self {
                            folder: rustix::fs::open(place, flags, Mode::empty())?,
                            namespace: mounts::own_namespace(proc.as_fd())?,
                            place,
                            network,
                        });
                    }
                    Err(error) => failed = error,
                }
            }
            Err(failed)
        });
        made?
    }

    /// A path as the container runtime sees it.
    pub(in crate::backend) fn path(&self, name: &str) -> String {
        format!("{}/{name}", text(self.place))
    }

    pub(in crate::backend) fn make_folder(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(
            &self.folder,
            name,
            Mode::from_raw_mode(0o755),
        )?)
    }

    pub(in crate::backend) fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.folder, name, flags, Mode::from_raw_mode(0o644))?;
        std::fs::File::from(file).write_all(content)
    }

    pub(in crate::backend) fn read(&self, name: &str) -> io::Result<String> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.folder, name, flags, Mode::empty())?;
        let mut content = Vec::new();
        std::fs::File::from(file)
            .take(SAID)
            .read_to_end(&mut content)?;
        Ok(String::from_utf8_lossy(&content).into_owned())
    }

    /// Removes a file, or an empty folder, if it is there.
    pub(in crate::backend) fn remove(&self, name: &str) {
        if rustix::fs::unlinkat(&self.folder, name, AtFlags::empty()).is_err() {
            let _ = rustix::fs::unlinkat(&self.folder, name, AtFlags::REMOVEDIR);
        }
    }

    /// Attaches a detached mount.
    pub(in crate::backend) fn attach(&self, tree: &OwnedFd, name: &str) -> io::Result<()> {
        let path = CString::new(self.path(name))?;
        self.within(|| mounts::attach(tree, &path))
    }

    /// Detaches what was attached.
    pub(in crate::backend) fn detach(&self, name: &str) -> io::Result<()> {
        let path = CString::new(self.path(name))?;
        self.within(|| Ok(rustix::mount::unmount(&path, UnmountFlags::DETACH)?))
    }

    /// Does something in it.
    pub(in crate::backend) fn within<T>(
        &self,
        work: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let done = sys::in_helper(|| {
            self.enter()?;
            work()
        });
        done?
    }

    /// Moves the calling process in. Does not allocate.
    pub(in crate::backend) fn enter(&self) -> io::Result<()> {
        sys::setns(self.namespace.as_fd(), libc::CLONE_NEWNS)?;
        match &self.network {
            Some(network) => sys::setns(network.as_fd(), libc::CLONE_NEWNET),
            None => Ok(()),
        }
    }

    /// Executes a program with these arguments and standard streams in the cgroup behind these doors, and
    /// waits for its end. What it starts, and it itself should the suite be killed, ends with the run.
    pub(in crate::backend) fn run(
        &self,
        (program, args): (&Path, &[String]),
        streams: [BorrowedFd<'_>; 3],
        doors: &Doors,
    ) -> io::Result<ExitStatus> {
        use std::os::unix::ffi::OsStrExt as _;

        let name = program.as_os_str().as_bytes().to_vec();
        let arguments = args.iter().map(|word| word.clone().into_bytes());
        let order = Order {
            stage: self,
            path: CString::new(name.clone())?,
            argv: StringVector::new(std::iter::once(name).chain(arguments))?,
            envp: StringVector::new([PATH])?,
            streams,
            doors,
        };
        let child = sys::spawn(NewNamespaces::empty(), &order)?;
        if !crate::wait::readable(child.pidfd.as_fd(), ORDER)? {
            let _ = sys::send_signal(child.pidfd.as_fd(), libc::SIGKILL);
            let _ = sys::wait(child.pidfd.as_fd());
            return Err(io::ErrorKind::TimedOut.into());
        }
        sys::try_wait(child.pidfd.as_fd())?.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

fn text(place: &CStr) -> &str {
    place.to_str().unwrap_or_default()
}

/// A container runtime, from clone to exec.
struct Order<'a> {
    stage: &'a Stage,
    path: CString,
    argv: StringVector,
    envp: StringVector,
    streams: [BorrowedFd<'a>; 3],
    doors: &'a Doors,
}

#[expect(unsafe_code, reason = "the promise of a child")]
// SAFETY: it makes system calls with what was prepared before the clone, and no more.
unsafe impl InChild for &Order<'_> {
    fn run(self) -> i32 {
        let prepared = || -> io::Result<()> {
            before_exec::die_with_suite();
            let _ = rustix::process::setsid();
            self.doors.enter()?;
            self.stage.enter()?;
            sys::close_range_cloexec(3)?;
            let [stdin, stdout, stderr] = self.streams;
            rustix::stdio::dup2_stdin(stdin)?;
            rustix::stdio::dup2_stdout(stdout)?;
            rustix::stdio::dup2_stderr(stderr)?;
            before_exec::set_usual_umask();
            sys::reset_signals(0, 0)
        };
        if prepared().is_ok() {
            sys::exec(None, &self.path, &self.argv, &self.envp);
        }
        before_exec::FAILED
    }
}
