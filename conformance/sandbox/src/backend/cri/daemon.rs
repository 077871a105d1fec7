//! A containerd of the suite's own, for one image: with a configuration, a state and a store that
//! are in memory, in a mount and a network namespace, and cgroups that a [lease](Lease) ends. The
//! host's containerd knows nothing of it, and nothing of it is left when its last process ends.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::libc;
use pause_cri::messages::RuntimeCondition;
use pause_cri::{Client, Options};
use pause_image::Subject;

use super::member;
use crate::backend::embedded::{before_exec, mounts};
use crate::backend::lease::{Doors, Lease};
use crate::backend::program;
use crate::backend::stage::{PATH, Stage};
use crate::sys::{self, Child, ExitStatus, InChild, NewNamespaces, StringVector};

/// The image that it runs, by the only name that it knows. That host is not asked for any image.
const IMAGE: &str = "localhost/pause-conformance:subject";
/// Its store is in memory: as much as the kernel gives by itself.
const STORE: &CStr = c"mode=755";
/// Where network plugins are: where their project puts them, and distributions.
const PLUGINS: [&str; 3] = ["/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"];
/// Those that it takes for a pod's network: loopback, a pair of devices, and an address.
const NEEDED: [&str; 3] = ["loopback", "ptp", "host-local"];
/// How long it may take until it answers, and until it has the image.
const BEGINS: Duration = Duration::from_mins(2);
/// How often it is asked until then, unless it ends.
const AGAIN: Duration = Duration::from_millis(10);
/// The most that is shown of what it writes.
const SAID: usize = 300;

/// The programs that it takes.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    pub(super) containerd: PathBuf,
    ctr: PathBuf,
    plugins: PathBuf,
}

impl Programs {
    /// Finds them: `ctr` is beside containerd, or where programs are.
    ///
    /// # Errors
    /// Names the first that is missing.
    pub(super) fn find(containerd: &Path) -> io::Result<Self> {
        let beside = containerd.with_file_name("ctr");
        let ctr = if beside.is_file() {
            beside
        } else {
            program::find("ctr")?
        };
        let plugins = plugins(std::env::var_os("CNI_PATH").as_deref())?;
        Ok(Self {
            containerd: containerd.to_owned(),
            ctr,
            plugins,
        })
    }
}

/// The folder of network plugins, which `CNI_PATH` names first.
fn plugins(named: Option<&std::ffi::OsStr>) -> io::Result<PathBuf> {
    let named = named.into_iter().flat_map(std::env::split_paths);
    let usual = PLUGINS.iter().map(PathBuf::from);
    let has_all = |folder: &PathBuf| NEEDED.iter().all(|name| folder.join(name).is_file());
    named.chain(usual).find(has_all).ok_or_else(|| {
        let folders = PLUGINS.join(", ");
        io::Error::other(format!(
            "no network plugins (loopback, ptp, host-local) in {folders}"
        ))
    })
}

/// The daemon, which ends with this value, or with the suite.
pub(super) struct Daemon {
    /// Closed first.
    pub(super) client: Client,
    child: Child,
    stage: Stage,
    lease: Arc<Lease>,
    /// The name of its cgroup.
    group: String,
}

impl Daemon {
    /// Starts one whose pods are held by the image of this subject.
    ///
    /// # Errors
    /// Where it does not start, or does not take the image.
    pub(super) fn start(
        programs: &Programs,
        lease: &Arc<Lease>,
        number: u64,
        subject: &Subject,
    ) -> io::Result<Self> {
        let stage = Stage::make_with_network(&programs.containerd, STORE)?;
        hide_run(&stage)?;
        for folder in ["cni", "root", "state"] {
            stage.make_folder(folder)?;
        }
        let config = config(&stage.path(""), &programs.plugins);
        stage.write("config.toml", config.as_bytes())?;
        stage.write("cni/pods.conflist", network(&stage.path("")).as_bytes())?;
        let group = format!("daemon-{number}");
        let child = begin(&stage, programs, lease.doors(&group)?)?;
        let socket = format!("/proc/{}/root{}", child.pid, stage.path("socket"));
        let client = await_answer(Path::new(&socket), &child, &stage)?;
        let daemon = Self {
            client,
            child,
            stage,
            lease: Arc::clone(lease),
            group,
        };
        daemon.import(programs, IMAGE, subject)?;
        daemon.import(programs, member::IMAGE, &crate::backend::member::image())?;
        Ok(daemon)
    }

    /// Gives it an image, and waits until it knows it.
    fn import(&self, programs: &Programs, name: &str, subject: &Subject) -> io::Result<()> {
        let (id, archive) = subject.docker_archive(name)?;
        let words = [
            "--address",
            &self.stage.path("socket"),
            "--namespace",
            "k8s.io",
            "images",
            "import",
            "--no-unpack",
            "-",
        ];
        self.run(&programs.ctr, &words, archive.into())?;
        let began = Instant::now();
        loop {
            let status = self.client.image_status(name, false);
            match status.map_err(io::Error::other)?.image {
                Some(image) if image.id == id => return Ok(()),
                Some(image) => {
                    let other = pause_image::escape_text(&image.id);
                    return Err(io::Error::other(format!("it has {other} for {id}")));
                }
                None if began.elapsed() > BEGINS => {
                    return Err(io::Error::other("it does not say that it has the image"));
                }
                None => self.pause()?,
            }
        }
    }

    /// Runs a program that ends by itself, or with the run: a client waits for a daemon that was
    /// killed for ever.
    fn run(&self, program: &Path, words: &[&str], stdin: OwnedFd) -> io::Result<()> {
        const SAYS: &str = "client.log";
        let log = open_log(&self.stage, SAYS)?;
        let null = File::options().write(true).open("/dev/null")?;
        let streams = [stdin, null.into(), log];
        let doors = self.lease.doors(&self.group)?;
        let child = spawn(&self.stage, doors, streams, (program, words))?;
        let pidfd = child.pidfd.as_fd();
        if !matches!(crate::wait::readable(pidfd, BEGINS), Ok(true)) {
            let _ = sys::send_signal(pidfd, libc::SIGKILL);
        }
        if sys::wait(pidfd)? == Some(ExitStatus::Exited(0)) {
            return Ok(());
        }
        let said = last_line(&self.stage.read(SAYS).unwrap_or_default());
        Err(io::Error::other(format!("{}: {said}", program.display())))
    }

    /// Waits a moment, unless it ends.
    fn pause(&self) -> io::Result<()> {
        pause(&self.child, &self.stage)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let pidfd = self.child.pidfd.as_fd();
        let _ = sys::send_signal(pidfd, libc::SIGKILL);
        let _ = sys::wait(pidfd);
    }
}

/// What programs say last is why they end.
fn last_line(text: &str) -> String {
    let line = text.lines().rfind(|line| !line.trim().is_empty());
    let line = line.unwrap_or("it says nothing").trim();
    let end = line
        .char_indices()
        .nth(SAID)
        .map_or(line.len(), |(end, _)| end);
    pause_image::escape_text(&line[..end]).to_string()
}

/// Puts a file system in memory where the host's daemons have their state. What is there can be
/// seen all the same, but for what belongs to a containerd: programs may be below.
fn hide_run(stage: &Stage) -> io::Result<()> {
    const RUN: &CStr = c"/run";
    stage.make_folder("run")?;
    let host = stage.path("run");
    let place = CString::new(host.as_str())?;
    stage.within(|| {
        rustix::mount::mount_bind_recursive(RUN, &place)?;
        mounts::mount_memory(RUN, STORE)?;
        for entry in std::fs::read_dir(&host)? {
            let name = entry?.file_name();
            if name != "containerd" && name != "netns" {
                let target = Path::new(&host).join(&name);
                std::os::unix::fs::symlink(target, Path::new("/run").join(&name))?;
            }
        }
        Ok(())
    })
}

/// Its configuration: as short as can be, so that all else is as containerd has it.
fn config(folder: &str, plugins: &Path) -> String {
    let quoted = |text: String| serde_json::Value::from(text).to_string();
    let path = |name: &str| quoted(format!("{folder}{name}"));
    format!(
        r#"version = 2
root = {root}
state = {state}
[grpc]
address = {socket}
[ttrpc]
address = {ttrpc}
[plugins."io.containerd.internal.v1.opt"]
path = {opt}
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = {image}
netns_mounts_under_state_dir = true
# Below the suite's own takes a privilege that not every root has.
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = {plugins}
conf_dir = {cni}
"#,
        root = path("root"),
        state = path("state"),
        socket = path("socket"),
        ttrpc = path("socket.ttrpc"),
        opt = path("root/opt"),
        image = quoted(IMAGE.to_owned()),
        plugins = quoted(plugins.display().to_string()),
        cni = path("cni"),
    )
}

/// The network of its pods: a device to a network namespace in which nothing else is.
fn network(folder: &str) -> String {
    serde_json::json!({
        "cniVersion": "0.4.0",
        "name": "pause-conformance",
        "plugins": [{
            "type": "ptp",
            "ipam": {
                "type": "host-local",
                // Of addresses for tests (RFC 2544).
                "subnet": "198.18.0.0/15",
                "dataDir": format!("{folder}ipam"),
            },
        }],
    })
    .to_string()
}

fn begin(stage: &Stage, programs: &Programs, doors: Doors) -> io::Result<Child> {
    let null: OwnedFd = File::open("/dev/null")?.into();
    let log = open_log(stage, "log")?;
    let streams = [null, log.try_clone()?, log];
    let words = ["--config", &stage.path("config.toml")];
    spawn(stage, doors, streams, (&programs.containerd, &words))
}

/// An empty file in the stage, for what a program writes.
fn open_log(stage: &Stage, name: &str) -> io::Result<OwnedFd> {
    stage.write(name, b"")?;
    let log = stage.path(name);
    let log = stage.within(|| File::options().append(true).open(&log))?;
    Ok(log.into())
}

/// Where containerd looks for its shim and for runc: where it is itself first, since those of another
/// release do not understand it.
fn search_path(program: &Path) -> Vec<u8> {
    let folder = program.parent().map(|it| it.as_os_str().as_bytes());
    let folder = folder.filter(|it| !it.is_empty() && !it.contains(&b':'));
    match (folder, PATH.strip_prefix("PATH=")) {
        (Some(folder), Some(rest)) => [b"PATH=", folder, b":", rest.as_bytes()].concat(),
        _ => PATH.as_bytes().to_vec(),
    }
}

/// Starts a program in the stage that ends with the run.
fn spawn(
    stage: &Stage,
    doors: Doors,
    streams: [OwnedFd; 3],
    (program, words): (&Path, &[&str]),
) -> io::Result<Child> {
    let name = program.as_os_str().as_bytes().to_vec();
    let words = words.iter().map(|word| word.as_bytes().to_vec());
    let entry = Entry {
        stage,
        doors,
        streams,
        path: CString::new(name.clone())?,
        argv: StringVector::new(std::iter::once(name).chain(words))?,
        envp: StringVector::new([search_path(program)])?,
    };
    sys::spawn(NewNamespaces::empty(), &entry)
}

/// containerd, or a client of it, from clone to exec.
struct Entry<'a> {
    stage: &'a Stage,
    doors: Doors,
    streams: [OwnedFd; 3],
    path: CString,
    argv: StringVector,
    envp: StringVector,
}

impl Entry<'_> {
    fn prepare(&self) -> io::Result<()> {
        // A signal to the suite's process group is not for it.
        let _ = rustix::process::setsid();
        // Before anything is executed that could outlive the suite.
        self.doors.enter()?;
        self.stage.enter()?;
        sys::close_range_cloexec(3)?;
        let [stdin, stdout, stderr] = &self.streams;
        rustix::stdio::dup2_stdin(stdin)?;
        rustix::stdio::dup2_stdout(stdout)?;
        rustix::stdio::dup2_stderr(stderr)?;
        before_exec::set_usual_umask();
        sys::reset_signals(0, 0)
    }
}

#[expect(unsafe_code, reason = "the promise of a child")]
// SAFETY: it makes system calls with what was prepared before the clone, and no more.
unsafe impl InChild for &Entry<'_> {
    fn run(self) -> i32 {
        if self.prepare().is_ok() {
            sys::exec(None, &self.path, &self.argv, &self.envp);
        }
        before_exec::FAILED
    }
}

/// Waits a moment, unless the daemon ends: then what it wrote last is why.
fn pause(child: &Child, stage: &Stage) -> io::Result<()> {
    if !crate::wait::readable(child.pidfd.as_fd(), AGAIN)? {
        return Ok(());
    }
    let said = last_line(&stage.read("log").unwrap_or_default());
    Err(io::Error::other(format!("it ended: {said}")))
}

/// Waits until it can run pods.
fn await_answer(socket: &Path, child: &Child, stage: &Stage) -> io::Result<Client> {
    let began = Instant::now();
    let mut client = None;
    loop {
        let answer = match client.take() {
            None => Client::connect(socket, Options::default()),
            Some(client) => Ok(client),
        };
        let cause = match answer {
            Ok(known) => match lacks(&known) {
                None => return Ok(known),
                Some(cause) => {
                    client = Some(known);
                    cause
                }
            },
            Err(error) => error.to_string(),
        };
        if began.elapsed() > BEGINS {
            return Err(io::Error::other(cause));
        }
        pause(child, stage)?;
    }
}

/// What it says that it is not ready for, or that it says nothing.
fn lacks(client: &Client) -> Option<String> {
    match client.status(false) {
        Ok(status) => lacking(&status.status.unwrap_or_default().conditions),
        Err(error) => Some(error.to_string()),
    }
}

/// The conditions without which no pod runs (cri-api's `RuntimeReady` and `NetworkReady`). A runtime
/// may tell others: containerd from 1.7 on, that something which it was given will be taken away.
const NEEDED_TO_RUN: [&str; 2] = ["RuntimeReady", "NetworkReady"];

fn lacking(conditions: &[RuntimeCondition]) -> Option<String> {
    let is_lacking =
        |it: &&RuntimeCondition| !it.status && NEEDED_TO_RUN.contains(&it.r#type.as_str());
    let lacking = conditions.iter().find(is_lacking)?;
    let words = format!("{}: {}", lacking.r#type, lacking.message);
    Some(pause_image::escape_text(&words).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_are_found_where_all_of_them_are() {
        let places = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        let [some, all] = &places;
        std::fs::write(some.path().join("ptp"), "").expect("a file");
        for name in NEEDED {
            std::fs::write(all.path().join(name), "").expect("a file");
        }
        let named = std::env::join_paths([some.path(), all.path()]).expect("a list");
        let found = plugins(Some(&named)).expect("there they are");
        assert_eq!(found, all.path());
    }

    #[test]
    fn its_own_folder_is_searched_first() {
        let found = search_path(Path::new("/opt/containerd/bin/containerd"));
        let expected = PATH.replace("PATH=", "PATH=/opt/containerd/bin:");
        assert_eq!(found, expected.as_bytes());
        assert_eq!(search_path(Path::new("containerd")), PATH.as_bytes());
    }

    #[test]
    fn a_runtime_that_warns_is_ready() {
        let condition = |name: &str, status| RuntimeCondition {
            r#type: name.to_owned(),
            status,
            message: "why".to_owned(),
            ..RuntimeCondition::default()
        };
        let ready = condition("RuntimeReady", true);
        let warns = condition("ContainerdHasNoDeprecationWarnings", false);
        let no_network = condition("NetworkReady", false);
        assert_eq!(lacking(&[ready.clone(), warns.clone()]), None);
        let found = lacking(&[ready, warns, no_network]);
        assert_eq!(found.as_deref(), Some("NetworkReady: why"));
    }

    #[test]
    fn the_last_line_says_why() {
        assert_eq!(last_line("one\ntwo\u{1b}[0m\n\n"), "two\\x1b[0m");
        assert_eq!(last_line(""), "it says nothing");
        assert_eq!(last_line(&"é".repeat(1000)).chars().count(), SAID);
    }
}
