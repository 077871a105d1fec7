//! The command by which the user runs this program, and the one that shows a check again.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use super::{Judge, Runtime, TIMEOUT, emulation_name};
use crate::wasi_engine::Engine;

impl Judge {
    /// The command that shows one check of this image again, run by this, up to `--filter`: every
    /// option on which its verdict, or what that weighs, depends. A shell takes it as it is.
    pub fn reproduce(&self, image: &str, runtime: &Runtime) -> String {
        let mut words = vec![command(), "--image".to_owned(), quoted(image)];
        let mut say = |option: &str, value: &dyn AsRef<OsStr>| {
            words.extend([option.to_owned(), quoted(value)]);
        };
        for platform in &self.platforms {
            say("--platform", platform);
        }
        if let Some(minor) = self.kubernetes {
            say("--kubernetes", &minor.to_string());
        }
        for platform in &self.required_platforms {
            say("--require-platform", &platform.to_string());
        }
        if !matches!(runtime, Runtime::Embedded) {
            say("--runtime", &runtime.to_string());
        }
        if let Some(mode) = self.emulation {
            say("--emulation", &emulation_name(mode));
        }
        if let Some(programs) = self.programs.clone().or_else(programs_of_the_user) {
            say("--programs", &programs);
        }
        let engine = Engine::from(self.wasi_engine);
        if engine != Engine::Builtin {
            say("--wasi-engine", &engine.name());
        }
        if self.timeout != TIMEOUT {
            say("--timeout", &self.timeout.as_secs_f64().to_string());
        }
        if let Some(profile) = &self.profile {
            say("--profile", profile);
        }
        if let Some(file) = &self.config {
            say("--config", file);
        }
        if let Some(file) = &self.expect {
            say("--expect", file);
        }
        if let Some(baseline) = &self.baseline {
            say("--baseline", baseline);
        }
        for (set, flag) in [
            (self.insecure_registry, "--insecure-registry"),
            (self.long, "--long"),
            (self.static_only, "--static-only"),
            (self.strict, "--strict"),
            (self.require_all, "--require-all"),
        ] {
            words.extend(set.then(|| flag.to_owned()));
        }
        words.join(" ")
    }
}

/// The words by which the user runs this program.
pub fn command() -> String {
    // Set by a program that runs this one for the user, such as xtask.
    if let Ok(command) = std::env::var(COMMAND) {
        return command;
    }
    match std::env::args_os().next() {
        Some(path) if path.as_bytes().contains(&b'/') => quoted(path),
        _ => "pause-conformance".to_owned(),
    }
}

/// Names the words by which the user runs this program.
const COMMAND: &str = "PAUSE_CONFORMANCE_COMMAND";

/// What the environment says in the place of `--programs`, where the user has said it.
fn programs_of_the_user() -> Option<PathBuf> {
    if std::env::var_os(COMMAND).is_some() {
        return None;
    }
    std::env::var_os("PAUSE_CONFORMANCE_PROGRAMS").map(PathBuf::from)
}

/// As a shell takes it for one word.
fn quoted(word: impl AsRef<OsStr>) -> String {
    let bytes = word.as_ref().as_bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"@%+=:,./_-".contains(byte);
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && bytes.iter().all(plain) => text.to_owned(),
        Ok(text) if text.chars().all(crate::subject::is_plain) => {
            format!("'{}'", text.replace('\'', "'\\''"))
        }
        // What a report shows only escaped, a shell takes escaped (POSIX.1-2024, 2.2.4).
        _ => {
            let byte = |byte: &u8| match byte {
                byte if plain(byte) => char::from(*byte).to_string(),
                byte => format!("\\{byte:03o}"),
            };
            format!("$'{}'", bytes.iter().map(byte).collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_shell_takes_a_quoted_word_for_what_it_is() {
        let words = [
            "plain/word:1",
            "",
            "a b",
            "it's",
            "$HOME `id` \\ \"x\" *",
            "ü",
            "line\nline\x1b[2J",
            "~",
        ];
        for word in words {
            let script = format!("printf %s {}", quoted(word));
            let shell = std::process::Command::new("bash")
                .args(["-c", &script])
                .output()
                .expect("bash starts");
            assert_eq!(String::from_utf8_lossy(&shell.stdout), word, "{script}");
            assert!(quoted(word).chars().all(crate::subject::is_plain));
        }
    }
}
