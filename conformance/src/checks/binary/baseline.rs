//! The processors that the program runs on: it needs only the oldest of its architecture.

use std::collections::BTreeSet;
use std::sync::Mutex;

use crate::advice::{self, Advice};
use crate::backend::Spec;
use crate::check::{Check, Finding, Level, Needs, Outcome, Pass, Source, Stop};
use crate::context::{Answer, Baseline, Context, PROMPTLY, Pod};
use crate::process::ExitStatus;
use crate::signal;
use crate::subject::{Platform, Subject};

pub(super) static BASELINE_CPU: Check = Check {
    id: "binary/baseline-cpu",
    title: "the program runs on every processor of its architecture",
    level: Level::Should,
    requirement: "The program SHOULD start and end on the oldest processors of its architecture: x86-64-v1, ARMv8.0-A.",
    source: Source {
        title: "GCC 14.1, x86 options: -march=x86-64",
        url: "https://gcc.gnu.org/onlinedocs/gcc-14.1.0/gcc/x86-Options.html",
    },
    advice: Advice::new(
        "On an older node the program dies of SIGILL, and no pod starts there.",
        "Compile for the oldest processor of the architecture, not for that of the build machine.",
    )
    .as_in(&advice::CPU),
    needs: Needs::PROGRAM
        .union(Needs::ELF)
        .union(Needs::SANDBOX)
        .union(Needs::HOST_PID)
        .union(Needs::HOST_PID_NAMESPACE)
        .union(Needs::BASELINE)
        .union(Needs::SLOW),
    after: &["startup/stays"],
    run: baseline_cpu,
};

/// How QEMU reports a SIGILL that the program does not handle: as process 1 the program does not
/// end by it.
const ILLEGAL: &str = "qemu: uncaught target signal 4 ";

/// What a program did on that processor.
enum Observed {
    /// It executed an instruction that the processor does not have.
    Illegal,
    /// It became ready.
    Ready,
    /// It did something else, such as ending; says what.
    Other(String),
}

fn baseline_cpu(cx: &Context<'_>) -> Outcome {
    let platform = cx.subject().platform.normal();
    if let Some(variant) = &platform.variant {
        return Err(Stop::Skip(format!(
            "it is for {variant} of {}, not for all of it",
            platform.architecture
        )));
    }
    let baseline = cx.on_baseline()?;
    if !SHOWN
        .lock()
        .is_ok_and(|shown| shown.contains(baseline.level))
    {
        calibrate(&baseline, &platform)?;
        if let Ok(mut shown) = SHOWN.lock() {
            shown.insert(baseline.level);
        }
    }
    // A program that never shows that it is ready does not show it under an emulator either, and
    // one that meets an invalid instruction here does not need a newer processor.
    let mut native = cx.start(Spec {
        own_network: false,
        ..Spec::default()
    })?;
    native.signal(signal::TERM)?;
    let answer = native.await_answer(PROMPTLY)?;
    if answer == Answer::Ended(ExitStatus::Signaled(ILL)) {
        let reason = "it meets an invalid instruction on this processor as well";
        return Err(Stop::Skip(reason.to_owned()));
    }
    drop(native);
    let known = Known {
        is_process_1: true,
        is_never_ready: cx.is_never_ready(),
        ends: matches!(answer, Answer::Ended(_)),
    };
    match run(&baseline, cx.subject().clone(), &known)? {
        Observed::Ready => Ok(Pass::new(format!(
            "{} on {} without an instruction that it does not have",
            if known.ends {
                "starts and ends"
            } else {
                "starts"
            },
            baseline.level
        ))),
        Observed::Illegal => Err(Finding::new(
            format!("it starts and ends on {}", baseline.level),
            "SIGILL: an instruction that this processor does not have",
        )
        .into()),
        Observed::Other(what) => Err(Stop::Inconclusive(format!(
            "on an emulated {} it {what}",
            baseline.level
        ))),
    }
}

/// The processors of which that was shown: it holds for every program.
static SHOWN: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());

/// Shows that the processor has the old instructions and does not have a newer one.
fn calibrate(baseline: &Baseline, platform: &Platform) -> Result<(), Stop> {
    let known = |code: &&Code| code.architecture == platform.architecture;
    let Some(code) = CODE.iter().find(known) else {
        let architecture = &platform.architecture;
        return Err(Stop::Skip(format!("no code is known for {architecture}")));
    };
    let try_out = |first: &[u8]| {
        let program = elf(code.machine, &[first, code.exit].concat());
        let subject = Subject::of_program(
            "made to show whether the emulator works",
            program.into(),
            platform.clone(),
        );
        let known = Known {
            is_process_1: false,
            is_never_ready: false,
            ends: true,
        };
        run(baseline, subject, &known)
    };
    match (try_out(&[])?, try_out(code.newer)?) {
        (Observed::Other(_), Observed::Illegal) => Ok(()),
        (old, _) => Err(Stop::Inconclusive(format!(
            "the emulator's {} {}",
            baseline.level,
            if let Observed::Illegal = old {
                "does not run an instruction that all processors have"
            } else {
                "runs an instruction that the processor does not have"
            }
        ))),
    }
}

/// How a program is run there, and what this processor has shown of it.
struct Known {
    is_process_1: bool,
    is_never_ready: bool,
    /// SIGTERM ends it.
    ends: bool,
}

/// Runs a program there until it is ready, and ends it where it ends.
fn run(baseline: &Baseline, subject: Subject, known: &Known) -> Result<Observed, Stop> {
    let shared = baseline.shared(subject);
    let context = Context::new(&shared);
    if known.is_never_ready {
        context.set_never_ready(true);
    }
    let mut pod = context.start_unready(Spec {
        own_pid_namespace: known.is_process_1,
        own_network: false,
        ..Spec::default()
    })?;
    let started = pod.await_ready();
    if is_illegal(&mut pod)? {
        return Ok(Observed::Illegal);
    }
    match started {
        Ok(()) => {
            if known.ends {
                pod.signal(signal::TERM)?;
                pod.await_end(PROMPTLY)?;
            }
            Ok(if is_illegal(&mut pod)? {
                Observed::Illegal
            } else {
                Observed::Ready
            })
        }
        Err(Stop::NotRunning(finding)) => Ok(Observed::Other(finding.observed)),
        Err(other) => Err(other),
    }
}

fn is_illegal(pod: &mut Pod<'_>) -> Result<bool, Stop> {
    let ended = pod.ended()? == Some(ExitStatus::Signaled(ILL));
    let stderr = pod.stderr();
    Ok(ended || stderr.lines().any(|line| line.starts_with(ILLEGAL)))
}

const ILL: i32 = nix::libc::SIGILL;

/// Instructions of an architecture.
struct Code {
    architecture: &'static str,
    /// `e_machine` (elf(5)).
    machine: u16,
    /// One that came after its oldest processors.
    newer: &'static [u8],
    /// exit_group(0).
    exit: &'static [u8],
}

const CODE: [Code; 2] = [
    Code {
        architecture: "amd64",
        machine: 62,
        // popcnt eax, eax
        newer: &[0xf3, 0x0f, 0xb8, 0xc0],
        // mov eax, 231; xor edi, edi; syscall
        exit: &[0xb8, 0xe7, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05],
    },
    Code {
        architecture: "arm64",
        machine: 183,
        // ldadd w1, w0, [sp]
        newer: &[0xe0, 0x03, 0x21, 0xb8],
        // mov x8, #94; mov x0, #0; svc #0
        exit: &[
            0xc8, 0x0b, 0x80, 0xd2, 0x00, 0x00, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4,
        ],
    },
];

/// The smallest program of 64 bits that holds this code: a header and one segment (elf(5)).
fn elf(machine: u16, code: &[u8]) -> Vec<u8> {
    const HEADERS: u64 = 64 + 56;
    const ADDRESS: u64 = 0x40_0000;
    let size = HEADERS + code.len() as u64;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    elf.extend([2_u16, machine].iter().flat_map(|it| it.to_le_bytes()));
    elf.extend(1_u32.to_le_bytes());
    let entry = [ADDRESS + HEADERS, 64, 0];
    elf.extend(entry.iter().flat_map(|it| it.to_le_bytes()));
    elf.extend(0_u32.to_le_bytes());
    elf.extend(
        [64_u16, 56, 1, 0, 0, 0]
            .iter()
            .flat_map(|it| it.to_le_bytes()),
    );
    // PT_LOAD, readable and executable.
    elf.extend([1_u32, 5].iter().flat_map(|it| it.to_le_bytes()));
    let segment = [0, ADDRESS, ADDRESS, size, size, 0x1_0000];
    elf.extend(segment.iter().flat_map(|it| it.to_le_bytes()));
    elf.extend(code);
    elf
}
