//! A line on a terminal that may be stopped or not read. It never waits: what the terminal does not
//! take at once is not drawn.

use std::fmt::Display;
use std::io;
use std::sync::{Mutex, PoisonError};

use indicatif::TermLike;

use crate::report::patient::Patient;

/// The size that is assumed if the terminal does not tell its own.
const USUAL: (u16, u16) = (80, 24);

/// The terminal, and the text to draw next.
#[derive(Debug)]
pub(super) struct Line {
    terminal: Patient,
    drawn: Mutex<String>,
}

impl Line {
    pub(super) fn on(terminal: Patient) -> Self {
        Self {
            terminal,
            drawn: Mutex::default(),
        }
    }

    fn draw(&self, what: impl Display) {
        // The text has no invariant that a panic could break.
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        *drawn += &what.to_string();
    }

    /// Moves the cursor; a terminal takes 0 for 1, so nothing is written for 0.
    fn step(&self, places: usize, direction: char) {
        if places > 0 {
            self.draw(format_args!("\x1b[{places}{direction}"));
        }
    }

    fn size(&self) -> (u16, u16) {
        match rustix::termios::tcgetwinsize(&self.terminal) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col, size.ws_row),
            _ => USUAL,
        }
    }
}

impl TermLike for Line {
    fn width(&self) -> u16 {
        self.size().0
    }

    fn height(&self) -> u16 {
        self.size().1
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.step(n, 'A');
        Ok(())
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.step(n, 'B');
        Ok(())
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.step(n, 'C');
        Ok(())
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.step(n, 'D');
        Ok(())
    }

    fn write_line(&self, line: &str) -> io::Result<()> {
        self.draw(format_args!("{line}\n"));
        Ok(())
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.draw(text);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.draw("\r\x1b[2K");
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        self.terminal.offer(drawn.as_bytes());
        drawn.clear();
        Ok(())
    }
}
