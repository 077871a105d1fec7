//! The reporters: one file a format. They see events and records, never a backend.

use std::io;

use crate::event::Event;

pub mod audit;
pub mod compare;
pub mod github;
pub mod gitlab;
pub mod html;
pub mod human;
pub mod json;
#[cfg(feature = "junit")]
pub mod junit;
pub mod markdown;
pub mod matrix;
pub mod outline;
pub mod output;
pub mod patient;
pub mod progress;
pub mod reporters;
pub mod sarif;
pub mod spec;
pub mod tap;
pub mod text;
pub mod wrap;

/// Turns events into output. Called from one thread, in the order of the events.
pub trait Reporter {
    /// Takes one event.
    ///
    /// # Errors
    /// When the output cannot be written. A broken pipe is for the caller to
    /// take as the reader's wish to stop.
    fn event(&mut self, event: &Event<'_>) -> io::Result<()>;
}
