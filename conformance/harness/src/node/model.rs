//! The report of an audit: what JSON holds, and what every other format is made from.

use std::collections::{BTreeMap, BTreeSet};

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::{Conclusion, Host, Record, Report, Run, RunHead, Tally, Tool, Verdict};
use crate::node::checks::image::version_of;
use crate::node::checks::{OF_PODS, OF_THE_NODE, Options, advice};
use crate::node::gather::{Asked, Gathered, MemberFacts, Owner, PauseFacts, PodFacts};
use crate::node::source::{Kind, ToldPause};
use crate::requirement::SPEC_VERSION;
use crate::subject::Platform;

/// Version of the JSON's shape: raised when a field changes meaning or goes.
pub const SCHEMA_VERSION: u32 = 1;

/// The whole report of an audit.
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    /// Version of the shape of this report.
    #[cfg_attr(feature = "schema", schemars(extend("const" = SCHEMA_VERSION)))]
    pub schema_version: u32,
    /// The program that made it.
    pub tool: Tool,
    /// Version of the requirement catalogue.
    pub spec_version: String,
    /// When it began, RFC 3339.
    pub started: String,
    /// How long it took, in microseconds.
    pub duration_us: u64,
    /// The node.
    pub host: Host,
    /// `--strict`: a SHOULD weighs as much as a MUST.
    pub strict: bool,
    /// The conclusion of the node and all pods together.
    pub conclusion: Conclusion,
    /// Who was asked for pods.
    pub sources: Vec<SourceAnswer>,
    /// Why this is not all, a line each.
    pub notes: Vec<String>,
    /// The node as a whole.
    pub node: Node,
    /// Each pod sandbox, by namespace and name.
    pub pods: Vec<Pod>,
    /// Of each check that failed: what that means, and how it is mended.
    pub advice: BTreeMap<String, Mending>,
}

/// A source of pods.
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceAnswer {
    /// `docker`, `podman`, `proc`.
    pub name: String,
    /// The socket or folder.
    pub place: String,
    /// Program and version; absent where it does not answer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<String>,
    /// Why it does not answer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
    /// How many pods it knows.
    pub pods: usize,
}

/// The node as a whole.
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// The sandbox images that runtimes are configured with.
    pub images: Vec<String>,
    /// The different pauses that run.
    pub programs: Vec<PauseProgram>,
    /// Its conclusion.
    pub conclusion: Conclusion,
    /// How many checks ended how.
    pub tally: Tally,
    /// The checks of the node.
    pub checks: Vec<Record>,
}

/// One of the different pauses that run.
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseProgram {
    /// SHA-256 of the program, in hexadecimal digits.
    pub sha256: String,
    /// The images that it is from.
    pub images: Vec<String>,
    /// How many pods run it.
    pub pods: usize,
    /// The process of one of them.
    pub pid: i32,
}

/// A pod sandbox.
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pod {
    /// Its namespace in the API; absent where Kubernetes did not make it, or nobody said.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub namespace: Option<String>,
    /// Its name; where nobody said, the begin of its id or its uid.
    pub name: String,
    /// Id of its sandbox.
    pub id: String,
    /// Its uid, where Kubernetes made it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub uid: Option<String>,
    /// Who told of it.
    pub source: String,
    /// The image of its pause.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub image: Option<String>,
    /// The version in the tag of that.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<String>,
    /// Its pause, where one is seen.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pause: Option<Pause>,
    /// Why it has none, where that is right.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub without_pause: Option<String>,
    /// The namespaces of the pause, and how many of the other containers are in them.
    pub namespaces: Vec<Shared>,
    /// Its zombies.
    pub zombies: Vec<Zombie>,
    /// Its conclusion.
    pub conclusion: Conclusion,
    /// How many checks ended how.
    pub tally: Tally,
    /// Its checks.
    pub checks: Vec<Record>,
}

/// A pause that runs.
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pause {
    /// Its number, as the node has it.
    pub pid: i32,
    /// Its program by SHA-256; absent where that may not be read.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sha256: Option<String>,
    /// Seconds since it started.
    pub age_seconds: f64,
    /// Processor time, in seconds.
    pub cpu_seconds: f64,
    /// Resident memory, in bytes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub resident_bytes: Option<u64>,
    /// How often it woke: voluntary context switches of its first thread.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub wakeups: Option<u64>,
}

/// A namespace of a pause.
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shared {
    /// Which.
    pub kind: Kind,
    /// It is the node's own.
    pub of_the_node: bool,
    /// Containers that are in it.
    pub members: usize,
    /// Containers whose namespaces are seen.
    pub of: usize,
}

/// A process that has ended and was not waited for.
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Zombie {
    /// Its number.
    pub pid: i32,
    /// Its name.
    pub name: String,
    /// Seconds since it started; it is a zombie for less.
    pub age_seconds: f64,
    /// Whose it is.
    pub owner: Blamed,
    /// The container, or the process outside, that is to wait for it; absent where the pause is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub owner_name: Option<String>,
    /// Its ancestors, the nearest first.
    pub ancestors: Vec<Ancestor>,
}

/// Who is to wait for a zombie.
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Blamed {
    /// The pause.
    Pause,
    /// Another container.
    Container,
    /// A process outside of the pod.
    Outside,
}

/// An ancestor of a zombie.
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ancestor {
    /// Its number.
    pub pid: i32,
    /// Its name.
    pub name: String,
}

/// What a failure means, and how it is mended.
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mending {
    /// What it does to pods.
    pub why: String,
    /// What to do.
    pub mend: String,
}

/// By what an audit was made.
#[derive(Clone, Debug)]
pub struct Head {
    /// The program.
    pub tool: Tool,
    /// When it began.
    pub started: String,
    /// How long it took, in microseconds.
    pub duration_us: u64,
    /// The node.
    pub host: Host,
    /// `--strict`.
    pub strict: bool,
}

/// A node without a pod has nothing wrong.
fn worst(pods: &[Pod], node: &Node) -> Conclusion {
    let all = pods.iter().map(|pod| pod.conclusion);
    all.chain([node.conclusion])
        .fold(Conclusion::Conformant, Conclusion::worse)
}

impl Audit {
    /// Judges what was seen.
    pub fn of(seen: &Gathered, options: &Options, head: Head) -> Self {
        let strict = head.strict;
        let pods: Vec<_> = seen
            .pods
            .iter()
            .map(|pod| Pod::of(pod, options, strict))
            .collect();
        let checks = OF_THE_NODE.iter().map(|check| check.record(seen, options));
        let checks: Vec<_> = checks.collect();
        let (conclusion, tally) = conclude(&checks, strict);
        let node = Node {
            images: seen
                .images
                .iter()
                .map(|(_, image)| image.reference.clone())
                .collect(),
            programs: programs(seen),
            conclusion,
            tally,
            checks,
        };
        let conclusion = if is_blind(seen) {
            Conclusion::NotJudged
        } else {
            worst(&pods, &node)
        };
        Self {
            schema_version: SCHEMA_VERSION,
            spec_version: SPEC_VERSION.to_owned(),
            conclusion,
            sources: seen.sources.iter().map(SourceAnswer::of).collect(),
            notes: seen.notes.clone(),
            advice: mending(&pods, &node),
            node,
            pods,
            tool: head.tool,
            started: head.started,
            duration_us: head.duration_us,
            host: head.host,
            strict,
        }
    }

    /// Leaves the pods of these ids, and the node.
    pub fn leave(&mut self, ids: &[String]) {
        self.pods.retain(|pod| ids.contains(&pod.id));
        self.advice = mending(&self.pods, &self.node);
        if self.conclusion != Conclusion::NotJudged {
            self.conclusion = worst(&self.pods, &self.node);
        }
    }

    /// All of it as runs, the node's first, for the formats that know runs alone.
    pub fn report(&self) -> Report {
        let node = self.run(
            &format!("node {}", self.host.name),
            "node",
            &self.node.checks,
        );
        let pods = self.pods.iter().map(|pod| {
            let image = pod.image.as_deref().unwrap_or("no image known");
            let title = format!("{} ({image})", pod.title());
            let mut run = self.run(&title, &pod.source, &pod.checks);
            run.digest = pod.pause.as_ref().and_then(|pause| {
                pause
                    .sha256
                    .as_ref()
                    .map(|digest| format!("sha256:{digest}"))
            });
            run
        });
        Report {
            schema_version: crate::event::SCHEMA_VERSION,
            tool: self.tool.clone(),
            spec_version: self.spec_version.clone(),
            started: self.started.clone(),
            host: self.host.clone(),
            strict: self.strict,
            static_only: false,
            part: None,
            error: (self.conclusion == Conclusion::NotJudged).then(|| self.notes.join("; ")),
            conclusion: self.conclusion,
            interrupted: false,
            comparison: None,
            runs: [node].into_iter().chain(pods).collect(),
        }
    }

    fn run(&self, name: &str, source: &str, checks: &[Record]) -> Run {
        let head = RunHead {
            image: name.to_owned(),
            platform: Platform::host().to_string(),
            runtime: source.to_owned(),
            ..RunHead::default()
        };
        let mut run = Run::new(&head, checks.to_vec());
        (run.conclusion, run.tally) = conclude(checks, self.strict);
        run
    }
}

/// What to do about each check that failed.
fn mending(pods: &[Pod], node: &Node) -> BTreeMap<String, Mending> {
    let records = pods.iter().flat_map(|pod| &pod.checks).chain(&node.checks);
    let failed = records.filter(|record| record.verdict == Verdict::Fail);
    let mending = failed.filter_map(|record| {
        let advice = advice(&record.id)?;
        let (why, mend) = (advice.why.to_owned(), advice.mend.to_owned());
        Some((record.id.clone(), Mending { why, mend }))
    });
    mending.collect()
}

/// Nobody knew a pod, and the processes are not all there: that says nothing about the node.
fn is_blind(seen: &Gathered) -> bool {
    let told = |asked: &Asked| asked.name != "proc" && asked.answer.is_ok();
    seen.pods.is_empty() && !seen.notes.is_empty() && !seen.sources.iter().any(told)
}

/// Where all is skipped nothing is wrong: another user may see more.
fn conclude(checks: &[Record], strict: bool) -> (Conclusion, Tally) {
    let effects = checks.iter().filter_map(|record| record.effect(strict));
    let worst = effects.fold(Conclusion::Conformant, Conclusion::worse);
    (worst, Tally::of(checks))
}

impl SourceAnswer {
    fn of(asked: &Asked) -> Self {
        Self {
            name: asked.name.to_owned(),
            place: asked.place.display().to_string(),
            version: asked.answer.clone().ok().filter(|it| !it.is_empty()),
            error: asked.answer.clone().err(),
            pods: asked.pods,
        }
    }
}

fn programs(seen: &Gathered) -> Vec<PauseProgram> {
    let mut all: BTreeMap<&str, (BTreeSet<&str>, usize, i32)> = BTreeMap::new();
    for pod in &seen.pods {
        let Some(pause) = &pod.pause else { continue };
        let Some(program) = pause.program() else {
            continue;
        };
        let entry = all.entry(&program.digest);
        let (images, count, _) = entry.or_insert((BTreeSet::new(), 0, pause.process.pid));
        images.extend(pod.told.image.as_deref());
        *count += 1;
    }
    let all = all.into_iter();
    all.map(|(digest, (images, pods, pid))| PauseProgram {
        sha256: digest.to_owned(),
        images: images.into_iter().map(str::to_owned).collect(),
        pods,
        pid,
    })
    .collect()
}

impl Pod {
    fn of(seen: &PodFacts, options: &Options, strict: bool) -> Self {
        let checks = OF_PODS.iter().map(|check| check.record(seen, options));
        let checks: Vec<_> = checks.collect();
        let (conclusion, tally) = conclude(&checks, strict);
        let told = &seen.told;
        let version = told.image.as_deref().and_then(version_of);
        Self {
            namespace: told.namespace.clone(),
            name: told.name.clone(),
            id: told.id.clone(),
            uid: told.uid.clone(),
            source: seen.source.to_owned(),
            image: told.image.clone(),
            version: version.map(|version| version.to_string()),
            pause: seen.pause.as_ref().map(Pause::of),
            without_pause: match &told.pause {
                ToldPause::Without(why) => Some(why.clone()),
                _ => None,
            },
            namespaces: seen
                .pause
                .iter()
                .flat_map(|it| shared(it, &seen.members))
                .collect(),
            // Those that were reaped while the audit looked are none.
            zombies: seen
                .zombies
                .iter()
                .filter(|it| it.stays)
                .map(Zombie::of)
                .collect(),
            conclusion,
            tally,
            checks,
        }
    }

    /// `NAMESPACE/NAME`.
    pub fn title(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{namespace}/{}", self.name),
            None => self.name.clone(),
        }
    }

    /// The checks that failed.
    pub fn failed(&self) -> impl Iterator<Item = &Record> {
        let checks = self.checks.iter();
        checks.filter(|record| record.verdict == Verdict::Fail)
    }

    /// How many zombies are whose.
    pub fn zombies_of(&self, owner: Blamed) -> usize {
        self.zombies.iter().filter(|it| it.owner == owner).count()
    }
}

impl Pause {
    fn of(seen: &PauseFacts) -> Self {
        Self {
            pid: seen.process.pid,
            sha256: seen.program().map(|program| program.digest.clone()),
            age_seconds: seen.age,
            cpu_seconds: seen.cpu,
            resident_bytes: seen.status.vmrss.map(|size| size.saturating_mul(1024)),
            wakeups: seen.status.voluntary_ctxt_switches,
        }
    }
}

fn shared(pause: &PauseFacts, members: &[MemberFacts]) -> Vec<Shared> {
    let of = |kind: Kind| {
        let own = pause.namespaces.get(&kind)?.as_ref().ok()?;
        let others = members
            .iter()
            .filter_map(|it| it.namespaces.get(&kind)?.as_ref().ok());
        let others: Vec<_> = others.collect();
        Some(Shared {
            kind,
            of_the_node: pause.of_the_node.contains(&kind),
            members: others.iter().filter(|other| **other == own).count(),
            of: others.len(),
        })
    };
    Kind::ALL.into_iter().filter_map(of).collect()
}

impl Zombie {
    fn of(seen: &crate::node::gather::Zombie) -> Self {
        let (owner, owner_name) = match &seen.owner {
            Owner::Pause => (Blamed::Pause, None),
            Owner::Container(name) => (Blamed::Container, Some(name.clone())),
            Owner::Outside(name) => (Blamed::Outside, Some(name.clone())),
        };
        let ancestors = seen.ancestors.iter().cloned();
        Self {
            pid: seen.process.pid,
            name: seen.process.name.clone(),
            age_seconds: seen.age,
            owner,
            owner_name,
            ancestors: ancestors
                .map(|(pid, name)| Ancestor { pid, name })
                .collect(),
        }
    }
}
