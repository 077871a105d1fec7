//! Sandboxes that are made ahead, so that what is measured is the program and not their making.

use std::thread::{self, ScopedJoinHandle};

use super::{Context, Pod};
use crate::backend::Spec;
use crate::outcome::Stop;

/// How many make sandboxes at the same time: making one is for the most part waiting for others.
const MAKERS: usize = 3;

/// How many are made ahead, once the first has shown how long the program takes: no more than fit
/// where there is room for one check.
const AHEAD: usize = 6;

/// Sandboxes whose program is not executed yet.
pub struct Ahead<'a> {
    context: Context<'a>,
    made: Vec<Pod<'a>>,
    /// How many more will be taken at most.
    left: usize,
    has_begun: bool,
}

impl<'a> Ahead<'a> {
    /// Of a check that takes so many at most.
    pub fn of(cx: &Context<'a>, most: usize) -> Self {
        Self {
            context: *cx,
            made: Vec::new(),
            left: most,
            has_begun: false,
        }
    }

    /// The next one, for [`Pod::release`].
    ///
    /// # Errors
    /// As [`Context::start_unready`].
    pub fn take(&mut self) -> Result<Pod<'a>, Stop> {
        loop {
            if let Some(pod) = self.made.pop() {
                return Ok(pod);
            }
            let has_begun = std::mem::replace(&mut self.has_begun, true);
            // Beyond what the check has said they are made one by one.
            let count = if has_begun {
                self.left.clamp(1, AHEAD)
            } else {
                1
            };
            self.made = self.context.start_held(count)?;
            self.left = self.left.saturating_sub(count);
        }
    }
}

impl<'a> Context<'a> {
    /// So many of them, made side by side.
    fn start_held(&self, count: usize) -> Result<Vec<Pod<'a>>, Stop> {
        let make = |count: usize| -> Result<Vec<Pod<'a>>, Stop> {
            let held = || Spec {
                own_network: false,
                held: true,
                ..Spec::default()
            };
            (0..count).map(|_| self.start_unready(held())).collect()
        };
        let each = count.div_ceil(MAKERS);
        thread::scope(|scope| {
            let mut left = count;
            let mut makers = Vec::new();
            while left > each {
                let share = || {
                    self.adopt_thread()?;
                    make(each)
                };
                let maker = thread::Builder::new().spawn_scoped(scope, share);
                // Where there is no thread to be had, this one makes them.
                let Ok(maker) = maker else { break };
                makers.push(maker);
                left -= each;
            }
            let mine = make(left);
            let theirs = makers.into_iter().map(joined);
            let all: Result<Vec<_>, Stop> = std::iter::once(mine).chain(theirs).collect();
            Ok(all?.into_iter().flatten().collect())
        })
    }

    /// Prepares the calling thread for sandboxes.
    ///
    /// # Errors
    /// [`Stop::Error`] where the host refuses it.
    pub(crate) fn adopt_thread(&self) -> Result<(), Stop> {
        let Some(backend) = &self.shared.backend else {
            return Ok(());
        };
        backend
            .adopt_thread()
            .map_err(|error| Stop::Error(format!("cannot prepare a thread for sandboxes: {error}")))
    }
}

fn joined<T>(maker: ScopedJoinHandle<'_, Result<T, Stop>>) -> Result<T, Stop> {
    match maker.join() {
        Ok(made) => made,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
