//! The audit of a node: faked nodes, one fault each; hostile ones; all reports.

#[cfg(feature = "engines")]
mod engines;
mod faults;
mod hostile;
mod reports;
mod tree;

use conformance::event::{Host, Tool, Verdict};
use conformance::node::checks::Options;
use conformance::node::gather::gather;
use conformance::node::model::{Audit, Head};
use conformance::node::proc::ProcRoot;
use conformance::node::source::proc::Processes;
use conformance::node::source::{Source, Told};
use tree::Tree;

/// The audit of a faked node, of which nobody tells but its processes.
pub(crate) fn audit(tree: &Tree) -> Audit {
    audit_with(tree, None)
}

/// The same, with what a runtime says.
pub(crate) fn audit_with(tree: &Tree, told: Option<Told>) -> Audit {
    let root = ProcRoot::open(tree.path()).expect("the folder is there");
    let mut sources: Vec<Box<dyn Source + '_>> = Vec::new();
    sources.extend(told.map(|told| Box::new(Runtime(told)) as Box<dyn Source>));
    sources.push(Box::new(Processes::of(&root)));
    let seen = gather(&root, &sources).expect("it can be read");
    let options = Options {
        zombie_age: 60.0,
        kubernetes: None,
    };
    Audit::of(&seen, &options, head())
}

pub(crate) fn head() -> Head {
    Head {
        tool: Tool {
            name: "pause-conformance".to_owned(),
            version: "0.1.0".to_owned(),
        },
        started: "2026-11-28T00:00:00.000000Z".to_owned(),
        duration_us: 1_500,
        host: Host {
            name: "node-a".to_owned(),
            ..Host::default()
        },
        strict: false,
    }
}

/// A runtime that says this, whenever it is asked.
#[derive(Debug)]
pub(crate) struct Runtime(pub(crate) Told);

impl Source for Runtime {
    fn name(&self) -> &'static str {
        "cri"
    }

    fn place(&self) -> std::path::PathBuf {
        "/run/runtime.sock".into()
    }

    fn ask(&self, _: &conformance::node::proc::Snapshot) -> Result<Told, String> {
        Ok(self.0.clone())
    }
}

/// The ids of the checks of all pods and the node that ended so.
pub(crate) fn with_verdict(audit: &Audit, verdict: Verdict) -> Vec<&str> {
    let pods = audit.pods.iter().flat_map(|pod| &pod.checks);
    let all = audit.node.checks.iter().chain(pods);
    let some = all.filter(|record| record.verdict == verdict);
    some.map(|record| record.id.as_str()).collect()
}
