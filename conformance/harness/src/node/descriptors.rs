//! As many open descriptors as an audit may have: it holds each pause by one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that are left for everything else.
const SPARE: u64 = 64;

/// The soft limit, raised to the hard one until this is dropped: the programs that are judged get
/// what they would have got.
#[derive(Debug)]
pub struct Raised {
    before: Rlimit,
}

impl Raised {
    /// Raises it. Where that is refused, [`may_hold`] says less.
    pub fn begin() -> Self {
        let before = getrlimit(Resource::Nofile);
        let raised = Rlimit {
            current: before.maximum,
            maximum: before.maximum,
        };
        let _ = setrlimit(Resource::Nofile, raised);
        Self { before }
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        // It is below the hard limit, as it was.
        let _ = setrlimit(Resource::Nofile, self.before);
    }
}

/// How many processes may be held, and the limit that this is from.
pub fn may_hold() -> (usize, Option<u64>) {
    let limit = getrlimit(Resource::Nofile).current;
    let most = limit.map_or(u64::MAX, |limit| limit.saturating_sub(SPARE));
    (usize::try_from(most).unwrap_or(usize::MAX), limit)
}

#[cfg(test)]
mod tests {
    use rustix::process::{Resource, getrlimit};

    use super::{Raised, SPARE, may_hold};

    #[test]
    fn the_limit_is_the_hard_one_and_then_as_before() {
        let before = getrlimit(Resource::Nofile);
        let raised = Raised::begin();
        let now = getrlimit(Resource::Nofile);
        assert_eq!(now.current, before.maximum);
        let most = now.current.map_or(usize::MAX, |it| (it - SPARE) as usize);
        assert_eq!(may_hold(), (most, now.current));
        drop(raised);
        assert_eq!(getrlimit(Resource::Nofile), before);
    }
}
