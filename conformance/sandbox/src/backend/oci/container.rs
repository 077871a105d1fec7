//! A container, as its runtime knows it: the orders that are given for it, and what is said then.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags};

use crate::backend::lease::Lease;
use crate::backend::stage::Stage;
use crate::backend::{Launch, StartError, at, refused};
use crate::sys::{Child, ExitStatus};

/// How long it may take from the order to start until the program is executed.
pub(super) const START: Duration = Duration::from_mins(1);

/// The cgroup in which the runtime carries out orders. Those of sandboxes have numbers.
const ORDERS: &str = "orders";

/// A container, as its runtime knows it. Dropping it removes it.
pub(super) struct Container {
    pub(super) stage: Arc<Stage>,
    pub(super) lease: Arc<Lease>,
    pub(super) program: PathBuf,
    pub(super) name: &'static str,
    pub(super) id: String,
    /// Its bundle.
    pub(super) folder: String,
    /// A root of its own.
    pub(super) own_root: Option<String>,
    pub(super) null: OwnedFd,
}

impl Container {
    pub(super) fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    /// Gives an order; in words what the container runtime says where it fails.
    pub(super) fn order(&self, words: &[&str], streams: [BorrowedFd<'_>; 3]) -> io::Result<()> {
        let log = self.file("log");
        let (state, path) = (self.stage.path("state"), self.stage.path(&log));
        let global = ["--root", &state, "--log", &path, "--log-format", "json"];
        let words: Vec<String> = global
            .iter()
            .chain(words)
            .map(|word| (*word).to_owned())
            .collect();
        let order = (&*self.program, &*words);
        let doors = self.lease.doors(ORDERS)?;
        match self.stage.run(order, streams, &doors)? {
            ExitStatus::Exited(0) => Ok(()),
            status => {
                let said = self.stage.read(&log).unwrap_or_default();
                let said = last_error(&said).unwrap_or_else(|| status.to_string());
                Err(io::Error::other(format!("{}: {said}", self.name)))
            }
        }
    }

    pub(super) fn silent(&self) -> [BorrowedFd<'_>; 3] {
        [self.null.as_fd(); 3]
    }

    pub(super) fn create<'a>(
        &'a self,
        launch: &Launch<'_>,
        streams: &'a [Option<OwnedFd>; 3],
    ) -> Result<Child, StartError> {
        let [stdin, stdout, stderr] = streams;
        let or_null = |it: &'a Option<OwnedFd>| it.as_ref().unwrap_or(&self.null).as_fd();
        let streams = [or_null(stdin), or_null(stdout), or_null(stderr)];
        let bundle = self.stage.path(&self.folder);
        let pid_file = self.file("pid");
        let pid_path = self.stage.path(&pid_file);
        let words = [
            "create",
            "--bundle",
            &bundle,
            "--pid-file",
            &pid_path,
            &self.id,
        ];
        self.order(&words, streams)
            .map_err(|cause| refused::failure(launch, "create its container", cause))?;
        let opened = self.stage.read(&pid_file).and_then(|text| {
            let pid = text.trim().parse().ok().and_then(Pid::from_raw);
            let pid = pid.ok_or(io::ErrorKind::InvalidData)?;
            // Until the suite has waited for its child, no other process has that number.
            let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
            Ok(Child {
                pid: pid.as_raw_nonzero().get(),
                pidfd,
            })
        });
        opened.map_err(at("find its first process"))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.order(&["delete", "--force", &self.id], self.silent());
        if let Some(root) = &self.own_root {
            let _ = self.stage.detach(root);
            self.stage.remove(root);
        }
        for name in ["config.json", "pid", "log"] {
            self.stage.remove(&self.file(name));
        }
        self.stage.remove(&self.folder);
    }
}

/// Which file a process executes.
pub(super) fn executable(pid: i32) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;

    let file = std::fs::metadata(format!("/proc/{pid}/exe")).ok()?;
    Some((file.dev(), file.ino()))
}

/// Waits until a process executes another file than before, or has ended.
pub(super) fn await_exec(child: &Child, before: Option<(u64, u64)>) -> Result<(), StartError> {
    let began = Instant::now();
    let has_ended = || crate::wait::readable(child.pidfd.as_fd(), Duration::ZERO).unwrap_or(true);
    // The container runtime answers when its process is about to execute the program, and the
    // kernel reports no exec to others.
    while executable(child.pid) == before && !has_ended() {
        if began.elapsed() > START {
            return Err(at("await its exec")(io::ErrorKind::TimedOut.into()));
        }
        std::thread::yield_now();
    }
    Ok(())
}

/// The last error of a log of lines of JSON.
fn last_error(log: &str) -> Option<String> {
    let mut lines = log.lines().filter_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        let level = line.get("level")?.as_str()?.to_lowercase();
        let said = line.get("msg").or_else(|| line.get("message"))?.as_str()?;
        (level == "error" || level == "fatal").then(|| said.to_owned())
    });
    let said = lines.next_back()?;
    Some(pause_image::escape_text(&said).to_string())
}

#[cfg(test)]
mod tests {
    use super::last_error;

    #[test]
    fn the_last_error_of_a_log_is_told_and_nothing_else() {
        let log = "{\"level\":\"warning\",\"msg\":\"one\"}\nno JSON\n\
             {\"level\":\"error\",\"msg\":\"two\"}\n{\"msg\":\"th\\u001bree\",\"level\":\"ERROR\"}\n\
             {\"level\":\"info\",\"msg\":\"four\"}\n";
        let said = last_error(log).expect("an error");
        assert!(said.starts_with("th") && said.ends_with("ree"), "{said}");
        assert!(!said.contains('\u{1b}'), "{said:?}");
        assert_eq!(last_error("{\"level\":\"info\",\"msg\":\"x\"}\n"), None);
    }
}
