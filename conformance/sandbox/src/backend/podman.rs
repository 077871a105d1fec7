//! Podman, which has a daemon only where somebody starts one: its socket, or a service that is
//! started for the suite and ends with it.

use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::embedded::Embedded;
use super::engine::api::Api;
use super::engine::keeper::{Daemon, Keeper, make_folder, name_of_run};
use super::engine::{Engine, Kind};
use super::{Unusable, program};

const NAME: &str = "podman";
static KIND: Kind = Kind {
    name: NAME,
    // Where it limits one resource it raises others, which not every root may.
    limits_core: false,
    has_pods: true,
    leaves_cgroups: true,
};
/// Where root's listens, if it does.
const SOCKET: &str = "/run/podman/podman.sock";
const INSTALL: &str = "install podman, or name its program or socket: --runtime podman=/path";
/// How long a service may take to listen.
const LISTENS: Duration = Duration::from_mins(1);

/// Finds the socket or the program, or takes what is at this path, and has it run the reference
/// for a trial.
///
/// # Errors
/// Where there is neither, or podman refuses.
pub fn prepare(place: Option<&Path>, embedded: &Arc<Embedded>) -> Result<Engine, Unusable> {
    super::needs_root(NAME, embedded)?;
    let unusable = |path: &Path, cause: &dyn std::fmt::Display, hint: &str| {
        super::unusable(NAME, format!("{}: {cause}", path.display()), hint)
    };
    let (place, parts) = if let Some(place) = place {
        (place.to_owned(), begin(place))
    } else if let Ok(parts) = at_socket(Path::new(SOCKET)) {
        (SOCKET.into(), Ok(parts))
    } else {
        // A socket that nobody listens on is a leftover.
        let program = program::find(NAME)
            .map_err(|error| super::unusable(NAME, error.to_string(), INSTALL))?;
        let parts = start(&program);
        (program, parts)
    };
    let parts = parts.map_err(|error| unusable(&place, &error, INSTALL))?;
    Engine::prepare(&KIND, parts, embedded)
        .map_err(|error| unusable(&place, &error, super::REFUSED))
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
        let child = Command::new(program)
            .args(["system", "service", "--time", "0", &socket])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // An interrupt from the terminal is not for it.
            .process_group(0)
            .spawn();
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
                let cause = format!("its service ended at once: {status}");
                return Err(io::Error::other(cause));
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
