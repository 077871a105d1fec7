//! The root filesystem of an image: made once a run and image, and shared by all sandboxes
//! that only read it. A small one is in memory, a big one on disk; either is a mount of the
//! suite's, in a mount namespace that sandboxes are cloned from.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use nix::libc;
use rustix::mount::MountFlags;

use super::base::BaseMounts;
use super::cost::Cost;
use super::fill::{self, User};
use super::folder::{self, Folder, Folders};
use super::ids::Mapping;
use super::init::SandboxInit;
use super::mounts::{self, PLACES, ROOT};
use crate::backend::{Launch, StartError};
use crate::sys::{self, NewNamespaces};
use pause_image::{EntryKind, ResolveError, Rootfs, disk, show_path};

/// An image that needs more bytes of memory goes to disk.
const SMALL: u64 = 16 << 20;
/// A copy that a sandbox has alone is at most this big.
pub(super) const COPY: u64 = 128 << 20;
/// How many files a program may make in it.
const FILES: usize = 4096;
/// How many are kept.
const KEPT: usize = 8;
/// Directories on which runtimes mount a file system of the kernel's.
const ORDINARY: [&str; 2] = ["proc", "sys"];
/// Tried: runc 1.1.5 and crun 1.8.1 start no such image, or, where the host has a directory of
/// that name, make the devices there. Both were fixed in 2026.
const LEADS_OUT: &str = "/dev is a link that leads out of the image: runc before 1.3.6 and 1.4.3 \
     and crun before 1.28 follow it on the host (CVE-2026-41579, CVE-2026-47766)";

/// What a root is made from.
#[derive(Debug)]
pub(super) struct Wanted {
    rootfs: Arc<Rootfs>,
    /// Directories that a runtime adds: what it mounts on, and the working directory.
    besides: Vec<Vec<u8>>,
    /// Where /dev is, links followed.
    pub(super) dev: CString,
    mapping: Mapping,
    user: User,
}

impl Wanted {
    /// For a program that runs as `user`; with mount points unless it is to be `bare`.
    ///
    /// # Errors
    /// Where a runtime could make no root of the image.
    pub(super) fn new(
        launch: &Launch<'_>,
        mapping: Mapping,
        user: User,
        bare: bool,
    ) -> Result<Self, StartError> {
        let mut wanted = Self {
            rootfs: Arc::clone(launch.rootfs),
            besides: Vec::new(),
            dev: c"dev".to_owned(),
            mapping,
            user,
        };
        if !bare {
            wanted.add_mount_points()?;
        }
        let folder = &launch.program.working_dir;
        let what = || format!("WorkingDir {}", pause_image::quote(folder));
        wanted.add_directory(folder.as_bytes(), what)?;
        Ok(wanted)
    }

    fn add_mount_points(&mut self) -> Result<(), StartError> {
        for name in ORDINARY {
            // runc, libcontainer/rootfs_linux.go: a link there could lead its mount anywhere.
            let kind = self.rootfs.get(name.as_bytes()).map(|entry| &entry.kind);
            if kind.is_some_and(|kind| !matches!(kind, EntryKind::Directory)) {
                let cause = format!("/{name} is no directory, and runtimes mount on no other");
                return Err(StartError::Root { cause });
            }
            self.add_directory(name.as_bytes(), || format!("/{name}"))?;
        }
        let dev = self.add_directory(b"dev", || "/dev".to_owned())?;
        if self.rootfs.leads_out(b"dev") {
            let cause = LEADS_OUT.to_owned();
            return Err(StartError::Root { cause });
        }
        let first = dev.split(|byte| *byte == b'/').next().unwrap_or_default();
        if first.is_empty() || ORDINARY.iter().any(|name| name.as_bytes() == first) {
            let place = show_path(&dev);
            let cause = format!("/dev is a link to {place}, where runc makes no devices");
            return Err(StartError::Root { cause });
        }
        self.dev = CString::new(dev).unwrap_or_default();
        Ok(())
    }

    /// Says where it is.
    fn add_directory(
        &mut self,
        path: &[u8],
        what: impl Fn() -> String,
    ) -> Result<Vec<u8>, StartError> {
        let fault = |cause: String| StartError::Root {
            cause: format!("{}: {cause}", what()),
        };
        let path = self.rootfs.leads_to(path);
        let path = path.map_err(|error| fault(error.to_string()))?;
        match self.rootfs.get(&path).map(|entry| &entry.kind) {
            Some(EntryKind::Directory) => return Ok(path),
            Some(_) => return Err(fault(ResolveError::NotDirectory(path).to_string())),
            None => {}
        }
        if path.contains(&0) {
            return Err(fault(format!("{} holds a NUL byte", show_path(&path))));
        }
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let ends: Vec<usize> = ends.map(|(at, _)| at).chain([path.len()]).collect();
        for end in ends {
            let above = &path[..end];
            if self.rootfs.get(above).is_none() && !self.besides.iter().any(|it| it == above) {
                self.besides.push(above.to_vec());
            }
        }
        Ok(path)
    }

    /// Whether it would be made in memory; then a copy costs little.
    pub(super) fn is_small(&self) -> bool {
        is_small(&self.rootfs)
    }

    /// Whether the same root serves both: ids matter only as far as they show in its modes.
    fn is_made_by(&self, other: &Self) -> bool {
        let same_modes = || {
            let mode = |wanted: &Self, entry| fill::mode(wanted.mapping, wanted.user, entry);
            let mut entries = self.rootfs.entries.values().chain([&self.rootfs.root]);
            entries.all(|entry| mode(self, entry) == mode(other, entry))
        };
        self.is(other) || self.is_but_for_the_user(other) && same_modes()
    }

    fn is(&self, other: &Self) -> bool {
        let one_for_all = !matches!(self.mapping, Mapping::Single { .. });
        self.is_but_for_the_user(other) && (one_for_all || self.user == other.user)
    }

    fn is_but_for_the_user(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.rootfs, &other.rootfs) && self.besides == other.besides
    }
}

/// Whether these files go to memory.
pub(super) fn is_small(rootfs: &Rootfs) -> bool {
    Cost::is_within(rootfs, SMALL)
}

/// A root that is made, for as long as this lives.
#[derive(Debug)]
pub(super) struct ImageRoot {
    /// The mount namespace that it is in.
    namespace: OwnedFd,
    /// Where it is mounted there.
    place: &'static CStr,
    dev: CString,
    /// A mount namespace whose root it is, with the devices in it: made when first asked for.
    image_namespace: OnceLock<Option<OwnedFd>>,
    /// What it lacks of the image.
    pub(super) lacks: Vec<String>,
    #[expect(dead_code, reason = "held, not used")]
    folder: Option<Folder>,
}

/// All roots of a suite.
#[derive(Debug, Default)]
pub(super) struct Roots {
    /// Before their folders, in which they are.
    known: Mutex<Vec<(Wanted, Arc<ImageRoot>)>>,
    folders: Folders,
}

/// What roots are made with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Maker<'a> {
    pub(super) base: Option<&'a BaseMounts>,
    pub(super) init: &'a SandboxInit,
    pub(super) proc: BorrowedFd<'a>,
}

impl Roots {
    /// The one that is shared.
    pub(super) fn shared(&self, wanted: Wanted, by: Maker<'_>) -> io::Result<Arc<ImageRoot>> {
        // Held while a root is made: other checks that want it wait. A panic has changed nothing.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.iter().find(|(made, _)| wanted.is(made));
        if let Some((_, root)) = found {
            return Ok(Arc::clone(root));
        }
        let alike = known.iter().find(|(made, _)| wanted.is_made_by(made));
        let root = match alike {
            Some((_, root)) => Arc::clone(root),
            None => Arc::new(self.make(&wanted, by, false).or_else(|error| {
                let kept = known.len();
                if disk::is_full(&error) {
                    // The roots of other images are only kept in case they are asked for again.
                    known.retain(|(made, _)| Arc::ptr_eq(&made.rootfs, &wanted.rootfs));
                }
                if known.len() < kept {
                    self.make(&wanted, by, false)
                } else {
                    Err(error)
                }
            })?),
        };
        known.truncate(KEPT - 1);
        known.insert(0, (wanted, Arc::clone(&root)));
        Ok(root)
    }

    /// One for a sandbox alone, which may write to it: in memory, where what it writes has a
    /// bound that no disk gives. `None` where the image is too big for that.
    pub(super) fn own(&self, wanted: &Wanted, by: Maker<'_>) -> io::Result<Option<Arc<ImageRoot>>> {
        if !Cost::is_within(&wanted.rootfs, COPY) {
            return Ok(None);
        }
        Ok(Some(Arc::new(self.make(wanted, by, true)?)))
    }

    fn make(&self, wanted: &Wanted, by: Maker<'_>, writable: bool) -> io::Result<ImageRoot> {
        let mut cost = Cost::of(&wanted.rootfs);
        cost.disk.files += wanted.besides.len() as u64 + folder::FILES;
        let folder = if cost.memory <= SMALL || writable {
            None
        } else {
            Some(self.folders.make(by.init, cost.disk)?)
        };
        let files = wanted.rootfs.entries.len() + wanted.besides.len() + FILES;
        let size = cost.memory + (1 << 20);
        let options = format!("mode=700,size={size},nr_inodes={files}");
        let options = CString::new(options)?;
        let mounted = sys::in_helper(|| {
            let place = mount(by.base, folder.as_ref(), &options)?;
            Ok::<_, io::Error>((mounts::own_namespace(by.proc)?, place))
        });
        let (namespace, place) = mounted??;
        let filled = sys::in_helper_apart(|| {
            sys::setns(namespace.as_fd(), libc::CLONE_NEWNS)?;
            rustix::process::chdir(place)?;
            let lacks = fill::fill(&wanted.rootfs, &wanted.besides, wanted.mapping, wanted.user)?;
            let mut flags = MountFlags::BIND | MountFlags::NOSUID | MountFlags::NODEV;
            flags.set(MountFlags::RDONLY, !writable);
            rustix::mount::mount_remount(place, flags, c"")?;
            Ok::<_, io::Error>(lacks)
        });
        let lacks = filled?.map_err(|error| match &folder {
            Some(folder) if disk::is_full(&error) => folder.is_full(&error, cost.disk),
            _ => error,
        })?;
        Ok(ImageRoot {
            namespace,
            place,
            dev: wanted.dev.clone(),
            image_namespace: OnceLock::new(),
            lacks,
            folder,
        })
    }
}

impl ImageRoot {
    /// To clone from. Where it is a copy of the base mount namespace, the root is at [`ROOT`].
    pub(super) fn namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }

    /// The image mount namespace, to clone from for sandboxes that only read the root: each has
    /// to mount only what no two share. `None` where it cannot be made.
    pub(super) fn image_namespace(&self, proc: BorrowedFd<'_>) -> Option<BorrowedFd<'_>> {
        let make = || {
            let made = sys::in_helper(|| {
                sys::setns(self.namespace(), libc::CLONE_NEWNS)?;
                sys::unshare(NewNamespaces::MOUNT)?;
                rustix::process::chdir(self.place)?;
                rustix::mount::mount_bind_recursive(mounts::DEV, &self.dev)?;
                mounts::cover()?;
                mounts::own_namespace(proc)
            });
            made.and_then(|made| made).ok()
        };
        self.image_namespace
            .get_or_init(make)
            .as_ref()
            .map(AsFd::as_fd)
    }

    /// The root as a detached mount, to be attached once.
    pub(super) fn detached(&self) -> io::Result<OwnedFd> {
        let opened = sys::in_helper(|| {
            sys::setns(self.namespace(), libc::CLONE_NEWNS)?;
            mounts::open_tree(self.place)
        });
        opened?
    }
}

/// Mounts memory, or the folder, in a mount namespace of the caller's own, and changes to it. The
/// namespace is a copy of the base mount namespace where there is one.
fn mount(
    base: Option<&BaseMounts>,
    folder: Option<&Folder>,
    options: &CStr,
) -> io::Result<&'static CStr> {
    let private = || {
        sys::unshare(NewNamespaces::MOUNT)?;
        mounts::make_private()
    };
    let tree = match folder {
        Some(folder) => {
            private()?;
            Some(mounts::open_tree(&CString::new(
                folder.path().as_os_str().as_encoded_bytes(),
            )?)?)
        }
        None => None,
    };
    match base {
        Some(base) => {
            sys::setns(base.namespace(), libc::CLONE_NEWNS)?;
            sys::unshare(NewNamespaces::MOUNT)?;
        }
        None if tree.is_none() => private()?,
        None => {}
    }
    let places = if base.is_some() {
        &[ROOT][..]
    } else {
        &PLACES[..]
    };
    let mut failed = io::ErrorKind::NotFound.into();
    for place in places {
        let mounted = match &tree {
            Some(tree) => mounts::attach(tree, place),
            None => mounts::mount_memory(place, options),
        };
        match mounted.and_then(|()| Ok(rustix::process::chdir(*place)?)) {
            Ok(()) => return Ok(place),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}
