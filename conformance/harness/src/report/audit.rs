//! The reports of an audit. What knows runs alone (HTML, JUnit, TAP) is given the node and each pod
//! as a run.

use std::fmt;

use crate::node::model::{Audit, Blamed, Pod};
use crate::report::text::{line, plural};

pub mod json;
pub mod markdown;
pub mod matrix;
pub mod prometheus;
pub mod table;

/// What a table says of a pod, in the order of [`COLUMNS`].
const COLUMNS: [&str; 10] = [
    "POD", "IMAGE", "VERSION", "PID", "AGE", "CPU", "MEMORY", "WAKE-UPS", "ZOMBIES", "VERDICT",
];

/// A pod in one row; every cell is legible.
fn row(pod: &Pod) -> [String; 10] {
    let pause = pod.pause.as_ref();
    let of = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let image = pod.image.as_deref().map(short_image);
    [
        line(&pod.title()),
        of(image),
        of(pod.version.clone()),
        match (pause, &pod.without_pause) {
            (Some(pause), _) => pause.pid.to_string(),
            (None, Some(_)) => "none".to_owned(),
            (None, None) => "?".to_owned(),
        },
        of(pause.map(|it| age(it.age_seconds))),
        of(pause.map(|it| format!("{:.2}s", it.cpu_seconds))),
        of(pause
            .and_then(|it| it.resident_bytes)
            .map(|it| format!("{}KiB", it / 1024))),
        of(pause.and_then(|it| it.wakeups).map(|it| it.to_string())),
        zombies(pod),
        verdict(pod),
    ]
}

/// How many zombies are whose.
fn zombies(pod: &Pod) -> String {
    let parts = [
        (Blamed::Pause, "the pause's"),
        (Blamed::Container, "a container's"),
        (Blamed::Outside, "outside"),
    ];
    let parts = parts.map(|(owner, name)| (pod.zombies_of(owner), name));
    let parts = parts.iter().filter(|(count, _)| *count > 0);
    let parts: Vec<_> = parts
        .map(|(count, name)| format!("{count} {name}"))
        .collect();
    if parts.is_empty() {
        "0".to_owned()
    } else {
        parts.join(", ")
    }
}

/// What failed, or that nothing did.
fn verdict(pod: &Pod) -> String {
    use crate::event::Conclusion;
    let failed: Vec<_> = pod.failed().collect();
    let must = failed
        .iter()
        .filter(|it| it.level == crate::requirement::Level::Must)
        .count();
    let should = failed.len() - must;
    match (pod.conclusion, must, should) {
        (Conclusion::Inconclusive, _, _) => "inconclusive".to_owned(),
        (_, 0, 0) if pod.pause.is_none() && pod.without_pause.is_some() => "no pause".to_owned(),
        (_, 0, 0) if pod.pause.is_none() => "not seen".to_owned(),
        (_, 0, 0) => "sound".to_owned(),
        (_, 0, n) => format!("sound, {n} SHOULD fail"),
        (_, n, 0) => format!("FAULTY, {n} MUST fail"),
        (_, n, m) => format!("FAULTY, {n} MUST and {m} SHOULD fail"),
    }
}

/// An image without its registry, and a digest cut short.
fn short_image(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or_default();
    match last.split_once("sha256:") {
        Some((before, digest)) => {
            let digest: String = digest.chars().take(12).collect();
            line(&format!("{before}{digest}"))
        }
        None => line(last),
    }
}

/// As `kubectl get pods` has it.
fn age(seconds: f64) -> String {
    let seconds = seconds as u64;
    let (minute, hour, day) = (60, 3600, 86_400);
    if seconds < 2 * minute {
        format!("{seconds}s")
    } else if seconds < 2 * hour {
        format!("{}m", seconds / minute)
    } else if seconds < 2 * day {
        format!("{}h", seconds / hour)
    } else {
        format!("{}d", seconds / day)
    }
}

/// The conclusion in a sentence.
fn sum(audit: &Audit) -> String {
    let without = audit
        .pods
        .iter()
        .filter(|pod| pod.without_pause.is_some())
        .count();
    let faulty = audit
        .pods
        .iter()
        .filter(|pod| pod.conclusion == crate::event::Conclusion::NotConformant);
    format!(
        "{}, {without} without a pause, {}, {}{}: {}",
        pods_of(audit),
        counted(
            audit.node.programs.len(),
            "different pause",
            "different pauses"
        ),
        counted(faulty.count(), "faulty pod", "faulty pods"),
        match audit.node.conclusion {
            crate::event::Conclusion::NotConformant => ", a faulty node",
            _ => "",
        },
        audit.conclusion.as_str(),
    )
}

/// How many pods there are, in words.
fn pods_of(audit: &Audit) -> String {
    counted(audit.pods.len(), "pod", "pods")
}

fn counted(count: usize, one: &str, many: &str) -> String {
    plural(u64::try_from(count).unwrap_or(u64::MAX), one, many)
}

/// Who was asked, a line each.
fn sources(audit: &Audit) -> impl Iterator<Item = String> {
    const NONE: &str = "no container runtime was found: pods are those that /proc shows";
    let asked_none = audit.sources.iter().all(|source| source.name == "proc");
    let none = asked_none.then(|| NONE.to_owned());
    let asked = audit.sources.iter().map(|source| {
        let version = source.version.as_deref().unwrap_or_default();
        let (name, place) = (&source.name, line(&source.place));
        if let Some(why) = &source.error {
            return format!("{name} at {place} does not answer: {}", line(why));
        }
        let pods = counted(source.pods, "pod", "pods");
        let said = format!("{name} at {place}: {pods} {}", line(version));
        said.trim_end().to_owned()
    });
    none.into_iter().chain(asked)
}

/// A table in columns of spaces; the last column is as long as it is.
struct Columns<const N: usize>(Vec<[String; N]>);

impl<const N: usize> fmt::Display for Columns<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut widths = [0; N];
        for row in &self.0 {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in &self.0 {
            let mut text = String::new();
            for (width, cell) in widths.iter().zip(row) {
                let gap = width - cell.chars().count() + 2;
                text.push_str(cell);
                text.extend(std::iter::repeat_n(' ', gap));
            }
            writeln!(f, "{}", text.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::{age, short_image};

    #[rstest]
    #[case(0.4, "0s")]
    #[case(119.9, "119s")]
    #[case(120.0, "2m")]
    #[case(7_199.0, "119m")]
    #[case(90_000.0, "25h")]
    #[case(172_800.0, "2d")]
    fn ages_are_short(#[case] seconds: f64, #[case] text: &str) {
        assert_eq!(age(seconds), text);
    }

    #[test]
    fn an_image_is_cut_to_what_tells_it_apart() {
        assert_eq!(short_image("registry.k8s.io/pause:3.10"), "pause:3.10");
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(short_image(&digest), "aaaaaaaaaaaa");
        assert_eq!(short_image("a/b:1\x1b[2J"), r"b:1\x1b[2J");
    }
}
