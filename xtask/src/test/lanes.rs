//! Runs steps, some at a time where all of them allow it. Every step runs, also after one that failed.
//!
//! The first lane shows the output of its steps at once. The output of other lanes' steps is shown
//! between two steps of the first, so lines of different steps are never mixed.

use super::summary::{Step, Tests};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, PipeReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use wait4::Wait4 as _;

/// How long a process that a step left behind may keep the output open after the step has ended.
const GRACE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });

/// A step to be run.
#[derive(Debug)]
pub(super) struct Job {
    /// Its name in the summary.
    pub(super) name: String,
    /// The command to run.
    pub(super) command: Command,
    /// Show it only if it ran a test or failed: with a filter most programs run none.
    pub(super) only_if_tested: bool,
}

/// Steps of which one runs at a time in each lane.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// Steps of each lane, in this order; at least one lane.
    pub(super) lanes: Vec<VecDeque<Job>>,
    /// Steps of whichever lane has no other left, in this order.
    pub(super) any: VecDeque<Job>,
}

impl Round {
    /// Runs all steps. Returns them in the order in which they ended, lane by lane.
    pub(super) fn run(self) -> Vec<Step> {
        let mut lanes = self.lanes.into_iter();
        let mut first = lanes.next().unwrap_or_default();
        let any = Mutex::new(self.any);
        let next = || lock(&any).pop_front();
        let hidden = Mutex::new(String::new());
        let show_hidden = || print!("{}", std::mem::take(&mut *lock(&hidden)));
        let hide = |mut lane: VecDeque<Job>| {
            let mut steps = Vec::new();
            while let Some(job) = lane.pop_front().or_else(next) {
                let (step, output) = job.run_hidden();
                lock(&hidden).push_str(&output);
                steps.push(step);
            }
            steps
        };
        let mut steps = Vec::new();
        std::thread::scope(|scope| {
            let others: Vec<_> = lanes.map(|lane| scope.spawn(|| hide(lane))).collect();
            while let Some(job) = first.pop_front().or_else(next) {
                steps.push(job.run_shown());
                show_hidden();
            }
            for other in others {
                match other.join() {
                    Ok(more) => steps.extend(more),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
        show_hidden();
        steps
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Job {
    /// Runs it and shows its output at once, or at the end if it may have to be hidden.
    pub(super) fn run_shown(self) -> Step {
        if self.only_if_tested {
            let (step, output) = self.run_hidden();
            print!("{output}");
            return step;
        }
        println!("{}", self.title());
        self.run(&mut |line| println!("{line}"))
    }

    /// Runs it and returns its output.
    fn run_hidden(self) -> (Step, String) {
        let only_if_tested = self.only_if_tested;
        let mut output = self.title() + "\n";
        let step = self.run(&mut |line| {
            output.push_str(line);
            output.push('\n');
        });
        let tested = step.tests.passed + step.tests.failed > 0 || step.fault.is_some();
        if only_if_tested && !tested {
            output.clear();
        }
        (step, output)
    }

    fn title(&self) -> String {
        format!("\n     Running {}", self.name)
    }

    fn run(mut self, line: &mut dyn FnMut(&str)) -> Step {
        let begun = Instant::now();
        let mut tests = Tests::default();
        let ended = self.start().map(|(mut child, lines)| {
            let held = follow(&child, &lines, &mut |text| {
                tests.read(text);
                line(text);
            });
            (child.wait4(), held)
        });
        let mut used = Duration::ZERO;
        let fault = match ended {
            Err(error) => Some(format!("cannot be run: {error}")),
            Ok((Err(error), _)) => Some(format!("cannot be waited for: {error}")),
            Ok((Ok(ended), held)) => {
                used = ended.rusage.utime + ended.rusage.stime;
                let status = ended.status;
                let left = held.then(|| "a process that it started still runs".to_owned());
                (!status.success()).then(|| status.to_string()).or(left)
            }
        };
        Step {
            name: self.name,
            took: begun.elapsed(),
            used,
            tests,
            fault,
        }
    }

    /// Starts it. The receiver gets the lines of the step and of its children, as they are printed.
    fn start(&mut self) -> std::io::Result<(Child, Receiver<String>)> {
        let (reader, writer) = std::io::pipe()?;
        self.command
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer);
        let child = self.command.spawn();
        // Else the command keeps a write end of the pipe, and the lines never end.
        self.command.stdout(Stdio::null()).stderr(Stdio::null());
        Ok((child?, lines(reader)))
    }
}

/// Reads lines in a thread.
fn lines(reader: PipeReader) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(reader);
        let mut bytes = Vec::new();
        while reader
            .read_until(b'\n', &mut bytes)
            .is_ok_and(|read| read > 0)
        {
            let line = String::from_utf8_lossy(&bytes);
            if sender.send(line.trim_end_matches('\n').to_owned()).is_err() {
                break;
            }
            bytes.clear();
        }
    });
    receiver
}

/// Passes lines on until the last writer has closed the pipe. Returns whether one still holds it
/// although the child has ended.
fn follow(child: &Child, lines: &Receiver<String>, line: &mut dyn FnMut(&str)) -> bool {
    let mut ended: Option<Instant> = None;
    loop {
        match lines.recv_timeout(Duration::from_millis(200)) {
            Ok(text) => line(&text),
            Err(RecvTimeoutError::Disconnected) => return false,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if ended.is_none() && has_ended(child) {
            ended = Some(Instant::now());
        }
        if ended.is_some_and(|ended| ended.elapsed() > GRACE) {
            return true;
        }
    }
}

/// Leaves its status, and what it used, to be waited for.
fn has_ended(child: &Child) -> bool {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !pid.is_some_and(|pid| matches!(waitid(WaitId::Pid(pid), look), Ok(None)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn job(name: &str, script: &str) -> Job {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Job {
            name: name.to_owned(),
            command,
            only_if_tested: false,
        }
    }

    fn jobs(jobs: impl IntoIterator<Item = Job>) -> VecDeque<Job> {
        jobs.into_iter().collect()
    }

    #[test]
    fn every_step_runs_also_after_one_that_failed() {
        let passes = "echo 'test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured'";
        let round = Round {
            lanes: vec![
                jobs([job("fourth", "exit 1"), job("fifth", "true")]),
                jobs([job("first", "exit 3")]),
            ],
            any: jobs([job("second", "kill -9 $$"), job("third", passes)]),
        };
        let steps = round.run();
        let fault = |name: &str| {
            let step = steps.iter().find(|step| step.name == name);
            step.expect("it ran").fault.clone()
        };
        assert_eq!(steps.len(), 5);
        assert_eq!(fault("first").as_deref(), Some("exit status: 3"));
        assert_eq!(fault("second").as_deref(), Some("signal: 9 (SIGKILL)"));
        assert_eq!(fault("fourth").as_deref(), Some("exit status: 1"));
        assert_eq!((fault("third"), fault("fifth")), (None, None));
        let counted: u32 = steps.iter().map(|step| step.tests.passed).sum();
        assert_eq!(counted, 2);
    }

    /// Each waits for all others to have begun; none ends where they are run in turn.
    fn meeting(folder: &std::path::Path) -> [Job; 3] {
        ["a", "b", "c"].map(|own| {
            let at = folder.display();
            let script = format!(
                "touch {at}/{own}; i=0; until test -e {at}/a && test -e {at}/b && test -e {at}/c; do \
                 i=$((i+1)); test $i -lt 200 || exit 1; sleep 0.05; done"
            );
            job(own, &script)
        })
    }

    #[rstest]
    fn one_step_of_each_lane_runs_at_a_time(#[values(true, false)] in_any_lane: bool) {
        let folder = tempfile::tempdir().expect("a folder");
        let met = meeting(folder.path());
        let mut round = Round::default();
        if in_any_lane {
            round.lanes.resize_with(met.len(), VecDeque::new);
            round.any = jobs(met);
        } else {
            round.lanes = met.map(|job| jobs([job])).into();
        }
        let steps = round.run();
        assert!(steps.iter().all(|step| step.fault.is_none()), "{steps:?}");
        assert_eq!(steps.len(), 3);
    }

    #[test]
    fn the_steps_of_a_lane_run_one_at_a_time_and_in_their_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let taken = folder.path().join("x");
        let take = format!("mkdir {0} && sleep 0.1 && rmdir {0}", taken.display());
        let steps = Round {
            lanes: vec![[job("c", &take), job("d", &take)].into()],
            any: VecDeque::new(),
        }
        .run();
        assert!(steps.iter().all(|step| step.fault.is_none()), "{steps:?}");
        let names: Vec<_> = steps.iter().map(|step| step.name.as_str()).collect();
        assert_eq!(names, ["c", "d"]);
    }

    #[test]
    fn output_is_kept_whole_and_in_order() {
        let (step, output) = job("both", "echo one; echo two >&2; printf three").run_hidden();
        assert_eq!(output, "\n     Running both\none\ntwo\nthree\n");
        assert_eq!(step.fault, None);
    }

    #[rstest]
    #[case::no_test("test result: ok. 0 passed; 0 failed; 0 ignored;", 0, "")]
    #[case::a_test(
        "test result: ok. 1 passed; 0 failed; 0 ignored;",
        0,
        "\n     Running x\n"
    )]
    #[case::a_fault(
        "test result: ok. 0 passed; 0 failed; 0 ignored;",
        1,
        "\n     Running x\n"
    )]
    fn a_step_of_which_a_filter_leaves_no_test_is_not_shown(
        #[case] result: &str,
        #[case] status: u8,
        #[case] begins: &str,
    ) {
        let mut job = job("x", &format!("echo '{result}'; exit {status}"));
        job.only_if_tested = true;
        let (_, output) = job.run_hidden();
        assert!(output.starts_with(begins), "{output}");
        assert_eq!(output.is_empty(), begins.is_empty());
    }

    #[test]
    fn what_a_step_and_its_children_used_is_counted() {
        let busy = "i=0; while test $i -lt 200000; do i=$((i+1)); done";
        let (step, _) = job("x", &format!("sh -c '{busy}'")).run_hidden();
        let (idle, _) = job("y", "sleep 0.2").run_hidden();
        assert_eq!((step.fault, idle.fault), (None, None));
        assert!(step.used > Duration::from_millis(20), "{:?}", step.used);
        assert!(idle.used < step.used, "{:?}", idle.used);
    }

    #[test]
    fn what_cannot_be_run_is_a_fault() {
        let mut job = job("x", "");
        job.command = Command::new("/nowhere/program");
        let (step, _) = job.run_hidden();
        let fault = step.fault.expect("it is not there");
        assert!(fault.starts_with("cannot be run: "), "{fault}");
    }

    /// A process left behind neither hangs the run nor goes unnoticed.
    #[test]
    fn what_a_step_leaves_behind_is_a_fault() {
        let begun = Instant::now();
        let (step, output) = job("x", "sleep 30 & echo $!").run_hidden();
        let sleep = output.lines().last().expect("its id");
        let killed = Command::new("kill")
            .arg(sleep)
            .status()
            .expect("kill is there");
        assert!(killed.success());
        let fault = "a process that it started still runs";
        assert_eq!(step.fault.as_deref(), Some(fault));
        assert!(
            begun.elapsed() < Duration::from_secs(25),
            "it was waited for"
        );
    }
}
