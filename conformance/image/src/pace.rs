//! How slowly a registry or a daemon may send: a least rate, and one deadline for all of it.
//! What sends a byte now and then never stalls and never ends.

use std::io::{self, Read};
use std::time::{Duration, Instant};

/// Bytes a second at least: a pause image takes a minute or two at that.
const LEAST: f64 = 4096.0;
/// All requests for one image.
const ALL: Duration = Duration::from_mins(10);
/// So many windows one after the other are to be slow: one may be that of a suite that was
/// stopped meanwhile.
const SLOW: u32 = 2;

/// The bounds, from now on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    window: Duration,
    deadline: Instant,
}

impl Pace {
    /// The rate is looked at once in each window.
    pub(super) fn start(window: Duration) -> Self {
        Self {
            window,
            deadline: Instant::now() + ALL,
        }
    }

    /// Where the time is not up.
    pub(super) fn check(&self) -> io::Result<()> {
        if Instant::now() < self.deadline {
            Ok(())
        } else {
            Err(io::Error::other(format!("not all was sent within {ALL:?}")))
        }
    }

    /// Holds a reader to them.
    pub(super) fn hold<R: Read>(self, from: R) -> Paced<R> {
        Paced {
            from,
            pace: self,
            began: Instant::now(),
            sent: 0,
            slow: 0,
        }
    }
}

/// A reader that is held to a pace.
pub(super) struct Paced<R> {
    from: R,
    pace: Pace,
    /// Of this window.
    began: Instant,
    /// In it.
    sent: usize,
    /// Windows before it that were slow, one after the other.
    slow: u32,
}

impl<R: Read> Read for Paced<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        if count == 0 {
            return Ok(0);
        }
        self.sent += count;
        let took = self.began.elapsed();
        if took >= self.pace.window {
            let is_slow = (self.sent as f64) < LEAST * took.as_secs_f64();
            self.slow = if is_slow { self.slow + 1 } else { 0 };
            (self.began, self.sent) = (Instant::now(), 0);
        }
        if self.slow >= SLOW {
            return Err(io::Error::other(format!(
                "less than {LEAST} bytes a second were sent"
            )));
        }
        self.pace.check()?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends a byte each few milliseconds, as a reader that polls the descriptor would see it.
    struct Drips(u32);

    impl Read for Drips {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let time = rustix::event::Timespec::try_from(Duration::from_millis(5)).ok();
            rustix::event::poll(&mut [], time.as_ref())?;
            self.0 = self.0.saturating_sub(1);
            buffer[0] = 0;
            Ok(usize::from(self.0 > 0))
        }
    }

    fn read(pace: Pace, drops: u32) -> io::Result<usize> {
        let mut all = Vec::new();
        pace.hold(Drips(drops)).read_to_end(&mut all)
    }

    #[test]
    fn what_drips_is_given_up() {
        let pace = Pace::start(Duration::from_millis(50));
        let error = read(pace, 10_000).expect_err("it would take a minute");
        assert!(error.to_string().contains("4096 bytes a second"));
    }

    #[test]
    fn what_is_short_is_read_however_slowly_it_comes() {
        let pace = Pace::start(Duration::from_mins(1));
        assert_eq!(read(pace, 10).expect("ten bytes"), 9);
    }

    #[test]
    fn nothing_is_read_when_the_time_is_up() {
        let pace = Pace {
            window: Duration::from_mins(1),
            deadline: Instant::now(),
        };
        let error = read(pace, 10).expect_err("late");
        assert!(error.to_string().contains("within 600s"), "{error}");
    }
}
