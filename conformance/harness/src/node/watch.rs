//! What changes from one audit to the next.

use std::collections::BTreeMap;

use crate::event::Verdict;
use crate::node::model::{Audit, Pod};

/// The changes, a line each; empty where there is none.
pub fn changes(before: &Audit, now: &Audit) -> Vec<String> {
    let (old, new) = (by_id(before), by_id(now));
    let mut lines = Vec::new();
    for source in &now.sources {
        let (name, place) = (&source.name, &source.place);
        let mut known = before.sources.iter();
        let known = known.find(|it| (&it.name, &it.place) == (name, place));
        match (known.map(|it| it.error.is_some()), &source.error) {
            (Some(false), Some(why)) => {
                lines.push(format!("{name} at {place} does not answer: {why}"));
            }
            (Some(true), None) => lines.push(format!("{name} at {place} answers")),
            _ => {}
        }
    }
    for (id, pod) in &old {
        if !new.contains_key(id) {
            lines.push(format!("{}: gone", pod.title()));
        }
    }
    for (id, pod) in &new {
        match old.get(id) {
            None => lines.push(format!("{}: new, {}", pod.title(), verdicts(pod))),
            Some(old) => lines.extend(of_pod(old, pod)),
        }
    }
    if before.node.checks != now.node.checks {
        let pairs = before.node.checks.iter().zip(&now.node.checks);
        let changed = pairs.filter(|(old, new)| old.verdict != new.verdict);
        lines.extend(changed.map(|(old, new)| {
            let (old, now) = (old.verdict.as_str(), new.verdict.as_str());
            format!("node: {} {old} → {now}", new.id)
        }));
    }
    lines
}

/// The pods by id, whoever tells of them: a runtime that does not answer for once ends no pod.
fn by_id(audit: &Audit) -> BTreeMap<&str, &Pod> {
    let pods = audit.pods.iter();
    pods.map(|pod| (pod.id.as_str(), pod)).collect()
}

fn verdicts(pod: &Pod) -> String {
    let failed: Vec<_> = pod.failed().map(|record| record.id.as_str()).collect();
    match failed.len() {
        0 => "nothing wrong".to_owned(),
        _ => format!("fails {}", failed.join(", ")),
    }
}

fn of_pod(old: &Pod, new: &Pod) -> Vec<String> {
    let title = new.title();
    let mut lines = Vec::new();
    let pid = |pod: &Pod| pod.pause.as_ref().map(|pause| pause.pid);
    let words = |pid: Option<i32>| pid.map_or_else(|| "none".to_owned(), |pid| pid.to_string());
    if pid(old) != pid(new) {
        let (old, new) = (words(pid(old)), words(pid(new)));
        lines.push(format!("{title}: pause {old} → {new}"));
    }
    if old.zombies.len() != new.zombies.len() {
        let (old, new) = (old.zombies.len(), new.zombies.len());
        lines.push(format!("{title}: zombies {old} → {new}"));
    }
    if old.source == new.source && old.image != new.image {
        let words = |pod: &Pod| pod.image.clone().unwrap_or_else(|| "none".to_owned());
        lines.push(format!("{title}: image {} → {}", words(old), words(new)));
    }
    for (old, new) in old.checks.iter().zip(&new.checks) {
        let is_news = old.verdict != new.verdict
            && (old.verdict == Verdict::Fail || new.verdict == Verdict::Fail);
        if is_news {
            let (old, now) = (old.verdict.as_str(), new.verdict.as_str());
            lines.push(format!("{title}: {} {old} → {now}", new.id));
        }
    }
    lines
}
