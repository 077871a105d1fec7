//! What a faulty backend's wrapper spoils, and that it spoils nothing else, around a backend that
//! starts nothing.

use std::os::fd::AsFd as _;
use std::sync::{Mutex, PoisonError};

use super::*;
use crate::process::ExitStatus;
use crate::wasi_engine::Executable;

/// Notes what it is asked for; its pods are process 42 and refuse whatever they can.
#[derive(Default)]
struct Noting {
    specs: Mutex<Vec<Spec>>,
}

const COUNTED: Counters = Counters {
    killed: Some(3),
    refused: 4,
};

fn refuses() -> io::Error {
    io::Error::other("refused")
}

impl Backend for Noting {
    fn describe(&self) -> String {
        "noting".to_owned()
    }

    fn offers(&self) -> Features {
        Features::SANDBOX
    }

    fn lacks(&self, need: Features) -> Option<&str> {
        (need == Features::NATIVE).then_some("runs under qemu-x")
    }

    fn start(&self, _: &Launch<'_>, spec: &Spec) -> Result<Box<dyn Sandbox>, StartError> {
        let mut specs = self.specs.lock().unwrap_or_else(PoisonError::into_inner);
        specs.push(spec.clone());
        Ok(Box::new(Pod(File::open("/dev/null").expect("it is there"))))
    }

    fn start_engine(&self, _: Command, _: &Spec) -> Result<Box<dyn Sandbox>, StartError> {
        let (step, cause) = ("refuse", refuses());
        Err(StartError::Host { step, cause })
    }

    fn adopt_thread(&self) -> io::Result<()> {
        Err(refuses())
    }

    fn counters(&self) -> Counters {
        COUNTED
    }
}

struct Pod(File);

impl Sandbox for Pod {
    fn pidfd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn host_pid(&self) -> i32 {
        42
    }

    fn signal(&self, _: i32) -> io::Result<()> {
        Err(refuses())
    }

    fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        Ok(Some(ExitStatus::Signaled(9)))
    }

    fn take_stdio(&mut self) -> Stdio {
        let file = self.0.try_clone().expect("it is open");
        Stdio {
            stdin: Some(file.into()),
            ..Stdio::default()
        }
    }

    fn enter(&self, _: &Join) -> io::Result<Probe> {
        Err(refuses())
    }

    fn open_gate(&mut self) -> io::Result<()> {
        Err(refuses())
    }

    fn release(&mut self) -> Result<(), StartError> {
        let (step, cause) = ("refuse", refuses());
        Err(StartError::Host { step, cause })
    }

    fn memory_used(&self) -> Option<u64> {
        Some(7)
    }

    fn shortage(&mut self, killed: bool) -> Option<Shortage> {
        killed.then_some(Shortage::Killed)
    }
}

fn around(name: &str, engine: &Arc<Noting>) -> Arc<dyn Backend> {
    let fixture = ENGINES.iter().find(|engine| engine.name == name);
    fixture
        .expect("it is in the table")
        .around(Arc::clone(engine) as _)
}

fn start(engine: &dyn Backend, spec: &Spec) -> Box<dyn Sandbox> {
    let program = crate::programs::REFERENCE.into();
    let subject =
        crate::subject::Subject::of_program("x", program, crate::subject::Platform::host());
    let launch = Launch {
        rootfs: &subject.rootfs,
        program: subject.program.as_ref().expect("it is there"),
    };
    engine.start(&launch, spec).expect("nothing refuses")
}

fn command() -> Command {
    Command {
        executable: Executable::Itself,
        argv: Vec::new(),
        env: Vec::new(),
        module: File::open("/dev/null").expect("it is there").into(),
    }
}

#[test]
fn what_is_not_spoilt_is_handed_on() {
    let faulty = around("no-pid-namespace", &Arc::default());
    assert_eq!(faulty.describe(), "noting");
    assert_eq!(faulty.offers(), Features::SANDBOX);
    assert_eq!(faulty.lacks(Features::NATIVE), Some("runs under qemu-x"));
    assert_eq!(faulty.lacks(Features::PROBE), None);
    assert_eq!(
        faulty.adopt_thread().map_err(|it| it.to_string()),
        Err("refused".to_owned())
    );
    let started = faulty.start_engine(command(), &Spec::default());
    let error = started.err().expect("it refuses");
    assert_eq!(error.to_string(), "cannot make a sandbox: refuse: refused");

    let mut pod = start(&*faulty, &Spec::default());
    let kind = |fd: BorrowedFd<'_>| rustix::fs::fstat(fd).expect("it is open").st_rdev;
    let null = File::open("/dev/null").expect("it is there");
    assert_eq!(kind(pod.pidfd()), kind(null.as_fd()));
    assert_eq!(pod.host_pid(), 42);
    assert!(pod.signal(15).is_err() && pod.open_gate().is_err() && pod.release().is_err());
    assert_eq!(pod.try_wait().ok(), Some(Some(ExitStatus::Signaled(9))));
    assert!(pod.take_stdio().stdin.is_some());
    assert_eq!(pod.memory_used(), Some(7));
    assert_eq!(faulty.counters(), COUNTED);
    assert_eq!(pod.shortage(true), Some(Shortage::Killed));
    assert_eq!(pod.shortage(false), None);
    let refused = pod.enter(&Join::default()).expect_err("it refuses");
    assert_eq!(refused.to_string(), "refused");
    let refused = pod.run_beside(command(), true).expect_err("it cannot");
    assert_eq!(refused.kind(), io::ErrorKind::Unsupported);
}

#[test]
fn what_is_spoilt_is_not_what_was_asked_for() {
    let engine = Arc::<Noting>::default();
    start(&*around("no-pid-namespace", &engine), &Spec::default());
    let specs = engine.specs.lock().expect("nobody panics");
    let asked: Vec<_> = specs.iter().map(|spec| spec.own_pid_namespace).collect();
    assert_eq!(asked, [false]);
}

#[test]
fn how_it_ended_is_told_as_an_engine_would_that_takes_it_for_something_else() {
    for (name, status) in [("reports-137", 137), ("reports-success", 0)] {
        let mut pod = start(&*around(name, &Arc::default()), &Spec::default());
        assert_eq!(pod.try_wait().ok(), Some(Some(ExitStatus::Exited(status))));
    }
}

#[test]
fn the_pod_that_workloads_stray_to_runs_also_where_theirs_is_held() {
    let engine = Arc::<Noting>::default();
    let held = Spec {
        held: true,
        ..Spec::default()
    };
    start(&*around("puts-workloads-elsewhere", &engine), &held);
    let specs = engine.specs.lock().expect("nobody panics");
    let held: Vec<_> = specs.iter().map(|spec| spec.held).collect();
    assert_eq!(held, [true, false]);
}
