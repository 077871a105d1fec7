//! What cgroups, of either version, say: where this process is among them, what they allow and use,
//! and which processes they refused or killed.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A limit of v1 this large is none.
const NO_LIMIT: u64 = 1 << 60;

/// Room for a file of counts: a few lines.
const ROOM: usize = 1024;

/// Which hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// One for each controller.
    V1,
    /// One for all.
    V2,
}

/// This process's cgroup in the hierarchy that has a controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) version: Version,
    pub(crate) directory: PathBuf,
    /// Where the hierarchy is mounted: nothing above it can be seen.
    pub(crate) root: PathBuf,
}

impl Place {
    /// In the hierarchy of v1 that has the controller, else in that of v2.
    pub(crate) fn of(controller: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        Self::among(&mounts, &own, Some(controller)).or_else(|| Self::among(&mounts, &own, None))
    }

    /// That of another process, as [`Place::of`] has this one's.
    #[cfg(any(feature = "cri", feature = "engines"))]
    pub(crate) fn of_process(pid: i32, controller: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let of_it = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        Self::among(&mounts, &of_it, Some(controller))
            .or_else(|| Self::among(&mounts, &of_it, None))
    }

    /// In the hierarchy of v2.
    pub(crate) fn of_v2() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        Self::among(&mounts, &own, None)
    }

    /// By the texts of proc_pid_mountinfo(5) and cgroups(7), /proc/PID/cgroup.
    fn among(mounts: &str, own: &str, controller: Option<&str>) -> Option<Self> {
        let (version, fstype) = match controller {
            Some(_) => (Version::V1, "cgroup"),
            None => (Version::V2, "cgroup2"),
        };
        let path = own_path(own, controller)?;
        let (above, root) = mount_point(mounts, fstype, controller)?;
        // What is mounted may be a part of the hierarchy: then the paths begin above it.
        let below = path.strip_prefix(above.trim_end_matches('/'))?;
        if below.contains("/..") {
            return None;
        }
        Some(Self {
            version,
            directory: root.join(below.trim_start_matches('/')),
            root,
        })
    }

    /// Itself and what is above it, as far as that can be seen.
    pub(crate) fn upwards(&self) -> impl Iterator<Item = &Path> {
        self.directory
            .ancestors()
            .take_while(|directory| directory.starts_with(&self.root))
    }
}

/// Which part of a hierarchy is mounted where.
fn mount_point<'a>(
    mounts: &'a str,
    fstype: &str,
    controller: Option<&str>,
) -> Option<(&'a str, PathBuf)> {
    mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut right = right.split(' ');
        let matches = right.next()? == fstype
            && controller
                .is_none_or(|c| right.nth(1).is_some_and(|o| o.split(',').any(|o| o == c)));
        let mut left = left.split(' ').skip(3);
        matches.then(|| Some((left.next()?, PathBuf::from(left.next()?))))?
    })
}

fn own_path<'a>(own: &'a str, controller: Option<&str>) -> Option<&'a str> {
    own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (number, names, path) = (fields.next()?, fields.next()?, fields.next()?);
        match controller {
            Some(c) => names.split(',').any(|n| n == c).then_some(path),
            None => (number == "0").then_some(path),
        }
    })
}

/// The file that limits memory.
pub(crate) fn memory_limit_file(version: Version) -> &'static str {
    match version {
        Version::V1 => "memory.limit_in_bytes",
        Version::V2 => "memory.max",
    }
}

/// Bytes that all below it may use, where that is limited.
pub(crate) fn memory_limit(directory: &Path) -> Option<u64> {
    first_number(directory, &["memory.max", "memory.limit_in_bytes"])
        .filter(|limit| *limit < NO_LIMIT)
}

/// Bytes that all below it use, but for what the kernel can take back.
pub(crate) fn memory_used(directory: &Path) -> Option<u64> {
    let used = first_number(directory, &["memory.current", "memory.usage_in_bytes"])?;
    let stat = fs::read_to_string(directory.join("memory.stat")).unwrap_or_default();
    let cached = |name: &str| {
        // v1 counts what is below under names of its own.
        field(&stat, &format!("total_{name}"))
            .or_else(|| field(&stat, name))
            .unwrap_or(0)
    };
    Some(used.saturating_sub(cached("inactive_file") + cached("active_file")))
}

/// The most bytes that it ever used.
pub(crate) fn memory_peak(directory: &Path) -> Option<u64> {
    let names = [
        "memory.max_usage_in_bytes",
        "memory.peak",
        // Before Linux 5.19 cgroup v2 tells what is used now alone.
        "memory.current",
    ];
    first_number(directory, &names)
}

/// Processes and threads that may be below it, where that is limited.
pub(crate) fn pids_limit(directory: &Path) -> Option<u64> {
    first_number(directory, &["pids.max"])
}

/// Processes and threads that are below it.
pub(crate) fn pids_used(directory: &Path) -> Option<u64> {
    first_number(directory, &["pids.current"])
}

/// Something that a cgroup counts. The file stays open once it is found: it is asked around each
/// check and after each sandbox.
#[derive(Debug)]
pub(crate) struct Count {
    directory: PathBuf,
    /// Where it may stand.
    files: &'static [&'static str],
    name: &'static str,
    file: OnceLock<File>,
}

impl Count {
    /// How many of its processes the OOM killer has killed, for whatever limit.
    pub(crate) fn of_killed(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            files: &["memory.events.local", "memory.events", "memory.oom_control"],
            name: "oom_kill",
            file: OnceLock::new(),
        }
    }

    /// How many processes and threads it was refused.
    pub(crate) fn of_refused(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            files: &["pids.events.local", "pids.events"],
            name: "max",
            file: OnceLock::new(),
        }
    }

    /// Up to now; `None` where the cgroup says nothing of it, or has gone.
    pub(crate) fn now(&self) -> Option<u64> {
        let kept = self.file.get().and_then(|file| self.read(file));
        kept.or_else(|| self.files.iter().find_map(|file| self.find(file)))
    }

    fn find(&self, file: &str) -> Option<u64> {
        let file = File::open(self.directory.join(file)).ok()?;
        let count = self.read(&file)?;
        // One that is kept already and says nothing any more stays: here it is found each time.
        let _ = self.file.set(file);
        Some(count)
    }

    fn read(&self, file: &File) -> Option<u64> {
        let mut text = [0; ROOM];
        let length = file.read_at(&mut text, 0).ok()?;
        field(str::from_utf8(text.get(..length)?).ok()?, self.name)
    }
}

/// Whether its own memory limit was ever reached.
pub(crate) fn reached_its_memory_limit(directory: &Path) -> bool {
    let v2 = first_field(directory, &["memory.events.local", "memory.events"], "oom");
    let times = v2.or_else(|| first_number(directory, &["memory.failcnt"]));
    times.is_some_and(|times| times > 0)
}

fn first_number(directory: &Path, files: &[&str]) -> Option<u64> {
    let text = files
        .iter()
        .find_map(|file| fs::read_to_string(directory.join(file)).ok())?;
    text.trim().parse().ok()
}

fn first_field(directory: &Path, files: &[&str], name: &str) -> Option<u64> {
    let read = |file: &&str| field(&fs::read_to_string(directory.join(file)).ok()?, name);
    files.iter().find_map(read)
}

/// The number of a line of a name.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(' ')?;
        (key == name).then(|| value.trim().parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn a_controller_of_v1_is_found_before_v2() {
        let own = "4:memory:/user/me\n0::/\n";
        let place = Place::among(V1, own, Some("memory")).expect("it is there");
        assert_eq!(place.version, Version::V1);
        assert_eq!(place.directory, Path::new("/sys/fs/cgroup/memory/user/me"));
        let upwards: Vec<_> = place.upwards().collect();
        assert_eq!(upwards.len(), 3, "{upwards:?}");
        assert_eq!(Place::among(V1, own, Some("pids")), None);
        let v2 = Place::among(V1, own, None).expect("it is there");
        assert_eq!(v2.directory, Path::new("/sys/fs/cgroup/unified/"));
    }

    #[test]
    fn a_container_that_is_shown_a_part_of_the_hierarchy_is_found_in_it() {
        let mounts = "41 31 0:38 /docker/1 /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n";
        let own = |path: &str| Place::among(mounts, &format!("0::{path}\n"), None);
        let found = own("/docker/1/suite").expect("it is there");
        assert_eq!(found.directory, Path::new("/sys/fs/cgroup/suite"));
        assert_eq!(own("/docker/2"), None);
        let whole = "41 31 0:38 / /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n";
        assert_eq!(Place::among(whole, "0::/../other\n", None), None);
    }

    #[test]
    fn files_of_either_version_are_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text);
        let at = folder.path();
        let killed = |at: &Path| Count::of_killed(at).now();
        let refused = |at: &Path| Count::of_refused(at).now();
        assert_eq!(
            (killed(at), refused(at), memory_limit(at)),
            (None, None, None)
        );
        write("memory.limit_in_bytes", "9223372036854771712\n").expect("written");
        assert_eq!(memory_limit(at), None);
        write(
            "memory.oom_control",
            "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
        )
        .expect("written");
        write("memory.failcnt", "0\n").expect("written");
        write("pids.events", "max 7\n").expect("written");
        assert_eq!((killed(at), refused(at)), (Some(3), Some(7)));
        assert!(!reached_its_memory_limit(at));
        write("memory.max", "1024\n").expect("written");
        write("memory.current", "1000\n").expect("written");
        write(
            "memory.stat",
            "anon 1\nactive_file 300\ninactive_file 600\n",
        )
        .expect("written");
        write("memory.events", "low 0\nhigh 0\nmax 4\noom 1\noom_kill 5\n").expect("written");
        write("pids.max", "max\n").expect("written");
        assert_eq!((memory_limit(at), memory_used(at)), (Some(1024), Some(100)));
        assert_eq!((killed(at), pids_limit(at)), (Some(5), None));
        assert!(reached_its_memory_limit(at));
    }

    #[test]
    fn a_count_goes_on_in_the_file_that_was_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pids.events");
        let refused = Count::of_refused(folder.path());
        assert_eq!(refused.now(), None);
        fs::write(&path, "max 0\n").expect("written");
        assert_eq!(refused.now(), Some(0));
        fs::write(&path, "max 12\n").expect("written");
        assert_eq!(refused.now(), Some(12));
        // As the kernel has it for one that has gone: the open file says nothing.
        fs::write(&path, "").expect("written");
        assert_eq!(refused.now(), None);
        fs::remove_file(&path).expect("removed");
        fs::write(&path, "max 3\n").expect("written");
        assert_eq!(refused.now(), Some(3), "another of the same name");
    }
}
