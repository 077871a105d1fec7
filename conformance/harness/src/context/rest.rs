//! Where a program is proven to rest, nothing need be watched for long: what rests in a wait that
//! has no end, while no timer runs, does nothing until something comes from outside.

use std::time::Duration;

use super::idle::ORPHANS;
use super::moments::{Scene, usual};
use super::step::Seen;
use super::{Came, Context, PROMPTLY, Pod, Stimulus};
use crate::backend::Spec;
use crate::need::Needs;
use crate::outcome::Stop;
use crate::process::ExitStatus;
use crate::seccomp;

/// How long a program is watched of which it is proven what it does: the cross-check of who
/// follows it.
pub(super) const CROSS_CHECK: Duration = Duration::from_millis(200);

/// What becomes of a program that is started in some way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Becomes {
    /// It rests in this call.
    Still(String),
    /// It ends.
    Ended(ExitStatus),
    /// That cannot be told by following it.
    Unknown,
}

/// What is proven of the program as it is usually started.
#[derive(Clone, Debug)]
pub(super) struct Proof {
    /// The call in which it rests.
    pub(super) call: String,
    /// What it had written by then.
    pub(super) written: u64,
    /// It rests again after each of [`ORPHANS`] that it has reaped.
    pub(super) reaped: bool,
    /// How long it took for all that, on its clock: so long it acts by itself.
    pub(super) acts: Duration,
}

impl Proof {
    /// What it proves, against what a window has shown.
    pub(super) fn is_contradicted(&self, shown: &str) -> Stop {
        let call = &self.call;
        Stop::Contradicted(format!(
            "the program rests in {call}(2), without an end and with no timer, as ptrace shows; \
             but in a window without ptrace it {shown}"
        ))
    }
}

impl Context<'_> {
    /// What becomes of the program where it is started so.
    ///
    /// # Errors
    /// Where the suite fails.
    pub fn becomes(&self, spec: Spec) -> Result<Becomes, Stop> {
        // One that does not come to rest as it is usually started is followed in vain, and for long.
        if !self.offers(Needs::FOLLOWED) || self.proof().is_none() {
            return Ok(Becomes::Unknown);
        }
        let scene = self.scene_of(spec, false, 0);
        let becomes = known(scene.and_then(|mut scene| come(&mut scene)))?;
        Ok(becomes.unwrap_or(Becomes::Unknown))
    }

    /// For how long the program was seen to compute from its start and to do nothing else, where it
    /// had asked for nothing by then that has to do with its standard streams: so long it stays,
    /// whatever they are.
    pub fn computes_whatever_its_streams(&self) -> Option<Duration> {
        if self.proof().is_some() {
            return None;
        }
        self.shared.is_blind.get()?;
        if !*self.known() {
            self.start(Spec::default()).ok()?;
        }
        self.shared.computed.get().copied()
    }

    /// What is proven of the program, once a run.
    pub(super) fn proof(&self) -> Option<Proof> {
        let prove = || {
            let is_followed = self.offers(Needs::FOLLOWED);
            is_followed.then(|| self.prove().ok().flatten()).flatten()
        };
        self.shared.proof.get_or_init(prove).clone()
    }

    fn prove(&self) -> Result<Option<Proof>, Stop> {
        let mut scene = self.first_scene(usual(), true, 0)?;
        let Becomes::Still(call) = come(&mut scene)? else {
            return Ok(None);
        };
        let written = scene.pod.written();
        let reaped = self.offers(Needs::PROBE) && known(reaps(&mut scene))? == Some(true);
        Ok(Some(Proof {
            call,
            written,
            reaped,
            acts: scene.steps.clock(),
        }))
    }
}

impl Pod<'_> {
    /// Notes for how long one has computed from its start that was started as usual.
    pub(super) fn note_computed(&self, time: Duration) {
        if self.start.as_ref().is_some_and(is_usual) {
            self.context.shared.computed.get_or_init(|| time);
        }
    }
}

/// Nothing in it makes a program end that does not do so as it is usually started.
fn is_usual(spec: &Spec) -> bool {
    let asked = spec.arguments.is_some() || spec.command.is_some() || spec.env.is_some();
    !asked && spec.user.is_none() && spec.own_pid_namespace && is_plain(spec)
}

/// A limit may end the one and spare the other.
pub(super) fn is_plain(spec: &Spec) -> bool {
    spec.seccomp.is_none() && spec.memory_limit.is_none() && spec.pids_limit.is_none()
}

/// What it says, where it can be followed and the host has the time.
pub(super) fn known<T>(outcome: Result<T, Stop>) -> Result<Option<T>, Stop> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error @ Stop::Error(_)) => Err(error),
        Err(_) => Ok(None),
    }
}

/// What becomes of a program that is followed.
pub(super) fn come(scene: &mut Scene<'_>) -> Result<Becomes, Stop> {
    let Scene { steps, pod, .. } = scene;
    loop {
        return Ok(match steps.next(pod)? {
            Seen::Call(_) => continue,
            Seen::Rests => {
                let call = steps.sleeps_in();
                Becomes::Still(call.map_or_else(String::new, |call| seccomp::name_of(&call)))
            }
            Seen::Ended(status) => Becomes::Ended(status),
            Seen::Sleeps | Seen::Late => Becomes::Unknown,
        });
    }
}

/// Whether it reaps one orphan after the other, and rests after each.
fn reaps(scene: &mut Scene<'_>) -> Result<bool, Stop> {
    for _ in 0..ORPHANS {
        scene.done.clear();
        scene.add_orphan()?;
        scene.end_orphan()?;
        scene.steps.allow(PROMPTLY);
        let came = scene.outcome(Stimulus::Orphan)?;
        if came != Came::Reaped || !scene.rests {
            return Ok(false);
        }
    }
    Ok(true)
}
