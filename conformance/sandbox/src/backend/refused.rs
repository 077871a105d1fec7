//! Whose fault it is that a container runtime or engine started nothing.

use std::io;

use super::{Launch, StartError};

/// What a container runtime says of the program, which it then quotes, is the image's fault; not
/// that the host is short of something.
pub(super) fn failure(launch: &Launch<'_>, step: &'static str, cause: io::Error) -> StartError {
    let path = launch.program.argv.first().cloned().unwrap_or_default();
    if blames(&cause.to_string(), &path) {
        return StartError::Exec { path, cause };
    }
    StartError::Host { step, cause }
}

fn blames(said: &str, program: &str) -> bool {
    /// Errors of the kernel that any program meets there, in its words and those of Go.
    const SHORT: [&str; 4] = [
        "cannot allocate memory",
        "resource temporarily unavailable",
        "too many open files",
        "no space left on device",
    ];
    let quoted = [('"', '"'), ('`', '`'), ('\'', '\'')];
    let is_quoted = |(open, close)| said.contains(&format!("{open}{program}{close}"));
    let words = said.to_lowercase();
    quoted.into_iter().any(is_quoted) && !SHORT.iter().any(|short| words.contains(short))
}

#[cfg(test)]
mod tests {
    use super::blames;

    #[test]
    fn a_program_is_blamed_where_it_is_quoted_and_nothing_ran_short() {
        for said in [
            "runc: runc create failed: unable to start container process: exec: \"/pause\": stat \
             /pause: no such file or directory",
            "crun: executable file `/pause` not found: No such file or directory",
        ] {
            assert!(blames(said, "/pause"), "{said}");
        }
        for said in [
            "runc: mkdir /sys/fs/cgroup/memory/pause-conformance-run-1/0: permission denied",
            "runc: exec: \"/pause\": cannot allocate memory",
            "crun: open executable: `/pause`: Too many open files",
            "runc: exec: \"/pause-2\": no such file or directory",
        ] {
            assert!(!blames(said, "/pause"), "{said}");
        }
    }
}
