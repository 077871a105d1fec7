//! What /proc says of threads, asked in few calls: the suite asks often, and each has its price.

use std::fs::File;
use std::io::{self, Read as _};

use nix::libc;

/// Room for what most of its files say.
const ROOM: usize = 4096;

/// The text of one of its files; a name in it may hold anything.
pub(super) fn read(path: &str) -> io::Result<String> {
    let mut text = Vec::with_capacity(ROOM);
    // Through `take`, by which no size is asked for: it is always said to be none.
    File::open(path)?.take(u64::MAX).read_to_end(&mut text)?;
    let lossy =
        |error: std::string::FromUtf8Error| String::from_utf8_lossy(error.as_bytes()).into_owned();
    Ok(String::from_utf8(text).unwrap_or_else(lossy))
}

/// The same of a thread.
pub(super) fn read_of(pid: i32, thread: i32, name: &str) -> io::Result<String> {
    read(&format!("/proc/{pid}/task/{thread}/{name}"))
}

/// The threads of a process.
pub(super) fn thread_ids(pid: i32) -> io::Result<Vec<i32>> {
    if has_one_thread(pid) {
        return Ok(vec![pid]);
    }
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"))?;
    let id = |task: io::Result<std::fs::DirEntry>| task.ok()?.file_name().to_str()?.parse().ok();
    Ok(tasks.filter_map(id).collect())
}

/// A directory has two links, and one more for each directory in it.
pub(super) fn has_one_thread(pid: i32) -> bool {
    rustix::fs::stat(format!("/proc/{pid}/task")).is_ok_and(|stat| stat.st_nlink == 3)
}

/// How long a thread has run, in nanoseconds; not at all, where it has ended or nothing tells.
pub(super) fn ran(pid: i32, thread: i32) -> io::Result<u64> {
    let schedstat = match read_of(pid, thread, "schedstat") {
        Err(error) if is_gone(&error) => return Ok(0),
        read => read?,
    };
    let figure = schedstat.split_ascii_whitespace().next();
    Ok(figure.and_then(|it| it.parse().ok()).unwrap_or_default())
}

/// One that ends between the opening of a file and its reading is none any more.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// What /proc/PID/task/TID/status says of a thread, as far as its readiness goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Signs {
    /// `R`, `S`, `D`, `T`, `Z`.
    pub(super) state: Option<char>,
    pub(super) has_memory: bool,
    /// Signals that await delivery to it alone, as a mask.
    pub(super) pending: u64,
    /// And to its process.
    pub(super) pending_for_all: u64,
    pub(super) blocked: u64,
    pub(super) caught: u64,
    /// Context switches, voluntary and not.
    pub(super) switches: u64,
}

impl Signs {
    pub(super) fn of(pid: i32, thread: i32) -> io::Result<Self> {
        Ok(Self::among(&read_of(pid, thread, "status")?))
    }

    fn among(status: &str) -> Self {
        let mut signs = Self::default();
        let mask = |value: &str| u64::from_str_radix(value.trim(), 16).unwrap_or_default();
        for (key, value) in status.lines().filter_map(|line| line.split_once(':')) {
            match key {
                "State" => signs.state = value.trim_start().chars().next(),
                "VmSize" => signs.has_memory = true,
                "SigPnd" => signs.pending = mask(value),
                "ShdPnd" => signs.pending_for_all = mask(value),
                "SigBlk" => signs.blocked = mask(value),
                "SigCgt" => signs.caught = mask(value),
                "voluntary_ctxt_switches" | "nonvoluntary_ctxt_switches" => {
                    signs.switches += value.trim().parse::<u64>().unwrap_or_default();
                }
                _ => {}
            }
        }
        signs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "\
Name:\tState: x
State:\tS (sleeping)
VmPeak:\t     812 kB
VmSize:\t     808 kB
SigQ:\t0/7823
SigPnd:\t0000000000000001
ShdPnd:\t0000000000000200
SigBlk:\t0000000000004002
SigIgn:\t0000000000001000
SigCgt:\t0000000000014000
voluntary_ctxt_switches:\t12
nonvoluntary_ctxt_switches:\t3
";

    #[test]
    fn the_signs_of_a_thread_are_read_by_their_names() {
        let wanted = Signs {
            state: Some('S'),
            has_memory: true,
            pending: 1,
            pending_for_all: 0x200,
            blocked: 0x4002,
            caught: 0x14000,
            switches: 15,
        };
        assert_eq!(Signs::among(STATUS), wanted);
        let ending = "State:\tZ (zombie)\nSigCgt:\t0\n";
        assert!(!Signs::among(ending).has_memory);
    }

    #[test]
    fn they_are_what_another_reader_of_proc_says() {
        // Of the thread that reads: another one may be starting a thread, with
        // every signal blocked meanwhile.
        let (own, thread) = (std::process::id() as i32, nix::unistd::gettid().as_raw());
        let signs = Signs::of(own, thread).expect("it is there");
        let task = procfs::process::Process::myself().and_then(|it| it.task_from_tid(thread));
        let status = task.and_then(|it| it.status());
        let status = status.expect("it is there");
        assert_eq!(
            (signs.blocked, signs.caught, signs.has_memory),
            (status.sigblk, status.sigcgt, status.vmsize.is_some())
        );
    }

    #[test]
    fn the_threads_of_a_process_are_listed_whether_it_has_one_or_more() {
        let own = std::process::id() as i32;
        let listed = || std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                tell.send(nix::unistd::gettid().as_raw())
                    .expect("it is received");
                let _ = stopped.recv();
            });
            let other = told.recv().expect("it starts");
            assert!(!has_one_thread(own));
            let ids = thread_ids(own).expect("it is there");
            assert!(ids.contains(&own) && ids.contains(&other), "{ids:?}");
            assert!(listed() > 1);
            drop(stop);
        });
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("it starts");
        let pid = child.id() as i32;
        assert_eq!(thread_ids(pid).expect("it is there"), [pid]);
        child.kill().expect("it is there");
        child.wait().expect("it ends");
        assert!(thread_ids(pid).is_err_and(|error| is_gone(&error)));
        assert_eq!(ran(pid, pid).expect("none"), 0);
        assert!(ran(own, own).expect("it ran") > 0);
    }

    #[test]
    fn a_text_of_any_length_is_read_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let path = path.to_str().expect("a path");
        for text in ["", "short", &"long ".repeat(ROOM)] {
            std::fs::write(path, text).expect("written");
            assert_eq!(read(path).expect("it is there"), text);
        }
        std::fs::write(path, b"a\xffb").expect("written");
        assert_eq!(read(path).expect("it is there"), "a\u{fffd}b");
    }
}
