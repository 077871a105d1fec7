//! The pod sandboxes that run on this node now: found, looked at from outside, and judged.
//!
//! [`source`] asks who knows pods (docker, podman, and /proc where none answers), [`proc`] takes a
//! picture of the processes, [`gather`](gather::gather) joins the two, [`checks`] judges what was
//! seen, and [`model`] is what comes of it. Nothing is entered, signalled, traced or written: all
//! is read from /proc, and from sockets by requests that only ask.
//!
//! A pod is hostile. A process is held by the descriptor of its folder in /proc, which never comes
//! to mean another; what a container can name itself, its cgroup for example, is believed only from
//! the outside in; no file of a pod is opened before it is known to be a regular one.

pub mod checks;
pub mod descriptors;
pub mod gather;
pub mod inside;
pub mod kubelet;
pub mod merge;
pub mod model;
pub mod patience;
pub mod place;
pub mod proc;
pub mod source;
pub mod watch;
