//! The suite's end of the probe: a program of ours inside a sandbox's namespaces
//! that provokes and looks, on request. What it is asked is in `fixtures::protocol`.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use fixtures::protocol::{self, Death, Entry, Op, Reply, Request};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketFlags,
    SocketType,
};

use crate::sys::{self, Child, ExitStatus};

mod netlink;

/// The longest that the probe may be silent at a request that does not wait.
const PATIENCE: Duration = Duration::from_secs(20);

/// The longest that such a request may take, however often the probe says that it goes on.
const LONGEST: Duration = Duration::from_mins(10);

/// How often the suite looks whether a silent probe was stopped.
const LOOK: Duration = Duration::from_millis(50);

/// A running probe. Dropping it kills and reaps it.
#[derive(Debug)]
pub struct Probe {
    child: Child,
    socket: OwnedFd,
    overhears: Option<Overhears>,
}

/// What a faulty backend does with the signals that a member of a pod sends: it has a handle on the
/// pause process, and is told the receiver and the signal. Real backends have none; the self-test
/// makes faulty ones.
pub(crate) type Overhears = (OwnedFd, fn(BorrowedFd<'_>, i32, i32));

/// The probe's ids, in its own namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Who {
    /// getpid(2).
    pub pid: i32,
    /// getppid(2); 0 where the parent is outside the namespace.
    pub parent: i32,
    /// getuid(2).
    pub uid: u32,
    /// getgid(2).
    pub gid: u32,
}

/// How far reaping went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reaped {
    /// Orphans that are gone.
    pub reaped: u64,
    /// All orphans.
    pub total: u64,
    /// One that is not, as a pid of the sandbox's pid namespace.
    pub first_left: Option<i32>,
}

/// How far rounds of orphans went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rounds {
    /// Rounds after which nothing was left.
    pub completed: u64,
    /// How long it took.
    pub took: Duration,
    /// Of each round, from the first end to the last reaping, in microseconds.
    pub latencies_us: Vec<u32>,
}

/// How far rounds of zombies went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowds {
    /// Rounds after which nothing was left.
    pub completed: u64,
    /// Zombies of the next round that were not reaped in time; they are the probe's orphans now.
    pub left: u64,
}

impl Probe {
    /// A connected pair: ours, and the one that becomes the probe's descriptor 0.
    pub(crate) fn socket() -> io::Result<(OwnedFd, OwnedFd)> {
        Ok(rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?)
    }

    /// Takes over a probe that was just cloned, and has yet to enter a sandbox.
    pub(crate) fn new(child: Child, socket: OwnedFd) -> Self {
        Self {
            child,
            socket,
            overhears: None,
        }
    }

    /// Goes on in a pid namespace, as another child of the suite's; the descriptor is the probe's.
    ///
    /// # Errors
    /// In the kernel's words.
    pub(crate) fn descend(&mut self, namespace: RawFd) -> io::Result<()> {
        self.child = match self.descended(namespace) {
            Ok(child) => child,
            Err(error) => {
                // It may have been cloned all the same, and no descriptor tells of it.
                self.child.end_group();
                return Err(error);
            }
        };
        self.child.pid = sys::pid_of(sys::proc()?.as_fd(), self.pidfd())?;
        Ok(())
    }

    /// What goes on in a pid namespace. The one before has ended, or is about to.
    fn descended(&self, namespace: RawFd) -> io::Result<Child> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut passed = RecvAncillaryBuffer::new(&mut space);
        self.send(Op::Descend, [namespace as u64, 0, 0, 0], &[])?;
        self.await_answer(Op::Descend, PATIENCE)?;
        self.receive(Op::Descend, &mut passed)?;
        let pidfd = passed.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut passed) => passed.next(),
            _ => None,
        });
        let pidfd = pidfd.ok_or(io::ErrorKind::InvalidData)?;
        Ok(Child { pid: 0, pidfd })
    }

    /// Enters a sandbox.
    ///
    /// # Errors
    /// In the kernel's words.
    pub(crate) fn enter(&self, entry: &Entry) -> io::Result<()> {
        self.ask(Op::Enter, entry.to_arguments(), &[]).map(drop)
    }

    /// Process id as the suite sees it.
    pub fn host_pid(&self) -> i32 {
        self.child.pid
    }

    /// Readable when the probe has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.child.pidfd.as_fd()
    }

    /// Its ids, in its own namespaces.
    pub fn who(&self) -> io::Result<Who> {
        let (values, _) = self.ask(Op::Who, [0; 4], &[])?;
        let [pid, parent, uid, gid] = values;
        Ok(Who {
            pid: pid as i32,
            parent: parent as i32,
            uid: uid as u32,
            gid: gid as u32,
        })
    }

    /// Makes `count` orphans that wait to be told to end; says how many there are.
    pub fn orphans(
        &self,
        count: usize,
        death: Death,
        argument: u64,
        origin: u64,
    ) -> io::Result<u64> {
        self.value(Op::Orphans, [count as u64, death as u64, argument, origin])
    }

    /// Lets all orphans end at once; says how many of them had PID 1 as their
    /// parent, and how many were still alive then.
    pub fn release(&self) -> io::Result<(u64, u64)> {
        self.ask(Op::Release, [0; 4], &[])
            .map(|([adopted, waited, ..], _)| (adopted, waited))
    }

    /// Waits until all orphans have ended; says how many have.
    pub fn await_dead(&self, timeout: Duration) -> io::Result<u64> {
        self.wait(Op::AwaitDead, [milliseconds(timeout), 0, 0, 0], timeout)
            .map(|(values, _)| values[0])
    }

    /// Waits until all orphans have been reaped, or the time is up.
    pub fn await_reaped(&self, timeout: Duration) -> io::Result<Reaped> {
        let ([reaped, total, left, _], _) =
            self.wait(Op::AwaitReaped, [milliseconds(timeout), 0, 0, 0], timeout)?;
        Ok(Reaped {
            reaped,
            total,
            first_left: (left != 0).then_some(left as i32),
        })
    }

    /// Drops its handles on the orphans.
    pub fn forget(&self) -> io::Result<()> {
        self.value(Op::Forget, [0; 4]).map(drop)
    }

    /// Sends a signal from inside, `times` times; says how often it was accepted.
    pub fn kill(&self, pid: i32, signal: i32, times: u64) -> io::Result<u64> {
        let sent = self.value(Op::Kill, [pid as u64, signal as u64, times, 0]);
        if let Some((pause, meddle)) = &self.overhears {
            meddle(pause.as_fd(), pid, signal);
        }
        sent
    }

    /// Lets a faulty backend meddle with the signals that it sends.
    #[must_use]
    pub fn overheard(mut self, by: Overhears) -> Self {
        self.overhears = Some(by);
        self
    }

    /// Sends a signal to each orphan; says to how many.
    pub fn signal_orphans(&self, signal: i32) -> io::Result<u64> {
        self.value(Op::SignalOrphans, [signal as u64, 0, 0, 0])
    }

    /// Makes a tree of waiting processes below one child of the probe; says how many.
    pub fn tree(&self, depth: u64, width: u64) -> io::Result<u64> {
        self.value(Op::Tree, [depth, width, 0, 0])
    }

    /// Kills the root of the tree.
    pub fn kill_tree(&self) -> io::Result<()> {
        self.value(Op::KillTree, [0; 4]).map(drop)
    }

    /// The pids, in the sandbox, of the orphans or of the tree with its root.
    pub fn members(&self) -> io::Result<Vec<i32>> {
        let (_, text) = self.ask(Op::Members, [0; 4], &[])?;
        Ok(numbers(&text).map(|pid| pid as i32).collect())
    }

    /// Takes over processes of the sandbox that another probe made, as its orphans; says how many.
    pub fn watch(&self, pids: &[i32]) -> io::Result<u64> {
        let text: Vec<u8> = pids.iter().flat_map(|pid| pid.to_ne_bytes()).collect();
        self.ask(Op::Watch, [0; 4], &text)
            .map(|(values, _)| values[0])
    }

    /// Starts a process that makes orphans, one after the other, until the sandbox ends;
    /// returns when `count` of them have ended.
    pub fn storm(&self, count: u64) -> io::Result<()> {
        self.value(Op::Storm, [count, 0, 0, 0]).map(drop)
    }

    /// Rounds of `size` orphans that end at once, each waited for until reaped.
    pub fn rounds(
        &self,
        rounds: u64,
        size: u64,
        each: Duration,
        all: Duration,
    ) -> io::Result<Rounds> {
        let (values, text) = self.wait(
            Op::Rounds,
            [rounds, size, milliseconds(each), milliseconds(all)],
            all,
        )?;
        Ok(Rounds {
            completed: values[0],
            took: Duration::from_micros(values[1]),
            latencies_us: numbers(&text).collect(),
        })
    }

    /// Rounds of `size` zombies that their parent leaves to PID 1 by its end, each waited for until
    /// reaped. They cost less than those of [`Probe::rounds`].
    pub fn crowds(
        &self,
        rounds: u64,
        size: u64,
        each: Duration,
        all: Duration,
    ) -> io::Result<Crowds> {
        let (values, _) = self.wait(
            Op::Crowds,
            [rounds, size, milliseconds(each), milliseconds(all)],
            all + each,
        )?;
        Ok(Crowds {
            completed: values[0],
            left: values[2],
        })
    }

    /// gethostname(2).
    pub fn hostname(&self) -> io::Result<String> {
        self.text(Op::Hostname, &[])
    }

    /// sethostname(2).
    pub fn set_hostname(&self, name: &str) -> io::Result<()> {
        self.ask(Op::SetHostname, [0; 4], name.as_bytes()).map(drop)
    }

    /// What its network namespace holds: a line for each device, IPv4 address and route,
    /// as ip(8) would say it, in order.
    pub fn network(&self) -> io::Result<Vec<String>> {
        netlink::describe(|request| self.netlink(request))
    }

    /// Adds a device with this address to its network namespace, brings it up and leads the
    /// default route through it, as a network plugin does for a pod; needs privileges.
    /// `false` where the kernel has no fitting kind of device.
    pub fn add_device(&self, name: &str, address: Ipv4Addr) -> io::Result<bool> {
        netlink::add_device(|request| self.netlink(request), name, address)
    }

    fn netlink(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        self.ask(Op::Netlink, [0; 4], request).map(|(_, text)| text)
    }

    /// Listens on a port of 127.0.0.1 for as long as the probe lives.
    pub fn listen(&self, port: u16) -> io::Result<()> {
        self.value(Op::Listen, [port.into(), 0, 0, 0]).map(drop)
    }

    /// Connects to a port of 127.0.0.1.
    pub fn connect(&self, port: u16) -> io::Result<()> {
        self.value(Op::Connect, [port.into(), 0, 0, 0]).map(drop)
    }

    /// Connects to a port of this address.
    pub fn connect_to(&self, address: Ipv4Addr, port: u16) -> io::Result<()> {
        let address = u32::from(address).into();
        self.value(Op::Connect, [port.into(), address, 0, 0])
            .map(drop)
    }

    /// Connects to a port of 127.0.0.1, sends `text`, and says what comes back until the
    /// other end closes.
    pub fn converse(&self, port: u16, text: &[u8]) -> io::Result<Vec<u8>> {
        self.ask(Op::Exchange, [port.into(), 0, 0, 0], text)
            .map(|(_, answer)| answer)
    }

    /// Makes the IPC objects of `protocol::ipc` under this key; says which.
    pub fn ipc_make(&self, key: u64) -> io::Result<u64> {
        self.value(Op::IpcMake, [key, 0, 0, 0])
    }

    /// Which IPC objects with this key it sees.
    pub fn ipc_find(&self, key: u64) -> io::Result<u64> {
        self.value(Op::IpcFind, [key, 0, 0, 0])
    }

    /// The process ids that /proc shows.
    pub fn processes(&self) -> io::Result<Vec<i32>> {
        let (_, text) = self.ask(Op::Processes, [0; 4], &[])?;
        Ok(numbers(&text).map(|pid| pid as i32).collect())
    }

    /// readlink(2).
    pub fn read_link(&self, path: &str) -> io::Result<String> {
        self.text(Op::ReadLink, path.as_bytes())
    }

    /// A file's content, at most one datagram of it.
    pub fn read_file(&self, path: &str) -> io::Result<Vec<u8>> {
        self.ask(Op::ReadFile, [0; 4], path.as_bytes())
            .map(|(_, text)| text)
    }

    /// Creates or truncates a file.
    pub fn write_file(&self, path: &str, content: &[u8]) -> io::Result<()> {
        let text = [path.as_bytes(), &[0], content].concat();
        self.ask(Op::WriteFile, [0; 4], &text).map(drop)
    }

    /// Goes on as PID 1 of a pid namespace of its own.
    pub fn new_pid_namespace(&self) -> io::Result<()> {
        self.value(Op::NewPidNamespace, [0; 4]).map(drop)
    }

    /// Goes on in a mount namespace of its own.
    pub fn new_mount_namespace(&self) -> io::Result<()> {
        self.value(Op::NewMountNamespace, [0; 4]).map(drop)
    }

    /// Mounts a tmpfs.
    pub fn mount_tmpfs(&self, path: &str) -> io::Result<()> {
        self.ask(Op::MountTmpfs, [0; 4], path.as_bytes()).map(drop)
    }

    /// Mounts what /proc is in its pid namespace.
    pub fn mount_proc(&self, path: &str) -> io::Result<()> {
        self.ask(Op::MountProc, [0; 4], path.as_bytes()).map(drop)
    }

    /// A copy of the mount at this path, as a descriptor of the probe's own, for another probe to
    /// attach.
    pub fn clone_mount(&self, path: &str) -> io::Result<u64> {
        self.ask(Op::CloneMount, [0; 4], path.as_bytes())
            .map(|(values, _)| values[0])
    }

    /// Attaches what [`Probe::clone_mount`] of a probe with pid `owner` (in the sandbox) gave.
    pub fn attach_mount(&self, path: &str, owner: i32, mount: u64) -> io::Result<()> {
        self.ask(
            Op::AttachMount,
            [owner as u64, mount, 0, 0],
            path.as_bytes(),
        )
        .map(drop)
    }

    /// Ends it with this status.
    pub fn exit(self, status: i32) -> io::Result<()> {
        self.send(Op::Exit, [status as u64, 0, 0, 0], &[])?;
        crate::wait::readable(self.pidfd(), PATIENCE).map(drop)
    }

    fn value(&self, op: Op, arguments: [u64; 4]) -> io::Result<u64> {
        self.ask(op, arguments, &[]).map(|(values, _)| values[0])
    }

    fn text(&self, op: Op, text: &[u8]) -> io::Result<String> {
        self.ask(op, [0; 4], text)
            .map(|(_, text)| String::from_utf8_lossy(&text).into_owned())
    }

    fn ask(&self, op: Op, arguments: [u64; 4], text: &[u8]) -> io::Result<([u64; 4], Vec<u8>)> {
        self.exchange(op, arguments, text, PATIENCE)
    }

    fn wait(
        &self,
        op: Op,
        arguments: [u64; 4],
        timeout: Duration,
    ) -> io::Result<([u64; 4], Vec<u8>)> {
        self.exchange(op, arguments, &[], timeout + PATIENCE)
    }

    fn send(&self, op: Op, arguments: [u64; 4], text: &[u8]) -> io::Result<()> {
        let head = Request {
            op: op as u64,
            arguments,
        }
        .to_bytes();
        let message = [head.as_slice(), text].concat();
        if message.len() > protocol::MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        match rustix::net::send(&self.socket, &message, SendFlags::NOSIGNAL) {
            Ok(_) => Ok(()),
            Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => Err(self.lost(op)),
            Err(error) => Err(error.into()),
        }
    }

    fn exchange(
        &self,
        op: Op,
        arguments: [u64; 4],
        text: &[u8],
        patience: Duration,
    ) -> io::Result<([u64; 4], Vec<u8>)> {
        self.send(op, arguments, text)?;
        let last = Instant::now() + patience.max(LONGEST);
        loop {
            let left = last.saturating_duration_since(Instant::now());
            self.await_answer(op, patience.min(left))?;
            let answer = self.receive(op, &mut RecvAncillaryBuffer::default())?;
            if let Some(answer) = answer {
                return Ok(answer);
            }
        }
    }

    /// The answer that has come; `None` where the probe says that it goes on.
    fn receive(
        &self,
        op: Op,
        passed: &mut RecvAncillaryBuffer<'_>,
    ) -> io::Result<Option<([u64; 4], Vec<u8>)>> {
        let mut buffer = vec![0; protocol::MAX];
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let received =
            rustix::net::recvmsg(&self.socket, &mut parts, passed, RecvFlags::CMSG_CLOEXEC);
        let length = match received {
            Ok(received) => received.bytes,
            Err(rustix::io::Errno::CONNRESET) => 0,
            Err(error) => return Err(error.into()),
        };
        buffer.truncate(length);
        let Some(reply) = Reply::from_bytes(&buffer) else {
            return Err(self.lost(op));
        };
        match reply.errno {
            0 => Ok(Some((reply.values, buffer.split_off(protocol::HEAD)))),
            protocol::GOES_ON => Ok(None),
            errno => Err(io::Error::from_raw_os_error(errno as i32)),
        }
    }
}

impl Probe {
    /// Waits for an answer. A probe that was stopped gives none: then this is `ConnectionAborted`,
    /// as where a signal has ended the probe.
    fn await_answer(&self, op: Op, patience: Duration) -> io::Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if crate::wait::readable(self.socket.as_fd(), left.min(LOOK))? {
                return Ok(());
            }
            // The suite stops no probe of its own.
            if sys::is_stopped(self.pidfd()).unwrap_or(false) {
                return Err(io::Error::new(
                    io::ErrorKind::ConnectionAborted,
                    "a process that had joined the sandbox was stopped",
                ));
            }
            if left.is_zero() {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("the probe did not answer {op:?}"),
                ));
            }
        }
    }

    /// Why it does not answer: it has ended. Reaps it, for PID 1 of its namespace cannot
    /// end before (pid_namespaces(7)). `ConnectionAborted` where a signal ended it, which
    /// the suite sends to a probe only when it drops it.
    fn lost(&self, op: Op) -> io::Error {
        let status = match crate::wait::readable(self.pidfd(), PATIENCE) {
            Ok(true) => sys::wait(self.pidfd()).ok().flatten(),
            _ => None,
        };
        match status {
            Some(status @ ExitStatus::Signaled(_)) => io::Error::new(
                io::ErrorKind::ConnectionAborted,
                format!("a process that had joined the sandbox ended: {status}"),
            ),
            Some(status) => io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("the probe {status} before it answered {op:?}"),
            ),
            None => io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("the probe closed its end before it answered {op:?}"),
            ),
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn numbers(text: &[u8]) -> impl Iterator<Item = u32> {
    text.chunks_exact(4).map(|chunk| {
        let mut number = [0; 4];
        number.copy_from_slice(chunk);
        u32::from_ne_bytes(number)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    use std::process::Command;

    fn says(socket: &OwnedFd, errno: u64) {
        let values = [7, 0, 0, 0];
        let reply = Reply { errno, values }.to_bytes();
        rustix::net::send(socket, &reply, SendFlags::NOSIGNAL).expect("send");
    }

    /// A busy host gives little time to a probe: that its work goes on is no answer, and none that does
    /// not come is given up.
    #[rstest]
    #[case::answers(&[protocol::GOES_ON, protocol::GOES_ON, 0], Ok(7))]
    #[case::refuses(&[protocol::GOES_ON, 2], Err(io::ErrorKind::NotFound))]
    #[case::falls_silent(&[protocol::GOES_ON], Err(io::ErrorKind::TimedOut))]
    fn an_answer_is_awaited_while_the_work_goes_on(
        #[case] said: &[u64],
        #[case] expected: Result<u64, io::ErrorKind>,
    ) {
        let (ours, theirs) = Probe::socket().expect("sockets");
        // What it says is there before it is asked: then no time passes.
        for errno in said {
            says(&theirs, *errno);
        }
        let mut process = Command::new("sleep").arg("600").spawn().expect("a process");
        let pid = Pid::from_child(&process);
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("pidfd");
        let pid = pid.as_raw_nonzero().get();
        let probe = Probe::new(Child { pid, pidfd }, ours);
        let answer = probe.exchange(Op::Orphans, [0; 4], &[], Duration::ZERO);
        let answer = answer.map(|(values, _)| values[0]);
        assert_eq!(answer.map_err(|error| error.kind()), expected);
        drop(probe);
        assert!(process.wait().is_err(), "the probe has reaped it");
    }
}
