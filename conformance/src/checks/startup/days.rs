//! Thirty days in which nothing happens, on a clock that moves on by itself.

use super::{PAUSE_C, RUNS};
use crate::advice::{self, Advice};
use crate::check::{Check, Finding, Level, Needs, Outcome, Pass, Stop};
use crate::context::{Came, Context, Passed};
use crate::process::ExitStatus;

pub(super) static STAYS_FOR_DAYS: Check = Check {
    id: "startup/stays-for-days",
    title: "the program stays for 30 days",
    level: Level::Must,
    requirement: "The pause process MUST keep running until it is told to end, for 30 days at least.",
    source: PAUSE_C,
    advice: Advice::new(
        "A pod lives for weeks: when its pause ends, all its containers are restarted.",
        "Wait without a time limit, and let no timer or counter end the loop.",
    )
    .as_in(&advice::WAIT),
    needs: RUNS.union(Needs::FOLLOWED),
    after: &["startup/stays"],
    run: stays_for_days,
};

fn stays_for_days(cx: &Context<'_>) -> Outcome {
    let days = cx.days()?;
    let words = days.in_words();
    if let Passed::Ended(_) = days.passed {
        return Err(Finding::new("still running after 30 days", words).into());
    }
    cx.measure("wakes_in_30_days", "count", days.wakes as f64);
    Ok(Pass::new(words))
}

pub(super) static WORKS_AFTER_DAYS: Check = Check {
    id: "startup/works-after-days",
    title: "the program reaps and ends on TERM after 30 days of waiting",
    level: Level::Must,
    requirement: "A pause process that has waited for 30 days MUST reap an orphan within one second, and exit with status 0 within one second of SIGTERM.",
    source: PAUSE_C,
    advice: Advice::new(
        "A pod that is weeks old fills with zombies, or has to be killed where it is stopped.",
        "Wait without a timer, and do the same at each wake-up.",
    )
    .as_in(&advice::WAIT),
    needs: RUNS.union(Needs::PROBE).union(Needs::FOLLOWED),
    after: &[
        "startup/stays-for-days",
        "signals/term-exits-zero",
        "reaping/one-orphan",
        "reaping/spares-the-living",
    ],
    run: works_after_days,
};

fn works_after_days(cx: &Context<'_>) -> Outcome {
    let days = cx.days()?;
    let words = days.in_words();
    let Some(answers) = days.answers else {
        return Err(Stop::NotRunning(Finding::new(
            "still running after 30 days",
            words,
        )));
    };
    let answers = answers?;
    let finding = |expected: &str, came: Came| -> Stop {
        let observed = match came {
            Came::Ended(status) => status.to_string(),
            Came::Lost(_) => "nothing came of it, and nothing will".to_owned(),
            _ => "nothing came of it within a second".to_owned(),
        };
        match came {
            Came::Open => Stop::Skip(format!("{observed}; it may wake by itself")),
            _ => Finding::new(expected, observed).with(&words).into(),
        }
    };
    if answers.orphan != Came::Reaped {
        let expected = "an orphan is reaped that ends after 30 days of waiting";
        return Err(finding(expected, answers.orphan));
    }
    if answers.term != Came::Ended(ExitStatus::Exited(0)) {
        let expected = "exited 0 on a SIGTERM after 30 days of waiting";
        return Err(finding(expected, answers.term));
    }
    let pass = Pass::new("an orphan was reaped after days of waiting; SIGTERM then exited 0");
    Ok(pass.with(words))
}
