//! What the program is like after its work: ten thousand orphans, each signal that it survives, a
//! stop, a member that comes and goes. Done once a run, for every check that asks.

use std::time::Duration;

use fixtures::protocol::Death;
use nix::libc;

use super::idle::{Rest, Watch};
use super::{Context, Orphans, PROMPTLY, Pod, idle};
use crate::backend::{Join, Namespaces};
use crate::need::Needs;
use crate::outcome::{Finding, Stop};
use crate::probe::{Crowds, Probe};
use crate::signal;

/// Orphans of one round, and how many rounds there are.
const ROUND: u64 = 100;
const ROUNDS: u64 = 100;
/// Rounds where the user allows hours.
const LONG_ROUNDS: u64 = 1_000;
/// Rounds of a program that is known to be broken otherwise.
const BRIEF_ROUNDS: u64 = 5;
/// How long the rounds may take: a slow program reaps fewer in it. A quick one needs a twentieth,
/// so that it reaps all also on a host that is busy with much else.
const BUDGET: Duration = Duration::from_secs(8);
/// How long it is watched afterwards.
const WINDOW: Duration = Duration::from_millis(200);

/// What a pod's processes send, by accident or as orders.
const SENT: [i32; 14] = [
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGPIPE,
    libc::SIGALRM,
    libc::SIGWINCH,
    libc::SIGURG,
    signal::CONT,
    libc::SIGIO,
    libc::SIGPWR,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGSTKFLT,
];

const MEMBER: Join = Join {
    namespaces: Namespaces::PID,
    privileged: false,
    user: None,
};

/// What a process holds.
#[derive(Clone, Debug)]
pub struct Held {
    /// Resident memory, in bytes.
    pub resident: u64,
    /// Open descriptors beyond the standard streams.
    pub descriptors: usize,
    /// Children that it has not reaped.
    pub children: usize,
}

/// How the work went.
#[derive(Clone, Debug)]
pub struct Worked {
    /// Orphans of the rounds, all of them reaped.
    pub orphans: u64,
    /// After what it no longer reaped, if it did not to the end.
    pub reaping: Result<(), Finding>,
    /// What came of it, where it did.
    pub rested: Option<Rested>,
}

/// A program that has worked and rests.
#[derive(Clone, Debug)]
pub struct Rested {
    /// When it had reaped its first orphans.
    pub before: Held,
    /// After all its work.
    pub after: Held,
    /// What it then did while nothing happened.
    pub rest: Rest,
    /// Whether SIGTERM then ended it, with status 0. [`Stop::Ended`] where it ended before that.
    pub term: Result<Duration, Stop>,
}

impl Context<'_> {
    /// What the program is like after its work. `None` where it does not reap its first orphans,
    /// or is not natively run.
    ///
    /// # Errors
    /// [`Stop::Blocked`] where a signal ended it, which has checks of its own.
    pub fn worked(&self) -> Result<Option<Worked>, Stop> {
        if !self.offers(Needs::NATIVE.union(Needs::PROBE).union(Needs::HOST_PID)) {
            return Ok(None);
        }
        let reaps = |worked: &Option<Worked>| match worked {
            Some(worked) => worked.reaping.clone().map_err(Stop::Fail),
            None => Ok(()),
        };
        let watched = || self.watched_for_all(work, reaps);
        self.shared.worked.get_or_init(watched).clone()
    }
}

impl Context<'_> {
    /// The program after its work, where it gets so far: what keeps it from that has other checks.
    ///
    /// # Errors
    /// Where that could not be found out.
    pub fn rested(&self) -> Result<Option<Rested>, Stop> {
        match self.worked() {
            Ok(worked) => Ok(worked.and_then(|worked| worked.rested)),
            Err(Stop::Blocked { .. } | Stop::Fail(_) | Stop::Ended(_) | Stop::NotRunning(_)) => {
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }
}

/// What ended a program at its work has a check of its own.
fn judged_by(by: &'static str) -> impl Fn(Stop) -> Stop {
    move |stop| match stop {
        Stop::Ended(finding) | Stop::NotRunning(finding) => Stop::Blocked {
            by,
            why: finding.observed,
        },
        other => other,
    }
}

fn check_of(number: i32) -> &'static str {
    match number {
        libc::SIGHUP => "signals/survives-hup",
        _ => "signals/survives-others",
    }
}

fn work(cx: &Context<'_>) -> Result<Option<Worked>, Stop> {
    let mut pod = cx.start_to_reap(idle::spec())?;
    if !pod.reap_first_orphans()? {
        return Ok(None);
    }
    // One that spins takes its time from all others.
    if cx.is_never_ready() && Watch::shows_computing(&mut pod)? {
        return Err(Stop::Blocked {
            by: "resources/idle-cpu",
            why: "it computes while it has nothing to do".to_owned(),
        });
    }
    let before = pod.held()?;
    let probe = pod.enter(&MEMBER)?;
    let rounds = match cx.options() {
        options if options.long => LONG_ROUNDS,
        options => options.amount(ROUNDS, BRIEF_ROUNDS),
    };
    let (orphans, mut reaping) = pod.reap_rounds(&probe, rounds)?;
    if reaping.is_ok() {
        reaping = pod.reap_after_each(&probe)?;
    }
    drop(probe);
    let rested = match reaping {
        Ok(()) => Some(rest(pod, before).map_err(ended)?),
        Err(_) => None,
    };
    Ok(Some(Worked {
        orphans,
        reaping,
        rested,
    }))
}

/// It was there when it had worked: its end is no failure to start.
fn ended(stop: Stop) -> Stop {
    match stop {
        Stop::NotRunning(finding) => Stop::Ended(Finding {
            expected: "still running after its work".to_owned(),
            ..finding
        }),
        other => other,
    }
}

fn rest(mut pod: Pod<'_>, before: Held) -> Result<Rested, Stop> {
    pod.settle(signal::CHLD, "its work")?;
    let mut watch = Watch::for_a(WINDOW, &mut pod)?;
    while !watch.look(&mut pod, WINDOW)?.is_zero() {}
    let rest = watch.end(&mut pod)?;
    let after = pod.held()?;
    let term = match pod.expect_term_works("its work") {
        judged @ (Ok(_) | Err(Stop::Fail(_) | Stop::Ended(_))) => judged,
        Err(other) => return Err(other),
    };
    Ok(Rested {
        before,
        after,
        rest,
        term,
    })
}

impl Pod<'_> {
    /// How many orphans it reaps in rounds, as far as the time allows; and what it left, if it did.
    fn reap_rounds(
        &mut self,
        probe: &Probe,
        rounds: u64,
    ) -> Result<(u64, Result<(), Finding>), Stop> {
        let long = u32::try_from(rounds / ROUNDS).unwrap_or(1);
        let budget = self.context().scaled(BUDGET * long);
        self.provoke("orphans ended");
        let ran = probe.crowds(rounds, ROUND, self.context().scaled(PROMPTLY), budget);
        let ran = ran.map_err(|error| self.harness_failed("leave it orphans", &error));
        let Crowds { completed, left } = ran.map_err(judged_by("reaping/burst"))?;
        let orphans = completed * ROUND;
        if left == 0 {
            return Ok((orphans, Ok(())));
        }
        // By time that counts: the round may have had too little of it.
        let what = format!("{left} orphans after {orphans}");
        let last = Orphans::adopt(probe, left, left, &what);
        let left = of_the_image(last.expect_reaped_within(self, PROMPTLY));
        Ok((orphans, left.map_err(judged_by("reaping/burst"))?))
    }

    /// After what it reaps no more, if it does not to the end.
    fn reap_after_each(&mut self, probe: &Probe) -> Result<Result<(), Finding>, Stop> {
        for number in self.context().harmless(&SENT) {
            let sent = self.signal(number);
            let reaps = sent.and_then(|()| self.reaps_after(probe, &signal::name(number)));
            if let Err(finding) = reaps.map_err(judged_by(check_of(number)))? {
                return Ok(Err(finding));
            }
        }
        let continued = self.stop().and_then(|()| self.signal(signal::CONT));
        let reaps = continued.and_then(|()| self.reaps_after(probe, "SIGSTOP and SIGCONT"));
        if let Err(finding) = reaps.map_err(judged_by("signals/stop-cont"))? {
            return Ok(Err(finding));
        }
        drop(self.enter(&MEMBER)?);
        self.reaps_after(probe, "a member of its namespace came and went")
            .map_err(judged_by("reaping/from-sibling-container"))
    }

    /// Whether it reaps an orphan after that.
    fn reaps_after(&mut self, probe: &Probe, after: &str) -> Result<Result<(), Finding>, Stop> {
        let what = format!("an orphan after {after}");
        let orphan = Orphans::spawn(self, probe, 1, (Death::Exit, 0), 0, &what)?;
        of_the_image(orphan.expect_reaped(self))
    }

    fn held(&mut self) -> Result<Held, Stop> {
        let resident = self.status()?.vmrss.unwrap_or_default() * 1024;
        let descriptors = match self.process()?.fd() {
            Ok(open) => open.flatten().filter(|it| it.fd > 2).count(),
            Err(error) => {
                let error = std::io::Error::other(error);
                return Err(self.harness_failed("list its descriptors", &error));
            }
        };
        Ok(Held {
            resident,
            descriptors,
            children: self.children()?.len(),
        })
    }
}

/// What is the image's fault, apart from what is not.
fn of_the_image<T>(outcome: Result<T, Stop>) -> Result<Result<(), Finding>, Stop> {
    match outcome {
        Ok(_) => Ok(Ok(())),
        Err(Stop::Fail(finding)) => Ok(Err(finding)),
        Err(other) => Err(other),
    }
}
