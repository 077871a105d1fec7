//! Images whose program has to do with their other files: these are run.

use serde_json::json;

use super::ImageFixture;
use super::parts::{fixture, native, single};
use crate::programs;
use crate::subject::build::{Packing, Tar};

const READS: &str = "reads-its-configuration";
/// What a program fails that opens a file.
const OPENS: &[&str] = &["security/syscall-surface"];

pub(super) static IMAGES: &[ImageFixture] = &[
    ImageFixture::new(
        "image-with-configuration",
        "has a program that reads a file of an upper layer, by links",
        &[],
        || {
            let mut upper = Tar::default();
            upper.file("usr/share/pause/pause.conf", 0o644, b"wait\n");
            let image = native(|lower| {
                lower
                    .file("pause", 0o755, &fixture(READS))
                    .symlink("etc", "usr/share/links")
                    .symlink("usr/share/links/pause.conf", "/usr/share/pause/pause.conf")
                    .file("usr/share/pause/pause.conf", 0o644, b"end\n");
            });
            single(&image.layer(&upper, Packing::Zstd))
        },
    )
    .run(OPENS),
    ImageFixture::new(
        "image-with-mount-points",
        "has empty directories where runtimes mount, and one where every user may write",
        &[],
        || {
            single(&native(|layer| {
                layer
                    .file("pause", 0o755, programs::REFERENCE)
                    .directory("proc", 0o555)
                    .directory("sys", 0o555)
                    .directory("dev", 0o755)
                    .directory("run", 0o1777);
            }))
        },
    )
    .run(&[]),
    ImageFixture::new(
        "hidden-configuration",
        "has a program that reads a file which an upper layer removes",
        &["startup/stays"],
        || {
            let mut upper = Tar::default();
            upper.file("etc/.wh.pause.conf", 0o644, b"");
            let image = native(|lower| {
                lower.file("pause", 0o755, &fixture(READS)).file(
                    "etc/pause.conf",
                    0o644,
                    b"wait\n",
                );
            });
            single(&image.layer(&upper, Packing::Gzip))
        },
    )
    .run(OPENS),
    ImageFixture::new(
        "private-configuration",
        "has a program that reads a file which its own user alone may read",
        &["startup/any-uid"],
        || {
            single(&native(|layer| {
                layer
                    .file("pause", 0o755, &fixture(READS))
                    .owner(65535, 65535)
                    .file("etc/pause.conf", 0o600, b"wait\n");
            }))
        },
    )
    .run(OPENS),
    ImageFixture::new(
        "closed-configuration",
        "has a program that reads a file which root alone may read",
        &["startup/stays"],
        || {
            single(&native(|layer| {
                layer.file("pause", 0o755, &fixture(READS)).file(
                    "etc/pause.conf",
                    0o600,
                    b"wait\n",
                );
            }))
        },
    )
    .run(&[
        "security/syscall-surface",
        "startup/any-uid",
        "startup/no-privileges",
    ]),
    ImageFixture::new(
        "writes-to-its-run",
        "has a program that writes where the image lets every user write",
        &["startup/read-only-root"],
        || {
            single(&native(|layer| {
                layer
                    .file("pause", 0o755, &fixture("writes-below-run"))
                    .directory("run", 0o1777);
            }))
        },
    )
    .run(OPENS),
    ImageFixture::new(
        "linked-working-directory",
        "works in a directory that a link leads to",
        &["security/cwd-root"],
        || {
            let image = native(|layer| {
                layer
                    .file("pause", 0o755, programs::REFERENCE)
                    .directory("srv/pod", 0o755)
                    .symlink("work", "/srv");
            });
            single(&image.set("WorkingDir", json!("/work/pod")))
        },
    )
    .run(&[]),
    ImageFixture::new(
        "missing-working-directory",
        "names a working directory that is not there, which runtimes make",
        &["image/workdir-exists", "security/cwd-root"],
        || {
            let image = native(|layer| {
                layer.file("pause", 0o755, programs::REFERENCE);
            });
            single(&image.set("WorkingDir", json!("/srv/pod")))
        },
    )
    .run(&[]),
    ImageFixture::new(
        "started-by-another",
        "has a program that starts its pause",
        &["image/entrypoint-direct", "image/minimal"],
        || {
            let image = native(|layer| {
                layer.file("pause", 0o755, programs::REFERENCE).file(
                    "init",
                    0o755,
                    &fixture("starts-its-argument"),
                );
            });
            single(&image.set("Entrypoint", json!(["/init", "/pause"])))
        },
    )
    // Its own file is not the one that runs, and its own arguments are not those of that.
    .run(&[
        "cli/unknown-arguments",
        "cli/version",
        "pid1/is-the-program",
        "security/syscall-surface",
    ]),
    ImageFixture::new(
        "linked-dev",
        "has a link at /dev, which stays in the image",
        &[],
        || {
            single(&native(|layer| {
                layer
                    .file("pause", 0o755, programs::REFERENCE)
                    .directory("run/devices", 0o755)
                    .symlink("dev", "run/devices");
            }))
        },
    )
    .run(&[]),
    ImageFixture::new(
        "dev-leads-out",
        "has an absolute link at /dev, which runtimes have followed on the host",
        &["startup/stays"],
        || {
            single(&native(|layer| {
                layer
                    .file("pause", 0o755, programs::REFERENCE)
                    .directory("devices", 0o755)
                    .symlink("dev", "/devices");
            }))
        },
    )
    .run(&[]),
    ImageFixture::new(
        "proc-is-a-link",
        "has a link at /proc, on which no runtime mounts",
        &["startup/stays"],
        || {
            single(&native(|layer| {
                layer
                    .file("pause", 0o755, programs::REFERENCE)
                    .symlink("proc", "pause");
            }))
        },
    )
    .run(&[]),
];
