//! The command line as shells complete it: with the ids, families, formats, platforms and names that
//! are known. Its parser takes them as words, whose faults have messages of their own.

use clap::builder::PossibleValue;
use clap::{Arg, Command, CommandFactory as _, ValueEnum, ValueHint};
use clap_complete::Shell;

use crate::budget::Budget;
use crate::catalogue::OF_AUDIT;
use crate::checks::FAMILIES;
use crate::cli::{AuditFormat, Cli, Runtime};
use crate::kubernetes::Minor;
use crate::report::spec::Format;

const NAME: &str = "pause-conformance";

/// The script by which a shell completes the command line, with faults of clap_complete's mended.
pub fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), NAME, &mut script);
    let script = String::from_utf8_lossy(&script);
    match shell {
        // Of a name with a dash a subcommand is chosen by one word and looked for by another.
        Shell::Bash => script.replace("pause__subcmd__conformance", "pause__conformance"),
        Shell::Fish => for_fish(&script),
        // After a subcommand the program's options of the same name would be completed.
        Shell::Zsh => script.replacen("_arguments \"", "_arguments -A \"-*\" \"", 1),
        _ => script.into_owned(),
    }
}

/// Argparse takes an option that is still without its value for an error, and then nothing is
/// completed; of arguments that are no options nothing is known.
fn for_fish(script: &str) -> String {
    const PARSES: &str = "argparse -s (__fish_pause_conformance_global_optspecs) --";
    let parses = format!("{PARSES} $cmd 2>/dev/null\n");
    let tolerant = format!("{parses}    or {PARSES} $cmd[1..-2] 2>/dev/null\n");
    let ids: Vec<_> = of_all().iter().map(|it| it.get_name().to_owned()).collect();
    format!(
        "{}complete -c {NAME} -n \"__fish_pause_conformance_using_subcommand explain\" -f -a \"{}\"\n",
        script.replace(&parses, &tolerant),
        ids.join(" ")
    )
}

/// The command of which a completion script is made; it parses nothing.
fn command() -> Command {
    let platforms = || with(platforms());
    Cli::command()
        .mut_arg("filters", with(of_images()))
        .mut_arg("skips", with(of_images()))
        .mut_arg(
            "platforms",
            with([words(["all"]), self::platforms()].concat()),
        )
        .mut_arg("required_platforms", platforms())
        .mut_arg("runtimes", with(words(Runtime::names())))
        .mut_arg("kubernetes", with(minors()))
        .mut_arg("budgets", |arg| {
            let names = made(Budget::names().map(|name| format!("{name}=")));
            // A limit follows at once.
            with(names)(arg).value_hint(ValueHint::Other)
        })
        .mut_arg("reports", with(variants::<Format>()))
        .mut_subcommand("list", |list| {
            let of_all = || with(of_all());
            list.mut_arg("filters", of_all()).mut_arg("skips", of_all())
        })
        .mut_subcommand("explain", |it| it.mut_arg("ids", with(of_all())))
        .mut_subcommand("self-test", |it| {
            let fixtures = crate::self_test::trials().map(crate::self_test::Trial::name);
            it.mut_arg("checks", with(of_images()))
                .mut_arg("fixtures", with(words(fixtures)))
        })
        .mut_subcommand("audit", |it| {
            it.mut_arg("kubernetes", with(minors()))
                .mut_arg("reports", with(variants::<AuditFormat>()))
        })
}

/// Has a shell offer these.
fn with(values: Vec<PossibleValue>) -> impl FnOnce(Arg) -> Arg {
    |arg| arg.value_parser(clap::builder::PossibleValuesParser::new(values))
}

fn words(words: impl IntoIterator<Item = &'static str>) -> Vec<PossibleValue> {
    words.into_iter().map(PossibleValue::new).collect()
}

/// Clap keeps only words that live as long as the program, which ends when it has printed them.
fn made(made: impl Iterator<Item = String>) -> Vec<PossibleValue> {
    words(made.map(|word| &*word.leak()))
}

fn variants<T: ValueEnum>() -> Vec<PossibleValue> {
    let all = T::value_variants().iter();
    all.filter_map(ValueEnum::to_possible_value).collect()
}

/// Families of checks and their ids, with titles.
fn of_images() -> Vec<PossibleValue> {
    let families = FAMILIES.iter().flat_map(|family| {
        let checks = family.checks.iter().map(|check| (check.id, check.title));
        std::iter::once((family.name, family.title)).chain(checks)
    });
    families.map(titled).collect()
}

/// Also those of pods that run.
fn of_all() -> Vec<PossibleValue> {
    let of_pods = crate::node::checks::all().map(|check| (check.id, check.title));
    let of_pods = std::iter::once(OF_AUDIT).chain(of_pods).map(titled);
    of_images().into_iter().chain(of_pods).collect()
}

fn titled((word, title): (&'static str, &'static str)) -> PossibleValue {
    PossibleValue::new(word).help(title)
}

fn platforms() -> Vec<PossibleValue> {
    let known = pause_image::architecture::ALL.iter();
    made(known.map(|it| format!("linux/{}", it.name)))
}

fn minors() -> Vec<PossibleValue> {
    made(Minor::all().map(|minor| minor.to_string()))
}
