//! What a container engine holds for the suite must go when the suite does, also when that is
//! killed: the engine's containers are no children of the suite's.
//!
//! Every container has a label, and every image a tag, with the name of the run. A process of its
//! own, the keeper, which is this very program, learns of the suite's end by the end of its input,
//! and has all of that name removed; where it was killed as well, the next suite does, which finds
//! that the run's process is gone.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::{Value, json};

use super::api::{Api, LABEL};
use super::pod;
use crate::backend::Entered;
use crate::backend::kept::{Line, REMOVAL};
use crate::backend::lease::hierarchies;
pub(in crate::backend) use crate::backend::run::name_of_run;
use crate::backend::run::{is_dead, name_of};

/// The first argument of the suite, its name, where it is to be the keeper.
pub const NAME: &str = "pause-conformance-keeper";
/// The name of images; the tag is the run's name. That host is not asked for any image.
const REPOSITORY: &str = "localhost/pause-conformance";
/// How the names of folders begin; what follows is the run's name.
const FOLDER: &str = "pause-conformance-";
/// How the names of cgroups begin, likewise.
const CGROUP: &str = "pause-conformance-engine-";
/// How long an engine may take to make what a suite has asked for last, in seconds.
const LATE: u64 = 30;
/// How long it may take to start what it is then asked to remove.
const STARTING: Duration = Duration::from_mins(2);
/// How long an engine's monitors may take to end after their containers.
const MONITORS: Duration = Duration::from_secs(20);
/// The file with the name of the daemon's process, in its folder.
const DAEMON: &str = "daemon";

/// The suite's end of it.
#[derive(Debug)]
pub(in crate::backend) struct Keeper {
    run: String,
    line: Line,
}

/// A daemon that was started for the suite: its process, and the folder of its socket.
#[derive(Debug)]
pub(in crate::backend) struct Daemon {
    pub(in crate::backend) pid: u32,
    pub(in crate::backend) folder: PathBuf,
}

impl Keeper {
    /// Removes what runs have left that were killed, and starts the keeper.
    ///
    /// # Errors
    /// Where the engine does not answer, or no process can be made.
    pub(in crate::backend) fn start(
        api: &Api,
        run: String,
        daemon: Option<&Daemon>,
    ) -> io::Result<Self> {
        sweep_folders();
        // While another suite ends, an engine may list nothing.
        let swept = || sweep_once(api, &is_dead);
        swept().or_else(|_| swept()).or_else(|_| swept())?;
        remove_cgroups(&is_dead);
        let (pid, folder) = match daemon {
            Some(daemon) => {
                fs::write(daemon.folder.join(DAEMON), name_of(daemon.pid)?)?;
                (daemon.pid.to_string(), daemon.folder.clone())
            }
            None => ("0".to_owned(), PathBuf::new()),
        };
        let words = vec![
            api.socket().into(),
            run.clone().into(),
            pid.into(),
            folder.into(),
        ];
        let line = Line::start(NAME, words)?;
        Ok(Self { run, line })
    }

    /// The name of the run.
    pub(super) fn run(&self) -> &str {
        &self.run
    }

    /// The name for an image of the run.
    pub(super) fn image(&self, number: u64) -> String {
        format!("{REPOSITORY}:{}-{number}", self.run)
    }

    /// The name for a container of the run.
    pub(super) fn container(&self, number: u64) -> String {
        format!("{LABEL}-{}-{number}", self.run)
    }

    /// The cgroup below which those of the run can be, from the root of each hierarchy: the keeper
    /// removes it, with all below.
    pub(super) fn cgroup(&self) -> String {
        format!("/{CGROUP}{}", self.run)
    }

    /// Says that a container or image of this name is being made, before that is asked for.
    ///
    /// # Errors
    /// Where the keeper has gone: what it would not remove is not made.
    pub(super) fn makes(&self, name: &str) -> io::Result<()> {
        self.line.tell(&format!("+{name}"))
    }

    /// Says that the engine has answered.
    pub(super) fn made(&self, name: &str) {
        // It has gone: then what is made next fails.
        let _ = self.line.tell(&format!("-{name}"));
    }
}

/// Has the pods, containers and images removed whose run is one of `these`. An engine does not remove
/// what it is just starting, or using, and lists nothing while something goes: it is asked again
/// until `patience` is over.
fn sweep(api: &Api, these: &dyn Fn(&str) -> bool, patience: Duration) -> io::Result<()> {
    let began = Instant::now();
    loop {
        match sweep_once(api, these) {
            // What was removed is seen to be gone.
            Ok(0) => return Ok(()),
            other if began.elapsed() >= patience => return other.map(drop),
            Ok(_) => await_event(api),
            // One that is gone itself is not asked again.
            Err(error) => {
                api.ping().map_err(|_| error)?;
                await_event(api);
            }
        }
    }
}

/// Waits until the engine has done something, for about a second at most.
fn await_event(api: &Api) {
    let now = seconds();
    let (since, until) = (now.to_string(), (now + 1).to_string());
    let _ = api.follow("/events", &[("since", &since), ("until", &until)], || true);
}

/// How many of them there were.
fn sweep_once(api: &Api, these: &dyn Fn(&str) -> bool) -> io::Result<usize> {
    let mut found = 0;
    // Their containers go with them, and their infra containers only so.
    for [pod, _, run] in pod::all(api)? {
        if these(&run) {
            found += 1;
            let _ = pod::remove(api, &pod);
        }
    }
    for (container, run) in containers(api)? {
        if these(&run) {
            found += 1;
            // Another suite may be removing it, too.
            let _ = api.delete(&format!("/containers/{container}?force=1&v=1"));
        }
    }
    for image in images(api)? {
        let tag = image.rsplit_once(':').map_or("", |(_, tag)| tag);
        let run = tag.rsplit_once('-').map_or("", |(run, _)| run);
        if these(run) {
            found += 1;
            let _ = api.delete(&format!("/images/{image}"));
        }
    }
    Ok(found)
}

/// Removes the folders of runs whose suite and keeper were killed, and ends their daemons.
fn sweep_folders() {
    let user = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(own_folder()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let run = name.to_str().and_then(|name| name.strip_prefix(FOLDER));
        // A folder for all may hold another's.
        let is_own = entry.metadata().is_ok_and(|file| file.uid() == user);
        if is_own && run.is_some_and(is_dead) {
            end_daemon(&entry.path());
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Ends the daemon whose folder this is, where it still runs.
fn end_daemon(folder: &Path) {
    let name = fs::read_to_string(folder.join(DAEMON)).unwrap_or_default();
    let pid = name.split('-').nth(1).and_then(|pid| pid.parse().ok());
    let Some(pid) = pid.and_then(Pid::from_raw) else {
        return;
    };
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else {
        return;
    };
    // The number may be another's by now.
    if name_of(pid.as_raw_pid().cast_unsigned()).is_ok_and(|now| now == name) {
        let _ = pidfd_send_signal(&pidfd, Signal::TERM);
    }
}

/// Removes the cgroups of these runs, whose containers are gone: podman leaves those of its pods in
/// hierarchies that have no controller. Its monitors end a moment later than their containers.
fn remove_cgroups(these: &dyn Fn(&str) -> bool) {
    let began = Instant::now();
    for hierarchy in hierarchies().unwrap_or_default() {
        for entry in fs::read_dir(hierarchy).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let run = name.to_str().and_then(|name| name.strip_prefix(CGROUP));
            if !run.is_some_and(these) {
                continue;
            }
            while !is_removed(&entry.path()) && began.elapsed() < MONITORS {
                // Another user's.
                if entry.metadata().is_ok_and(|file| !may_remove(&file)) {
                    break;
                }
                std::thread::yield_now();
            }
        }
    }
}

/// Whether this user may: root, or the owner.
fn may_remove(cgroup: &fs::Metadata) -> bool {
    let user = rustix::process::geteuid();
    (user.is_root() && Entered::find().is_none()) || cgroup.uid() == user.as_raw()
}

/// Removes a cgroup and those below it; whether it is gone.
fn is_removed(cgroup: &Path) -> bool {
    for below in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if below.file_type().is_ok_and(|kind| kind.is_dir()) {
            is_removed(&below.path());
        }
    }
    fs::remove_dir(cgroup).is_ok() || !cgroup.exists()
}

/// Ids of all containers with the label, and its value.
fn containers(api: &Api) -> io::Result<Vec<(String, String)>> {
    let filters = json!({ "label": [LABEL] }).to_string();
    let all = api.get("/containers/json", &[("all", "1"), ("filters", &filters)])?;
    let each = all.as_array().into_iter().flatten().filter_map(|it| {
        let run = it["Labels"][LABEL].as_str()?;
        Some((it["Id"].as_str()?.to_owned(), run.to_owned()))
    });
    Ok(each.collect())
}

/// The names of all containers, and of images and pods of any run.
fn names(api: &Api) -> io::Result<Vec<String>> {
    let all = api.get("/containers/json", &[("all", "1")])?;
    let names = all.as_array().into_iter().flatten();
    let names = names.flat_map(|it| it["Names"].as_array().into_iter().flatten());
    // Docker's begin with a slash.
    let names = names.filter_map(|name| Some(name.as_str()?.trim_start_matches('/').to_owned()));
    let pods = pod::all(api)?.into_iter().map(|[_, name, _]| name);
    Ok(names.chain(images(api)?).chain(pods).collect())
}

/// The names of images of any run.
fn images(api: &Api) -> io::Result<Vec<String>> {
    let all = api.get("/images/json", &[])?;
    let names = all.as_array().into_iter().flatten();
    let names = names.flat_map(|it| it["RepoTags"].as_array().into_iter().flatten());
    let names = names.filter_map(Value::as_str);
    let of_ours = names.filter(|name| {
        let tag = name.strip_prefix(REPOSITORY);
        tag.is_some_and(|tag| tag.starts_with(':'))
    });
    Ok(of_ours.map(str::to_owned).collect())
}

/// Where what runs has its folders, in memory: root's, or this user's alone (XDG Base Directory
/// Specification), where there is one.
pub(in crate::backend) fn own_folder() -> PathBuf {
    let effective = rustix::process::geteuid();
    let user = Entered::find().map_or(effective.as_raw(), Entered::user);
    if user == 0 {
        return "/run".into();
    }
    let is_own = |folder: &PathBuf| {
        let file = fs::metadata(folder);
        let is_own = file.is_ok_and(|file| file.is_dir() && file.uid() == effective.as_raw());
        folder.is_absolute() && is_own
    };
    let named = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let usual = PathBuf::from(format!("/run/user/{user}"));
    let mut places = named.into_iter().chain([usual]);
    places.find(is_own).unwrap_or_else(std::env::temp_dir)
}

/// Makes a folder for the socket of a daemon.
///
/// # Errors
/// As mkdir(2).
pub(in crate::backend) fn make_folder(run: &str) -> io::Result<PathBuf> {
    use std::os::unix::fs::DirBuilderExt as _;

    let folder = own_folder().join(format!("{FOLDER}{run}"));
    fs::DirBuilder::new().mode(0o700).create(&folder)?;
    Ok(folder)
}

/// Becomes the keeper, and ends as it, where this program was executed for that.
pub fn run_if_asked() {
    let mut words = std::env::args_os();
    if words.next().is_some_and(|name| name == NAME) {
        let status = i32::from(keep(words).is_err());
        std::process::exit(status);
    }
}

fn keep(mut words: impl Iterator<Item = OsString>) -> io::Result<()> {
    let mut word = || words.next().ok_or(io::ErrorKind::InvalidInput);
    let (socket, run, pid, folder) = (word()?, word()?, word()?, word()?);
    let run = run.to_string_lossy().into_owned();
    // While the suite has it for a child, it is no other process.
    let pid = pid.to_str().and_then(|pid| pid.parse().ok());
    let daemon = pid.and_then(Pid::from_raw);
    let daemon = daemon.map(|pid| pidfd_open(pid, PidfdFlags::empty()));
    let pending = pending(io::stdin().lock());
    let api = Api::new(Path::new(&socket));
    let swept = sweep_all(&api, &run, &pending);
    remove_cgroups(&|other| other == run);
    if let Some(Ok(daemon)) = daemon {
        let _ = pidfd_send_signal(&daemon, Signal::TERM);
        if !matches!(crate::wait::readable(daemon.as_fd(), REMOVAL), Ok(true)) {
            let _ = pidfd_send_signal(&daemon, Signal::KILL);
        }
        let _ = fs::remove_dir_all(folder);
    }
    swept
}

/// Reads to the end, which is the suite's: what was being made then.
fn pending(input: impl BufRead) -> BTreeSet<String> {
    let mut pending = BTreeSet::new();
    for line in input.lines().map_while(Result::ok) {
        if let Some(name) = line.strip_prefix('+') {
            pending.insert(name.to_owned());
        } else if let Some(name) = line.strip_prefix('-') {
            pending.remove(name);
        }
    }
    pending
}

/// Removes all of the run, and then what the engine is still making.
fn sweep_all(api: &Api, run: &str, pending: &BTreeSet<String>) -> io::Result<()> {
    let of_run = |other: &str| other == run;
    if pending.is_empty() {
        return sweep(api, &of_run, STARTING);
    }
    let now = seconds();
    let (since, until) = (now.to_string(), (now + LATE).to_string());
    let mut seen = BTreeSet::new();
    let mut look = || {
        let there = names(api).unwrap_or_default();
        seen.extend(there.into_iter().filter(|it| pending.contains(it)));
        let _ = sweep(api, &of_run, Duration::ZERO);
        seen.len() == pending.len()
    };
    // What is made from now on is an event.
    if !look() {
        let _ = api.follow(
            "/events",
            &[("since", &since), ("until", &until)],
            &mut look,
        );
    }
    sweep(api, &of_run, STARTING)
}

/// The time of day, as engines want it.
#[expect(
    clippy::disallowed_methods,
    reason = "an engine's events are asked for by it"
)]
fn seconds() -> u64 {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_dead_where_its_process_is_gone_and_only_there() {
        let own = name_of_run().expect("it runs");
        assert!(!is_dead(&own), "{own}");
        let [namespace, pid, started] = own.split('-').collect::<Vec<_>>()[..] else {
            panic!("three numbers")
        };
        assert!(is_dead(&format!("{namespace}-{pid}-1{started}")));
        assert!(is_dead(&format!("{namespace}-{}-{started}", u32::MAX)));
        assert!(!is_dead(&format!("1{namespace}-{pid}-1{started}")));
        assert!(!is_dead("") && !is_dead("latest") && !is_dead("1-2"));
    }

    #[test]
    fn what_is_being_made_at_the_end_is_known() {
        let told = "+a\n+b\n-a\nother\n+c\n-c\n";
        assert_eq!(pending(told.as_bytes()), BTreeSet::from(["b".to_owned()]));
        assert!(pending(&b""[..]).is_empty());
    }
}
