//! The suite on other kernels, with only cgroup v2: Linux 6.1 of Debian 12, and in the long form, with
//! `PAUSE_CONFORMANCE_KERNELS=all`, Linux 5.10 of Debian 11, which is too old. Each runs in a virtual machine without
//! acceleration, which boots in a second and takes half a minute for all this.
//!
//! The machine's first process is `init.sh`. For each command it prints a line before it, and one
//! with its exit status after it; each trial judges one command.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::{Arguments, Failed, Trial};

/// The package whose newest kernel is booted.
const PACKAGE: &str = "linux-image-amd64";

/// A kernel, and the release of Debian with it where that is not this machine's.
struct Kernel {
    name: &'static str,
    release: Option<&'static str>,
    is_too_old: bool,
}

const KERNELS: [Kernel; 2] = [
    Kernel {
        name: "Linux of this release",
        release: None,
        is_too_old: false,
    },
    Kernel {
        name: "Linux 5.10",
        release: Some("bullseye"),
        is_too_old: true,
    },
];

const NEEDED: &str = "qemu-system-x86, busybox-static and dpkg-deb";

/// Seconds after which a machine that has not powered off is killed. It takes a tenth of that with
/// an emulated processor on a loaded host.
const PATIENCE: &str = "600";

/// The kernel's arguments. An emulated processor leaks nothing to mitigate, and keeps its time.
const ARGUMENTS: &str = "console=ttyS0 panic=-1 loglevel=1 mitigations=off tsc=reliable";

/// The fixtures that are judged there.
const FIXTURES: [&str; 2] = ["needs-16-mib", "needs-a-second-pid"];

/// The output and exit status of a command in the machine.
struct Ended {
    output: String,
    status: i32,
}

type Results = BTreeMap<String, Ended>;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let wanted = |trial: &Trial| {
        let named = |filter: &String| trial.name().contains(filter.as_str());
        arguments.filter.as_ref().is_none_or(named)
    };
    let all = std::env::var_os("PAUSE_CONFORMANCE_KERNELS").is_some_and(|value| value == "all");
    let mut trials = Vec::new();
    for kernel in &KERNELS {
        let of = |results: &Arc<Results>, ignored| trials_on(kernel, results, ignored);
        let is_asked = kernel.release.is_none() || all;
        let ignored = of(&Arc::default(), true);
        if arguments.list || !is_asked || !ignored.iter().any(wanted) {
            trials.extend(ignored);
            continue;
        }
        trials.extend(match boot(kernel) {
            Ok(results) => of(&Arc::new(results), false),
            Err(error) if std::env::var_os("CI").is_none() => {
                eprintln!(
                    "no virtual machine: {error:#}\n  it takes {NEEDED}, and apt-get download {PACKAGE}"
                );
                ignored
            }
            Err(error) => {
                eprintln!("error: no virtual machine: {error:#}");
                return ExitCode::FAILURE;
            }
        });
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trials_on(kernel: &Kernel, results: &Arc<Results>, ignored: bool) -> Vec<Trial> {
    let trial = |name: &str, judge: fn(&Results) -> Result<(), Failed>| {
        let results = Arc::clone(results);
        let name = format!("{}: {name}", kernel.name);
        Trial::test(name, move || judge(&results)).with_ignored_flag(ignored)
    };
    if kernel.is_too_old {
        return vec![trial("it is said that the kernel is too old", |results| {
            let ran = of(results, "root")?;
            has(&ran.output, "the kernel is older than Linux 5.12")?;
            ended(ran, 2)
        })];
    }
    vec![
        trial("root is limited by cgroup v2, and judges", |results| {
            conformant(results, "root").and_then(|output| lacks(output, "may make no"))
        }),
        trial("a root that cannot be pivoted is moved", |results| {
            conformant(results, "initramfs").map(drop)
        }),
        trial("a memory limit of cgroup v2 holds", |results| {
            let ran = of(results, "needs-16-mib")?;
            has(&ran.output, "startup/tiny-memory")?;
            ended(ran, 1)
        }),
        trial("a limit on processes of cgroup v2 holds", |results| {
            // A SHOULD does not change the status.
            let ran = of(results, "needs-a-second-pid")?;
            has(&ran.output, "startup/one-pid")?;
            ended(ran, 0)
        }),
        trial("a user with a delegated cgroup has limits", |results| {
            conformant(results, "delegated").and_then(|output| lacks(output, "may make no"))
        }),
        trial("a user without one judges without limits", |results| {
            let output = conformant(results, "user")?;
            has(output, "this user may make no memory cgroup here")
        }),
        trial("a killed suite leaves nothing", |results| {
            let ran = of(results, "killed")?;
            if ran.output.trim() == "running\nkilled" {
                return Ok(());
            }
            Err(format!("left behind: {}", ran.output).into())
        }),
    ]
}

fn of<'a>(results: &'a Results, name: &str) -> Result<&'a Ended, Failed> {
    let missing = || format!("the machine results nothing of {name}");
    results.get(name).ok_or_else(|| missing().into())
}

fn conformant<'a>(results: &'a Results, name: &str) -> Result<&'a str, Failed> {
    let ran = of(results, name)?;
    ended(ran, 0)?;
    Ok(&ran.output)
}

fn ended(ran: &Ended, status: i32) -> Result<(), Failed> {
    if ran.status == status {
        return Ok(());
    }
    Err(format!("status {}, not {status}:\n{}", ran.status, ran.output).into())
}

fn has(output: &str, words: &str) -> Result<(), Failed> {
    if output.contains(words) {
        return Ok(());
    }
    Err(format!("without {words:?}:\n{output}").into())
}

fn lacks(output: &str, words: &str) -> Result<(), Failed> {
    if !output.contains(words) {
        return Ok(());
    }
    Err(format!("with {words:?}:\n{output}").into())
}

/// Boots a machine. Returns its results when it has powered off.
fn boot(kernel: &Kernel) -> Result<Results> {
    let kernel = image(kernel.release)?;
    let folder = tempfile::tempdir()?;
    let initramfs = folder.path().join("initramfs");
    pack(&tree(folder.path())?, &initramfs)?;
    let output = Command::new("timeout")
        .args(["--kill-after=5", PATIENCE, "qemu-system-x86_64"])
        .args(["-accel", "tcg,thread=multi", "-cpu", "max"])
        .args(["-smp", "2", "-m", "2048", "-nographic", "-no-reboot"])
        .args(["-nic", "none", "-monitor", "none", "-serial", "stdio"])
        .args(["-append", ARGUMENTS])
        .arg("-kernel")
        .arg(&kernel)
        .arg("-initrd")
        .arg(&initramfs)
        .stdin(Stdio::null())
        .output()
        .context("run qemu-system-x86_64")?;
    let console = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    ensure!(
        output.status.success() && console.contains("@end"),
        "the machine ended with {}, having said:\n{console}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr),
    );
    Ok(parse(&console))
}

fn parse(console: &str) -> Results {
    let mut results = Results::new();
    let mut begun: Option<(&str, String)> = None;
    for line in console.lines() {
        // The firmware's escape sequences may precede the first line.
        if let Some((_, name)) = line.split_once("@begin ") {
            begun = Some((name, String::new()));
        } else if let Some(status) = line.strip_prefix("@status ") {
            if let (Some((name, output)), Ok(status)) = (begun.take(), status.parse()) {
                results.insert(name.to_owned(), Ended { output, status });
            }
        } else if let Some((_, output)) = &mut begun {
            output.push_str(line);
            output.push('\n');
        }
    }
    results
}

/// The image of a release's newest kernel, which is downloaded once.
fn image(release: Option<&str>) -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kernel");
    let folder = release.map_or_else(|| folder.clone(), |release| folder.join(release));
    let kernel = folder.join("vmlinuz");
    if kernel.exists() {
        return Ok(kernel);
    }
    fs::create_dir_all(&folder)?;
    let options = release.map(|release| other_release(release, &folder));
    let options = options.transpose()?.unwrap_or_default();
    let apt = |program: &str, words: &[&str]| {
        let mut command = Command::new(program);
        printed(command.args(&options).args(words).current_dir(&folder))
    };
    if release.is_some() {
        apt("apt-get", &["update"])?;
    }
    let depends = apt("apt-cache", &["depends", PACKAGE])?;
    let name = depends
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: "))
        .with_context(|| format!("apt knows no {PACKAGE}"))?;
    apt("apt-get", &["download", "--quiet", name])?;
    let package = fs::read_dir(&folder)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|it| it == "deb"))
        .context("no package was fetched")?;
    let script = "dpkg-deb --fsys-tarfile \"$1\" | tar -xO --wildcards './boot/vmlinuz-*' > new";
    let unpack = ["-c", script, "sh"];
    printed(
        Command::new("sh")
            .args(unpack)
            .arg(&package)
            .current_dir(&folder),
    )?;
    fs::remove_file(&package)?;
    fs::rename(folder.join("new"), &kernel)?;
    Ok(kernel)
}

/// The options by which apt knows this release alone, of the archive that this machine uses, and
/// keeps what it reads below `folder`.
fn other_release(release: &str, folder: &Path) -> Result<Vec<String>> {
    let words = [
        "indextargets",
        "--format",
        "$(REPO_URI)",
        "Created-By: Packages",
    ];
    let archives = printed(Command::new("apt-get").args(words))?;
    let archive = archives
        .lines()
        .find(|uri| !uri.contains("security"))
        .context("apt has no archive of Debian's")?;
    let sources = folder.join("sources.list");
    let key = "/usr/share/keyrings/debian-archive-keyring.gpg";
    fs::write(
        &sources,
        format!("deb [signed-by={key}] {archive} {release} main\n"),
    )?;
    let [lists, cache] = ["lists", "cache"].map(|name| folder.join(name));
    fs::create_dir_all(lists.join("partial"))?;
    fs::create_dir_all(cache.join("archives/partial"))?;
    let settings = [
        format!("Dir::Etc::sourcelist={}", sources.display()),
        "Dir::Etc::sourceparts=/dev/null".to_owned(),
        format!("Dir::State::lists={}", lists.display()),
        format!("Dir::Cache={}", cache.display()),
    ];
    let options = settings.into_iter().flat_map(|it| ["-o".to_owned(), it]);
    Ok(options.collect())
}

/// The files of the machine: the suite with its libraries, programs to judge, busybox.
fn tree(folder: &Path) -> Result<PathBuf> {
    let root = folder.join("root");
    for name in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
        fs::create_dir_all(root.join(name))?;
    }
    let program = |name: &str, bytes: &[u8]| -> io::Result<()> {
        let path = root.join(name);
        fs::write(&path, bytes)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
    };
    let suite = Path::new(env!("CARGO_BIN_EXE_pause-conformance"));
    program("suite", &fs::read(suite)?)?;
    program("init", include_bytes!("init.sh"))?;
    program("pause", conformance::programs::REFERENCE)?;
    for name in FIXTURES {
        let fixture = fixtures::all()
            .find(|fixture| fixture.name == name)
            .with_context(|| format!("no fixture is called {name}"))?;
        program(name, &fixture.build(conformance::programs::FIXTURE)?)?;
    }
    let busybox = Path::new("/bin/busybox");
    program("bin/busybox", &fs::read(busybox).context("read busybox")?)?;
    // The list is empty for a static program.
    let libraries = printed(Command::new("ldd").arg(suite)).unwrap_or_default();
    for library in libraries
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
    {
        let path = library.trim_start_matches('/');
        if let Some(parent) = Path::new(path).parent() {
            fs::create_dir_all(root.join(parent))?;
        }
        program(path, &fs::read(library)?)?;
    }
    Ok(root)
}

/// Writes a tree in the kernel's format (initramfs buffer format).
fn pack(tree: &Path, to: &Path) -> Result<()> {
    let script = "find . | busybox cpio -o -H newc | gzip -1";
    let packed = Command::new("sh")
        .args(["-c", script])
        .current_dir(tree)
        .stderr(Stdio::null())
        .output()
        .context("run busybox")?;
    ensure!(packed.status.success(), "busybox cpio: {}", packed.status);
    Ok(fs::File::create(to)?.write_all(&packed.stdout)?)
}

/// The output of a command, which must succeed.
fn printed(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("run {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{command:?}: {}: {said}",
        output.status
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
