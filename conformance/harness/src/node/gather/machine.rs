//! Sandboxes that a machine of their own holds, in place of a pause: Kata Containers, gVisor.
//!
//! Containerd says so by the type of its shim. CRI-O, and /proc alone, name a process all the same.

use crate::node::proc::{Handle, Process};

/// How the programs of machines begin, and whose they are.
const MACHINES: [(&str, &str); 7] = [
    ("runsc", "gVisor"),
    ("containerd-shim-kata", "Kata Containers"),
    ("qemu-system-", "QEMU"),
    ("cloud-hypervisor", "Cloud Hypervisor"),
    ("firecracker", "Firecracker"),
    ("dragonball", "Dragonball"),
    ("stratovirt", "StratoVirt"),
];

/// The machine that a process is, if it is one: by the name of what it executes, by its own name where
/// that may not be read.
pub(super) fn of(process: &Process, handle: &Handle) -> Option<String> {
    let program = handle
        .link("exe")
        .map(|it| it.to_string_lossy().into_owned());
    let program = program.unwrap_or_else(|_| process.name.clone());
    let program = program.trim_end_matches(" (deleted)");
    let name = program.rsplit('/').next().unwrap_or_default();
    let found = MACHINES.iter().find(|(begin, _)| name.starts_with(begin));
    let (_, whose) = found?;
    Some(format!("{whose} ({})", pause_image::escape_text(name)))
}
