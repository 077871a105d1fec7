//! What a program will never do, shown by a twin that is started the same way and followed: where
//! that rests for good, nobody need wait until the time of the first is up.

use std::time::Duration;

use fixtures::protocol::Death;

use super::idle::TICK;
use super::moments::{CONTAINER, Scene, usual};
use super::rest::{come, is_plain, known};
use super::{Becomes, Came, Context, Orphans, PROMPTLY, Pod, Stimulus};
use crate::backend::Spec;
use crate::need::Needs;
use crate::outcome::Stop;
use crate::seccomp;

/// How long a program may take for what most do at once, until its twin is asked.
pub(super) const AT_ONCE: Duration = Duration::from_millis(100);

/// Orphans that end before the program is executed.
const OLDER: usize = 3;

impl Pod<'_> {
    /// Why the one signal that it was sent will never end it; nothing where that is not known.
    pub(super) fn never_ends(&self) -> Option<String> {
        let [number] = self.sent[..] else { return None };
        let spec = self.start.as_ref().filter(|spec| is_plain(spec))?;
        if !self.members.is_empty() || self.assumed || !self.context.follows() {
            return None;
        }
        let shown = self.context.scene_of(spec.clone(), false, 0);
        let shown = shown.and_then(|mut scene| {
            if !matches!(come(&mut scene)?, Becomes::Still(_)) {
                return Ok(None);
            }
            scene.steps.signal(&mut scene.pod, number)?;
            rests_for_good(&mut scene, Stimulus::Signal(number))
        });
        shown.ok().flatten()
    }
}

impl Context<'_> {
    /// How long one is to be watched that is started so, and has then had these signals, and so many
    /// orphans at once whose maker has left: not at all where a twin is shown to have rested at once,
    /// for good; for `window` after the last that it does by itself; or for `window`.
    ///
    /// # Errors
    /// Where the suite fails.
    pub fn to_be_watched(
        &self,
        spec: Spec,
        signals: &[i32],
        orphans: usize,
        window: Duration,
    ) -> Result<Duration, Stop> {
        let acts = || {
            let mut scene = self.scene_of(spec, false, 0)?;
            let mut rests = matches!(come(&mut scene)?, Becomes::Still(_));
            for number in signals {
                if rests {
                    scene.steps.signal(&mut scene.pod, *number)?;
                    rests = rests_for_good(&mut scene, Stimulus::Signal(*number))?.is_some();
                }
            }
            if rests && orphans > 0 {
                rests = reaps_and_rests(&mut scene, orphans)?;
            }
            // Its clock stands still while it computes.
            let computed = Some(scene.pod.processor_time()?).filter(|time| *time > TICK);
            Ok(rests.then(|| scene.steps.clock() + computed.unwrap_or_default()))
        };
        let acts = if self.follows() { known(acts())? } else { None };
        Ok(match acts.flatten() {
            Some(Duration::ZERO) => Duration::ZERO,
            Some(acts) => acts + window,
            None => window,
        })
    }

    /// Why orphans that ended before the program was executed are never reaped; nothing where that
    /// is not known.
    pub(super) fn never_reaps_older(&self) -> Option<String> {
        let shown = || {
            let mut pod = self.start_unready(Spec {
                held: true,
                ..usual()
            })?;
            let probe = pod.enter(&CONTAINER)?;
            let what = "orphans that ended before exec";
            Orphans::spawn(&mut pod, &probe, OLDER, (Death::Exit, 0), 0, what)?
                .release(&mut pod)?;
            let mut scene = Scene::begin(pod, Vec::new(), false)?;
            scene.done.push(probe);
            rests_for_good(&mut scene, Stimulus::Orphan)
        };
        self.follows().then(shown)?.ok().flatten()
    }

    /// Whether the program is known to come to rest where it is followed.
    fn follows(&self) -> bool {
        self.offers(Needs::FOLLOWED) && self.proof().is_some()
    }
}

/// Whether it reaps so many orphans that end at once, and rests when their maker has left.
fn reaps_and_rests(scene: &mut Scene<'_>, orphans: usize) -> Result<bool, Stop> {
    let probe = scene.pod.enter(&CONTAINER)?;
    let death = (Death::Exit, 1);
    Orphans::spawn(&mut scene.pod, &probe, orphans, death, 0, "orphans")?
        .release(&mut scene.pod)?;
    scene.done.push(probe);
    scene.steps.poke();
    scene.steps.allow(PROMPTLY);
    if scene.outcome(Stimulus::Orphan)? != Came::Reaped {
        return Ok(false);
    }
    scene.done.clear();
    scene.steps.allow(PROMPTLY);
    Ok(matches!(come(scene)?, Becomes::Still(_)))
}

/// Where it rests, if it does and nothing has come of this.
fn rests_for_good(scene: &mut Scene<'_>, stimulus: Stimulus) -> Result<Option<String>, Stop> {
    scene.steps.allow(PROMPTLY);
    let came = scene.outcome(stimulus)?;
    let Came::Lost(Some(call)) = came else {
        return Ok(None);
    };
    let call = seccomp::name_of(&call);
    Ok(scene.rests.then(|| {
        format!(
            "it rests in {call}(2), without an end and with no timer, as ptrace shows of one that \
             is started the same way"
        )
    }))
}
