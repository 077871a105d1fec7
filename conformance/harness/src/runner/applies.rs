//! Which checks apply to a subject, and in which order they begin.

use std::time::Duration;

use pause_sandbox::Features;

use super::conclude::Concluded;
use super::{Run, Runner};
use crate::catalogue::missing_in_words;
use crate::check::{Check, Needs};
use crate::context::Shared;
use crate::event::Want;
use crate::subject::NoProgram;
use crate::wasi_sim::RUNS_COMPONENTS;

/// Why a component is not run.
pub(super) const NO_COMPONENTS: &str = "needs a WASI runtime for components: `cargo xtask conformance` \
    builds it in for a file, a layout or an archive that holds one and for `--platform \
    wasip2/wasm`, or `cargo install` with `--features wasmtime`";

impl Runner<'_> {
    /// Concludes the checks that do not apply, and puts the others in order.
    pub(super) fn sort_out(&mut self, checks: &[&'static Check]) {
        let offered = offers(self.run.shared);
        let confirm = self.run.confirm;
        let says_nothing = |check: &Check| {
            let runs = check.needs.contains(Needs::SANDBOX);
            runs.then(|| confirm?.says_nothing()).flatten()
        };
        for check in checks {
            if let Some((want, reason)) = missing(check, offered, &self.run) {
                let is_startable = offered
                    .host
                    .contains(check.needs.host & Features::OF_STARTS);
                if self.run.shared.backend.is_some() && !is_startable {
                    self.not_startable.insert(check.id);
                }
                self.finish(check, Concluded::Skipped(want, reason), Duration::ZERO);
            } else if let Some(why) = says_nothing(check) {
                let why = why.to_owned();
                self.finish(check, Concluded::Inconclusive(why), Duration::ZERO);
            } else {
                self.pending.push(check);
            }
        }
        // Long windows first, then what takes long; exclusive checks last.
        self.pending.sort_by_key(|check| {
            (
                !check.needs.contains(Needs::WAITS),
                check.needs.contains(Needs::EXCLUSIVE),
                !check.needs.contains(Needs::SLOW),
            )
        });
    }
}

fn offers(shared: &Shared) -> Needs {
    let mut offered = Needs::from(shared.subject.traits()) | Needs::HINTS;
    if let Some(backend) = &shared.backend {
        offered |= backend.offers().into();
    }
    if offered.contains(Needs::WASM_MODULE)
        || RUNS_COMPONENTS && offered.contains(Needs::WASM_COMPONENT)
    {
        offered |= Needs::VIRTUAL_CLOCK;
    }
    if shared.options.kubernetes.is_some() {
        offered |= Needs::KUBERNETES;
    }
    if shared.options.long {
        offered |= Needs::LONG;
    }
    if !shared.options.required_platforms.is_empty() {
        offered |= Needs::REQUIRED_PLATFORMS;
    }
    offered
}

/// Why a check does not apply, if it does not: for want of what, and in words.
fn missing(check: &Check, offered: Needs, run: &Run<'_>) -> Option<(Want, String)> {
    let shared = run.shared;
    let need = (check.needs - offered).iter().next()?;
    if need == Needs::PROGRAM
        && let Err(why) = &shared.subject.program
    {
        let why = match why {
            NoProgram::Wasm => "needs a native program; this one is WebAssembly".to_owned(),
            why => format!("the image has no program that can be started: {why}"),
        };
        return Some((Want::Subject, why));
    }
    if need == Needs::VIRTUAL_CLOCK && offered.contains(Needs::WASM_COMPONENT) {
        return Some((Want::Host, NO_COMPONENTS.to_owned()));
    }
    let why = match &shared.backend {
        Some(backend) => backend.lacks(need.host),
        None => run.not_run.filter(|_| check.needs.contains(Needs::SANDBOX)),
    };
    let want = if !need.subject.is_empty() {
        Want::Subject
    } else if need == Needs::VIRTUAL_CLOCK || shared.backend.is_none() && run.not_run.is_some() {
        // The program is none that any host could run.
        Want::Subject
    } else if !need.request.is_empty() || need == Needs::ENGINE {
        // No host lacks an engine for want of anything but `--runtime`.
        Want::Option
    } else {
        Want::Host
    };
    Some((
        want,
        why.map_or_else(|| missing_in_words(need), str::to_owned),
    ))
}
