//! What other backends borrow of this one: it fills the image's root, and has the probe.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use super::Embedded;
use super::ids::{Mapping, RANGE_BASE};
use super::init::SandboxInit;
use super::root::{ImageRoot, Maker, Wanted};
use crate::backend::{Launch, Spec, StartError, Stdio};

/// An image's root, for as long as it is used.
pub(in crate::backend) struct LentRoot(Arc<ImageRoot>);

impl LentRoot {
    /// Whether it is the same files, in the same place.
    pub(in crate::backend) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// What it lacks of the image on this host, in words.
    pub(in crate::backend) fn lacks(&self) -> &[String] {
        &self.0.lacks
    }

    /// The root as a detached mount, to be attached once.
    pub(in crate::backend) fn detached(&self) -> io::Result<OwnedFd> {
        self.0.detached()
    }
}

impl Embedded {
    /// The files of an image, owned as the image says: by ids of the host, or by those of a user
    /// namespace with a range of ids. A `writable` root is for one sandbox alone.
    ///
    /// # Errors
    /// As a start.
    pub(in crate::backend) fn lend_root(
        &self,
        launch: &Launch<'_>,
        user: (u32, u32),
        id_range: bool,
        writable: bool,
    ) -> Result<LentRoot, StartError> {
        let failed = |cause| StartError::Host {
            step: "make the image's root",
            cause,
        };
        let mapping = if id_range {
            Mapping::Range { base: RANGE_BASE }
        } else {
            Mapping::Host
        };
        let by = Maker {
            base: self.base.as_ref(),
            init: &self.init,
            proc: self.proc.as_fd(),
        };
        let wanted = Wanted::new(launch, mapping, user, false)?;
        if !writable {
            return Ok(LentRoot(self.roots.shared(wanted, by).map_err(failed)?));
        }
        match self.roots.own(&wanted, by).map_err(failed)? {
            Some(root) => Ok(LentRoot(root)),
            None => Err(StartError::Unable {
                why: "the image is too big for a copy in memory".to_owned(),
            }),
        }
    }

    /// The first process of a pid namespace for a pod that shares its node's.
    pub(in crate::backend) fn lend_node(&self) -> io::Result<SandboxInit> {
        SandboxInit::start_node(&self.probe)
    }

    /// Standard streams as a specification has them: the suite's ends, and the program's.
    pub(in crate::backend) fn lend_streams(
        &self,
        spec: &Spec,
    ) -> io::Result<(Stdio, [Option<OwnedFd>; 3])> {
        self.streams(spec)
    }

    /// The probe, to be executed by descriptor.
    pub(in crate::backend) fn lend_probe(&self) -> io::Result<OwnedFd> {
        self.probe.try_clone()
    }

    /// Whether the caller is root, with what container runtimes take.
    pub(in crate::backend) fn is_root(&self) -> bool {
        let has_all = matches!(self.mapping, Mapping::Range { .. } | Mapping::Host);
        has_all && !self.is_in_engines
    }
}
