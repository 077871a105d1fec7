//! Orphans that end in every moment there is.

use crate::check::{Finding, Needs, Stop};
use crate::context::{Came, Context, Moment, Stimulus, Tried};

/// What was shown of the moments in which an orphan may end.
pub(super) struct Shown {
    /// Each was tried.
    pub(super) all: bool,
    /// What to say of them.
    pub(super) words: String,
}

/// Has an orphan end right before each system call that the program makes once it waits.
pub(super) fn reaped_at_every_one(cx: &Context<'_>) -> Result<Shown, Stop> {
    let pairs_alone = |words| Shown { all: false, words };
    if !cx.offers(Needs::FOLLOWED) {
        let words = "its system calls cannot be followed here: pairs alone were tried";
        return Ok(pairs_alone(words.to_owned()));
    }
    match try_all(cx) {
        // Where it cannot be followed, what the pairs show stands.
        Err(Stop::Skip(why) | Stop::Inconclusive(why)) => {
            Ok(pairs_alone(format!("pairs alone were tried: {why}")))
        }
        other => other,
    }
}

fn try_all(cx: &Context<'_>) -> Result<Shown, Stop> {
    let moments = cx.moments()?;
    let mut came_to = 0;
    for moment in moments.chosen() {
        let moment = moment?;
        if let Some(tried) = cx.try_moment(moment, Stimulus::Orphan)? {
            judge(moment, &tried)?;
            came_to += 1;
        }
    }
    moments.expect_tried(came_to)?;
    Ok(Shown {
        all: came_to == moments.all,
        words: format!("one that ended right before {} reaped", moments.in_words()),
    })
}

fn judge(moment: Moment, tried: &Tried) -> Result<(), Stop> {
    let place = tried.place(moment);
    let observed = match tried.came {
        Came::Reaped => return Ok(()),
        Came::Ended(status) => format!("{status} after an orphan ended right before {place}"),
        Came::Lost(_) => format!(
            "an orphan that ended right before {place}, is left as a zombie: {}",
            tried.waits()
        ),
        Came::Late => {
            format!("an orphan that ended right before {place}, is a zombie a second after that")
        }
        Came::Open => {
            return Err(Stop::Skip(format!(
                "it sleeps after an orphan ended right before {place}, and may wake by itself"
            )));
        }
    };
    let expected = "an orphan is reaped right before whichever system call it ends".to_owned();
    Err(Finding::new(expected, observed).into())
}
