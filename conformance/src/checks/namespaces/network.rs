//! The network: devices, addresses, routes and ports, for all members, also after a restart.

use std::io;
use std::net::Ipv4Addr;

use super::{MEMBERS, PODS, held, outside, refused, told};
use crate::advice::Advice;
use crate::backend::{Join, Spec};
use crate::check::{Check, Finding, Level, Needs, Outcome, Pass, Stop, ensure};
use crate::context::{Context, Pod};
use crate::probe::Probe;

/// The address that the pod's network plugin gives.
pub(in crate::checks) const ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);

/// A port on which a member listens. It is none of those from which the kernel takes one for
/// a client (ip(7), `ip_local_port_range`): a process that connects to such a port where none
/// listens is sometimes given it as its own, and so reaches itself.
pub(in crate::checks) const PORT: u16 = 14_711;

pub(super) static SHARED: Check = Check {
    id: "namespaces/network-shared",
    title: "members share one network",
    level: Level::Must,
    requirement: "All members of a pod MUST see the devices, addresses, routes and listening ports that its network namespace holds, and a process outside the pod MUST NOT reach them over localhost.",
    source: PODS,
    advice: Advice::new(
        "Containers of a pod could not reach each other at localhost.",
        "Leave the network namespace as it is, and listen on no port.",
    ),
    needs: Needs::CAN_UNSHARE.union(MEMBERS.union(Needs::NETWORK)),
    after: &[],
    run: network_shared,
};

fn network_shared(cx: &Context<'_>) -> Outcome {
    let mut pod = held(cx, Spec::default())?;
    let set_up = plug_in(&mut pod)?;
    pod.release()?;
    pod.await_ready()?;
    let one = pod.enter(&Join::default())?;
    let other = pod.enter(&Join::default())?;
    for member in [&one, &other] {
        same_network(&mut pod, member, &set_up, "a member")?;
    }
    told(&mut pod, "listen on a port", one.listen(PORT))?;
    over_localhost(&mut pod, &other, "one member reaches another's port")?;
    refused(
        &mut pod,
        ("listen on the same port", other.listen(PORT)),
        io::ErrorKind::AddrInUse,
        "a port that one member listens on is taken for the others",
        "two members listen on the same port",
    )?;
    let (mut control, outside) = outside(cx, Spec::default())?;
    refused(
        &mut control,
        ("connect", outside.connect(PORT)),
        io::ErrorKind::ConnectionRefused,
        "a process of another sandbox cannot reach the port over localhost",
        "a process of another sandbox is in the same network namespace",
    )?;
    let elsewhere = told(&mut control, "list its network", outside.network())?;
    let mut pass = Pass::new(format!(
        "{} devices, addresses and routes, and a port, are the same for two members",
        set_up.len()
    ));
    for line in set_up.iter().filter(|line| !elsewhere.contains(line)) {
        pass = pass.with(format!("in this pod only: {line}"));
    }
    Ok(pass)
}

pub(super) static SURVIVES_RESTART: Check = Check {
    id: "namespaces/network-survives-restart",
    title: "the network outlives a member's restart",
    level: Level::Must,
    requirement: "A member that leaves and joins again MUST find the same devices and addresses, and the neighbours that kept running.",
    source: PODS,
    advice: Advice::new(
        "A container that is restarted would find another network.",
        "Keep running, in the namespaces of the start.",
    ),
    needs: Needs::CAN_UNSHARE.union(MEMBERS.union(Needs::NETWORK)),
    after: &[],
    run: network_survives_restart,
};

fn network_survives_restart(cx: &Context<'_>) -> Outcome {
    let mut pod = held(cx, Spec::default())?;
    let set_up = plug_in(&mut pod)?;
    pod.release()?;
    pod.await_ready()?;
    let neighbour = pod.enter(&Join::default())?;
    told(&mut pod, "listen on a port", neighbour.listen(PORT))?;
    for life in ["first", "second", "third"] {
        let member = pod.enter(&Join::default())?;
        same_network(
            &mut pod,
            &member,
            &set_up,
            &format!("a member in its {life} life"),
        )?;
        over_localhost(
            &mut pod,
            &member,
            "a restarted member reaches its neighbour",
        )?;
        drop(member);
        pod.expect_running("a member's end")?;
    }
    Ok(Pass::new(
        "a member found the same network and neighbour in three lives",
    ))
}

/// One of the suite's: a runtime may have set `eth0` up.
const DEVICE: &str = "pause0";

/// Sets a held pod's network up as a network plugin does; what its network namespace holds then.
pub(in crate::checks) fn plug_in(pod: &mut Pod<'_>) -> Result<Vec<String>, Stop> {
    let plugin = pod.enter(&Join {
        privileged: true,
        ..Join::default()
    })?;
    // Without such a device, loopback with its addresses is what is compared.
    told(pod, "add a device", plugin.add_device(DEVICE, ADDRESS))?;
    told(pod, "list its network", plugin.network())
}

pub(in crate::checks) fn same_network(
    pod: &mut Pod<'_>,
    member: &Probe,
    set_up: &[String],
    whose: &str,
) -> Result<(), Stop> {
    let seen = told(pod, "list its network", member.network())?;
    let missing: Vec<_> = set_up
        .iter()
        .filter(|line| !seen.contains(line))
        .map(String::as_str)
        .collect();
    let further: Vec<_> = seen
        .iter()
        .filter(|line| !set_up.contains(line))
        .map(String::as_str)
        .collect();
    ensure(
        missing.is_empty() && further.is_empty(),
        format!("{whose} sees the network that was set up before the pause process ran"),
        format!(
            "it misses [{}] and sees instead [{}]",
            missing.join("; "),
            further.join("; ")
        ),
    )
}

pub(super) fn over_localhost(
    pod: &mut Pod<'_>,
    member: &Probe,
    expected: &str,
) -> Result<(), Stop> {
    connected(member, expected).map_err(|finding| pod.blame("reach a neighbour", finding))
}

/// As [`over_localhost`], where the pause process is gone.
pub(super) fn connected(member: &Probe, expected: &str) -> Result<(), Finding> {
    let expected = format!("{expected} over localhost");
    member
        .connect(PORT)
        .map_err(|error| Finding::new(expected, format!("connect: {error}")))
}
