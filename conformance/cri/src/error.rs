//! Why a call came to nothing.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tonic::{Code, Status};

/// Why a call came to nothing. What a runtime says is shown without control characters.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody is at the socket.
    #[error("{}: {}", socket.display(), cause_of_connect(cause))]
    Unreached {
        /// Where somebody was expected.
        socket: PathBuf,
        /// What connect(2) says: not found, refused, not permitted.
        cause: io::Error,
    },
    /// Somebody is there that is no runtime of this interface.
    #[error("{}: it does not speak the Container Runtime Interface: {cause}", socket.display())]
    NoCri {
        /// Where it listens.
        socket: PathBuf,
        /// How that shows.
        cause: String,
    },
    /// A runtime is there that knows v1alpha2 alone: older than containerd 1.6, CRI-O 1.23.
    #[error(
        "{}: it speaks v1alpha2 of the Container Runtime Interface, not v1",
        socket.display()
    )]
    Older {
        /// Where it listens.
        socket: PathBuf,
    },
    /// The runtime refuses.
    #[error("{method}: {message}")]
    Said {
        /// What was asked.
        method: &'static str,
        /// The kind of refusal (gRPC status codes): 5, there is no such thing; 12, it is unknown.
        code: i32,
        /// The runtime's words.
        message: String,
    },
    /// No answer came in time.
    #[error("{method}: no answer within {after:?}")]
    Late {
        /// What was asked.
        method: &'static str,
        /// The deadline.
        after: Duration,
    },
    /// The answer was no answer: it broke off, was too long, or is no such message.
    #[error("{method}: {cause}")]
    Broken {
        /// What was asked.
        method: &'static str,
        /// How.
        cause: String,
    },
}

impl Error {
    /// Whether the runtime says that there is no such sandbox, container or image.
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(Code::NotFound)
    }

    /// Whether the runtime does not know the call.
    pub fn is_unimplemented(&self) -> bool {
        self.code() == Some(Code::Unimplemented)
    }

    /// What the user can do, where that can be said.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Unreached { .. } => "start the container runtime, or name its socket",
            Self::NoCri { .. } => {
                "name the socket of containerd, CRI-O or cri-dockerd; in containerd's configuration \
                 disabled_plugins must not list cri"
            }
            Self::Older { .. } => "update it: containerd 1.6, CRI-O 1.23 and newer speak v1",
            _ => return None,
        })
    }

    fn code(&self) -> Option<Code> {
        match self {
            Self::Said { code, .. } => Some(Code::from_i32(*code)),
            _ => None,
        }
    }

    /// What a status says: of the runtime, or of the way to it.
    pub(crate) fn of_status(method: &'static str, status: &Status, limit: usize) -> Self {
        // A status that came over the wire has no source.
        if let Some(source) = std::error::Error::source(status) {
            let cause = words(&innermost(source));
            return Self::Broken { method, cause };
        }
        let message = words(status.message());
        if status.code() == Code::OutOfRange && message.contains("message length too large") {
            let cause = format!("its answer is longer than {limit} bytes");
            return Self::Broken { method, cause };
        }
        if status.code() == Code::Internal && message.starts_with("protocol error") {
            let cause = "its answer is none of gRPC".to_owned();
            return Self::Broken { method, cause };
        }
        let message = if message.is_empty() {
            status.code().description().to_owned()
        } else {
            message
        };
        let code = status.code() as i32;
        Self::Said {
            method,
            code,
            message,
        }
    }
}

/// What lies at the bottom of an error says most.
fn innermost(mut error: &(dyn std::error::Error + 'static)) -> String {
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// A runtime's words in one line, safe to show.
pub(crate) fn words(text: &str) -> String {
    const MOST: usize = 1000;
    let mut shown = String::new();
    for char in text.trim().chars() {
        if shown.len() > MOST {
            shown.push('…');
            break;
        }
        match char {
            '\n' | '\t' => shown.push(' '),
            char if is_unsafe(char) => shown.extend(char.escape_default()),
            char => shown.push(char),
        }
    }
    shown
}

/// Control characters, separators of lines, marks of direction, and what is invisible.
fn is_unsafe(char: char) -> bool {
    char.is_control()
        || matches!(u32::from(char),
            0x00ad | 0x061c | 0x180e | 0x200b..=0x200f | 0x2028..=0x202e
            | 0x2060..=0x206f | 0xfeff | 0xfff9..=0xfffb | 0xfffe | 0xffff | 0xe0000..=0xe007f)
}

fn cause_of_connect(cause: &io::Error) -> String {
    match cause.kind() {
        io::ErrorKind::NotFound => "no such socket".to_owned(),
        io::ErrorKind::ConnectionRefused => "nobody listens there".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => {
            let text = cause.to_string();
            let end = text.find(" (os error").unwrap_or(text.len());
            text[..end].to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn a_runtimes_words_are_one_line_without_controls() {
        assert_eq!(
            words(" a\nb\u{1b}[31m\u{202e}c "),
            "a b\\u{1b}[31m\\u{202e}c"
        );
        let long = words(&"é".repeat(5000));
        assert!(long.len() < 1100 && long.ends_with('…'), "{long}");
    }
}
