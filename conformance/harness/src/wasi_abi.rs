//! The part of WASI preview 1's binary interface that the suite's hosts share: error
//! numbers, and what a wait asks for and is answered.

/// The module that preview 1 is imported from.
pub(crate) const PREVIEW1: &str = "wasi_snapshot_preview1";

/// Error numbers (WASI preview 1, `errno`).
pub(crate) const SUCCESS: u16 = 0;
/// As above.
pub const EAGAIN: u16 = 6;
/// As above.
pub(crate) const EBADF: u16 = 8;
/// As above.
pub(crate) const EFAULT: u16 = 21;
/// As above.
pub const EINTR: u16 = 27;
/// As above.
pub(crate) const EINVAL: u16 = 28;
/// As above.
pub(crate) const EIO: u16 = 29;
/// As above: too many open files.
pub(crate) const EMFILE: u16 = 33;
/// As above: what a runtime answers that cannot poll at all.
pub const ENOTSUP: u16 = 58;

/// One subscription of a wait (WASI preview 1, `subscription`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subscription {
    userdata: [u8; 8],
    /// 0 for a clock, 1 and 2 for a file.
    pub(crate) tag: u8,
    /// 0 for real time, 1 for the monotonic clock.
    pub(crate) clock: u32,
    /// In nanoseconds.
    pub(crate) timeout: u64,
    /// The timeout is a time of the clock, not from now.
    pub(crate) absolute: bool,
}

impl Subscription {
    pub(crate) const SIZE: usize = 48;

    pub(crate) fn parse(bytes: &[u8; Self::SIZE]) -> Self {
        let mut userdata = [0; 8];
        userdata.copy_from_slice(&bytes[..8]);
        let mut clock = [0; 4];
        clock.copy_from_slice(&bytes[16..20]);
        let mut timeout = [0; 8];
        timeout.copy_from_slice(&bytes[24..32]);
        Self {
            userdata,
            tag: bytes[8],
            clock: u32::from_le_bytes(clock),
            timeout: u64::from_le_bytes(timeout),
            absolute: bytes[40] & 1 != 0,
        }
    }

    pub(crate) fn is_clock(&self) -> bool {
        self.tag == 0 && self.clock <= 1
    }

    /// When it is due on a clock that shows `now`.
    pub(crate) fn ends(&self, now: u64) -> u64 {
        if self.absolute {
            self.timeout.max(now)
        } else {
            now.saturating_add(self.timeout)
        }
    }

    /// `event`: userdata, error, type, and what only files have.
    pub(crate) fn event(&self, error: u16) -> [u8; 32] {
        let mut event = [0; 32];
        event[..8].copy_from_slice(&self.userdata);
        event[8..10].copy_from_slice(&error.to_le_bytes());
        event[10] = self.tag;
        event
    }
}
