//! The audit in Prometheus' text format, for the textfile collector of node_exporter
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
//!
//! Names and units are by Prometheus' conventions: base units, `_total` for what only rises. The
//! node is no label: Prometheus adds it. A series of a pod has its namespace and name, and the id of
//! its sandbox, by which it is one series however pods are named.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use crate::event::{Conclusion, Verdict};
use crate::node::model::{Audit, Blamed, Pause, Pod};
use crate::report::text::line;

/// The prefix of all names.
const PREFIX: &str = "pause_audit";

/// The audit in the text format.
///
/// # Errors
/// None: text is formatted into memory.
pub fn render(audit: &Audit, started: f64) -> Result<String, fmt::Error> {
    let mut out = String::new();
    node(&mut out, audit, started)?;
    checks(&mut out, audit)?;
    pods(&mut out, audit)?;
    Ok(out)
}

/// A family of series: its head, then each with its labels.
struct Family<'o> {
    out: &'o mut String,
    name: String,
}

impl<'o> Family<'o> {
    fn begin(out: &'o mut String, name: &str, kind: &str, help: &str) -> Result<Self, fmt::Error> {
        let name = format!("{PREFIX}_{name}");
        writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")?;
        Ok(Self { out, name })
    }

    fn add(&mut self, labels: &[(&str, &str)], value: f64) -> fmt::Result {
        let labels = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escape(value)));
        let labels: Vec<_> = labels.collect();
        let name = &self.name;
        match labels.len() {
            0 => writeln!(self.out, "{name} {value}"),
            _ => writeln!(self.out, "{name}{{{}}} {value}", labels.join(",")),
        }
    }
}

/// A label's value: no character in it ends it, nor acts on a terminal.
fn escape(text: &str) -> String {
    line(text).replace('\\', r"\\").replace('"', "\\\"")
}

fn node(out: &mut String, audit: &Audit, started: f64) -> fmt::Result {
    for (name, help, value) in totals(audit, started) {
        Family::begin(out, name, "gauge", help)?.add(&[], value)?;
    }
    let help = "1 where the source of pods answered.";
    let mut family = Family::begin(out, "source_up", "gauge", help)?;
    let mut seen = BTreeSet::new();
    for source in &audit.sources {
        if seen.insert((&source.name, &source.place)) {
            let up = f64::from(u8::from(source.error.is_none()));
            family.add(&[("source", &source.name), ("place", &source.place)], up)?;
        }
    }
    let help = "Pods that run this pause program.";
    let mut family = Family::begin(out, "pause_program_pods", "gauge", help)?;
    for program in &audit.node.programs {
        family.add(&[("sha256", &program.sha256)], program.pods as f64)?;
    }
    Ok(())
}

/// The figures of the node as a whole: name, help, value.
fn totals(audit: &Audit, started: f64) -> [(&'static str, &'static str, f64); 7] {
    let count = |is: fn(&&Pod) -> bool| audit.pods.iter().filter(is).count() as f64;
    let duration = audit.duration_us as f64 / 1e6;
    let without = count(|pod| pod.without_pause.is_some());
    let faulty = count(|pod| pod.conclusion == Conclusion::NotConformant);
    let programs = audit.node.programs.len() as f64;
    let sound = f64::from(u8::from(audit.conclusion == Conclusion::Conformant));
    let when = "When the audit began, since 1970.";
    [
        ("last_run_timestamp_seconds", when, started),
        ("duration_seconds", "How long the audit took.", duration),
        ("pods", "Pod sandboxes that were found.", count(|_| true)),
        (
            "pods_without_pause",
            "Pod sandboxes that are held without a pause.",
            without,
        ),
        (
            "pods_faulty",
            "Pod sandboxes that fail a binding check.",
            faulty,
        ),
        (
            "pause_programs",
            "Different pause programs that run.",
            programs,
        ),
        (
            "node_sound",
            "1 where the conclusion of the audit is conformant.",
            sound,
        ),
    ]
}

/// How many pods, or the node, ended how in each check.
fn checks(out: &mut String, audit: &Audit) -> fmt::Result {
    let mut counts: BTreeMap<(&str, Verdict), u32> = BTreeMap::new();
    let pods = audit.pods.iter().flat_map(|pod| &pod.checks);
    for record in audit.node.checks.iter().chain(pods) {
        *counts.entry((&record.id, record.verdict)).or_default() += 1;
    }
    let help = "Pods, or the node itself, for which a check ended so.";
    let mut family = Family::begin(out, "check_results", "gauge", help)?;
    for ((id, verdict), count) in counts {
        family.add(
            &[("check", id), ("verdict", verdict.as_str())],
            f64::from(count),
        )?;
    }
    Ok(())
}

/// What is told of a pause: name, kind, help, and the figure.
type Figure = (
    &'static str,
    &'static str,
    &'static str,
    fn(&Pause) -> Option<f64>,
);

const FIGURES: [Figure; 4] = [
    (
        "pause_age_seconds",
        "gauge",
        "How long ago the pause started.",
        |pause| Some(pause.age_seconds),
    ),
    (
        "pause_cpu_seconds_total",
        "counter",
        "Processor time of the pause.",
        |pause| Some(pause.cpu_seconds),
    ),
    (
        "pause_resident_memory_bytes",
        "gauge",
        "Resident memory of the pause.",
        |pause| pause.resident_bytes.map(|bytes| bytes as f64),
    ),
    (
        "pause_wakeups_total",
        "counter",
        "How often the pause woke.",
        |pause| pause.wakeups.map(|count| count as f64),
    ),
];

fn pods(out: &mut String, audit: &Audit) -> fmt::Result {
    let help = "1 where the conclusion of the pod is conformant.";
    let mut family = Family::begin(out, "pod_sound", "gauge", help)?;
    for pod in &audit.pods {
        let sound = pod.conclusion == Conclusion::Conformant;
        let image = pod.image.as_deref().unwrap_or_default();
        let labels = [&labels(pod)[..], &[("image", image)]].concat();
        family.add(&labels, f64::from(u8::from(sound)))?;
    }
    let help = "Zombies of the pod, by who is to wait for them.";
    let mut family = Family::begin(out, "pod_zombies", "gauge", help)?;
    for pod in &audit.pods {
        for (owner, name) in [
            (Blamed::Pause, "pause"),
            (Blamed::Container, "container"),
            (Blamed::Outside, "outside"),
        ] {
            let labels = [&labels(pod)[..], &[("owner", name)]].concat();
            family.add(&labels, pod.zombies_of(owner) as f64)?;
        }
    }
    for (name, kind, help, figure) in FIGURES {
        let mut family = Family::begin(out, name, kind, help)?;
        for pod in &audit.pods {
            if let Some(value) = pod.pause.as_ref().and_then(figure) {
                family.add(&labels(pod), value)?;
            }
        }
    }
    Ok(())
}

fn labels(pod: &Pod) -> [(&str, &str); 3] {
    [
        ("namespace", pod.namespace.as_deref().unwrap_or_default()),
        ("pod", &pod.name),
        ("sandbox", &pod.id),
    ]
}
