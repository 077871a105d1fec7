//! Whose fault it is that a container runtime or engine started nothing.

use std::io;

use super::{Launch, StartError};

/// What a container runtime says of the program, which it then quotes, is the image's fault; not
/// that the host is short of something.
pub(super) fn failure(launch: &Launch<'_>, step: &'static str, cause: io::Error) -> StartError {
    let path = launch.program.argv.first().cloned().unwrap_or_default();
    let said = cause.to_string();
    if blames(&said, &path) {
        return StartError::Exec { path, cause };
    }
    if USER.iter().any(|words| said.contains(words)) {
        return StartError::Refused { why: said };
    }
    StartError::Host { step, cause }
}

/// What engines say where the image names a user or group that none of its files has (moby and
/// runc, `user.GetExecUser`; containers/storage, `GetUser`; containerd, `oci.WithUser`).
const USER: [&str; 6] = [
    "unable to find user",
    "unable to find group",
    "no matching entries in passwd file",
    "no matching entries in group file",
    "no users found",
    "no groups found",
];

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
    use pause_image::{Platform, Subject};

    use super::super::{Launch, StartError};
    use super::{blames, failure};

    #[test]
    fn a_user_that_no_file_names_is_the_images_and_a_full_disk_is_not() {
        let subject = Subject::of_program("pause", b"\x7fELF"[..].into(), Platform::host());
        let launch = Launch {
            rootfs: &subject.rootfs,
            program: subject.program.as_ref().expect("a program"),
        };
        let of = |said: &str| failure(&launch, "start it", std::io::Error::other(said.to_owned()));
        let nobody = "unable to find user nobody: no matching entries in passwd file";
        assert!(matches!(of(nobody), StartError::Refused { why } if why == nobody));
        let full = "mkdir /var/lib/x: no space left on device";
        assert!(matches!(of(full), StartError::Host { .. }));
        let missing = "exec: \"/pause\": stat /pause: no such file or directory";
        assert!(matches!(of(missing), StartError::Exec { .. }));
    }

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
