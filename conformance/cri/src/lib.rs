//! A client of the Container Runtime Interface, version 1, as containerd, CRI-O and cri-dockerd
//! speak it over a Unix socket.
//!
//! Calls block. Each has a deadline, and an answer has a greatest length, so that a runtime that
//! says nothing, or too much, is an [`Error`] and nothing else. What is asynchronous is on one
//! thread of the client's own, which ends with it; any number of threads may call at once.
//!
//! The [`messages`] are written by hand: nothing has to be generated for a build.
//!
//! ```no_run
//! use pause_cri::{Client, Options};
//!
//! let client = Client::connect("/run/containerd/containerd.sock".as_ref(), Options::default())?;
//! for sandbox in client.pod_sandboxes(None)? {
//!     let metadata = sandbox.metadata.unwrap_or_default();
//!     println!("{} {}/{}", sandbox.id, metadata.namespace, metadata.name);
//! }
//! # Ok::<(), pause_cri::Error>(())
//! ```

#[cfg(feature = "client")]
mod calls;
#[cfg(feature = "client")]
mod client;
#[cfg(feature = "client")]
mod error;
pub mod messages;

#[cfg(feature = "client")]
pub use client::{Client, Options};
#[cfg(feature = "client")]
pub use error::Error;
