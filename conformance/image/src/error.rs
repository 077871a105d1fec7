//! Why an image cannot be read: one line that names the thing and the cause, and a hint.

use std::fmt::Display;
use std::io;

use super::escape::escape;
use super::limits::Exceeded;
use crate::disk;

/// What is wrong with the image as a whole; [`Error::within`] says which.
pub(crate) const WHOLE: &str = "image";

/// What the user can do where a disk is full.
const ROOM: &str = "free some space, or set TMPDIR to a folder that has it";

/// An image, archive, file or registry that the suite cannot read.
///
/// Displays as one lower-case line, `what: cause`; text from the image in it is escaped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {cause}")]
pub struct Error {
    what: String,
    cause: String,
    hint: Option<String>,
    reason: Reason,
}

/// What the loader itself must tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// A blob is not there.
    Absent,
    /// A limit of the suite is passed.
    Limit,
    /// It is an artifact of another kind.
    NoImage,
    Other,
}

impl Error {
    /// Names the thing and the cause; both are escaped, so that no image writes to a terminal.
    pub fn new(what: impl Display, cause: impl Display) -> Self {
        let clean = |text: String| escape(text.as_bytes());
        Self {
            what: clean(what.to_string()),
            cause: clean(cause.to_string()),
            hint: None,
            reason: Reason::Other,
        }
    }

    /// An operation on a file or stream that failed.
    pub(crate) fn io(what: impl Display, error: &io::Error) -> Self {
        let limit = error
            .get_ref()
            .is_some_and(<dyn std::error::Error + Send + Sync>::is::<Exceeded>);
        Self {
            reason: if limit { Reason::Limit } else { Reason::Other },
            hint: disk::is_full(error).then(|| ROOM.to_owned()),
            ..Self::new(what, io_words(error))
        }
    }

    /// A limit of the suite that the image passes.
    pub(crate) fn limit(what: impl Display, exceeded: &Exceeded) -> Self {
        Self {
            reason: Reason::Limit,
            ..Self::new(what, exceeded)
        }
    }

    /// A blob that the archive or the registry does not hold.
    pub(crate) fn absent(what: impl Display, cause: impl Display) -> Self {
        Self {
            reason: Reason::Absent,
            ..Self::new(what, cause)
        }
    }

    /// What is there is something else than an image.
    pub(crate) fn no_image(what: impl Display, cause: impl Display) -> Self {
        Self {
            reason: Reason::NoImage,
            ..Self::new(what, cause)
        }
    }

    /// Whether it is something else than an image.
    pub(crate) fn is_no_image(&self) -> bool {
        self.reason == Reason::NoImage
    }

    /// Names the file that it happened in, where the error does not.
    pub(crate) fn within(mut self, file: impl Display) -> Self {
        let file = escape(file.to_string().as_bytes());
        if self.what == WHOLE {
            self.what = file;
        } else if !self.what.starts_with(&file) {
            self.what = format!("{file}: {}", self.what);
        }
        self
    }

    /// Whether a blob is simply not there, as in a layout that holds some platforms of an index
    /// only.
    pub(crate) fn is_absent(&self) -> bool {
        self.reason == Reason::Absent
    }

    /// Whether a limit kept it from being read, which says nothing about the image.
    pub(crate) fn is_limit(&self) -> bool {
        self.reason == Reason::Limit
    }

    /// The cause alone.
    pub(crate) fn cause(&self) -> &str {
        &self.cause
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// As [`Error::with_hint`], unless there is one.
    #[must_use]
    pub(crate) fn or_hint(self, hint: &str) -> Self {
        if self.hint.is_some() {
            self
        } else {
            self.with_hint(hint)
        }
    }

    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

/// What went wrong, in lower-case words and without the error number, which few readers know.
pub fn io_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::UnexpectedEof => "ends too early: truncated".to_owned(),
        _ => match error.raw_os_error() {
            Some(number) => {
                let words = error.to_string();
                let words = words
                    .strip_suffix(&format!(" (os error {number})"))
                    .unwrap_or(&words);
                words.to_lowercase()
            }
            None => error.to_string(),
        },
    }
}
