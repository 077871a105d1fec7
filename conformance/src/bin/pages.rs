//! Writes what a package holds besides the program, from the same tables as the program: manual
//! pages and completions. `cargo xtask dist` runs it; it is in no package itself.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use clap::{Command, CommandFactory as _, ValueEnum as _};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};
use conformance::catalogue::OF_AUDIT;
use conformance::check::{Level, Source};
use conformance::checks::FAMILIES;
use conformance::cli::Cli;
use conformance::completion;
use conformance::report::spec::Format;
use conformance::version;

const NAME: &str = "pause-conformance";

/// Shells with a folder for the completions of packages.
const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

/// `pages DIR`: writes `DIR/man/NAME.SECTION` and `DIR/completions/FILE`.
fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let (Some(folder), None) = (arguments.next(), arguments.next()) else {
        eprintln!("error: no folder is named\n hint: pages DIR");
        return ExitCode::from(64);
    };
    let folder = PathBuf::from(folder);
    match manual(&folder.join("man")).and_then(|()| completions(&folder.join("completions"))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: cannot write below {}: {error}", folder.display());
            ExitCode::from(2)
        }
    }
}

/// One page for the program, one for each of its commands, one for the checks.
fn manual(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut program = Cli::definition(version::long())
        .name(NAME)
        .disable_help_subcommand(true);
    program.build();
    for command in program.get_subcommands() {
        let name = format!("{NAME}-{}", command.get_name());
        fs::write(folder.join(format!("{name}.1")), beginning(command)?)?;
    }
    fs::write(folder.join(format!("{NAME}.1")), program_page(&program)?)?;
    fs::write(folder.join(format!("{NAME}-checks.7")), checks_page()?)
}

/// What clap knows of a command, up to its exit status.
fn beginning(command: &Command) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    if let Some(help) = command.get_after_help() {
        exit_status(&help.to_string()).to_writer(&mut page)?;
    }
    Ok(page)
}

/// The end of a command's help, `NUMBER  MEANING` a line, below its title; a line without a number
/// goes on.
fn exit_status(help: &str) -> Roff {
    let mut section = Roff::new();
    section.control("SH", ["EXIT STATUS"]);
    for line in help.lines().skip(1).map(str::trim) {
        match line.split_once("  ") {
            Some((status, meaning)) => term(&mut section, status, meaning),
            None => {
                section.text([roman(line)]);
            }
        }
    }
    section
}

/// What clap knows, and the formats of reports and families of checks, of which it knows only
/// that they are words.
fn program_page(program: &Command) -> io::Result<Vec<u8>> {
    let mut page = beginning(program)?;
    let mut more = Roff::new();
    more.control("SH", ["REPORTS"]);
    for format in Format::value_variants() {
        let Some(value) = format.to_possible_value() else {
            continue;
        };
        let help = value.get_help().map(ToString::to_string);
        term(&mut more, value.get_name(), &help.unwrap_or_default());
    }
    more.control("SH", ["FAMILIES OF CHECKS"]);
    for family in FAMILIES {
        term(&mut more, family.name, family.title);
    }
    more.control("SH", ["ENVIRONMENT"]);
    term(
        &mut more,
        "PAUSE_CONFORMANCE_PROGRAMS",
        "as --programs, where that is not given",
    );
    term(&mut more, "TMPDIR", "where large images are written out");
    more.control("SH", ["SEE ALSO"]);
    more.text([bold(format!("{NAME}-checks")), roman("(7)")]);
    more.to_writer(&mut page)?;
    Man::new(program.clone()).render_version_section(&mut page)?;
    Ok(page)
}

/// Every check: level, requirement, source.
fn checks_page() -> io::Result<Vec<u8>> {
    let title = format!("{NAME}-checks");
    let version = format!("{NAME} {}", env!("CARGO_PKG_VERSION"));
    let mut page = Roff::new();
    page.control("TH", [title.as_str(), "7", "", version.as_str()]);
    // Neither stretched nor hyphenated: lines hold URLs.
    page.control("nh", []);
    page.control("ad", ["l"]);
    page.control("SH", ["NAME"]);
    page.text([roman(format!(
        "{title} - what a Kubernetes pause image is required to do"
    ))]);
    let entry = |page: &mut Roff, id: &str, level: Level, requirement: &str, source: Source| {
        page.control("TP", []);
        page.text([bold(id), italic(format!(" {level}"))]);
        page.text([roman(requirement)]);
        page.control("br", []);
        page.text([roman(format!("{}:", source.title))]);
        page.control("br", []);
        page.text([roman(source.url)]);
    };
    for family in FAMILIES {
        page.control("SH", [family.name]);
        page.text([roman(family.title)]);
        for it in family.checks {
            entry(&mut page, it.id, it.level, it.requirement, it.source);
        }
    }
    let (name, title) = OF_AUDIT;
    page.control("SH", [name]);
    page.text([roman(title)]);
    for it in conformance::node::checks::all() {
        entry(&mut page, it.id, it.level, it.requirement, it.source);
    }
    page.control("SH", ["SEE ALSO"]);
    page.text([bold(NAME), roman("(1)")]);
    let mut bytes = Vec::new();
    page.to_writer(&mut bytes)?;
    Ok(bytes)
}

/// A word and what it means.
fn term(page: &mut Roff, word: &str, meaning: &str) {
    page.control("TP", []);
    page.text([bold(word)]);
    page.text([roman(meaning)]);
}

/// The scripts, by the names under which the shells look for them.
fn completions(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for shell in SHELLS {
        let name = clap_complete::Generator::file_name(&shell, NAME);
        fs::write(folder.join(name), completion::script(shell))?;
    }
    Ok(())
}
