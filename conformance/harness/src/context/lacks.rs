//! What a program needs that does not stay when it is started as usual: found by providing it. And
//! whether it has left the namespaces in which it was started.
//!
//! Each way of starting is tried for longer than the usual start lasts. A need is confirmed twice:
//! the program stays with it, and does not stay without.

use std::time::{Duration, Instant};

use super::{Context, Pod, which_stay};
use crate::backend::{Root, Spec, Stream};
use crate::need::Needs;
use crate::outcome::{Finding, Outcome, Stop};

/// The longest that a start is watched.
const WINDOW: Duration = Duration::from_secs(1);

/// The least time that a start is watched: a program that gets further may do more before it ends.
const LEAST: Duration = Duration::from_millis(100);

/// Something that a usual start does not give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// Variables, as a container of the pod has them.
    Environment,
    /// A standard input that is not at its end.
    Input,
    /// A root filesystem that can be written.
    WritableRoot,
    /// The user and group 0.
    RootUser,
    /// All capabilities over its user namespace.
    Capabilities,
    /// A pid namespace in which another process is the first.
    AnotherFirst,
}

impl Lack {
    /// All of them, ordered by how little power they give a program.
    pub const ALL: [Self; 6] = [
        Self::Environment,
        Self::Input,
        Self::WritableRoot,
        Self::RootUser,
        Self::Capabilities,
        Self::AnotherFirst,
    ];

    /// The check that fails on a program that needs it.
    pub fn check(self) -> &'static str {
        match self {
            Self::Environment => "startup/bare-filesystem",
            Self::Input => "startup/stays",
            Self::WritableRoot => "startup/read-only-root",
            Self::RootUser => "startup/any-uid",
            Self::Capabilities => "startup/no-privileges",
            Self::AnotherFirst => "pid1/is-one",
        }
    }

    /// In words, after "with".
    fn words(self) -> &'static str {
        match self {
            Self::Environment => "an environment",
            Self::Input => "an open standard input",
            Self::WritableRoot => "a writable root",
            Self::RootUser => "root's uid",
            Self::Capabilities => "all capabilities",
            Self::AnotherFirst => "a pid other than 1",
        }
    }

    fn give(self, spec: Spec) -> Spec {
        match self {
            Self::Environment => Spec {
                env: Some(environment()),
                ..spec
            },
            Self::Input => Spec {
                stdin: Stream::Captured,
                ..spec
            },
            Self::WritableRoot => Spec {
                root: Root::Writable,
                ..spec
            },
            Self::RootUser => Spec {
                user: Some((0, 0)),
                ..spec
            },
            Self::Capabilities => Spec {
                privileged: true,
                ..spec
            },
            Self::AnotherFirst => Spec {
                own_pid_namespace: false,
                ..spec
            },
        }
    }
}

/// What every container of a pod finds set.
fn environment() -> Vec<String> {
    [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOSTNAME=pause-conformance",
        "HOME=/root",
        "TERM=xterm",
    ]
    .map(str::to_owned)
    .into()
}

/// "a writable root and root's uid".
pub fn in_words(lacks: &[Lack]) -> String {
    let words: Vec<_> = lacks.iter().map(|lack| lack.words()).collect();
    words.join(" and ")
}

impl<'a> Context<'a> {
    /// What the program needs in order to stay, beyond what a usual start gives; empty where it
    /// stays without, or nothing that can be given helps. Tried once a run.
    pub fn lacks(&self) -> &'a [Lack] {
        self.shared.lacks.get_or_init(|| find(self))
    }

    /// The outcome of the check with this id: where the program did not run, but runs with what
    /// this requirement says it does not need, the check fails.
    pub(crate) fn blame_lack(&self, id: &str, outcome: Outcome) -> Outcome {
        let Err(Stop::NotRunning(finding)) = outcome else {
            return outcome;
        };
        if !Lack::ALL.iter().any(|lack| lack.check() == id) {
            return Err(Stop::NotRunning(finding));
        }
        let lacks = self.lacks();
        if !lacks.iter().any(|lack| lack.check() == id) {
            return Err(Stop::NotRunning(finding));
        }
        let observed = format!("{}; it stays with {}", finding.observed, in_words(lacks));
        Err(Finding {
            observed,
            ..finding
        }
        .into())
    }
}

/// Inode numbers of namespaces by type.
type NamespaceIds = std::collections::BTreeMap<String, u64>;

/// The check that a program fails which has left its namespaces.
const STAYS_INSIDE: &str = "pid1/owns-namespace";

impl Context<'_> {
    /// The outcome of a check that failed because the program has moved to namespaces of its own:
    /// that is not the suite's fault.
    pub(crate) fn blame_leaving(&self, outcome: Outcome) -> Outcome {
        let controls = Needs::HOST_PID.union(Needs::HELD);
        match outcome {
            Err(Stop::Error(why)) if self.offers(controls) && self.leaves() => Err(Stop::Blocked {
                by: STAYS_INSIDE,
                why: format!("the program has left its namespaces, and the suite {why}"),
            }),
            outcome => outcome,
        }
    }

    /// Whether the program leaves the namespaces that it is started in. Tried once a run.
    fn leaves(&self) -> bool {
        let left = || -> Result<bool, Stop> {
            let (made, found) = self.namespaces()?;
            Ok(found != made)
        };
        *self.shared.leaves.get_or_init(|| left().unwrap_or(false))
    }

    /// The namespaces that a sandbox is made with, and those that its program is in when it is
    /// ready, by type, as inode numbers.
    ///
    /// # Errors
    /// As [`Context::start`].
    pub fn namespaces(&self) -> Result<(NamespaceIds, NamespaceIds), Stop> {
        let mut pod = self.start_unready(Spec {
            held: true,
            ..Spec::default()
        })?;
        let made = pod.namespaces()?;
        pod.release()?;
        pod.await_ready()?;
        Ok((made, pod.namespaces()?))
    }
}

fn find(cx: &Context<'_>) -> Vec<Lack> {
    let Some(window) = time_to_end(cx) else {
        return Vec::new();
    };
    let stay = |ways: &[Vec<Lack>]| -> Vec<bool> {
        let stay = try_each(cx, ways, window).into_iter();
        stay.map(|stays| stays == Some(true)).collect()
    };
    let singles = Lack::ALL.map(|lack| vec![lack]);
    let alone = try_each(cx, &singles, window);
    let found = choose(&alone, &stay);
    match stay(&[Vec::new(), found.clone()])[..] {
        [false, true] if !found.is_empty() => found,
        _ => Vec::new(),
    }
}

/// Chooses from what can be given here, by what each does alone, what suffices; another first
/// process only where nothing else does.
fn choose(alone: &[Option<bool>], stay: &impl Fn(&[Vec<Lack>]) -> Vec<bool>) -> Vec<Lack> {
    let all: Vec<_> = Lack::ALL
        .into_iter()
        .zip(alone)
        .filter_map(|(lack, stays)| Some((lack, (*stays)?)))
        .collect();
    let names = |given: &[(Lack, bool)]| given.iter().map(|(lack, _)| *lack).collect::<Vec<_>>();
    let most = all
        .iter()
        .take_while(|(lack, _)| *lack != Lack::AnotherFirst);
    let most: Vec<_> = most.copied().collect();
    for some in [most, all] {
        if let Some((lack, _)) = some.iter().find(|(_, stays)| *stays) {
            return vec![*lack];
        }
        let some = names(&some);
        if stay(std::slice::from_ref(&some)) == [true] {
            return narrow(&some, stay);
        }
    }
    Vec::new()
}

/// Of many that suffice together, those that are needed.
fn narrow(all: &[Lack], stay: &impl Fn(&[Vec<Lack>]) -> Vec<bool>) -> Vec<Lack> {
    let without = |from: &[Lack], lack: Lack| -> Vec<Lack> {
        from.iter().copied().filter(|it| *it != lack).collect()
    };
    let ways: Vec<_> = all.iter().map(|lack| without(all, *lack)).collect();
    let dispensable = stay(&ways);
    let needed: Vec<_> = all
        .iter()
        .zip(dispensable)
        .filter_map(|(lack, dispensable)| (!dispensable).then_some(*lack))
        .collect();
    if stay(std::slice::from_ref(&needed)) == [true] {
        return needed;
    }
    // Two of them can replace each other: the stronger one is left out first.
    let mut left = all.to_vec();
    for lack in all.iter().rev() {
        let fewer = without(&left, *lack);
        if stay(std::slice::from_ref(&fewer)) == [true] {
            left = fewer;
        }
    }
    left
}

/// How long a start is to be watched, of a program that does not stay as it is usually
/// started; `None` for one that stays, or that the host did not start.
fn time_to_end(cx: &Context<'_>) -> Option<Duration> {
    let began = Instant::now();
    match start(cx, &[]) {
        Err(Stop::NotRunning(_)) => {}
        Err(_) => return None,
        Ok(pod) => {
            if which_stay(&mut [pod], WINDOW).ok()? == [true] {
                return None;
            }
        }
    }
    Some((began.elapsed() * 3).clamp(LEAST, WINDOW))
}

/// Which of these ways of starting lets the program stay that long; `None` for one that this
/// host does not make a sandbox for.
fn try_each(cx: &Context<'_>, ways: &[Vec<Lack>], window: Duration) -> Vec<Option<bool>> {
    let mut pods = Vec::new();
    let is_started: Vec<_> = ways
        .iter()
        .map(|way| match start(cx, way) {
            Ok(pod) => {
                pods.push(pod);
                Some(true)
            }
            Err(Stop::NotRunning(_)) => Some(false),
            Err(_) => None,
        })
        .collect();
    let stay = which_stay(&mut pods, cx.scaled(window)).unwrap_or_default();
    let mut stay = stay.into_iter();
    is_started
        .into_iter()
        .map(|started| Some(started? && stay.next() == Some(true)))
        .collect()
}

fn start<'a>(cx: &Context<'a>, given: &[Lack]) -> Result<Pod<'a>, Stop> {
    let usual = Spec {
        own_network: false,
        ..Spec::default()
    };
    cx.start_unready(given.iter().fold(usual, |spec, lack| lack.give(spec)))
}

#[cfg(test)]
mod tests {
    use super::{Lack, choose, in_words, narrow};

    #[test]
    fn several_are_named_together() {
        let lacks = [Lack::WritableRoot, Lack::RootUser];
        assert_eq!(in_words(&lacks), "a writable root and root's uid");
        assert_eq!(in_words(&lacks[..1]), "a writable root");
    }

    /// Of [`choose`], for a program that stays with these.
    fn chosen(needs: &[&[Lack]], cannot: &[Lack]) -> Vec<Lack> {
        let stays = |way: &[Lack]| {
            needs
                .iter()
                .any(|all| all.iter().all(|need| way.contains(need)))
        };
        let alone = Lack::ALL.map(|lack| (!cannot.contains(&lack)).then(|| stays(&[lack])));
        let stay = |ways: &[Vec<Lack>]| ways.iter().map(|way| stays(way)).collect();
        choose(&alone, &stay)
    }

    #[test]
    fn what_suffices_is_chosen_and_the_first_process_last() {
        use Lack::{AnotherFirst, Capabilities, Input, RootUser, WritableRoot};
        assert_eq!(chosen(&[&[Input]], &[]), [Input]);
        assert_eq!(chosen(&[&[AnotherFirst]], &[]), [AnotherFirst]);
        let both: &[Lack] = &[WritableRoot, RootUser];
        assert_eq!(chosen(&[both, &[AnotherFirst]], &[]), both);
        assert_eq!(
            chosen(&[&[RootUser, AnotherFirst]], &[]),
            [RootUser, AnotherFirst]
        );
        assert_eq!(chosen(&[], &[]), []);
        // A start that this host cannot make does not hide the others.
        assert_eq!(
            chosen(&[&[RootUser]], &[WritableRoot, Capabilities]),
            [RootUser]
        );
        assert_eq!(chosen(&[&[Capabilities]], &[Capabilities]), []);
    }

    #[test]
    fn what_is_needed_together_is_left_and_nothing_else() {
        let needs = [Lack::WritableRoot, Lack::RootUser];
        let stay = |ways: &[Vec<Lack>]| -> Vec<bool> {
            let stays = |way: &Vec<Lack>| needs.iter().all(|need| way.contains(need));
            ways.iter().map(stays).collect()
        };
        assert_eq!(narrow(&Lack::ALL, &stay), needs);
    }

    #[test]
    fn of_two_that_stand_for_each_other_the_weaker_is_left() {
        let stay = |ways: &[Vec<Lack>]| -> Vec<bool> {
            let stays = |way: &Vec<Lack>| {
                way.contains(&Lack::WritableRoot)
                    && (way.contains(&Lack::RootUser) || way.contains(&Lack::Capabilities))
            };
            ways.iter().map(stays).collect()
        };
        assert_eq!(
            narrow(&Lack::ALL, &stay),
            [Lack::WritableRoot, Lack::RootUser]
        );
    }
}
