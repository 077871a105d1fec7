//! A folder that looks like /proc, with processes as a test wants them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A process of a faked /proc; the default is a sound pause.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) name: &'static str,
    pub(crate) state: char,
    pub(crate) threads: u32,
    /// Clock ticks since the boot.
    pub(crate) started: u64,
    /// Clock ticks of processor time.
    pub(crate) ticks: u64,
    pub(crate) cgroup: String,
    pub(crate) arguments: &'static str,
    /// Pids from the node's namespace inwards.
    pub(crate) pids: &'static str,
    pub(crate) uid: u32,
    pub(crate) capabilities: u64,
    pub(crate) no_new_privileges: u32,
    pub(crate) seccomp: u32,
    pub(crate) score: i32,
    /// KiB.
    pub(crate) memory: u64,
    /// Inodes of net, ipc, uts and pid.
    pub(crate) namespaces: [u64; 4],
    pub(crate) descriptors: Vec<(u32, &'static str)>,
    /// What it executes, and what its image has at `/pause`.
    pub(crate) program: &'static [u8],
    pub(crate) file: &'static str,
    /// The name of what it executes.
    pub(crate) executes: &'static str,
    pub(crate) at_root: bool,
}

/// The namespaces of the node.
pub(crate) const NODE: [u64; 4] = [1, 2, 3, 4];
/// Seconds since the boot, and the ticks in one of them.
pub(crate) const UPTIME: u64 = 100_000;
pub(crate) const TICKS: u64 = 100;

impl Process {
    /// A sound pause of the pod with this number.
    pub(crate) fn pause(pid: i32, pod: u32) -> Self {
        Self {
            pid,
            parent: 1,
            name: "pause",
            state: 'S',
            threads: 1,
            started: 1_000,
            ticks: 2,
            cgroup: cgroup(pod, 0),
            arguments: "/pause\0",
            pids: "77 1",
            uid: 65_535,
            capabilities: 0,
            no_new_privileges: 1,
            seccomp: 2,
            score: -998,
            memory: 632,
            namespaces: namespaces(pod),
            descriptors: vec![(0, "/dev/null"), (1, "/dev/null"), (2, "/dev/null")],
            program: b"pause",
            file: "pause",
            executes: "program",
            at_root: true,
        }
    }

    /// The first process of another container of that pod, in a pid namespace of its own.
    pub(crate) fn member(pid: i32, pod: u32, container: u32) -> Self {
        let [net, ipc, uts, pids] = namespaces(pod);
        Self {
            name: "web",
            started: 2_000,
            cgroup: cgroup(pod, container),
            arguments: "/web\0",
            score: 1_000,
            namespaces: [net, ipc, uts, pids + 500],
            program: b"web",
            file: "web",
            ..Self::pause(pid, pod)
        }
    }

    /// Process 1 of the node.
    pub(crate) fn init() -> Self {
        Self {
            parent: 0,
            name: "init",
            cgroup: "0::/init.scope\n".to_owned(),
            arguments: "/sbin/init\0",
            pids: "1",
            uid: 0,
            score: 0,
            namespaces: NODE,
            ..Self::pause(1, 0)
        }
    }

    /// A child of `parent` that has ended and was not waited for, in the same place as `beside`.
    pub(crate) fn zombie(pid: i32, parent: i32, beside: &Self) -> Self {
        Self {
            pid,
            parent,
            name: "probe",
            state: 'Z',
            started: 3_000,
            ..beside.clone()
        }
    }
}

pub(crate) fn namespaces(pod: u32) -> [u64; 4] {
    let first = 1_000 + u64::from(pod) * 10;
    [first, first + 1, first + 2, first + 3]
}

pub(crate) fn uid(pod: u32) -> String {
    format!("{pod:08x}-0000-0000-0000-000000000000")
}

pub(crate) fn container(pod: u32, container: u32) -> String {
    format!("{pod:032x}{container:032x}")
}

pub(crate) fn cgroup(pod: u32, number: u32) -> String {
    format!(
        "0::/kubepods/besteffort/pod{}/{}\n",
        uid(pod),
        container(pod, number)
    )
}

/// The folder.
pub(crate) struct Tree {
    folder: TempDir,
}

impl Tree {
    pub(crate) fn of(processes: &[Process]) -> Self {
        let tree = Self {
            folder: tempfile::tempdir().expect("a folder"),
        };
        fs::write(tree.path().join("uptime"), format!("{UPTIME}.00 1.0\n")).expect("written");
        // What is no process is passed over.
        fs::create_dir(tree.path().join("sys")).expect("a folder");
        tree.add(&Process::init());
        for process in processes {
            tree.add(process);
        }
        tree
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A new process is there as a whole at once: an audit may look meanwhile.
    pub(crate) fn add(&self, process: &Process) {
        let place = self.path().join(process.pid.to_string());
        if place.exists() {
            return Self::fill(&place, process);
        }
        let new = self.path().join("new");
        Self::fill(&new, process);
        fs::rename(&new, &place).expect("a name of its own");
    }

    fn fill(folder: &Path, process: &Process) {
        let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("written");
        for name in ["", "ns", "fd", "root", "elsewhere"] {
            fs::create_dir_all(folder.join(name)).expect("a folder");
        }
        write("stat", &stat(process));
        write("status", &status(process));
        write("cgroup", &process.cgroup);
        write("cmdline", process.arguments);
        write("oom_score_adj", &format!("{}\n", process.score));
        let program = process
            .arguments
            .trim_end_matches('\0')
            .trim_start_matches('/');
        let program = program.split('\0').next().unwrap_or_default();
        if program.split('/').all(|part| part != "..") && !program.is_empty() {
            let at = folder.join("root").join(program);
            let above = at.parent().expect("below the root");
            fs::create_dir_all(above).expect("a folder");
            fs::write(at, process.file).expect("written");
        }
        fs::write(folder.join(process.executes), process.program).expect("written");
        let link = |target: &str, name: &str| {
            let _ = fs::remove_file(folder.join(name));
            symlink(target, folder.join(name)).expect("a link");
        };
        link(process.executes, "exe");
        link(if process.at_root { "root" } else { "elsewhere" }, "cwd");
        for (kind, inode) in ["net", "ipc", "uts", "pid"].iter().zip(process.namespaces) {
            link(&format!("{kind}:[{inode}]"), &format!("ns/{kind}"));
        }
        for (number, target) in &process.descriptors {
            link(target, &format!("fd/{number}"));
        }
    }

    pub(crate) fn of_process(&self, pid: i32, name: &str) -> PathBuf {
        self.path().join(pid.to_string()).join(name)
    }
}

fn stat(it: &Process) -> String {
    let (pid, name, state, parent) = (it.pid, it.name, it.state, it.parent);
    let (ticks, threads, started) = (it.ticks, it.threads, it.started);
    format!(
        "{pid} ({name}) {state} {parent} {pid} {pid} 0 -1 4194560 1 0 0 0 {ticks} 0 0 0 20 0 {threads} 0 \
         {started} 1024000 158 18446744073709551615 1 1 0 0 0 0 0 4096 65536 1 0 0 17 0 0 0 0 0 0 \
         0 0 0 0 0 0 0\n"
    )
}

fn status(it: &Process) -> String {
    let (uid, pid, threads, memory) = (it.uid, it.pid, it.threads, it.memory);
    let (caps, name) = (it.capabilities, it.name);
    format!(
        "Name:\t{name}\nUmask:\t0022\nState:\t{} (state)\nTgid:\t{pid}\nNgid:\t0\nPid:\t{pid}\n\
         PPid:\t{}\nTracerPid:\t0\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nGid:\t{uid}\t{uid}\t{uid}\t{uid}\n\
         FDSize:\t64\nGroups:\t \nNStgid:\t{}\nNSpid:\t{}\nVmPeak:\t1000 kB\nVmRSS:\t{memory} kB\n\
         RssAnon:\t40 kB\nThreads:\t{threads}\nSigQ:\t0/100\nSigPnd:\t0000000000000000\n\
         ShdPnd:\t0000000000000000\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n\
         SigCgt:\t0000000000000000\nCapInh:\t0000000000000000\nCapPrm:\t{caps:016x}\n\
         CapEff:\t{caps:016x}\nCapBnd:\t{caps:016x}\nCapAmb:\t0000000000000000\nNoNewPrivs:\t{}\n\
         Seccomp:\t{}\nvoluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t0\n",
        it.state,
        it.parent,
        it.pids.replace(' ', "\t"),
        it.pids.replace(' ', "\t"),
        it.no_new_privileges,
        it.seccomp,
    )
}
