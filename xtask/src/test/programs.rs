//! Test programs. Cargo builds them, but `cargo xtask test` runs them itself: it measures each, and
//! runs some at the same time.

use crate::cargo;
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// One test program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    /// Package and target: `conformance: matrix`.
    pub(super) name: String,
    /// Its file.
    pub(super) path: PathBuf,
    /// The folder of its package, its working directory.
    pub(super) folder: PathBuf,
}

/// Builds the test programs that `selection`, arguments of cargo, names.
pub(super) fn build(selection: &[String]) -> Result<Vec<Program>> {
    let output = cargo::command()
        .args([
            "test",
            "--no-run",
            "--message-format=json-render-diagnostics",
        ])
        .args(selection)
        .stderr(Stdio::inherit())
        .output()
        .context("run cargo test")?;
    ensure!(
        output.status.success(),
        "cargo test --no-run: {}",
        output.status
    );
    read(&String::from_utf8_lossy(&output.stdout))
}

/// The test programs among cargo's messages, one JSON object per line.
fn read(messages: &str) -> Result<Vec<Program>> {
    let mut programs = Vec::new();
    for line in messages.lines() {
        let message: Value = serde_json::from_str(line).context("read a message of cargo")?;
        if message["profile"]["test"] == true
            && let Some(path) = message["executable"].as_str()
        {
            programs.push(program(&message, path).context("read cargo's message on a program")?);
        }
    }
    programs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(programs)
}

fn program(message: &Value, path: &str) -> Option<Program> {
    let folder = Path::new(message["manifest_path"].as_str()?).parent()?;
    let package = folder.file_name()?.to_str()?;
    let target = &message["target"];
    let name = match target["kind"][0].as_str()? {
        "bin" => format!("{package}: program {}", target["name"].as_str()?),
        "test" => format!("{package}: {}", target["name"].as_str()?),
        kind => format!("{package}: {kind}"),
    };
    Some(Program {
        name,
        path: path.into(),
        folder: folder.to_owned(),
    })
}

impl Program {
    /// The command, with directory and environment as cargo sets them.
    pub(super) fn command(&self, args: &[String]) -> Command {
        let mut command = Command::new(&self.path);
        cargo::prepare(&mut command);
        command
            .args(args)
            .current_dir(&self.folder)
            // insta finds snapshots by it, and this process has that of xtask.
            .env("CARGO_MANIFEST_DIR", &self.folder)
            .env("CARGO_MANIFEST_PATH", self.folder.join("Cargo.toml"));
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGES: &str = r#"{"reason":"compiler-artifact","manifest_path":"/w/x/Cargo.toml","target":{"kind":["test"],"name":"b"},"profile":{"test":true},"executable":"/w/target/b-1"}
{"reason":"compiler-artifact","manifest_path":"/w/x/Cargo.toml","target":{"kind":["lib"],"name":"x"},"profile":{"test":false},"executable":null}
{"reason":"compiler-artifact","manifest_path":"/w/x/Cargo.toml","target":{"kind":["bin"],"name":"run"},"profile":{"test":false},"executable":"/w/target/run"}
{"reason":"compiler-artifact","manifest_path":"/w/x/Cargo.toml","target":{"kind":["bin"],"name":"run"},"profile":{"test":true},"executable":"/w/target/run-2"}
{"reason":"compiler-artifact","manifest_path":"/w/a/Cargo.toml","target":{"kind":["lib"],"name":"a"},"profile":{"test":true},"executable":"/w/target/a-3"}
{"reason":"build-finished","success":true}
"#;

    #[test]
    fn programs_of_tests_are_taken_and_named_by_package_and_target() {
        let programs = read(MESSAGES).expect("it is cargo's");
        let names: Vec<_> = programs.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["a: lib", "x: b", "x: program run"]);
        assert_eq!(programs[1].path, Path::new("/w/target/b-1"));
        assert_eq!(programs[1].folder, Path::new("/w/x"));
    }

    #[test]
    fn what_is_not_cargos_is_an_error() {
        assert!(read("error: no such package\n").is_err());
        let nameless = r#"{"profile":{"test":true},"executable":"/x"}"#;
        assert!(read(nameless).is_err());
    }

    #[test]
    fn a_program_is_run_in_the_folder_of_its_package() {
        let program = read(MESSAGES).expect("it is cargo's").remove(1);
        let command = program.command(&["one".to_owned()]);
        assert_eq!(command.get_current_dir(), Some(Path::new("/w/x")));
        assert!(command.get_args().eq(["one"]));
        let folder = command
            .get_envs()
            .find(|(name, _)| *name == "CARGO_MANIFEST_DIR");
        assert_eq!(folder.and_then(|(_, value)| value), Some("/w/x".as_ref()));
    }
}
