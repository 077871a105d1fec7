//! The files for CI servers, with their scripts run as those servers run them, by the real program.

#[path = "../../conformance/tests/common/script.rs"]
mod script;

use rstest::rstest;
use serde_yaml_ng::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;
use xtask::{conformance, image, platform};

/// The program, and a folder with a pause in it and its image.
struct Prepared {
    program: PathBuf,
    folder: PathBuf,
}

fn prepared() -> &'static Prepared {
    static PREPARED: OnceLock<Prepared> = OnceLock::new();
    PREPARED.get_or_init(|| {
        // Nothing is dropped that is kept for all tests: it stays in the target's folder.
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ci");
        std::fs::create_dir_all(&folder).expect("a folder");
        let host = platform::host().expect("a row for this machine");
        image::write(&[host], &folder).expect("it can be built here");
        Prepared {
            program: conformance::suite().expect("it can be built here"),
            folder,
        }
    })
}

fn image() -> String {
    format!("oci:{}", prepared().folder.join("oci").display())
}

fn read(name: &str) -> String {
    std::fs::read_to_string(xtask::workspace().join(name)).expect("the project has it")
}

fn parse(name: &str) -> Value {
    serde_yaml_ng::from_str(&read(name)).expect("it is YAML")
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

fn said(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
    format!("{}\n{out}{err}", output.status)
}

/// A folder that is a job's, without what this process was given.
fn command(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.env_clear().env("PATH", path).current_dir(folder);
    command.stdin(Stdio::null());
    command
}

/// GitHub's runner, as far as this action uses it.
struct Runner {
    folder: TempDir,
    inputs: Vec<(String, String)>,
    /// Where programs are found, if not where this test finds them.
    path: Option<String>,
}

impl Runner {
    /// With the inputs that a workflow gives, and the defaults of all others.
    fn new(given: &[(&str, &str)]) -> Self {
        let action = parse(ACTION);
        let declared = action["inputs"].as_mapping().expect("inputs");
        for (name, _) in given {
            assert!(declared.contains_key(*name), "there is no input {name}");
        }
        let inputs = declared.iter().map(|(name, input)| {
            let name = text(name);
            let given = given.iter().find(|(it, _)| *it == name);
            let value = given.map(|(_, value)| (*value).to_owned());
            let default = || input.get("default").map(text).unwrap_or_default();
            (name, value.unwrap_or_else(default))
        });
        Self {
            inputs: inputs.collect(),
            folder: TempDir::new().expect("a folder"),
            path: None,
        }
    }

    fn value(&self, expression: &str) -> String {
        if expression == "runner.environment" {
            return "self-hosted".to_owned();
        }
        let name = expression.strip_prefix("inputs.").expect("an input");
        let found = self.inputs.iter().find(|(it, _)| it == name);
        found.expect("it is declared").1.clone()
    }

    /// `NAME == 'VALUE'`, which is all that the action's conditions are.
    fn holds(&self, condition: &str) -> bool {
        let (name, value) = condition.split_once(" == ").expect("a comparison");
        self.value(name) == value.trim_matches('\'')
    }

    /// Runs the steps up to the first that fails. Returns what the last one said.
    fn run(&self) -> Output {
        let action = parse(ACTION);
        assert_eq!(action["runs"]["using"], "composite");
        let mut last = None;
        for step in action["runs"]["steps"].as_sequence().expect("steps") {
            let skipped = step.get("if").is_some_and(|it| !self.holds(&text(it)));
            if skipped {
                continue;
            }
            assert_eq!(step["shell"], "bash");
            let script = self.folder.path().join("script.sh");
            std::fs::write(&script, text(&step["run"])).expect("a file");
            // As the documentation of `shell: bash` has it.
            let mut bash = command("bash", self.folder.path());
            bash.args(["--noprofile", "--norc", "-eo", "pipefail"])
                .arg(&script);
            for (name, file) in [
                ("GITHUB_OUTPUT", "output"),
                ("GITHUB_STEP_SUMMARY", "summary"),
            ] {
                bash.env(name, self.folder.path().join(file));
            }
            bash.env("RUNNER_TEMP", self.folder.path());
            let action = xtask::workspace().join(ACTION);
            bash.env("GITHUB_ACTION_PATH", action.parent().expect("a folder"));
            bash.env("GITHUB_ACTIONS", "true");
            if let Some(path) = &self.path {
                bash.env("PATH", path);
            }
            for (name, value) in step["env"].as_mapping().into_iter().flatten() {
                let value = text(value);
                let expression = value
                    .strip_prefix("${{ ")
                    .and_then(|it| it.strip_suffix(" }}"));
                bash.env(text(name), self.value(expression.expect("an expression")));
            }
            let output = bash.output().expect("bash is there");
            let failed = !output.status.success();
            last = Some(output);
            if failed {
                break;
            }
        }
        last.expect("a step was run")
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }
}

const ACTION: &str = ".github/actions/pause-conformance/action.yml";

#[test]
fn the_action_passes_a_sound_image_and_writes_what_was_asked_for() {
    let program = prepared().program.display().to_string();
    let host = format!("linux/{}", platform::host().expect("a platform").name);
    let runner = Runner::new(&[
        ("image", &image()),
        ("platforms", &format!("{host}\n")),
        ("baseline", &image()),
        ("reports", "junit=a b.xml\njson=report.json\n"),
        ("arguments", "--static-only"),
        ("program", &program),
    ]);
    let output = runner.run();
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(runner.file("output"), "status=0\n");
    assert!(
        runner.file("summary").contains("| "),
        "{}",
        runner.file("summary")
    );
    assert!(runner.file("a b.xml").contains("<testsuite"));
    assert!(runner.file("report.json").contains("\"baseline\""));
}

#[rstest]
#[case::not_conformant(&["--static-only", "--require-platform", "linux/s390x"], "false", 1)]
#[case::not_judged(&["--filter", "no-such-family"], "false", 64)]
#[case::wrong_input(&[], "yes", 64)]
fn the_action_fails_with_the_status_of_the_program(
    #[case] arguments: &[&str],
    #[case] strict: &str,
    #[case] expected: i32,
) {
    let runner = Runner::new(&[
        ("image", &image()),
        ("strict", strict),
        ("arguments", &arguments.join("\n")),
        ("program", &prepared().program.display().to_string()),
    ]);
    let output = runner.run();
    assert_eq!(output.status.code(), Some(expected), "{}", said(&output));
    if expected == 1 {
        assert_eq!(runner.file("output"), "status=1\n");
        assert!(said(&output).contains("::error"), "{}", said(&output));
    }
}

/// Cargo is one that copies: a build takes minutes, and others test it.
#[test]
fn the_action_builds_the_program_where_none_is_given() {
    let mut runner = Runner::new(&[("image", &image()), ("arguments", "--static-only")]);
    let tools = runner.folder.path().join("tools");
    std::fs::create_dir(&tools).expect("a folder");
    let cargo = format!(
        "#!/bin/sh -eu\n\
         test \"$1 $2 $3 $4\" = 'install --quiet --locked --root'\n\
         test \"$6\" = --path && grep -q 'name = \"pause-conformance\"' \"$7/Cargo.toml\"\n\
         mkdir -p \"$5/bin\" && cp '{}' \"$5/bin\"\n",
        prepared().program.display()
    );
    script::write(&tools.join("cargo"), &cargo);
    let path = std::env::var("PATH").unwrap_or_default();
    runner.path = Some(format!("{}:{path}", tools.display()));
    let output = runner.run();
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(runner.file("output"), "status=0\n");
}

/// A pull request may choose the names of its files.
#[test]
fn what_a_caller_writes_is_not_executed() {
    let hostile = "oci:$(touch pwned)`touch pwned`; touch pwned #";
    let runner = Runner::new(&[
        ("image", hostile),
        ("platforms", "$(touch pwned)"),
        ("arguments", "--filter=$(touch pwned)"),
        ("program", &prepared().program.display().to_string()),
    ]);
    let output = runner.run();
    assert!(!output.status.success());
    assert!(
        !runner.folder.path().join("pwned").exists(),
        "{}",
        said(&output)
    );
    let steps = parse(ACTION);
    for step in steps["runs"]["steps"].as_sequence().expect("steps") {
        assert!(
            !text(&step["run"]).contains("${{"),
            "it would be text of the script"
        );
    }
}

#[test]
fn the_template_for_gitlab_writes_the_reports_that_it_names() {
    let template = parse(".gitlab/pause-conformance.yml");
    let job = &template[".pause-conformance"];
    let folder = TempDir::new().expect("a folder");
    let script: Vec<String> = job["script"]
        .as_sequence()
        .expect("lines")
        .iter()
        .map(text)
        .collect();
    let mut shell = command("sh", folder.path());
    shell.args(["-e", "-c", &script.join("\n")]);
    for (name, value) in job["variables"].as_mapping().expect("variables") {
        shell.env(text(name), text(value));
    }
    shell
        .env("PAUSE_IMAGE", image())
        .env("PAUSE_ARGUMENTS", "--static-only");
    let output = with_program_in_path(&mut shell)
        .output()
        .expect("sh is there");
    assert!(output.status.success(), "{}", said(&output));
    let reports = job["artifacts"]["reports"].as_mapping().expect("reports");
    assert_eq!(reports.len(), 2);
    for name in reports.values() {
        let report = std::fs::read_to_string(folder.path().join(text(name)));
        let report = report.expect("it was written");
        assert!(report.starts_with(['<', '[']), "{report}");
    }
}

#[test]
fn the_task_for_tekton_judges() {
    let task = parse(".tekton/pause-conformance.yaml");
    let [step] = &task["spec"]["steps"].as_sequence().expect("steps")[..] else {
        panic!("one step");
    };
    let folder = TempDir::new().expect("a folder");
    assert_eq!(step["command"][0], "/pause-conformance");
    let image = image();
    let mut judge = command(&prepared().program.display().to_string(), folder.path());
    for argument in step["args"].as_sequence().expect("arguments") {
        match text(argument).as_str() {
            "$(params.image)" => judge.arg(&image),
            "$(params.arguments[*])" => judge.arg("--static-only"),
            word => {
                assert!(!word.contains("$("), "{word}");
                judge.arg(word)
            }
        };
    }
    let output = judge.output().expect("it starts");
    assert!(output.status.success(), "{}", said(&output));
    assert!(folder.path().join("pause-junit.xml").exists());
}

/// The pipeline in the page is what a reader copies.
#[test]
fn the_pipeline_for_jenkins_runs() {
    let page = read("conformance/docs/CI.md");
    let (_, rest) = page.split_once("sh '''").expect("a script");
    let (script, rest) = rest.split_once("'''").expect("it ends");
    assert!(rest.contains("junit 'pause-junit.xml'"));
    let folder = TempDir::new().expect("a folder");
    let layout = prepared().folder.join("pause.oci.tar");
    std::fs::copy(layout, folder.path().join("pause.tar")).expect("a copy");
    let mut shell = command("sh", folder.path());
    shell.args(["-xe", "-c", script]);
    let output = with_program_in_path(&mut shell)
        .output()
        .expect("sh is there");
    assert!(output.status.success(), "{}", said(&output));
    assert!(folder.path().join("pause-junit.xml").exists());
}

/// A page names an input, a variable or a parameter only if the file has it.
#[test]
fn the_page_names_what_the_files_have() {
    let page = read("conformance/docs/CI.md");
    let action = parse(ACTION);
    for input in action["inputs"].as_mapping().expect("inputs").keys() {
        assert!(page.contains(&format!("`{}`", text(input))), "{input:?}");
    }
    let template = parse(".gitlab/pause-conformance.yml");
    let variables = template[".pause-conformance"]["variables"].as_mapping();
    for variable in variables.expect("variables").keys() {
        assert!(
            page.contains(&format!("`{}`", text(variable))),
            "{variable:?}"
        );
    }
    let task = parse(".tekton/pause-conformance.yaml");
    for parameter in task["spec"]["params"].as_sequence().expect("parameters") {
        assert!(page.contains(&format!("`{}`", text(&parameter["name"]))));
    }
}

fn with_program_in_path(command: &mut Command) -> &mut Command {
    let folder = prepared().program.parent().expect("a folder");
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", folder.display()))
}
