//! A process that removes what the walkthrough made, also when the walkthrough is killed.

use anyhow::{Context as _, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io::{BufRead, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The time limit of the last command after the end of the walkthrough.
const LAST: Timespec = Timespec {
    tv_sec: 60,
    tv_nsec: 0,
};

/// A second process of this program. It waits for the end of its input, which comes when the
/// walkthrough ends, however it ends.
pub(super) struct Keeper(Child);

impl Keeper {
    /// Starts it. It will run `sweep` and remove `folder`.
    pub(super) fn start(sweep: &str, folder: &Path) -> Result<Self> {
        // Also where its file has been replaced meanwhile, as a build does.
        let child = Command::new("/proc/self/exe")
            .args(["walkthrough", "--engine", "docker", "--keep", sweep])
            .arg(folder)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // An interrupt from the terminal is not for it.
            .process_group(0)
            .spawn()
            .context("run this program")?;
        Ok(Self(child))
    }

    /// Tells it of a process that may be making something.
    pub(super) fn runs(&mut self, pid: u32) -> Result<()> {
        let input = self.0.stdin.as_mut().context("the keeper has no input")?;
        writeln!(input, "{pid}").context("tell the keeper what runs")
    }

    /// Lets it sweep now, and waits for its end.
    pub(super) fn finish(mut self) -> Result<()> {
        drop(self.0.stdin.take());
        self.0.wait().context("wait for the keeper")?;
        Ok(())
    }
}

/// What the keeper does: reads which processes are started, until no more can be, and sweeps when
/// the last of them has ended. What that makes would else come after the sweep.
pub(super) fn watch(input: impl BufRead, sweep: &str, folder: &Path) -> Result<()> {
    let last = input.lines().map_while(Result::ok).last();
    let last = last
        .and_then(|pid| pid.parse().ok())
        .and_then(Pid::from_raw);
    // One that is gone has no descriptor; one that nobody has waited for has, and has ended.
    if let Some(pidfd) = last.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) {
        let _ = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&LAST));
    }
    let swept = Command::new("sh")
        .args(["-c", sweep])
        .stdin(Stdio::null())
        .status();
    let removed = std::fs::remove_dir_all(folder);
    swept.context("run sh")?;
    removed.with_context(|| format!("remove {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_sweeps_when_what_runs_has_ended() {
        let folder = tempfile::tempdir().expect("a folder");
        let (kept, made) = (folder.path().join("kept"), folder.path().join("made"));
        std::fs::create_dir(&kept).expect("a folder");
        let script = format!("read -r _; touch {}", made.display());
        let mut running = Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .spawn()
            .expect("a shell");
        let pids = format!("1\n{}\n", running.id());
        // It ends, and is not waited for, while the keeper watches.
        drop(running.stdin.take());
        let sweep = format!("rm {}", made.display());
        watch(pids.as_bytes(), &sweep, &kept).expect("it is swept");
        assert!(!made.exists() && !kept.exists());
        running.wait().expect("it is ours");
        // Of none that runs, and nothing to remove.
        assert!(watch(&b""[..], "true", &kept).is_err());
    }
}
