//! The completion scripts, asked by the shells that they are for.

use std::process::Command;

use conformance::checks::FAMILIES;
use rstest::rstest;
use tempfile::TempDir;

/// What a line ends in, and what a shell offers in place of its last word.
#[rstest]
#[case::an_option("--filter signals/term-exits", &["signals/term-exits-zero"])]
#[case::a_second_one("--image x --skip output/closed-st", &["output/closed-stdio"])]
#[case::a_format("--report jun", &["junit"])]
#[case::a_platform("--platform linux/ppc", &["linux/ppc64", "linux/ppc64le"])]
#[case::all_platforms("--platform al", &["all"])]
#[case::a_required_platform("--require-platform linux/s3", &["linux/s390x"])]
#[case::a_runtime("--runtime yo", &["youki"])]
#[case::a_minor("--kubernetes 1.34", &["1.34"])]
#[case::a_budget("--budget term_latency_p9", &["term_latency_p99="])]
#[case::explained("explain cli signals/int-ex", &["signals/int-exits-zero"])]
#[case::explained_of_a_pod("explain node/zombies", &["node/zombies-reaped"])]
#[case::listed("list --filter node/zombies", &["node/zombies-reaped"])]
#[case::a_fixture("self-test --fixture ignores-in", &["ignores-int"])]
#[case::a_check_of_fixtures("self-test --check signals/int-ex", &["signals/int-exits-zero"])]
#[case::a_format_of_an_audit("audit --report prom", &["prometheus"])]
fn what_is_known_is_offered(#[case] line: &str, #[case] expected: &[&str]) {
    for shell in SHELLS {
        shell.offers(line, expected);
    }
}

#[test]
fn no_check_and_no_family_is_missing() {
    let families = FAMILIES.iter().map(|family| family.name);
    let checks = FAMILIES.iter().flat_map(|family| family.checks.iter());
    let all: Vec<&str> = families.chain(checks.map(|check| check.id)).collect();
    for shell in SHELLS {
        shell.offers("--filter ", &all);
    }
}

/// A shell, and what prints a line for each word that it offers. It gets the completion script and
/// the line.
struct Shell {
    name: &'static str,
    options: &'static [&'static str],
    asks: &'static str,
    /// Whether it shows all that fit, not only what it inserts.
    shows_all: bool,
}

const SHELLS: [&Shell; 3] = [&BASH, &FISH, &ZSH];

static BASH: Shell = Shell {
    name: "bash",
    options: &["--norc", "-c"],
    asks: r#"
source "$1"
read -ra COMP_WORDS <<< "$2"
[[ "$2" == *' ' ]] && COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
compopt() { :; } # Bash has it only while it completes.
[[ "$(complete -p pause-conformance)" =~ -F\ ([^ ]+) ]]
"${BASH_REMATCH[1]}" pause-conformance "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
"#,
    shows_all: true,
};

static FISH: Shell = Shell {
    name: "fish",
    options: &["--no-config", "-c"],
    asks: "source $argv[2]; complete -C $argv[3]",
    shows_all: true,
};

/// It completes only on a terminal: the line is typed, and then the command prints its last word.
static ZSH: Shell = Shell {
    name: "zsh",
    options: &["-f", "-c"],
    asks: r#"
zmodload zsh/zpty
zpty terminal zsh -f -i
zpty -w terminal "PS1=; fpath=(${1:h} \$fpath); autoload -U compinit; compinit -u -D"
zpty -w terminal 'pause-conformance() { print "@${:-offers} ${@[-1]}@" }'
zpty -w -n terminal "$2"$'\t\n'
zpty -r terminal seen '*@offers *@*'
print -r -- "${${seen##*@offers }%%@*}"
"#,
    shows_all: false,
};

impl Shell {
    /// The line, completed, is one of these. What is no word of the list, such as the other options,
    /// may be offered beside an empty word.
    fn offers(&self, line: &str, expected: &[&str]) {
        let [one] = expected else {
            if self.shows_all {
                self.offers_all(line, expected);
            }
            return;
        };
        if let Some(offered) = self.ask(line) {
            assert_eq!(offered, [*one], "{}: {line}", self.name);
        }
    }

    fn offers_all(&self, line: &str, expected: &[&str]) {
        let Some(offered) = self.ask(line) else {
            return;
        };
        let sorted = |words: Vec<&str>| {
            let mut words = words;
            words.sort_unstable();
            words.join("\n")
        };
        let offered = sorted(offered.iter().map(String::as_str).collect());
        assert_eq!(offered, sorted(expected.to_vec()), "{}: {line}", self.name);
    }

    /// What it offers in place of the last word; `None` where the shell is not installed.
    fn ask(&self, line: &str) -> Option<Vec<String>> {
        if Command::new(self.name).arg("--version").output().is_err() {
            eprintln!("skipped: apt-get install {}", self.name);
            return None;
        }
        let folder = TempDir::new().expect("a folder");
        let script = folder.path().join("_pause-conformance");
        let mut suite = Command::new(env!("CARGO_BIN_EXE_pause-conformance"));
        let written = suite.args(["completions", self.name]).output();
        std::fs::write(&script, written.expect("it runs").stdout).expect("a file");
        let mut ask = Command::new("timeout");
        ask.args(["60", self.name]).args(self.options);
        ask.args([self.asks, self.name]).arg(&script);
        ask.arg(format!("pause-conformance {line}"));
        ask.env("HOME", folder.path()).env("TERM", "xterm");
        let output = ask.output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stdout);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{}: {line}: {said}{error}",
            self.name
        );
        // Fish puts a title behind a tab.
        let word = |line: &str| {
            line.split('\t')
                .next()
                .unwrap_or_default()
                .trim_end()
                .to_owned()
        };
        Some(said.lines().map(word).collect())
    }
}
