//! Signals, and the waits that are needed where processes have joined the sandbox.

use std::time::{Duration, Instant};

use nix::libc;

use super::{Context, PROMPTLY, Pod, ready};
use crate::need::Needs;
use crate::outcome::Stop;
use crate::probe::Probe;
use crate::process::ExitStatus;
use crate::signal;

/// How long a program is watched where TERM cannot show whether it works.
const NO_TERM_WINDOW: Duration = Duration::from_millis(20);

impl Context<'_> {
    /// Those of these signals that do not end a program here which leaves them to their default
    /// actions.
    pub fn harmless(&self, numbers: &[i32]) -> Vec<i32> {
        // By default SIGCHLD, SIGURG and SIGWINCH do nothing (signal(7)), to any process.
        let ignored = [signal::CHLD, libc::SIGURG, libc::SIGWINCH];
        let all = self.offers(Needs::DEFAULT_ACTIONS);
        let is_harmless = |number: &i32| all || ignored.contains(number);
        numbers.iter().copied().filter(is_harmless).collect()
    }

    /// What [`Pod::expect_unharmed`] has shown beyond that the program runs.
    pub fn unharmed(&self) -> &'static str {
        if self.offers(Needs::DEFAULT_ACTIONS) {
            "; SIGTERM then exited 0"
        } else {
            "; the emulator does not show what it then does on SIGTERM"
        }
    }
}

impl Pod<'_> {
    /// Waits until the program has acted upon a signal that was sent and sleeps again;
    /// `false` where it does not promptly. It must not end: `after` is what should not have ended
    /// it.
    ///
    /// # Errors
    /// [`Stop::Ended`] with how it ended.
    pub fn settle(&mut self, sent: i32, after: &str) -> Result<bool, Stop> {
        ready::await_settled(self, sent, after)
    }

    /// The program has acted upon a signal that it may leave to its default action, runs,
    /// and TERM still ends it, where that can be seen.
    ///
    /// # Errors
    /// [`Stop::Fail`] with what was observed instead.
    pub fn expect_unharmed(&mut self, sent: i32, after: &str) -> Result<(), Stop> {
        // A program that does not go back to sleep may be slow or may spin: TERM shows whether it works.
        self.settle(sent, after)?;
        if self.context().offers(Needs::DEFAULT_ACTIONS) {
            return self.expect_term_works(after).map(drop);
        }
        self.expect_running_for(NO_TERM_WINDOW, after)?;
        let context = self.context();
        let dispositions = context.dispositions();
        let is_held = |pod: &Self| pod.suspended() > dispositions.suspended;
        if !is_held(self) {
            let works = self.expect_term_works(after).map(drop);
            // A program that itself waits there shows no additional thread where the emulator holds
            // it.
            let shows = dispositions.suspended == 0 && !is_held(self);
            if works.is_ok() || shows {
                return works;
            }
        }
        if dispositions.leaves(sent) {
            return Ok(());
        }
        let emulation = context.emulation().unwrap_or("an emulator");
        Err(Stop::Inconclusive(format!(
            "{emulation}, under which the kernel's default action of {name} does not end it: the \
             program handles {name}, and may have ended itself",
            name = signal::name(sent),
        )))
    }

    /// Skips the check where the program does not sleep even before anything is sent.
    ///
    /// # Errors
    /// [`Stop::Skip`] with that reason.
    pub fn expect_asleep(&mut self) -> Result<(), Stop> {
        if self.settle(signal::CHLD, "its start")? {
            return Ok(());
        }
        let reason = "the program never sleeps, so nothing shows whether this would wake it";
        Err(Stop::Skip(reason.to_owned()))
    }

    /// Sends a signal from a member of its pid namespace.
    ///
    /// # Errors
    /// [`Stop::Error`] where it was not accepted.
    pub fn signal_from_inside(&mut self, probe: &Probe, number: i32) -> Result<(), Stop> {
        if ![signal::TERM, signal::INT].contains(&number) {
            self.provoke(&format!("{} from inside", signal::name(number)));
        }
        match probe.kill(1, number, 1) {
            Ok(_) => Ok(()),
            // The signal may end the sandbox before the probe answers.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => Ok(()),
            Err(error) => {
                let doing = format!("send {} from inside", signal::name(number));
                Err(self.harness_failed(&doing, &error))
            }
        }
    }

    /// Stops it from outside and proves that it is stopped; what else is sent then waits.
    ///
    /// # Errors
    /// [`Stop::Ended`] where it has ended, [`Stop::Inconclusive`] where it is not seen stopped.
    pub fn stop(&mut self) -> Result<(), Stop> {
        self.signal(signal::STOP)?;
        let began = Instant::now();
        while !self.state()?.state.eq_ignore_ascii_case(&'t') {
            if began.elapsed() > self.context().scaled(Duration::from_secs(10)) {
                return Err(Stop::Inconclusive(
                    "the process was not seen stopped".to_owned(),
                ));
            }
            self.expect_running("SIGSTOP")?;
            self.await_event(Duration::from_micros(100))?;
        }
        Ok(())
    }

    /// As [`Pod::expect_end`] within [`PROMPTLY`], where processes have joined its pid
    /// namespace: they must end with it, and it cannot be waited for before they are.
    ///
    /// # Errors
    /// As [`Pod::expect_end`].
    pub fn expect_end_with(
        &mut self,
        members: Vec<Probe>,
        wanted: ExitStatus,
        cause: &str,
    ) -> Result<Duration, Stop> {
        let since = Instant::now();
        let watch = self.stopwatch();
        let limit = self.context().scaled(PROMPTLY);
        let mut left = PROMPTLY;
        for member in &members {
            if !self.await_readable(member.pidfd(), watch.left(limit))? {
                left = Duration::ZERO;
            }
        }
        drop(members);
        self.expect_end_since(since, wanted, (PROMPTLY, left), cause)
    }
}
