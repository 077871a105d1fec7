//! `cargo xtask walkthrough`: makes a pod by hand on a real engine, as in Ian Lewis' article "The
//! Almighty Pause Container": a pause container, nginx, and a blog that nginx is the proxy of.
//!
//! It prints the command of each step as a user would type it, with its output, and compares the
//! output with what the step must show. **Nothing is left behind**, also where a step fails or the
//! task is killed.

mod client;
mod cri;
mod docker;
mod ghost;
mod keeper;
mod parts;
mod podman;
mod terminal;

use crate::{image, platform};
use anyhow::{Context as _, Result, bail, ensure};
use parts::Parts;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use terminal::Terminal;

pub use terminal::Unavailable;

/// The time limit of each wait in a step.
const DEADLINE: Duration = Duration::from_mins(3);

/// Arguments of `walkthrough`.
#[derive(Debug, clap::Args)]
pub struct Walkthrough {
    /// The engine that makes the pod; its own environment variables name the socket of its daemon
    #[arg(long, value_enum)]
    engine: EngineName,
    /// The pause image: docker-archive:FILE, or a name that the engine has or can pull; default:
    /// the reference pause, built here. A CRI runtime runs the image that its configuration names
    #[arg(long, value_name = "REF")]
    pause: Option<String>,
    /// The host port that is published for nginx
    #[arg(long, value_name = "PORT", default_value_t = 8880)]
    port: u16,
    /// Run Ghost as the blog, fetched and built by npm, which takes minutes the first time; default:
    /// a small server in its place
    #[arg(long)]
    ghost: bool,
    /// The parent cgroup of the pod, as a path from the root of the hierarchy
    #[arg(long, value_name = "PATH")]
    cgroup_parent: Option<String>,
    /// Also write the output to this document, between the two comments that name the engine
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
    /// Only remove what the process with this id made
    #[arg(long, hide = true, value_name = "PID")]
    sweep: Option<u32>,
    /// Wait for the end of the input, then sweep by this command and remove this folder
    #[arg(long, hide = true, num_args = 2, value_names = ["COMMAND", "FOLDER"])]
    keep: Option<Vec<String>>,
}

/// An engine, by its name on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum EngineName {
    /// Containers that share a container's namespaces
    Docker,
    /// A pod, whose infra image is the pause
    Podman,
    /// The Container Runtime Interface, as a kubelet uses it
    Cri,
}

/// What the walkthrough asks of an engine.
struct Asked {
    /// The suffix of all names.
    own: u32,
    port: u16,
    /// The pause image that the user named, which is kept; `None` where an archive is loaded, whose
    /// image is removed at the end.
    pause: Option<String>,
    cgroup: Option<String>,
}

impl Asked {
    fn name(&self, of: &str) -> String {
        format!("{of}-{}", self.own)
    }

    /// The name of the pause's image.
    fn image(&self) -> String {
        self.pause.clone().unwrap_or_else(|| loaded_as(self.own))
    }

    /// The options that set the parent cgroup.
    fn below(&self) -> Vec<&str> {
        let parent = self.cgroup.iter();
        parent.flat_map(|it| ["--cgroup-parent", it]).collect()
    }
}

/// A loaded image gets a name of its own, so that it replaces no image of the user's.
fn loaded_as(own: u32) -> String {
    format!("localhost/pause-{own}:{}", image::TAG)
}

/// One of the pod's containers besides the pause.
struct Member {
    /// Its name: `nginx` or `blog`.
    name: &'static str,
    /// Its command.
    command: &'static [&'static str],
    /// A file in the temporary folder, and its path in the container.
    file: (&'static str, &'static str),
    /// What it logs once it is ready.
    ready: &'static str,
}

const NGINX: Member = Member {
    name: "nginx",
    command: &["nginx", "-g", "daemon off;"],
    file: ("nginx.conf", "/etc/nginx/nginx.conf"),
    ready: "start worker process ",
};

const BLOG: Member = Member {
    name: "blog",
    command: &["node", "/blog.js"],
    file: ("blog.js", "/blog.js"),
    ready: "listening",
};

/// The mount point of the volume in the members.
const VOLUME: &str = "/files";

/// The steps that differ between engines. A command is a list of words, as a shell splits it.
trait Engine {
    /// A shell script that removes everything, for the case that the task is killed.
    fn sweep(&self) -> String;
    /// Prints the engine's version; an error if there is no engine.
    fn greet(&self, terminal: &mut Terminal) -> Result<()>;
    /// Loads the images, and makes the volume.
    fn load(&mut self, terminal: &mut Terminal, parts: &Parts) -> Result<()>;
    /// Starts the pause container, with its published port.
    fn pause(&mut self, terminal: &mut Terminal) -> Result<()>;
    /// Starts a member in the pause container's namespaces.
    fn member(&mut self, terminal: &mut Terminal, member: &Member) -> Result<()>;
    /// Restarts a member.
    fn restart(&mut self, terminal: &mut Terminal, member: &Member) -> Result<()>;
    /// Runs a command in a member, and returns its output.
    fn exec(&self, terminal: &mut Terminal, member: &Member, command: &[&str]) -> Result<String>;
    /// The command that follows a member's log.
    fn logs(&self, member: &Member) -> Vec<String>;
    /// Removes everything that was made.
    fn remove(&mut self, terminal: &mut Terminal) -> Result<()>;
    /// Lists what is left, which must be nothing.
    fn left(&self, terminal: &mut Terminal) -> Result<String>;
}

/// Makes the members' root file system from packages of the distribution, once, for tests in which
/// the walkthrough has no network.
///
/// # Errors
/// If the packages cannot be fetched.
pub fn prepare() -> Result<()> {
    parts::tree().map(drop)
}

impl Walkthrough {
    /// Runs every step.
    ///
    /// # Errors
    /// [`Unavailable`] if there is no such engine; else the step whose output was wrong.
    pub fn run(self) -> Result<()> {
        if let Some([sweep, folder]) = self.keep.as_deref() {
            return keeper::watch(std::io::stdin().lock(), sweep, Path::new(folder));
        }
        if let Some(earlier) = self.sweep {
            return cri::Cri::sweep_of(earlier);
        }
        let own = std::process::id();
        let mut terminal = Terminal::open(own, self.page.is_some())?;
        let asked = Asked {
            own,
            port: self.port,
            pause: self.pause.clone().filter(|_| self.archive().is_none()),
            cgroup: self.cgroup_parent.clone(),
        };
        let mut engine: Box<dyn Engine> = match self.engine {
            EngineName::Docker => Box::new(docker::Docker::new(asked)),
            EngineName::Podman => Box::new(podman::Podman::new(asked)),
            EngineName::Cri => Box::new(cri::Cri::new(asked, terminal.folder())?),
        };
        terminal.ask(&["curl", "--version"], "apt-get install curl")?;
        engine.greet(&mut terminal)?;
        let pause = self.reference(own, terminal.folder())?;
        let parts = Parts::make(terminal.folder(), pause.is_some(), self.ghost)?;
        terminal.keep(&engine.sweep())?;
        let walked = walk(
            &mut *engine,
            &mut terminal,
            &parts,
            self.port,
            self.is_named(),
        );
        // The failed command's output is printed already. What was made is removed in any case.
        if let Err(error) = walked {
            let _ = terminal.swept();
            return Err(error);
        }
        terminal.step("Nothing is left behind");
        engine.remove(&mut terminal)?;
        let left = engine.left(&mut terminal)?;
        ensure!(left.trim().is_empty(), "this is left: {left}");
        terminal.swept()?;
        match &self.page {
            Some(page) => terminal.write(page, self.engine.name()),
            None => Ok(()),
        }
    }

    /// Whether the user chose the pause image, whose program may have any name.
    fn is_named(&self) -> bool {
        self.pause.is_some() || self.engine == EngineName::Cri
    }

    /// The archive that the user named, for an engine that loads one.
    fn archive(&self) -> Option<&str> {
        let archive = self.pause.as_deref()?.strip_prefix("docker-archive:");
        archive.filter(|_| self.engine != EngineName::Cri)
    }

    /// The archive of the pause image in `folder`, if one is to be loaded.
    fn reference(&self, own: u32, folder: &Path) -> Result<Option<PathBuf>> {
        let name = loaded_as(own);
        let archive = if let Some(archive) = self.archive() {
            renamed(Path::new(archive), &name).with_context(|| format!("read {archive}"))?
        } else if self.is_named() {
            return Ok(None);
        } else {
            let out = crate::cargo::Metadata::read()?.target_directory()?;
            image::docker_archive(platform::host()?, &name, &out.join("walkthrough"))?
        };
        let path = folder.join("pause.tar");
        std::fs::write(&path, archive).with_context(|| format!("write {}", path.display()))?;
        Ok(Some(path))
    }
}

/// An archive of `docker save`, with another name for its first image.
fn renamed(archive: &Path, name: &str) -> Result<Vec<u8>> {
    let mut from = tar::Archive::new(std::fs::File::open(archive)?);
    let mut to = tar::Builder::new(Vec::new());
    let mut is_named = false;
    for entry in from.entries()? {
        let mut entry = entry?;
        let mut header = entry.header().clone();
        let path = entry.path()?.into_owned();
        match path.to_str() {
            Some("repositories") => {}
            Some("manifest.json") => {
                let mut manifest: serde_json::Value = serde_json::from_reader(&mut entry)?;
                let first = manifest.get_mut(0).context("its manifest names no image")?;
                first["RepoTags"] = serde_json::json!([name]);
                let bytes = manifest.to_string();
                header.set_size(bytes.len() as u64);
                to.append_data(&mut header, path, bytes.as_bytes())?;
                is_named = true;
            }
            _ => to.append_data(&mut header, path, &mut entry)?,
        }
    }
    ensure!(is_named, "it has no manifest.json: docker save writes one");
    Ok(to.into_inner()?)
}

impl EngineName {
    fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Cri => "cri",
        }
    }
}

/// Runs the steps.
fn walk(
    engine: &mut dyn Engine,
    terminal: &mut Terminal,
    parts: &Parts,
    port: u16,
    is_named: bool,
) -> Result<()> {
    let blog = parts.blog();
    terminal.step("What the pod is made of");
    parts.show(terminal);
    engine.load(terminal, parts)?;

    terminal.step("The pause holds the namespaces, and the port");
    engine.pause(terminal)?;

    terminal.step("nginx joins them; without a blog it has nothing to show");
    engine.member(terminal, &NGINX)?;
    await_ready(engine, terminal, &NGINX, 1)?;
    fetch(terminal, port, "502", "")?;

    terminal.step("The blog joins them; both talk by 127.0.0.1");
    engine.member(terminal, blog)?;
    await_ready(engine, terminal, blog, 1)?;
    fetch(terminal, port, "200", parts::TITLE)?;

    terminal.step("All of them are in one pid namespace, and the pause is its process 1");
    let processes = engine.exec(terminal, blog, &["ps", "aux"])?;
    shows_all(&processes, is_named)?;

    terminal.step("An orphan is adopted by the pause, and reaped");
    an_orphan_is_reaped(engine, terminal, blog)?;

    terminal.step("A volume is shared");
    let note = "written by the blog";
    let write = format!("echo {note} > {VOLUME}/note");
    engine.exec(terminal, blog, &["sh", "-c", &write])?;
    let read = engine.exec(terminal, &NGINX, &["cat", &format!("{VOLUME}/note")])?;
    ensure!(read.trim() == note, "nginx reads something else");

    terminal.step("nginx starts anew, and the address stays");
    let before = engine.exec(terminal, &NGINX, &["hostname", "-I"])?;
    engine.restart(terminal, &NGINX)?;
    await_ready(engine, terminal, &NGINX, 2)?;
    let after = engine.exec(terminal, &NGINX, &["hostname", "-I"])?;
    ensure!(
        !before.trim().is_empty() && before == after,
        "the address was {} and is {}",
        before.trim(),
        after.trim()
    );
    fetch(terminal, port, "200", parts::TITLE)
}

/// Waits until a member has logged for the `count`th time that it is ready.
fn await_ready(
    engine: &dyn Engine,
    terminal: &mut Terminal,
    member: &Member,
    count: usize,
) -> Result<()> {
    let command = engine.logs(member);
    terminal
        .await_line(&command, member.ready, count, DEADLINE)
        .with_context(|| format!("{} does not become ready", member.name))
}

/// Fetches the page from outside the pod.
fn fetch(terminal: &mut Terminal, port: u16, status: &str, words: &str) -> Result<()> {
    let url = format!("http://localhost:{port}/");
    let curl = [
        "curl",
        "--silent",
        "--show-error",
        "--include",
        "--max-time",
        "20",
        &url,
    ];
    let page = terminal.run(&curl)?;
    let head = page.lines().next().unwrap_or_default();
    ensure!(
        head.split_whitespace().nth(1) == Some(status),
        "expected status {status}, and it is: {head}"
    );
    ensure!(page.contains(words), "the page does not say {words}");
    Ok(())
}

/// Checks the output of `ps aux` in the pod.
fn shows_all(processes: &str, is_named: bool) -> Result<()> {
    let rows = || {
        processes.lines().skip(1).filter_map(|line| {
            let mut words = line.split_whitespace();
            let pid = words.nth(1)?;
            let command: Vec<&str> = words.skip(8).collect();
            Some((pid, command.join(" ")))
        })
    };
    let first = rows().find(|(pid, _)| *pid == "1");
    let (_, first) = first.context("there is no process 1 in it")?;
    let is_pause =
        first == "/pause" || (is_named && !first.contains("nginx") && !first.contains("node"));
    ensure!(is_pause, "its process 1 is {first}, not the pause");
    for wanted in ["nginx: master process", "node"] {
        let there = rows().any(|(_, command)| command.starts_with(wanted));
        ensure!(there, "{wanted} is not in it");
    }
    Ok(())
}

/// Makes an orphan in the pod, ends it, and waits until it has been reaped.
fn an_orphan_is_reaped(engine: &dyn Engine, terminal: &mut Terminal, blog: &Member) -> Result<()> {
    let leave = "sleep 1000 > /dev/null 2>&1 & echo $!";
    let orphan = engine.exec(terminal, blog, &["sh", "-c", leave])?;
    let orphan = orphan.trim();
    ensure!(
        !orphan.is_empty() && orphan.bytes().all(|byte| byte.is_ascii_digit()),
        "the shell did not say which process it left"
    );
    let show = ["ps", "-e", "-o", "pid,ppid,stat,args"];
    // Of one process the shell itself may be slow to end, and then it has no orphan yet.
    let row = |engine: &dyn Engine, terminal: &mut Terminal| -> Result<Option<Vec<String>>> {
        let rows = engine.exec(terminal, blog, &show)?;
        let mut rows = rows
            .lines()
            .map(|row| row.split_whitespace().map(str::to_owned).collect());
        Ok(rows.find(|row: &Vec<String>| row.first().is_some_and(|pid| pid == orphan)))
    };
    let begun = Instant::now();
    loop {
        match row(engine, terminal)? {
            Some(row) if row.get(1).is_some_and(|parent| parent == "1") => break,
            None => bail!("process {orphan} is not there"),
            Some(row) if begun.elapsed() > DEADLINE => {
                bail!(
                    "process {orphan} is no child of process 1: {}",
                    row.join(" ")
                )
            }
            Some(_) => {}
        }
    }
    engine.exec(terminal, blog, &["kill", orphan])?;
    let begun = Instant::now();
    while let Some(row) = row(engine, terminal)? {
        let long = begun.elapsed() > Duration::from_secs(10);
        ensure!(
            !long,
            "process {orphan} ended and was not reaped: {}",
            row.join(" ")
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{renamed, shows_all};
    use pause_image::build::ImageBuilder;

    #[test]
    fn an_archive_that_is_loaded_has_a_name_of_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pause.tar");
        let write = |bytes: &[u8]| std::fs::write(&path, bytes).expect("a file");
        let image = || ImageBuilder::pause(b"program", "amd64");
        write(&image().docker_archive("registry.k8s.io/pause:3.10"));
        let new = renamed(&path, "localhost/pause-7:1").expect("it is one");
        let text = String::from_utf8_lossy(&new);
        assert!(text.contains("localhost/pause-7:1") && !text.contains("registry.k8s.io"));
        let entries = |bytes: &[u8]| {
            let mut archive = tar::Archive::new(bytes);
            archive.entries().expect("an archive").count()
        };
        assert_eq!(
            entries(&new),
            entries(&std::fs::read(&path).expect("it is there"))
        );
        write(b"none");
        assert!(renamed(&path, "x").is_err());
        write(&tar::Builder::new(Vec::new()).into_inner().expect("empty"));
        let error = renamed(&path, "x").expect_err("it is no image");
        assert!(error.to_string().contains("docker save"), "{error}");
    }

    const HEAD: &str = "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND\n";

    fn row(pid: u32, command: &str) -> String {
        format!("root {pid} 0.0 0.0 168 8 ? Ss 16:29 0:00 {command}\n")
    }

    #[test]
    fn one_pid_namespace_shows_the_pause_and_both_members() {
        let members =
            row(7, "nginx: master process nginx -g daemon off;") + &row(9, "node /blog.js");
        let all = |first: &str| HEAD.to_owned() + &row(1, first) + &members;
        assert!(shows_all(&all("/pause"), false).is_ok());
        assert!(shows_all(&all("/catatonit -P"), false).is_err());
        assert!(shows_all(&all("/catatonit -P"), true).is_ok());
        assert!(shows_all(&all("node /blog.js"), true).is_err());
        assert!(shows_all(&(HEAD.to_owned() + &members), false).is_err());
        let alone = HEAD.to_owned() + &row(1, "/pause") + &row(9, "node /blog.js");
        assert!(shows_all(&alone, false).is_err());
    }
}
