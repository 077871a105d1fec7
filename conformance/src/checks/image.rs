//! The family `image`: the archive, its manifests and configuration, the files in it.
//! Nothing is run.

mod archive;
mod config;
mod files;
mod platform;
mod program;
mod version;

pub(super) use version::minor_wants;

use crate::check::Family;

/// The archive, its manifest and configuration.
pub static FAMILY: Family = Family {
    name: "image",
    title: "the archive, its manifest and its configuration",
    checks: &[
        &archive::DIGESTS_HOLD,
        &archive::LAYERS_CLEAN,
        &archive::LAYER_TYPES_HOLD,
        &archive::NAMES_PLAIN,
        &archive::SMALL,
        &program::ENTRYPOINT_SET,
        &program::ENTRYPOINT_DIRECT,
        &program::PROGRAM_MODE,
        &program::HAS_PAUSE_PATH,
        &platform::PLATFORM_DECLARED,
        &platform::PLATFORM_AGREES,
        &platform::INDEX_COMPLETE,
        &platform::REQUIRED_PLATFORMS,
        &platform::WINDOWS_HAS_OS_VERSION,
        &config::USER_NUMERIC,
        &config::USER_NONROOT,
        &config::STOP_SIGNAL_SANE,
        &config::WORKDIR_EXISTS,
        &files::NO_PRIVILEGE_BITS,
        &files::MINIMAL,
        &version::VERSION_MATCHES_CLUSTER,
    ],
};

use crate::check::Stop;
use crate::context::Context;
use crate::subject::Image;

/// The image; the runner gives these checks no bare program.
fn image_of<'a>(cx: &'a Context<'_>) -> Result<&'a Image, Stop> {
    cx.subject()
        .image
        .as_ref()
        .ok_or_else(|| Stop::Skip("the subject is a bare program".to_owned()))
}
