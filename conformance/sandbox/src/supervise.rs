//! seccomp_unotify(2): one process answers the system calls of another, so that a test can have
//! each of them fail.

pub use crate::sys::{Supervised, answer, next_call, supervise};
