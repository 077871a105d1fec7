//! Audits of many nodes in one matrix: nodes × checks.

use std::collections::{BTreeMap, BTreeSet};

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::{Conclusion, Record, Tally};
use crate::node::checks;
use crate::node::model::Audit;

/// Nodes × checks.
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Matrix {
    /// The worst of all.
    pub conclusion: Conclusion,
    /// Each pause that runs on some node, by SHA-256: on how many pods of which nodes.
    pub programs: BTreeMap<String, BTreeMap<String, usize>>,
    /// A row a node, by name.
    pub nodes: Vec<Row>,
}

/// A node.
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub node: String,
    /// When it was audited.
    pub started: String,
    /// Its conclusion.
    pub conclusion: Conclusion,
    /// How many pods it runs.
    pub pods: usize,
    /// By id of check: how many pods, or the node itself, ended how.
    pub checks: BTreeMap<String, Tally>,
}

impl Matrix {
    /// Of these audits; of two of one node the later counts.
    pub fn of(audits: &[Audit]) -> Self {
        let mut latest: BTreeMap<&str, &Audit> = BTreeMap::new();
        for audit in audits {
            let known = latest.entry(&audit.host.name).or_insert(audit);
            if known.started < audit.started {
                *known = audit;
            }
        }
        let mut programs: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
        for (node, audit) in &latest {
            for program in &audit.node.programs {
                let nodes = programs.entry(program.sha256.clone()).or_default();
                *nodes.entry((*node).to_owned()).or_default() += program.pods;
            }
        }
        let conclusions = latest.values().map(|audit| audit.conclusion);
        Self {
            conclusion: conclusions.fold(Conclusion::Conformant, Conclusion::worse),
            programs,
            nodes: latest.into_values().map(Row::of).collect(),
        }
    }

    /// The checks that failed on some node, in the order of reports.
    pub fn failed(&self) -> Vec<&'static str> {
        let failed: BTreeSet<&str> = self
            .nodes
            .iter()
            .flat_map(|row| &row.checks)
            .filter(|(_, tally)| tally.fail > 0)
            .map(|(id, _)| id.as_str())
            .collect();
        let all = checks::all().map(|it| it.id);
        all.filter(|id| failed.contains(id)).collect()
    }
}

impl Row {
    fn of(audit: &Audit) -> Self {
        let mut checks: BTreeMap<String, Tally> = BTreeMap::new();
        let pods = audit.pods.iter().flat_map(|pod| &pod.checks);
        let all = audit.node.checks.iter().chain(pods);
        let mut add = |record: &Record| checks.entry(record.id.clone()).or_default().add(record);
        all.for_each(&mut add);
        Self {
            node: audit.host.name.clone(),
            started: audit.started.clone(),
            conclusion: audit.conclusion,
            pods: audit.pods.len(),
            checks,
        }
    }
}
