//! Images whose configuration asks for what a runtime cannot or should not do.

use serde_json::{Value, json};

use super::ImageFixture;
use super::parts::configured;

const NUMERIC: &[&str] = &["image/user-numeric"];
const NONROOT: &[&str] = &["image/user-nonroot"];
const STOP: &[&str] = &["image/stop-signal-sane"];
const WORKDIR: &[&str] = &["image/workdir-exists"];

pub(super) static IMAGES: &[ImageFixture] = &[
    ImageFixture::new(
        "user-by-name",
        "runs as a user that no file names",
        &["image/user-numeric", "engine/takes-image"],
        || configured("User", json!("nobody")),
    ),
    ImageFixture::new("user-out-of-range", "runs as user 65536", NUMERIC, || {
        configured("User", json!("65536"))
    }),
    ImageFixture::new("user-negative", "runs as user -1", NUMERIC, || {
        configured("User", json!("-1:0"))
    }),
    ImageFixture::new(
        "user-without-group",
        "ends its User with a colon",
        NUMERIC,
        || configured("User", json!("1:")),
    ),
    ImageFixture::new(
        "user-in-three-parts",
        "has three ids in its User",
        NUMERIC,
        || configured("User", json!("1:2:3")),
    ),
    ImageFixture::new(
        "user-steers-terminals",
        "has an escape sequence for its User",
        NUMERIC,
        || configured("User", json!("\u{1b}[31m")),
    ),
    ImageFixture::new("root", "runs as root", NONROOT, || {
        configured("User", json!("0:0"))
    }),
    ImageFixture::new(
        "group-of-root",
        "runs in the group of root",
        NONROOT,
        || configured("User", json!("65535:0")),
    ),
    ImageFixture::new("user-alone", "names a user and no group", NONROOT, || {
        configured("User", json!("65535"))
    }),
    ImageFixture::new("no-user", "names no user", NONROOT, || {
        configured("User", Value::Null)
    }),
    ImageFixture::new(
        "stopped-by-kill",
        "has the StopSignal SIGKILL",
        STOP,
        || configured("StopSignal", json!("SIGKILL")),
    ),
    ImageFixture::new(
        "stopped-by-37",
        "has the StopSignal 37, as images for systemd do",
        STOP,
        || configured("StopSignal", json!("37")),
    ),
    ImageFixture::new(
        "stopped-by-no-signal",
        "has a StopSignal that Linux does not know",
        STOP,
        || configured("StopSignal", json!("SIGDONE")),
    ),
    ImageFixture::new(
        "stopped-by-hup",
        "has the StopSignal SIGHUP",
        &["image/stop-signal-sane", "engine/stop-is-clean"],
        || configured("StopSignal", json!("SIGHUP")),
    ),
    ImageFixture::new(
        "workdir-missing",
        "starts in a directory that is not there",
        WORKDIR,
        || configured("WorkingDir", json!("/nowhere")),
    ),
    ImageFixture::new("workdir-is-a-file", "starts in a file", WORKDIR, || {
        configured("WorkingDir", json!("/pause"))
    }),
    ImageFixture::new(
        "workdir-relative",
        "starts in a relative directory",
        WORKDIR,
        || configured("WorkingDir", json!("relative")),
    ),
];
