//! Hostile programs under the whole suite: each run ends in time and within its memory, with a
//! failed check or a clear error, and touches nothing outside.

mod common;

use std::fs;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::time::Duration;

use common::host;
use common::suite::{self, Ended};
use conformance::subject::build::{ImageBuilder, LayoutBuilder};
use fixtures::broken::hostile::ESCAPED;
use fixtures::catalogue;
use rstest::rstest;
use serde_json::{Value, json};

/// How long a run may take on an idle machine.
const TIME: Duration = Duration::from_secs(10);
/// The same, of the program whose children keep the processors of its own sandbox: some deadlines, one
/// after another, that are each put off by up to 20 s for it.
const TIME_OF_FORKS: Duration = Duration::from_secs(80);

struct Judged {
    ended: Ended,
    report: Value,
}

impl Judged {
    /// The verdict of a check.
    fn verdict(&self, id: &str) -> &str {
        let checks = self.report["runs"][0]["checks"].as_array().expect("checks");
        let check = checks.iter().find(|check| check["id"] == id);
        check.map_or("absent", |check| {
            check["verdict"].as_str().expect("a verdict")
        })
    }

    /// Ids and explanations of the checks with this verdict.
    fn with(&self, verdict: &str) -> Vec<String> {
        let checks = self.report["runs"][0]["checks"].as_array().expect("checks");
        let of = checks.iter().filter(|check| check["verdict"] == verdict);
        of.map(|check| format!("{}: {}{}", check["id"], check["observed"], check["reason"]))
            .collect()
    }
}

/// Runs all checks on a program in an image.
fn judge(program: &[u8], folder: &Path, env: &[String]) -> Judged {
    let image = ImageBuilder::pause(program, &host()).set("Env", json!(env));
    LayoutBuilder::single(&image, "3.10")
        .write(&folder.join("image"))
        .expect("writing");
    let report = folder.join("report.json");
    fs::write(&report, "").expect("writing");
    let mut command = suite::program();
    command.args(["--image", "oci:image", "--report", "json=report.json"]);
    let ended = suite::run(command, folder);
    let text = fs::read_to_string(&report).expect("a report");
    let report =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {}", ended.stderr));
    Judged { ended, report }
}

/// Where a program looks for the host: a port and the name of an abstract socket.
struct Bait {
    tcp: TcpListener,
    unix: UnixListener,
    env: [String; 2],
}

impl Bait {
    fn new(name: &str) -> Self {
        let tcp = TcpListener::bind("0.0.0.0:0").expect("a free port");
        let port = tcp.local_addr().expect("an address").port();
        let hidden = format!("pause-hostile-{}-{name}", std::process::id());
        let address = SocketAddr::from_abstract_name(&hidden).expect("a name");
        let unix = UnixListener::bind_addr(&address).expect("a socket");
        tcp.set_nonblocking(true).expect("fcntl");
        unix.set_nonblocking(true).expect("fcntl");
        let env = [
            format!("HOSTILE_PORT={port}"),
            format!("HOSTILE_NAME={hidden}"),
        ];
        Self { tcp, unix, env }
    }

    fn is_untouched(&self) -> bool {
        self.tcp.accept().is_err() && self.unix.accept().is_err()
    }
}

/// The exit status may be 0 as well, if the sandbox contains the harm and the program is a pause
/// otherwise; or 3, if the program reaches a limit of the sandbox, which leaves only its use of
/// resources undecided.
#[rstest]
#[case("forks-without-end", &[1])]
#[case("forks-behind-a-pause", &[1])]
#[case("eats-memory", &[3])]
#[case("fills-its-files", &[3])]
#[case("floods-both-outputs", &[1])]
#[case("ignores-everything", &[1])]
#[case("never-ready", &[1])]
#[case("mounts-over-the-host", &[1])]
#[case("gives-its-parent-children", &[0, 1])]
#[case("floods-its-parent-with-children", &[0, 1])]
#[case("hides-in-its-own-mounts", &[1])]
#[case("reaches-the-network", &[0, 1])]
#[case("signals-the-suite", &[0, 1])]
#[case("kills-the-others", &[1])]
#[case("stops-the-others", &[1])]
#[case("lies-for-the-probe", &[1])]
#[case("lies-in-its-name", &[0, 1])]
fn a_hostile_program_is_judged_and_nothing_else_happens(
    #[case] name: &str,
    #[case] statuses: &[i32],
) {
    let folder = suite::folder(&format!("hostile-{name}"));
    let fixture = catalogue::hostile()
        .find(|it| it.name == name)
        .expect("a fixture");
    let program = fixture
        .build(conformance::programs::FIXTURE)
        .expect("one stamp");
    let bait = Bait::new(name);
    let hostname = rustix::system::uname().nodename().to_owned();
    let judged = judge(&program, &folder, &bait.env);

    let Ended {
        status, took, peak, ..
    } = judged.ended;
    eprintln!("{name}: status {status:?} in {took:?}, {} MiB", peak >> 20);
    for verdict in ["fail", "error", "inconclusive"] {
        eprintln!("  {verdict}: {:#?}", judged.with(verdict));
    }
    for id in fixture.breaks {
        assert_eq!(judged.verdict(id), "fail", "{id} on {name}");
    }
    assert!(
        status.is_some_and(|status| statuses.contains(&status)),
        "{status:?}"
    );
    // The others reach limits of the sandbox or of the host.
    if statuses.contains(&0) || fixture.breaks == ["pid1/owns-namespace"] {
        assert_eq!(judged.with("error"), [""; 0], "{name}");
    }
    let escaped = format!("exited {ESCAPED}");
    assert!(
        !judged.report.to_string().contains(&escaped),
        "{name} got out"
    );
    assert!(bait.is_untouched(), "{name} got out");
    assert_eq!(rustix::system::uname().nodename(), &*hostname);
    let time = if name == "forks-behind-a-pause" {
        TIME_OF_FORKS
    } else {
        TIME
    };
    assert!(
        took <= time || took <= time.mul_f64(2.0 * suite::load()),
        "{took:?}"
    );
}

#[test]
fn an_entrypoint_may_repeat_the_command_of_the_suite() {
    let folder = suite::folder("hostile-repeats-the-command");
    let words = ["--image", "oci:image", "--filter", "startup/stays"];
    let entrypoint: Vec<_> = ["/pause"].into_iter().chain(words).collect();
    let image = ImageBuilder::pause(conformance::programs::REFERENCE, &host())
        .set("Entrypoint", json!(entrypoint));
    LayoutBuilder::single(&image, "3.10")
        .write(&folder.join("image"))
        .expect("writing");
    let mut command = suite::program();
    command.arg0("/pause").args(words);
    let ended = suite::run(command, &folder);
    assert_eq!(ended.status, Some(0), "{}{}", ended.stdout, ended.stderr);
}

#[test]
fn every_hostile_fixture_is_judged() {
    let cases = include_str!("hostile_programs.rs");
    for fixture in catalogue::hostile() {
        assert!(
            cases.contains(&format!("#[case(\"{}\", ", fixture.name)),
            "{}",
            fixture.name
        );
    }
}
