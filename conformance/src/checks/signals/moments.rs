//! Signals that come in every moment there is.

use super::JOINED;
use crate::advice::{self, Advice};
use crate::check::{Check, Finding, Level, Needs, Outcome, Pass, Source, Stop};
use crate::context::{Came, Context, Moment, Stimulus, Tried};
use crate::process::ExitStatus;
use crate::signal::{INT, TERM, name};

pub(super) static NO_LOST_TERM: Check = Check {
    id: "signals/no-lost-term",
    title: "no TERM and no INT is lost, whenever it comes to a program that waits",
    level: Level::Must,
    requirement: "Every SIGTERM and SIGINT that comes once the pause process waits MUST end it with exit status 0, right before whichever system call it comes, also while it reaps.",
    source: Source {
        title: "sigsuspend(2)",
        url: "https://man7.org/linux/man-pages/man2/sigsuspend.2.html",
    },
    advice: Advice::new(
        "The pod hangs for its grace period where the signal comes at the wrong moment, which no test by hand finds.",
        "Do not test a flag and then wait: block the signals, and wait by sigwaitinfo, sigsuspend, ppoll or signalfd.",
    )
    .as_in(&advice::WAIT),
    needs: JOINED.union(Needs::FOLLOWED),
    after: &[
        "signals/term-exits-zero",
        "signals/int-exits-zero",
        "reaping/one-orphan",
        "reaping/spares-the-living",
    ],
    run: no_lost_term,
};

fn no_lost_term(cx: &Context<'_>) -> Outcome {
    let moments = cx.moments()?;
    let mut came_to = 0;
    let mut in_turn = [TERM, INT].iter().cycle();
    for moment in moments.chosen() {
        let moment = moment?;
        let count = if moments.is_dear { 1 } else { 2 };
        for &number in in_turn.by_ref().take(count) {
            if let Some(tried) = cx.try_moment(moment, Stimulus::Signal(number))? {
                judge(moment, number, &tried)?;
                came_to += 1;
            }
        }
    }
    moments.expect_tried(came_to)?;
    let signals = if moments.is_dear {
        "on SIGTERM and SIGINT in turn"
    } else {
        "on SIGTERM and on SIGINT"
    };
    Ok(Pass::new(format!(
        "exited 0 {signals} right before {}",
        moments.in_words()
    )))
}

fn judge(moment: Moment, number: i32, tried: &Tried) -> Result<(), Stop> {
    let (signal, place) = (name(number), tried.place(moment));
    let observed = match tried.came {
        Came::Ended(ExitStatus::Exited(0)) => return Ok(()),
        Came::Ended(status) => format!("{status} on {signal} right before {place}"),
        Came::Lost(_) => format!("{signal} right before {place}, is lost: {}", tried.waits()),
        Came::Late => format!("still running a second after {signal} right before {place}"),
        Came::Open | Came::Reaped => {
            return Err(Stop::Skip(format!(
                "it sleeps after {signal} right before {place}, and may wake by itself: the \
                 kernel does not tell"
            )));
        }
    };
    let expected = format!("exited 0 on {signal} right before any system call, once it waits");
    Err(Finding::new(expected, observed).into())
}
