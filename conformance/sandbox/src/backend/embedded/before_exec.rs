//! What every child of the suite sets before its exec. Nothing here allocates.

use rustix::fs::{Mode, OFlags};

/// Exit status of a child that failed before its exec.
pub(in crate::backend) const FAILED: i32 = 125;

/// Has the kernel kill this process when the suite ends (PDEATHSIG). A program can undo that; the
/// end of the sandbox init, which kills it as well, it cannot.
pub(in crate::backend) fn die_with_suite() {
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
}

/// Sets the umask that a runtime sets, whatever the suite's is (OCI runtime specification,
/// `umask`; runc, libcontainer).
pub(in crate::backend) fn set_usual_umask() {
    let _ = rustix::process::umask(Mode::from_raw_mode(0o022));
}

/// Has the OOM killer choose this process before the suite, in the limit of all sandboxes and on
/// the host (proc_pid_oom_score_adj(5)).
pub(in crate::backend) fn die_first() {
    let path = c"/proc/self/oom_score_adj";
    if let Ok(file) = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()) {
        let _ = rustix::io::write(&file, b"1000");
    }
}
