//! The sandbox's first process from clone to exec: mounts, ids, limits, descriptors.
//! Runs in a copy of a process with threads, so it only walks what [`Plan`] holds.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::libc;
use rustix::io::FdFlags;

use super::before_exec::{self, FAILED};
use super::binfmt;
use super::capabilities;
use super::holder::Holder;
use super::mounts;
use super::plan::{MountsFrom, Plan};
use crate::backend::Root;
use crate::sys::{self, InChild};

/// The child's ends of the pipes between suite and child.
pub(super) struct Pipes<'a> {
    /// One byte lets the child go on.
    pub(super) gate: BorrowedFd<'a>,
    /// Readable when the suite is gone: then give up. The end of the gate does not say that: every
    /// cloned child has copies of it, as of all that the suite had open.
    pub(super) suite: BorrowedFd<'a>,
    /// Eight bytes say which step failed with which error; end of file says that exec succeeded.
    pub(super) status: BorrowedFd<'a>,
    /// Descriptors 0, 1, 2; `None` for closed.
    pub(super) streams: [Option<&'a OwnedFd>; 3],
}

macro_rules! steps {
    ($($name:ident = $words:literal,)*) => {
        /// What the child was doing; its number travels through the status pipe.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub(super) enum Step { $($name,)* }

        impl Step {
            const ALL: &'static [Step] = &[$(Step::$name,)*];

            /// From its number.
            pub(super) fn from_number(number: u32) -> Option<Step> {
                Self::ALL.get(number as usize).copied()
            }

            /// In words, for an error line.
            pub(super) fn words(self) -> &'static str {
                match self { $(Step::$name => $words,)* }
            }
        }
    };
}

steps! {
    Held = "hold before exec",
    Gate = "wait for the id maps",
    Ids = "take ids in the user namespace",
    Network = "bring the loopback device up",
    Hostname = "set the host name",
    Private = "make mounts private",
    Emulator = "register the emulator",
    Root = "mount the root filesystem",
    Overlay = "mount an overlay on the root filesystem",
    Proc = "mount /proc",
    Dev = "mount /dev",
    Pivot = "pivot into the root filesystem",
    WorkingDir = "change to the working directory",
    ReadOnly = "make the host's files read-only",
    Streams = "set the standard streams",
    Limits = "set resource limits",
    Privileges = "drop privileges",
    Seccomp = "install the seccomp filter",
    Signals = "reset signals",
    Exec = "execute the program",
}

/// All that the child of a sandbox does until its exec.
pub(super) struct ToExec<'a> {
    pub(super) plan: &'a Plan,
    pub(super) pipes: &'a Pipes<'a>,
}

#[expect(unsafe_code, reason = "the promise of a child")]
// SAFETY: it makes system calls with what the plan holds; it neither allocates, locks nor keeps
// anything of its thread.
unsafe impl InChild for ToExec<'_> {
    /// Returns only where a step fails, with the status to end with.
    fn run(self) -> i32 {
        let Self { plan, pipes } = self;
        let (step, error) = match prepare(plan, pipes) {
            Ok(()) => execute(plan),
            Err(failed) => failed,
        };
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        // The suite may be gone; then no process reads this.
        let _ = report(pipes.status, step, errno);
        FAILED
    }
}

/// Returns only where that fails.
fn execute(plan: &Plan) -> Failed {
    if let Some(holder) = &plan.holder {
        let error = holder.exec(&plan.envp);
        // For these arguments and this environment the image is to blame, also here.
        let is_images = error.raw_os_error() == Some(libc::E2BIG);
        return (if is_images { Step::Exec } else { Step::Held }, error);
    }
    let (executed, path) = plan.executed();
    let error = sys::exec(executed, path, &plan.argv, &plan.envp);
    (Step::Exec, error)
}

fn report(status: BorrowedFd<'_>, step: Step, errno: i32) -> io::Result<()> {
    let mut message = [0; 8];
    message[..4].copy_from_slice(&(step as u32).to_ne_bytes());
    message[4..].copy_from_slice(&errno.to_ne_bytes());
    // Atomic: it is less than PIPE_BUF.
    Ok(rustix::io::write(status, &message).map(drop)?)
}

/// The child sets PDEATHSIG itself, so a suite that was killed before that is detected here.
fn wait_gate(pipes: &Pipes<'_>) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, poll};

    let mut fds = [
        PollFd::new(&pipes.suite, PollFlags::IN),
        PollFd::new(&pipes.gate, PollFlags::IN),
    ];
    rustix::io::retry_on_intr(|| poll(&mut fds, None))?;
    if !fds[0].revents().is_empty() {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    let mut byte = [0];
    match rustix::io::retry_on_intr(|| rustix::io::read(pipes.gate, &mut byte))? {
        0 => Err(io::ErrorKind::BrokenPipe.into()),
        _ => Ok(()),
    }
}

/// A step that failed, with its error.
type Failed = (Step, io::Error);

fn at(step: Step) -> impl Fn(io::Error) -> Failed {
    move |error| (step, error)
}

fn prepare(plan: &Plan, pipes: &Pipes<'_>) -> Result<(), Failed> {
    before_exec::die_with_suite();
    prepare_without_ids(plan)?;
    wait_gate(pipes).map_err(at(Step::Gate))?;
    if let Some((uid, gid)) = plan.ids.setup {
        sys::set_ids(uid, gid).map_err(at(Step::Ids))?;
    }
    let emulators = set_root(plan)?;
    rustix::process::chdir(&plan.working_dir)
        .map_err(io::Error::from)
        .map_err(at(Step::WorkingDir))?;
    before_exec::set_usual_umask();
    let status = set_streams(plan, pipes).map_err(at(Step::Streams))?;
    plan.limits.set().map_err(at(Step::Limits))?;
    drop_privileges(plan).map_err(at(Step::Privileges))?;
    // A change of ids clears it (PR_SET_PDEATHSIG(2const)).
    before_exec::die_with_suite();
    // Until the suite has set the sandbox up from outside.
    wait_gate(pipes).map_err(at(Step::Network))?;
    sys::reset_signals(plan.blocked, plan.ignored).map_err(at(Step::Signals))?;
    if plan.holder.is_some() {
        let (executed, _) = plan.executed();
        let emulators = emulators.as_ref().map(AsFd::as_fd);
        let own = [pipes.gate, pipes.suite, pipes.status];
        Holder::pass_on(own.into_iter().chain(executed).chain(emulators))
            .map_err(at(Step::Held))?;
    } else if plan.held {
        close_others(plan, pipes, emulators.as_ref()).map_err(at(Step::Held))?;
        // The suite waits for this message.
        report(status, Step::Held, 0).map_err(at(Step::Held))?;
        wait_gate(pipes).map_err(at(Step::Gate))?;
    }
    if let Some(filter) = &plan.seccomp {
        sys::seccomp(filter).map_err(at(Step::Seccomp))?;
    }
    // The kernel opens the emulator through it during exec, which then closes it.
    std::mem::forget(emulators);
    Ok(())
}

/// Does what needs no ids, while the suite maps them.
fn prepare_without_ids(plan: &Plan) -> Result<(), Failed> {
    // A session of its own: a terminal's Ctrl-C is for the suite.
    let _ = rustix::process::setsid();
    before_exec::set_usual_umask();
    rustix::system::sethostname(plan.hostname)
        .map_err(io::Error::from)
        .map_err(at(Step::Hostname))?;
    if plan.mounts_from == MountsFrom::Host {
        mounts::make_private().map_err(at(Step::Private))?;
    }
    if !plan.bounding_set {
        capabilities::bound().map_err(at(Step::Privileges))?;
    }
    Ok(())
}

/// Makes the root filesystem; the binfmt_misc in which the emulator is registered, if one is.
fn set_root(plan: &Plan) -> Result<Option<OwnedFd>, Failed> {
    if plan.root == Root::Host {
        keep_root(plan)?;
        return Ok(None);
    }
    if plan.mounts_from != MountsFrom::Image {
        // Before the root changes: the emulator's path is one of the suite's root.
        let emulators = register(plan).map_err(at(Step::Emulator))?;
        make_root(plan, emulators.as_ref())?;
        return Ok(emulators);
    }
    // The image mount namespace has everything else.
    mounts::mount_proc().map_err(at(Step::Proc))?;
    let emulators = register(plan).map_err(at(Step::Emulator))?;
    attach(emulators.as_ref());
    mounts::mount_ipc(&plan.dev).map_err(at(Step::Dev))?;
    Ok(emulators)
}

/// Closes the descriptors of other children, as exec would. The suite sees another child's exec by
/// the end of a pipe of which this child has a copy: it would wait for as long as this one is held.
fn close_others(plan: &Plan, pipes: &Pipes<'_>, emulators: Option<&OwnedFd>) -> io::Result<()> {
    let own = [pipes.gate, pipes.suite, pipes.status];
    let executed = emulators.into_iter().chain(&plan.keep).map(AsFd::as_fd);
    let executed = executed.chain(plan.executed().0);
    let kept = own.into_iter().chain(executed);
    #[expect(unsafe_code, reason = "it is a child that closes its copies")]
    // SAFETY: a child that is held has copies of all descriptors, and until its exec uses these.
    unsafe {
        sys::close_all_but(&kept)
    }
}

/// The image's root, and what every container finds mounted.
fn make_root(plan: &Plan, emulators: Option<&OwnedFd>) -> Result<(), Failed> {
    if let Some(tree) = &plan.tree {
        mounts::attach_root(tree).map_err(at(Step::Root))?;
    } else {
        if plan.overlay {
            mounts::mount_overlay().map_err(at(Step::Overlay))?;
        } else {
            // A mount from the user namespace above is locked; a bind mount of it can be moved.
            rustix::mount::mount_bind(mounts::ROOT, mounts::ROOT)
                .map_err(io::Error::from)
                .map_err(at(Step::Root))?;
        }
        rustix::process::chdir(mounts::ROOT)
            .map_err(io::Error::from)
            .map_err(at(Step::Root))?;
    }
    if plan.root != Root::Bare {
        if plan.own_pid_namespace {
            mounts::mount_proc().map_err(at(Step::Proc))?;
        }
        attach(emulators);
        if plan.tree.is_some() {
            mounts::mount_devices(&plan.dev)
        } else {
            rustix::mount::mount_bind_recursive(mounts::DEV, &plan.dev).map_err(io::Error::from)
        }
        .and_then(|()| mounts::mount_ipc(&plan.dev))
        .map_err(at(Step::Dev))?;
    }
    if plan.tree.is_some() {
        mounts::pivot()
    } else {
        mounts::cover()
    }
    .map_err(at(Step::Pivot))
}

/// A binfmt_misc of this sandbox's user namespace that holds the plan's rule.
fn register(plan: &Plan) -> io::Result<Option<OwnedFd>> {
    let Some(rule) = &plan.rule else {
        return Ok(None);
    };
    let mounted = binfmt::mount()?;
    binfmt::register(&mounted, rule)?;
    Ok(Some(mounted))
}

/// If it cannot be attached, it still serves the exec of the program.
fn attach(emulators: Option<&OwnedFd>) {
    if let Some(emulators) = emulators {
        let _ = binfmt::attach(emulators);
    }
}

/// The host's files, which the program cannot change, and a /proc of the sandbox's own.
fn keep_root(plan: &Plan) -> Result<(), Failed> {
    rustix::process::chdir(c"/")
        .map_err(io::Error::from)
        .map_err(at(Step::Root))?;
    if plan.own_pid_namespace {
        mounts::mount_proc().map_err(at(Step::Proc))?;
    }
    sys::make_mounts_read_only().map_err(at(Step::ReadOnly))
}

/// Puts the streams on 0–2, leaves open what the plan keeps, and the rest to exec.
fn set_streams<'a>(plan: &Plan, pipes: &Pipes<'a>) -> io::Result<BorrowedFd<'a>> {
    sys::close_range_cloexec(3)?;
    let [stdin, stdout, stderr] = pipes.streams;
    // A closed stream is close-on-exec.
    match stdin {
        Some(stream) => rustix::stdio::dup2_stdin(stream),
        None => rustix::io::fcntl_setfd(rustix::stdio::stdin(), FdFlags::CLOEXEC),
    }?;
    match stdout {
        Some(stream) => rustix::stdio::dup2_stdout(stream),
        None => rustix::io::fcntl_setfd(rustix::stdio::stdout(), FdFlags::CLOEXEC),
    }?;
    match stderr {
        Some(stream) => rustix::stdio::dup2_stderr(stream),
        None => rustix::io::fcntl_setfd(rustix::stdio::stderr(), FdFlags::CLOEXEC),
    }?;
    for descriptor in &plan.keep {
        rustix::io::fcntl_setfd(descriptor, FdFlags::empty())?;
    }
    debug_assert!(pipes.status.as_raw_fd() > 2, "the suite keeps 0-2 open");
    Ok(pipes.status)
}

fn drop_privileges(plan: &Plan) -> io::Result<()> {
    if plan.privileged {
        if plan.ids.setup.is_some() {
            // Permitted capabilities survive the change of ids (capabilities(7)).
            rustix::thread::set_keep_capabilities(true)?;
            sys::drop_groups()?;
            sys::set_ids(plan.ids.uid, plan.ids.gid)?;
        }
        return capabilities::keep();
    }

    if plan.ids.setup.is_some() {
        sys::drop_groups()?;
        sys::set_ids(plan.ids.uid, plan.ids.gid)?;
    }
    rustix::thread::set_no_new_privs(true)?;
    capabilities::give_up()
}
