//! What the configuration starts.

use super::image_of;
use crate::advice::Advice;
use crate::check::{Check, Finding, Level, Needs, Outcome, Pass, Source, Stop, ensure};
use crate::context::Context;
use crate::subject::program::{is_executable, look_up};
use crate::subject::{Format, NoProgram, Program, quote, show_path};

/// Programs that start another one: as the entrypoint they are PID 1 in pause's place.
const SHELLS: &[&str] = &["sh", "ash", "bash", "dash", "env", "ksh", "zsh"];

pub(super) static ENTRYPOINT_SET: Check = Check {
    id: "image/entrypoint-set",
    title: "the configuration names a program that exists",
    level: Level::Must,
    requirement: "Entrypoint and Cmd together MUST NOT be empty, and their first element MUST resolve to an executable file of the image.",
    source: Source {
        title: "containerd v2.1.0, podsandbox/sandbox_run_linux.go",
        url: "https://github.com/containerd/containerd/blob/v2.1.0/internal/cri/server/podsandbox/sandbox_run_linux.go",
    },
    advice: Advice::new(
        "A CRI runtime starts what the configuration names; where that is nothing, no pod sandbox can be made.",
        "Set it in the Dockerfile: `ENTRYPOINT [\"/pause\"]`.",
    ),
    needs: Needs::NATIVE_IMAGE,
    after: &[],
    run: entrypoint_set,
};

fn entrypoint_set(cx: &Context<'_>) -> Outcome {
    let (expected, observed) = match &cx.subject().program {
        Ok(program) => {
            let pass = Pass::new(format!(
                "{} is {}",
                argv(&program.argv),
                show_path(&program.path)
            ));
            return Ok(pass);
        }
        Err(NoProgram::TooLarge(size)) => {
            return Err(Stop::Inconclusive(format!(
                "the program is there, but its {size} bytes are more than the suite keeps in memory"
            )));
        }
        Err(NoProgram::Wasm) => {
            return Err(Stop::Skip("the program is WebAssembly".to_owned()));
        }
        Err(NoProgram::Unread(why)) => return Err(Stop::Skip(why.clone())),
        Err(NoProgram::Unset) => ("Entrypoint or Cmd", "neither is set".to_owned()),
        Err(NoProgram::Missing(why) | NoProgram::NotExecutable(why)) => (
            "a first element that is an executable file of the image",
            why.clone(),
        ),
    };
    let config = &image_of(cx)?.config;
    Err(Finding::new(expected, observed)
        .with(format!("Entrypoint {}", argv(&config.entrypoint)))
        .with(format!("Cmd {}", argv(&config.cmd)))
        .into())
}

pub(super) static ENTRYPOINT_DIRECT: Check = Check {
    id: "image/entrypoint-direct",
    title: "the entrypoint is the pause program itself",
    level: Level::Must,
    requirement: "The first element of Entrypoint and Cmd MUST be the pause program itself: no shell, no wrapper, no script.",
    source: Source {
        title: "kubernetes build/pause/Dockerfile",
        url: "https://github.com/kubernetes/kubernetes/blob/v1.34.0/build/pause/Dockerfile",
    },
    advice: Advice::new(
        "A shell or a wrapper becomes process 1 in the place of pause: it neither passes on SIGTERM nor reaps.",
        "Use the exec form, `ENTRYPOINT [\"/pause\"]`, and have no script in between.",
    ),
    needs: Needs::IMAGE.union(Needs::PROGRAM),
    after: &["image/entrypoint-set"],
    run: entrypoint_direct,
};

fn entrypoint_direct(cx: &Context<'_>) -> Outcome {
    let config = &image_of(cx)?.config;
    let program = program_of(cx)?;
    let path = show_path(&program.path);
    let name = program
        .argv
        .first()
        .map_or("", |first| first.rsplit('/').next().unwrap_or_default());
    let direct = matches!(program.format, Format::Elf | Format::Wasm);
    ensure(
        direct,
        "a program of its own",
        format!("{path} is {}", program.format.as_str()),
    )?;
    ensure(
        !SHELLS.contains(&name),
        "no shell and no wrapper",
        format!("{} starts another program", argv(&program.argv)),
    )?;
    let rootfs = &cx.subject().rootfs;
    for argument in program.argv.iter().skip(1) {
        if let Ok(started) = look_up(config, rootfs, argument)
            && started != program.path
        {
            let observed = format!(
                "{path} with {}, a program too, as an argument",
                quote(argument)
            );
            return Err(Finding::new("no wrapper around another program", observed).into());
        }
    }
    Ok(Pass::new(format!("{path} is {}", program.format.as_str())))
}

pub(super) static PROGRAM_MODE: Check = Check {
    id: "image/program-mode",
    title: "any uid may run the program",
    level: Level::Must,
    requirement: "The program MUST be readable and executable by others, and every directory above it MUST be searchable by others.",
    source: Source {
        title: "kubernetes#116967",
        url: "https://github.com/kubernetes/kubernetes/issues/116967",
    },
    advice: Advice::new(
        "A pod that runs as another user cannot execute the program.",
        "Install it with mode 0555 or 0755, below folders of mode 0755: `COPY --chmod=0555 pause /pause`.",
    ),
    needs: Needs::IMAGE.union(Needs::PROGRAM),
    after: &["image/entrypoint-set"],
    run: program_mode,
};

fn program_mode(cx: &Context<'_>) -> Outcome {
    let program = program_of(cx)?;
    let rootfs = &cx.subject().rootfs;
    for (directory, entry) in rootfs.directories_above(&program.path) {
        let observed = format!("{} has mode {:04o}", show_path(directory), entry.mode);
        ensure(
            entry.mode & 0o001 != 0,
            "directories that others may search (o+x)",
            observed,
        )?;
    }
    let mode = rootfs.get(&program.path).map_or(0, |entry| entry.mode);
    let observed = format!("{} has mode {mode:04o}", show_path(&program.path));
    ensure(
        mode & 0o005 == 0o005,
        "a program that others may read and execute (o+rx)",
        observed.clone(),
    )?;
    Ok(Pass::new(observed))
}

pub(super) static HAS_PAUSE_PATH: Check = Check {
    id: "image/has-pause-path",
    title: "/pause exists",
    level: Level::Should,
    requirement: "The image SHOULD have an executable /pause (a link suffices), since CRI-O starts that path whatever the entrypoint.",
    source: Source {
        title: "CRI-O v1.34.0, crio.conf(5), pause_command",
        url: "https://github.com/cri-o/cri-o/blob/v1.34.0/docs/crio.conf.5.md",
    },
    advice: Advice::new(
        "CRI-O starts /pause whatever the entrypoint says, and finds nothing.",
        "Name the program /pause, or add a link of that name.",
    ),
    needs: Needs::NATIVE_IMAGE.union(Needs::FILES),
    after: &[],
    run: has_pause_path,
};

fn has_pause_path(cx: &Context<'_>) -> Outcome {
    let expected = "an executable file at /pause";
    match cx.subject().rootfs.resolve("/pause") {
        Ok((path, entry)) => {
            let observed = format!("/pause is {} of mode {:04o}", show_path(&path), entry.mode);
            ensure(is_executable(entry), expected, observed.clone())?;
            Ok(Pass::new(observed))
        }
        Err(error) => Err(Finding::new(expected, error.to_string()).into()),
    }
}

fn program_of<'a>(cx: &'a Context<'_>) -> Result<&'a Program, Stop> {
    cx.subject()
        .program
        .as_ref()
        .map_err(|_| Stop::Skip("the image names no program that exists".to_owned()))
}

/// Words as JSON shows them, escaped.
fn argv(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(quote).collect();
    format!("[{}]", words.join(", "))
}
