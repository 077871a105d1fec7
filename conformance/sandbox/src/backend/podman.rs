//! Podman, which has a daemon only where somebody starts one: its socket, or a service that is
//! started for the suite and ends with it. An ordinary user's has a user namespace of its own.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::embedded::{Embedded, ids};
use super::engine::api::Api;
use super::engine::keeper::{Daemon, Keeper, make_folder, name_of_run, own_folder};
use super::engine::{Engine, Kind};
use super::entered::Namespaces;
use super::{Entered, Unusable, program};
use crate::wait;

const NAME: &str = "podman";
static KIND: Kind = Kind {
    name: NAME,
    // Where it limits one resource it raises others, which not every root may.
    limits_core: false,
    has_pods: true,
    leaves_cgroups: true,
};
/// Where it listens, if it does, below the folder of what runs.
const SOCKET: &str = "podman/podman.sock";
/// A file of the suite's folder with what its service complains of.
const COMPLAINTS: &str = "complaints";
/// What is executed in a user's namespace to hold it: it says which process it is.
const HOLDS: [&str; 4] = ["unshare", "sh", "-c", "echo $$; read line"];
const IDS: &str = "give the user 65536 ids in /etc/subuid and in /etc/subgid, install uidmap, and \
                   run `podman system migrate`";
const INSTALL: &str = "install podman, or name its program or socket: --runtime podman=/path";
/// How long a service may take to listen.
const LISTENS: Duration = Duration::from_mins(1);

/// Has the suite executed once more in the user namespace of this user's podman, unless it is there,
/// or the user is root. Call with one thread, before anything is begun.
///
/// # Errors
/// Where podman is not found, or cannot make such a namespace.
pub fn enter(place: Option<&Path>) -> Result<(), Unusable> {
    if rustix::process::geteuid().is_root() {
        return has_ids(place);
    }
    let socket = own_folder().join(SOCKET);
    let is_socket =
        |path: &&Path| std::fs::metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let at = place.or(Some(&socket)).filter(is_socket);
    let of_server = |socket| {
        let server = Api::new(socket).server()?;
        Namespaces::of(server)
    };
    // Another may listen for podman, as systemd does.
    if let Some(Ok(Some(namespaces))) = at.map(of_server) {
        let error = namespaces.execute_again();
        return Err(unusable(at.unwrap_or(&socket), &error, super::REFUSED));
    }
    let program = match place.filter(|place| !is_socket(place)) {
        Some(program) => program.to_owned(),
        None => found()?,
    };
    let mut holder = hold(&program).map_err(|error| {
        let cause = pause_image::io_words(&error);
        unusable(&program, &cause, INSTALL)
    })?;
    let error = match namespaces_of(&mut holder) {
        Ok(Some(namespaces)) => namespaces.execute_again().to_string(),
        Ok(None) => "its containers are in no user namespace".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(unusable(&program, &error, IDS))
}

/// Whether an ordinary user's podman, in whose user namespace this is, has ids for containers.
fn has_ids(place: Option<&Path>) -> Result<(), Unusable> {
    if Entered::find().is_none() || ids::range_is_there(ids::BASE_OF_ENGINE) {
        return Ok(());
    }
    let cause = "it gives the containers of this user fewer ids than images use";
    Err(unusable(place.unwrap_or(Path::new(NAME)), &cause, IDS))
}

/// Has podman start a process in its namespaces.
fn hold(program: &Path) -> io::Result<Child> {
    Command::new(program)
        .args(HOLDS)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

/// The namespaces of that process, which has ended then.
fn namespaces_of(holder: &mut Child) -> io::Result<Option<Namespaces>> {
    let mut said = [0; 32];
    let count = match &mut holder.stdout {
        Some(output) if wait::readable(output.as_fd(), LISTENS)? => output.read(&mut said)?,
        _ => 0,
    };
    let pid = String::from_utf8_lossy(&said[..count]).trim().parse();
    let namespaces = pid.ok().map(Namespaces::of);
    if namespaces.is_none() {
        let _ = holder.kill();
    }
    // It ends with its input.
    drop(holder.stdin.take());
    holder.wait()?;
    namespaces.unwrap_or_else(|| {
        let mut complaints = Vec::new();
        if let Some(stderr) = &mut holder.stderr {
            stderr.read_to_end(&mut complaints)?;
        }
        let last = last_line(&complaints);
        Err(io::Error::other(format!(
            "it makes no user namespace{last}"
        )))
    })
}

/// Finds the socket or the program, or takes what is at this path, and has it run the reference
/// for a trial.
///
/// # Errors
/// Where there is neither, or podman refuses.
pub fn prepare(place: Option<&Path>, embedded: &Arc<Embedded>) -> Result<Engine, Unusable> {
    if Entered::find().is_none() {
        super::needs_root(NAME, embedded)?;
    }
    let socket = own_folder().join(SOCKET);
    let (place, parts) = if let Some(place) = place {
        (place.to_owned(), begin(place))
    } else if let Ok(parts) = at_socket(&socket) {
        (socket, Ok(parts))
    } else {
        // A socket that nobody listens on is a leftover.
        let program = found()?;
        let parts = start(&program);
        (program, parts)
    };
    let parts = parts.map_err(|error| unusable(&place, &error, INSTALL))?;
    Engine::prepare(&KIND, parts, embedded)
        .map_err(|error| unusable(&place, &error, super::REFUSED))
}

fn found() -> Result<PathBuf, Unusable> {
    program::find(NAME).map_err(|error| super::unusable(NAME, error.to_string(), INSTALL))
}

fn unusable(path: &Path, cause: &dyn std::fmt::Display, hint: &str) -> Unusable {
    super::unusable(NAME, format!("{}: {cause}", path.display()), hint)
}

/// What a program complained of last, after a colon.
fn last_line(complaints: &[u8]) -> String {
    let mut lines = complaints.split(|byte| *byte == b'\n');
    let last = lines.rfind(|line| !line.is_empty());
    last.map_or_else(String::new, |line| {
        let line = String::from_utf8_lossy(line);
        format!(": {}", pause_image::escape_text(line.trim()))
    })
}

fn begin(place: &Path) -> io::Result<(Api, Keeper)> {
    let is_socket = std::fs::metadata(place)?.file_type().is_socket();
    if is_socket {
        at_socket(place)
    } else {
        start(place)
    }
}

fn at_socket(socket: &Path) -> io::Result<(Api, Keeper)> {
    let api = Api::new(socket);
    let keeper = Keeper::start(&api, name_of_run()?, None)?;
    Ok((api, keeper))
}

/// Starts a service that outlives the suite until the keeper has removed all.
fn start(program: &Path) -> io::Result<(Api, Keeper)> {
    program::version(program)?;
    let run = name_of_run()?;
    let folder = make_folder(&run)?;
    let mut service = Service::start(program, folder)?;
    let api = Api::new(&service.socket());
    service.await_answer(&api)?;
    let daemon = Daemon {
        pid: service.child.id(),
        folder: service.folder.clone(),
    };
    let keeper = Keeper::start(&api, run, Some(&daemon))?;
    // From now on the keeper ends it.
    service.is_kept = true;
    Ok((api, keeper))
}

/// A service without a keeper ends here.
struct Service {
    child: Child,
    folder: PathBuf,
    is_kept: bool,
}

impl Service {
    fn start(program: &Path, folder: PathBuf) -> io::Result<Self> {
        let socket = format!("unix://{}", folder.join("socket").display());
        let child = File::create(folder.join(COMPLAINTS)).and_then(|complaints| {
            Command::new(program)
                .args(["system", "service", "--time", "0", &socket])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(complaints)
                // An interrupt from the terminal is not for it.
                .process_group(0)
                .spawn()
        });
        match child {
            Ok(child) => Ok(Self {
                child,
                folder,
                is_kept: false,
            }),
            Err(error) => {
                let _ = std::fs::remove_dir_all(folder);
                Err(error)
            }
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("socket")
    }

    fn await_answer(&mut self, api: &Api) -> io::Result<()> {
        let began = Instant::now();
        loop {
            let refusal = match api.ping() {
                Ok(()) => return Ok(()),
                Err(refusal) => refusal,
            };
            if let Some(status) = self.child.try_wait()? {
                let complaints = std::fs::read(self.folder.join(COMPLAINTS)).unwrap_or_default();
                let cause = format!("its service ended at once: {status}");
                return Err(io::Error::other(cause + &last_line(&complaints)));
            }
            if began.elapsed() > LISTENS {
                return Err(refusal.into());
            }
            std::thread::yield_now();
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = self.child.kill();
            let _ = self.child.wait();
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}
