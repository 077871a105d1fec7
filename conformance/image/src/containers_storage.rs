//! Images that podman, buildah and CRI-O hold: `podman save`, which knows where the store is and,
//! for an ordinary user, enters the user namespace that it belongs to.

use super::LoadOptions;
use super::archive::Archive;
use super::error::Error;
use super::exported::Export;

/// The image as podman saves it.
pub(crate) fn save(image: &str, options: &LoadOptions) -> Result<Archive, Error> {
    let args = ["save", "--quiet", "--format", "docker-archive", "--", image];
    Export {
        what: &format!("containers-storage:{image}"),
        program: "podman",
        args: args.map(str::to_owned).to_vec(),
        install: "install podman, whose store this is; or save it where it is: podman save --format oci-archive -o FILE IMAGE, \
                  then oci-archive:FILE",
        hint: "podman images lists what it has; root's store is another than an ordinary user's"
            .to_owned(),
    }
    .archive(options)
}
