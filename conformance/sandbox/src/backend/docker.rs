//! Docker: its daemon's socket.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Unusable;
use super::embedded::Embedded;
use super::engine::api::Api;
use super::engine::keeper::{Keeper, name_of_run};
use super::engine::{Engine, Kind};

const NAME: &str = "docker";
static KIND: Kind = Kind {
    name: NAME,
    limits_core: true,
    has_pods: false,
    leaves_cgroups: false,
};
/// Where it listens, unless `DOCKER_HOST` says otherwise.
const SOCKET: &str = "/var/run/docker.sock";
const REACH: &str = "start docker, or name its socket: --runtime docker=/path/to/docker.sock";

/// Finds the socket, or takes this one, and has the daemon run the reference for a trial.
///
/// # Errors
/// Where nobody answers there, or the daemon refuses.
pub fn prepare(socket: Option<&Path>, embedded: &Arc<Embedded>) -> Result<Engine, Unusable> {
    super::needs_root(NAME, embedded)?;
    let socket = socket.map_or_else(socket_of_host, |path| Ok(path.to_owned()))?;
    let unusable = |cause: &dyn std::fmt::Display, hint: &str| {
        let cause = format!("{}: {cause}", socket.display());
        super::unusable(NAME, cause, hint)
    };
    let api = Api::new(&socket);
    let keeper = name_of_run().and_then(|run| Keeper::start(&api, run, None));
    let keeper = keeper.map_err(|error| unusable(&error, REACH))?;
    Engine::prepare(&KIND, (api, keeper), embedded)
        .map_err(|error| unusable(&error, super::REFUSED))
}

fn socket_of_host() -> Result<PathBuf, Unusable> {
    let host = env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
    let Some(host) = host else {
        return Ok(SOCKET.into());
    };
    let path = host.strip_prefix("unix://").map(PathBuf::from);
    path.ok_or_else(|| {
        let host = pause_image::escape_text(&host);
        let cause = format!("docker listens at {host}, which is no unix:// socket");
        super::unusable(NAME, cause, "set DOCKER_HOST to one")
    })
}
