//! What an engine does to a pod otherwise than a CRI runtime, as a trial shows it.

use std::io;

use procfs::process::Process;

/// Namespaces that the containers of a pod share by a CRI runtime, and what each is called.
const SHARED: [(&str, &str); 4] = [
    ("net", "network"),
    ("ipc", "IPC"),
    ("uts", "UTS"),
    ("pid", "pid"),
];

/// Of a pause process and the first process of a container of its pod.
///
/// # Errors
/// Where /proc does not tell.
pub(super) fn of_pod(pause: i32, container: i32) -> io::Result<Vec<String>> {
    let namespaces = |pid: i32| {
        let all = Process::new(pid).and_then(|process| process.namespaces());
        all.map_err(io::Error::other)
    };
    let (pods, own) = (namespaces(pause)?.0, namespaces(container)?.0);
    let inode = |all: &std::collections::HashMap<_, procfs::process::Namespace>, kind: &str| {
        all.get(std::ffi::OsStr::new(kind)).map(|it| it.identifier)
    };
    let apart = SHARED
        .iter()
        .filter(|(kind, _)| inode(&pods, kind) != inode(&own, kind));
    let lines = apart.map(|(_, name)| {
        format!("a container of a pod has a {name} namespace of its own, not the pause's")
    });
    Ok(lines.collect())
}

/// Whether a process ignores this signal. The reference ignores none that it does not start with.
///
/// # Errors
/// Where /proc does not tell.
pub(super) fn ignores(pause: i32, signal: i32) -> io::Result<bool> {
    let status = Process::new(pause).and_then(|process| process.status());
    let status = status.map_err(io::Error::other)?;
    Ok(status.sigign & 1 << (signal - 1) != 0)
}

#[cfg(feature = "engines")]
/// Who the pause process of a pod is, where its engine does not ask the image.
///
/// # Errors
/// Where /proc does not tell.
pub(super) fn of_user(pause: i32) -> io::Result<String> {
    let status = Process::new(pause).and_then(|process| process.status());
    let status = status.map_err(io::Error::other)?;
    Ok(format!(
        "the pause of a pod runs as user {} with {} capabilities, whatever its image says",
        status.euid,
        status.capeff.count_ones()
    ))
}
