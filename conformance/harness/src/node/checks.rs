//! The passive checks: what a pause that runs must be, seen from outside, and what a node must have
//! for the next pod to start.
//!
//! A check is a record and a function, as in the families that run an image. It provokes nothing, so
//! it says less: that nothing wrong is seen now.

use crate::advice::Advice;
use crate::event::{Record, Verdict, Want};
use crate::kubernetes::Minor;
use crate::node::gather::{Gathered, PauseFacts, PodFacts};
use crate::outcome::{Finding, Pass};
use crate::requirement::{Level, Source};

mod holder;
pub mod image;
mod process;

/// What is asked of an audit.
#[derive(Clone, Debug)]
pub struct Options {
    /// The age in seconds from which a zombie counts.
    pub zombie_age: f64,
    /// The Kubernetes minor of the node.
    pub kubernetes: Option<Minor>,
}

/// A requirement of one pod, or of the node, with the function that looks.
#[derive(Debug)]
pub struct NodeCheck<T: 'static> {
    /// `node/…`. Once released, never reused.
    pub id: &'static str,
    /// One line for reports, without a full stop.
    pub title: &'static str,
    /// RFC 2119 level.
    pub level: Level,
    /// One sentence that holds the level's word.
    pub requirement: &'static str,
    /// Where the requirement comes from.
    pub source: Source,
    /// What a failure means, and how it is mended.
    pub advice: Advice,
    /// Says what was expected and observed.
    pub judge: fn(&T, &Options) -> Judgement,
}

/// How a check ended: `Ok` is a pass.
pub type Judgement = Result<Pass, Miss>;

/// Why a check did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miss {
    /// The requirement does not hold.
    Fail(Finding),
    /// It does not apply, for want of this; says why.
    Skip(Want, String),
    /// It applies, and what was seen decides nothing; says why.
    Inconclusive(String),
}

impl From<Finding> for Miss {
    fn from(finding: Finding) -> Self {
        Self::Fail(finding)
    }
}

/// Of each pod, in the order of reports.
pub static OF_PODS: &[&NodeCheck<PodFacts>] = &[
    &holder::PAUSE_ALIVE,
    &holder::ONE_PAUSE,
    &holder::FIRST_PROCESS,
    &holder::NAMESPACES_SHARED,
    &holder::ZOMBIES_REAPED,
    &holder::ZOMBIES_OF_CONTAINERS,
    &process::OWN_PROGRAM,
    &process::ARCHITECTURE,
    &process::SINGLE_THREAD,
    &process::NO_CHILDREN,
    &process::NO_DESCRIPTORS,
    &process::WORKING_DIRECTORY,
    &process::USER,
    &process::CAPABILITIES,
    &process::NO_NEW_PRIVILEGES,
    &process::SECCOMP,
    &process::OOM_SCORE,
    &process::MEMORY,
    &process::PROCESSOR_TIME,
    &image::KEPT,
];

/// Of the node as a whole, in the order of reports.
pub static OF_THE_NODE: &[&NodeCheck<Gathered>] = &[
    &image::PRESENT,
    &image::PINNED,
    &image::PLATFORM,
    &image::USED,
    &image::REGISTRY,
    &image::KUBELET_AGREES,
    &image::VERSION,
    &image::ONE_PROGRAM,
];

impl<T> NodeCheck<T> {
    /// Looks, and makes the record.
    pub fn record(&self, seen: &T, options: &Options) -> Record {
        let mut record = Record {
            id: self.id.to_owned(),
            title: self.title.to_owned(),
            level: self.level,
            requirement: self.requirement.to_owned(),
            source: self.source.title.to_owned(),
            source_url: self.source.url.to_owned(),
            ..Record::new(Verdict::Pass)
        };
        match (self.judge)(seen, options) {
            Ok(pass) => {
                record.observed = Some(pass.observed);
                record.evidence = pass.evidence;
            }
            Err(Miss::Fail(finding)) => {
                record.verdict = Verdict::Fail;
                record.expected = Some(finding.expected);
                record.observed = Some(finding.observed);
                record.evidence = finding.evidence;
            }
            Err(Miss::Skip(want, reason)) => {
                record.verdict = Verdict::Skipped;
                record.skipped_for = Some(want);
                record.reason = Some(reason);
            }
            Err(Miss::Inconclusive(reason)) => {
                record.verdict = Verdict::Inconclusive;
                record.reason = Some(reason);
            }
        }
        record
    }
}

/// What the catalogue has of a check.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// `node/…`.
    pub id: &'static str,
    /// One line, without a full stop.
    pub title: &'static str,
    /// RFC 2119 level.
    pub level: Level,
    /// One sentence that holds the level's word.
    pub requirement: &'static str,
    /// Where the requirement comes from.
    pub source: Source,
    /// What a failure means, and how it is mended.
    pub advice: &'static Advice,
}

impl<T> From<&'static NodeCheck<T>> for Entry {
    fn from(check: &'static NodeCheck<T>) -> Self {
        Self {
            id: check.id,
            title: check.title,
            level: check.level,
            requirement: check.requirement,
            source: check.source,
            advice: &check.advice,
        }
    }
}

/// All checks, in the order of reports: the node's, and those of each pod.
pub fn all() -> impl Iterator<Item = Entry> {
    let node = OF_THE_NODE.iter().map(|it| Entry::from(*it));
    node.chain(OF_PODS.iter().map(|it| Entry::from(*it)))
}

/// All checks, with what each asks for, where that is from, and how a failure is mended.
pub fn list() -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for it in all() {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{} ({})\n  {}\n  source {}, {}\n  why    {}\n  mend   {}\n",
            it.id,
            it.level,
            it.requirement,
            it.source.title,
            it.source.url,
            it.advice.why,
            it.advice.mend
        );
    }
    text
}

/// What a failure of the check with this id means, and how it is mended.
pub fn advice(id: &str) -> Option<&'static Advice> {
    all().find(|it| it.id == id).map(|it| it.advice)
}

/// The pause, where the pod has one that is seen.
fn pause(pod: &PodFacts) -> Result<&PauseFacts, Miss> {
    pod.pause.as_ref().ok_or_else(|| {
        let why = pod
            .unseen
            .clone()
            .unwrap_or_else(|| "it has no pause".to_owned());
        let want = match pod.unseen {
            Some(_) => Want::Host,
            None => Want::Subject,
        };
        Miss::Skip(want, why)
    })
}

/// It could not be read: root might be able to.
fn unseen(what: &str, why: &str) -> Miss {
    let hint = if rustix::process::geteuid().is_root() {
        ""
    } else {
        "; run as root"
    };
    missing(what, &format!("{why}{hint}"))
}

/// This kernel does not say it, to any user.
fn missing(what: &str, why: &str) -> Miss {
    Miss::Skip(Want::Host, format!("cannot read {what}: {why}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::all;

    #[test]
    fn each_check_says_its_level_and_where_it_is_from() {
        let mut ids = BTreeSet::new();
        for it in all() {
            let (id, requirement) = (it.id, it.requirement);
            assert!(id.starts_with("node/"), "{id}");
            assert!(ids.insert(id), "{id} is there twice");
            let words = ["MUST", "SHOULD"].map(|word| requirement.contains(word));
            let level = it.level.to_string();
            let expected = ["MUST", "SHOULD"].map(|word| word == level);
            assert_eq!(words, expected, "{id}: {requirement}");
            assert!(it.source.url.starts_with("https://"), "{id}");
        }
    }
}
