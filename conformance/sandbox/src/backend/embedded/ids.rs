//! Which ids a sandbox's user namespace maps, by the caller's privileges (user_namespaces(7)).

use std::fmt::Write as _;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{Gid, Uid};

use crate::sys;

/// First host id of the range that a privileged suite maps; outside what adduser(8)
/// and subuid(5) give out.
pub(in crate::backend) const RANGE_BASE: u32 = 0x6fff_0000;
/// Ids in that range.
pub(in crate::backend) const RANGE: u32 = 65536;

/// The first id of those that an engine gives its user's containers, in its user namespace: 0 is the
/// user.
pub(in crate::backend) const BASE_OF_ENGINE: u32 = 1;

/// Whether the ids of a range are there to be mapped: the caller may be in a user namespace
/// that has fewer.
pub(in crate::backend) fn range_is_there(base: u32) -> bool {
    ["/proc/self/uid_map", "/proc/self/gid_map"]
        .iter()
        .all(|map| std::fs::read_to_string(map).is_ok_and(|map| holds_range(&map, base)))
}

fn holds_range(map: &str, base: u32) -> bool {
    map.lines().any(|line| {
        let mut numbers = line
            .split_ascii_whitespace()
            .map(|number| number.parse::<u64>().ok());
        let (Some(Some(first)), Some(Some(count))) = (numbers.next(), numbers.nth(1)) else {
            return false;
        };
        let (base, end) = (u64::from(base), u64::from(base) + u64::from(RANGE));
        first <= base && end <= first + count
    })
}

/// Ids that the process takes before exec.
#[derive(Clone, Copy, Debug)]
pub(in crate::backend) struct Ids {
    pub(in crate::backend) uid: u32,
    pub(in crate::backend) gid: u32,
    /// Ids inside the namespace under which the sandbox is set up, where more than one is mapped.
    pub(in crate::backend) setup: Option<(u32, u32)>,
}

/// How ids can be mapped here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::backend) enum Mapping {
    /// Rootless: one id, whichever the image asks for, stands for the caller.
    Single {
        /// The caller's effective ids.
        uid: u32,
        gid: u32,
    },
    /// Root: 0–65535, onto ids that nothing else on the host has.
    Range {
        /// The first of them.
        base: u32,
    },
    /// Root without user namespaces: none.
    Host,
}

impl Mapping {
    /// The ids of a sandbox for a program that runs as `uid`:`gid`.
    pub(in crate::backend) fn ids(self, uid: u32, gid: u32) -> Ids {
        match self {
            Mapping::Single { .. } => Ids {
                uid,
                gid,
                setup: None,
            },
            Mapping::Range { .. } | Mapping::Host => Ids {
                uid,
                gid,
                setup: Some((0, 0)),
            },
        }
    }

    /// The owner outside of a file that belongs to these ids inside; `None` where they are not
    /// mapped, and the file stays the suite's.
    pub(in crate::backend) fn owner(self, uid: u64, gid: u64) -> (Option<Uid>, Option<Gid>) {
        let outside = |id: u64| {
            let id = u32::try_from(id).ok()?;
            match self {
                Mapping::Range { base } => (id < RANGE).then(|| base + id),
                // The highest id means none (chown(2)).
                Mapping::Host => (id != u32::MAX).then_some(id),
                Mapping::Single { .. } => None,
            }
        };
        let (uid, gid) = (outside(uid), outside(gid));
        (uid.map(Uid::from_raw), gid.map(Gid::from_raw))
    }

    /// Writes the maps of a just-cloned child, as this /proc numbers it.
    pub(in crate::backend) fn write(
        self,
        proc: BorrowedFd<'_>,
        pid: i32,
        ids: Ids,
    ) -> io::Result<()> {
        let write = |name: &str, text: &str| sys::write_at(proc, &format!("{pid}/{name}"), text);
        let line = |inside: u32, outside: u32, count: u32| {
            let mut line = String::new();
            // Writing to a string cannot fail.
            let _ = writeln!(line, "{inside} {outside} {count}");
            line
        };
        match self {
            Mapping::Single { uid, gid } => {
                write("setgroups", "deny")?;
                write("uid_map", &line(ids.uid, uid, 1))?;
                write("gid_map", &line(ids.gid, gid, 1))
            }
            Mapping::Range { base } => {
                write("uid_map", &line(0, base, RANGE))?;
                write("gid_map", &line(0, base, RANGE))
            }
            Mapping::Host => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BASE_OF_ENGINE, RANGE_BASE, holds_range};

    #[test]
    fn the_range_is_there_where_a_line_of_the_map_holds_it() {
        let holds = |map: &str| holds_range(map, RANGE_BASE);
        assert!(holds("         0          0 4294967295\n"));
        assert!(!holds("         0       1000          1\n"));
        assert!(!holds("0 100000 65536\n65536 0 x\n"));
        assert!(!holds(""));
    }

    #[test]
    fn an_engine_gives_containers_a_range_where_its_user_has_one_besides() {
        let holds = |map: &str| holds_range(map, BASE_OF_ENGINE);
        assert!(holds("0 1000 1\n1 100000 65536\n"));
        assert!(!holds("0 1000 1\n1 100000 65535\n"));
        assert!(!holds("0 1000 1\n"));
    }
}
