//! The program stays, whatever its standard input is. A usual start and a closed standard input are
//! different checks: a program that needs it open is judged by all other checks.

use std::time::Duration;

use super::{PAUSE_C, RUNS, WINDOW};
use crate::advice::{self, Advice};
use crate::backend::{Spec, Stream};
use crate::check::{Check, Finding, Level, Needs, Outcome, Pass, Stop};
use crate::context::{Becomes, Context, Pod, Stopwatch, first_to_end, in_words, which_stay};

pub(super) static STAYS: Check = Check {
    id: "startup/stays",
    title: "the program stays, its standard input open or at its end",
    level: Level::Must,
    requirement: "The pause process MUST keep running until it is told to end, whether its standard input is open or at its end.",
    source: PAUSE_C,
    advice: Advice::new(
        "The pod's namespaces are gone when pause ends: the kubelet tears the whole pod down and makes it again, for ever.",
        "Wait for signals in a loop that nothing but SIGTERM and SIGINT ends, and never read standard input.",
    )
    .as_in(&advice::WAIT),
    needs: RUNS.union(Needs::WAITS).union(Needs::GATE),
    after: &[],
    run: stays,
};

pub(super) static STAYS_WITHOUT_STDIN: Check = Check {
    id: "startup/stays-without-stdin",
    title: "the program stays without a standard input",
    level: Level::Must,
    requirement: "The pause process MUST keep running until it is told to end when its standard input, descriptor 0, is closed.",
    source: PAUSE_C,
    advice: Advice::new(
        "A runtime may start pause without standard streams: the program ends, and the pod with it.",
        "Do not read standard input at all.",
    ),
    needs: RUNS.union(Needs::CLOSED_STREAMS).union(Needs::WAITS),
    after: &[],
    run: stays_without_stdin,
};

/// How long one is watched that is proven to rest.
const AT_REST: Duration = Duration::from_millis(200);

/// A standard input, and what it is called.
type Input = (&'static str, Stream);

const OPEN: Input = ("open and silent", Stream::Captured);
const AT_END: Input = ("at its end", Stream::Broken);
const CLOSED: Input = ("closed", Stream::Closed);

fn stays(cx: &Context<'_>) -> Outcome {
    let (inputs, words) = if cx.offers(Needs::INPUT) {
        (&[OPEN, AT_END][..], "open, and at its end")
    } else {
        // Nothing opens it there.
        (&[AT_END][..], "at its end, as it always is there")
    };
    let (finding, stays_with) = match ends(cx, inputs, &[])? {
        Stays::All(how) => return Ok(how.pass(words)),
        Stays::With(finding, names) => (finding, names),
    };
    let lacks = cx.lacks();
    let finding = if lacks.is_empty() {
        but_stays_with(finding, &stays_with)
    } else {
        let observed = format!("{}; it stays with {}", finding.observed, in_words(lacks));
        Finding {
            observed,
            ..finding
        }
    };
    Err(finding.into())
}

fn stays_without_stdin(cx: &Context<'_>) -> Outcome {
    match ends(cx, &[CLOSED], &[OPEN, AT_END])? {
        Stays::All(how) => Ok(how.pass("closed")),
        // Where it ends with any, that is for `startup/stays` to judge.
        Stays::With(finding, names) => Err(Stop::NotRunning(but_stays_with(finding, &names))),
    }
}

/// With which standard inputs a program stays.
enum Stays {
    /// With all.
    All(Seen),
    /// With these. With another one it ended like this.
    With(Finding, Vec<&'static str>),
}

/// How it was seen to stay.
struct Seen {
    /// For how long it was watched.
    window: Duration,
    /// What proves more than that, in words.
    proof: Option<&'static str>,
}

/// It was followed until it rested.
const RESTS: &str = "it rests in a wait that has no end, and no timer runs, as ptrace shows";

/// It was followed until it only computed.
const COMPUTES: &str = "it computes, and asked for nothing before that has to do with its standard \
    streams, as ptrace shows";

impl Seen {
    fn pass(&self, input: &str) -> Pass {
        let window = self.window;
        let pass = Pass::new(format!(
            "running after {window:?} with standard input {input}"
        ));
        match self.proof {
            Some(words) => pass.with(words),
            None => pass,
        }
    }
}

/// Watches a program with each of `inputs`, side by side. Says how the first of them ended, and
/// with which of `others` and of the rest it stays. One that is proven to rest with each of them
/// is not watched for long, and one that cannot tell them from each other not once more.
fn ends(cx: &Context<'_>, inputs: &[Input], others: &[Input]) -> Result<Stays, Stop> {
    let computed = cx.computes_whatever_its_streams();
    if computed.is_some_and(|computed| computed >= WINDOW) {
        return Ok(Stays::All(Seen {
            window: WINDOW,
            proof: Some(COMPUTES),
        }));
    }
    let mut pods = Vec::new();
    for input in inputs {
        pods.push(start(cx, *input)?);
    }
    let watches: Vec<_> = pods.iter().map(Pod::stopwatch).collect();
    let rests = rests(cx, inputs)?;
    let window = if rests { AT_REST } else { WINDOW };
    // They have run meanwhile.
    let ran = watches.iter().map(Stopwatch::elapsed).min();
    let left = window.saturating_sub(ran.unwrap_or_default());
    let asked = watches.first().map(Stopwatch::wall).unwrap_or_default();
    let Some((index, status, when)) = first_to_end(&mut pods, left)? else {
        let proof = rests.then_some(RESTS);
        return Ok(Stays::All(Seen { window, proof }));
    };
    let when = asked + when;
    let input = inputs[index].0;
    if rests {
        return Err(Stop::Contradicted(format!(
            "with standard input {input} the program rests without an end, as ptrace shows; but \
             in a window without ptrace it {status} after {when:.1?}"
        )));
    }
    let expected = format!("still running after {WINDOW:?} with standard input {input}");
    let finding = pods[index].finding(expected, format!("{status} after {when:.1?}"));
    let mut names: Vec<_> = inputs.iter().map(|(name, _)| *name).collect();
    for input in others {
        // One that is gone before it is watched does not stay.
        if let Ok(pod) = start(cx, *input) {
            pods.push(pod);
            names.push(input.0);
        }
    }
    // A program that ends later than this with another input ends with that one as well.
    let window = (when * 3).clamp(Duration::from_millis(100), WINDOW);
    let stay = which_stay(&mut pods, cx.scaled(window))?;
    let stays_with = names.into_iter().zip(stay);
    let stays_with = stays_with.filter_map(|(name, stays)| stays.then_some(name));
    Ok(Stays::With(finding, stays_with.collect()))
}

/// Whether it is proven to rest without an end with each of them.
fn rests(cx: &Context<'_>, inputs: &[Input]) -> Result<bool, Stop> {
    for (_, stdin) in inputs {
        if !matches!(cx.becomes(spec(*stdin))?, Becomes::Still(_)) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn spec(stdin: Stream) -> Spec {
    Spec {
        stdin,
        ..Spec::default()
    }
}

fn start<'a>(cx: &Context<'a>, (_, stdin): Input) -> Result<Pod<'a>, Stop> {
    cx.start_unready(spec(stdin))
}

fn but_stays_with(finding: Finding, inputs: &[&str]) -> Finding {
    if inputs.is_empty() {
        return finding;
    }
    let inputs = inputs.join(", or ");
    let observed = format!(
        "{}; it stays with standard input {inputs}",
        finding.observed
    );
    Finding {
        observed,
        ..finding
    }
}
