//! All reports of an audit, by parsers that are not ours.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use conformance::event::Verdict;
use conformance::node::merge::Matrix;
use conformance::node::model::Audit;
use conformance::node::watch;
use conformance::report::audit::{json, markdown, matrix, prometheus, table};
use serde_json::Value;

use crate::tree::{Process, Tree};
use crate::{audit, with_verdict};

/// A node with a sound pod, one whose pause does not reap, and hostile names.
fn node() -> Tree {
    let bad = Process {
        name: "a\"b\\c|<i>",
        ..Process::member(201, 2, 1)
    };
    let zombie = Process::zombie(202, 200, &Process::pause(200, 2));
    let own = Process::zombie(203, 201, &bad);
    Tree::of(&[
        Process::pause(100, 1),
        Process::member(101, 1, 1),
        Process::pause(200, 2),
        bad,
        zombie,
        own,
    ])
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pause-conformance"));
    // Nobody else of this machine is asked.
    command
        .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
        .env("CONTAINER_HOST", "unix:///nonexistent/podman.sock")
        .env("CONTAINER_RUNTIME_ENDPOINT", "/nonexistent/cri.sock")
        .stdin(Stdio::null());
    command
}

fn run(tree: &Tree, arguments: &[&str]) -> Output {
    let mut command = program();
    command.args(["audit", "--proc"]).arg(tree.path());
    command.args(arguments).output().expect("it starts")
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

#[test]
fn the_exit_status_is_that_of_the_verdict() {
    let faulty = run(&node(), &[]);
    assert_eq!(faulty.status.code(), Some(1), "{faulty:?}");
    let sound = Tree::of(&[Process::pause(100, 1)]);
    assert_eq!(run(&sound, &[]).status.code(), Some(0));
    let warns = Tree::of(&[Process {
        threads: 2,
        ..Process::pause(100, 1)
    }]);
    assert_eq!(run(&warns, &[]).status.code(), Some(0));
    assert_eq!(run(&warns, &["--strict"]).status.code(), Some(1));
    assert_eq!(run(&sound, &["--pod", "none"]).status.code(), Some(2));
    assert_eq!(run(&sound, &["--report", "xml"]).status.code(), Some(64));
    let named = run(&sound, &["--cri", "/nonexistent/cri.sock"]);
    assert_eq!(named.status.code(), Some(2));
    let said = String::from_utf8_lossy(&named.stderr).into_owned();
    assert!(said.contains("/nonexistent/cri.sock"), "{said}");
    let mut nowhere = program();
    let nowhere = nowhere.args(["audit", "--proc", "/nonexistent"]).output();
    assert_eq!(nowhere.expect("it starts").status.code(), Some(2));
}

#[test]
fn descriptors_are_as_many_as_may_be_and_fewer_judge_nothing_wrong() {
    let pauses = (1..=60).map(|pod| Process::pause(pod * 100, pod.unsigned_abs()));
    let tree = Tree::of(&pauses.collect::<Vec<_>>());
    let limited = |limit: &str| {
        let mut shell = Command::new("sh");
        let script = format!("ulimit {limit} && exec \"$0\" \"$@\"");
        shell.args(["-c", &script]).arg(program().get_program());
        shell
            .args(["audit", "--report", "json", "--proc"])
            .arg(tree.path());
        for (name, value) in program().get_envs() {
            shell.env(name, value.unwrap_or_default());
        }
        let output = shell.output().expect("a shell");
        let audit: Audit = serde_json::from_slice(&output.stdout).expect("a report");
        assert_eq!(output.status.code(), Some(0), "{:?}", audit.notes);
        audit
    };
    let seen = |audit: &Audit| audit.pods.iter().filter(|pod| pod.pause.is_some()).count();
    let soft = limited("-S -n 80");
    assert_eq!((seen(&soft), soft.notes.len()), (60, 0), "{:?}", soft.notes);
    let hard = limited("-n 80");
    assert_eq!((seen(&hard), hard.pods.len()), (16, 60));
    let notes = hard.notes.join("\n");
    assert!(notes.contains("RLIMIT_NOFILE is 80"), "{notes}");
    assert_eq!(with_verdict(&hard, Verdict::Fail), Vec::<&str>::new());
}

#[test]
fn the_table_names_what_is_wrong_and_how_it_is_mended() {
    let text = text(&run(&node(), &[]));
    for words in [
        "POD",
        "ZOMBIES",
        "1 the pause's, 1 a container's",
        "[node/zombies-reaped, MUST]",
        "pid 202 (probe)",
        "mend",
        "docker at /nonexistent/docker.sock does not answer",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn the_catalogue_has_them_and_no_image_is_judged_by_them() {
    let says = |arguments: &[&str]| {
        let output = program().args(arguments).output().expect("it starts");
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).expect("text"))
    };
    let (status, list) = says(&["list"]);
    assert_eq!(status, Some(0), "{list}");
    assert!(
        list.contains("startup/stays") && list.contains("(audit)"),
        "{list}"
    );
    let (status, some) = says(&["list", "--filter", "node/user"]);
    assert_eq!((status, some.lines().count()), (Some(0), 1), "{some}");
    let (_, explained) = says(&["explain", "node"]);
    assert!(explained.contains("node/zombies-reaped: "), "{explained}");
    for option in ["--filter", "--skip"] {
        let (status, refused) = says(&["--image", "oci:none", option, "node/user"]);
        assert_eq!(status, Some(64), "{refused}");
        let first = format!("error: {option} node/user: a check of pods that run, not of images\n");
        assert!(refused.starts_with(&first), "{refused}");
        assert!(refused.contains("pause-conformance audit"), "{refused}");
    }
}

/// A node of hundreds of pods has one image, and one fault.
#[test]
fn what_fails_alike_in_many_pods_is_said_once() {
    let pods = 1..=12_u32;
    let processes = pods.clone().flat_map(|pod| {
        let pid = 100 * pod.cast_signed();
        let pause = Process::pause(pid, pod);
        let zombie = Process::zombie(pid + 1, pid, &pause);
        [pause, zombie]
    });
    let tree = Tree::of(&processes.collect::<Vec<_>>());
    let said = text(&run(&tree, &[]));
    let mut lines = said.lines().filter(|line| line.starts_with("FAIL "));
    let (Some(line), None) = (lines.next(), lines.next()) else {
        panic!("one of all: {said}");
    };
    assert!(line.starts_with("FAIL 12 pods [node/"), "{line}");
    let mut after = said.lines().skip_while(|it| *it != line);
    let names = after.nth(1).expect("their names");
    assert_eq!(names.matches(", ").count(), 9, "{names}");
    assert!(names.ends_with(" and 2 more"), "{names}");
    for pod in pods {
        let row = format!("{}  ", crate::tree::uid(pod));
        assert!(said.contains(&row), "{row}: {said}");
    }
}

#[test]
fn one_pod_is_explained_and_zombies_have_ancestors() {
    let tree = node();
    let uid = crate::tree::uid(2);
    let explained = text(&run(&tree, &["--pod", &uid]));
    assert!(
        explained.contains("node/memory") && explained.contains("632 KiB"),
        "{explained}"
    );
    assert!(!explained.contains(&crate::tree::uid(1)), "{explained}");
    // How to mend what failed there, and nothing else.
    let mended = |text: &str| {
        let parts: Vec<_> = text.split("\n  why ").collect();
        let ids = parts.iter().take(parts.len() - 1);
        let ids = ids.filter_map(|part| part.lines().last().map(str::to_owned));
        ids.collect::<Vec<_>>()
    };
    for id in mended(&explained) {
        let of_it = format!("[{id}, ");
        let mut lines = explained.lines().filter(|line| line.contains(&of_it));
        assert!(
            lines.any(|line| line.to_lowercase().starts_with("fail ")),
            "{id}: {explained}"
        );
    }
    let other = text(&run(&tree, &["--pod", &crate::tree::uid(1)]));
    assert!(mended(&other).len() < mended(&explained).len(), "{other}");
    let zombies = text(&run(&tree, &["--zombies"]));
    assert!(
        zombies.contains("child of 200 (pause) < 1 (init)"),
        "{zombies}"
    );
    assert!(zombies.ends_with("2 zombies in 2 pods\n"), "{zombies}");
}

#[test]
fn json_is_as_its_schema_says_and_reads_back() {
    let audit = audit(&node());
    let text = json::render(&audit).expect("JSON");
    let schema = fs::read_to_string(schema_path()).expect("the schema is published");
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    let value: Value = serde_json::from_str(&text).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let wrong: Vec<_> = validator
        .iter_errors(&value)
        .map(|it| it.to_string())
        .collect();
    assert_eq!(wrong, Vec::<String>::new());
    let back: Audit = serde_json::from_str(&text).expect("it reads back");
    assert_eq!(back, audit);
    assert!(text.starts_with("{\n  \"schema_version\": 1,"));
}

fn schema_path() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/audit-v1.json")
}

#[test]
fn the_published_schema_is_that_of_the_types() {
    let made = json::schema().expect("a schema");
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(schema_path(), &made).expect("written");
    }
    let published = fs::read_to_string(schema_path()).expect("the schema is published");
    assert_eq!(made, published, "UPDATE_SCHEMA=1 writes it");
}

#[test]
fn other_formats_show_each_fault() {
    let tree = node();
    for format in ["markdown", "html", "junit", "tap"] {
        let output = run(&tree, &["--report", format]);
        assert_eq!(output.status.code(), Some(1), "{format}");
        let text = text(&output);
        assert!(text.contains("zombies"), "{format}: {text}");
        // TAP is text, and knows no tags.
        assert!(format == "tap" || !text.contains("<i>"), "{format}");
    }
    let xml = text(&run(&tree, &["--report", "junit"]));
    let xml = roxmltree::Document::parse(&xml).expect("XML");
    let failures = xml
        .descendants()
        .filter(|it| it.has_tag_name("failure"))
        .count();
    assert_eq!(failures, 1);
    let page = markdown::render(&audit(&tree)).expect("text");
    let options = pulldown_cmark::Options::ENABLE_TABLES;
    let rows = pulldown_cmark::Parser::new_ext(&page, options).filter(|event| {
        matches!(
            event,
            pulldown_cmark::Event::Start(pulldown_cmark::Tag::TableRow)
        )
    });
    assert_eq!(rows.count(), 2);
}

/// A sample as Prometheus reads it: name, labels, value.
type Sample = (String, Vec<(String, String)>, f64);

fn samples(text: &str) -> Vec<Sample> {
    let lines = text
        .lines()
        .map(|line| Ok::<_, std::io::Error>(line.to_owned()));
    let scrape = prometheus_parse::Scrape::parse(lines).expect("it is read");
    let samples = scrape.samples.into_iter().map(|sample| {
        let value = match sample.value {
            prometheus_parse::Value::Counter(value) | prometheus_parse::Value::Gauge(value) => {
                value
            }
            other => panic!("{}: {other:?}", sample.metric),
        };
        let labels = sample.labels.iter();
        let labels = labels
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        (sample.metric, labels, value)
    });
    samples.collect()
}

#[test]
fn prometheus_reads_the_metrics() {
    let audit = audit(&node());
    let text = prometheus::render(&audit, 1.5).expect("text");
    let samples = samples(&text);
    // Every line that is no comment.
    let lines = text.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(samples.len(), lines, "{text}");
    let find = |name: &str, labels: &[(&str, &str)]| {
        let has = |of: &Vec<(String, String)>| {
            labels
                .iter()
                .all(|(name, value)| of.iter().any(|(own, found)| own == name && found == value))
        };
        let mut all = samples.iter().filter(|(own, of, _)| own == name && has(of));
        all.next().map(|(_, _, value)| *value)
    };
    assert_eq!(find("pause_audit_pods", &[]), Some(2.0));
    assert_eq!(find("pause_audit_pods_faulty", &[]), Some(1.0));
    assert_eq!(
        find("pause_audit_last_run_timestamp_seconds", &[]),
        Some(1.5)
    );
    let sandbox = crate::tree::container(2, 0);
    let of_pause = [("sandbox", sandbox.as_str()), ("owner", "pause")];
    assert_eq!(find("pause_audit_pod_zombies", &of_pause), Some(1.0));
    let check = [("check", "node/zombies-reaped"), ("verdict", "fail")];
    assert_eq!(find("pause_audit_check_results", &check), Some(1.0));
    let memory = find(
        "pause_audit_pause_resident_memory_bytes",
        &[("sandbox", &sandbox)],
    );
    assert_eq!(memory, Some(647_168.0));
    // No series is there twice.
    let mut keys: Vec<_> = samples
        .iter()
        .map(|(name, labels, _)| {
            let mut labels = labels.clone();
            labels.sort();
            (name.clone(), labels)
        })
        .collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), samples.len());
    check_by_promtool(&text);
}

/// By Prometheus' own tool, where it is installed: it also knows the conventions.
fn check_by_promtool(text: &str) {
    use std::io::Write as _;
    let tool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut tool) = tool else { return };
    let mut stdin = tool.stdin.take().expect("a pipe");
    stdin.write_all(text.as_bytes()).expect("it reads");
    drop(stdin);
    let output = tool.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
}

#[test]
fn a_file_of_metrics_is_replaced_as_a_whole() {
    let tree = node();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pause.prom");
    fs::write(&file, "old").expect("written");
    let held = fs::File::open(&file).expect("it is there");
    let report = format!("prometheus={}", file.display());
    assert_eq!(run(&tree, &["--report", &report]).status.code(), Some(1));
    // Who read the old one reads it to its end.
    assert_eq!(
        std::io::read_to_string(held).expect("it can be read"),
        "old"
    );
    assert!(!samples(&fs::read_to_string(&file).expect("it is there")).is_empty());
    let names = fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(names, 1, "nothing is left beside it");
}

#[test]
fn what_changes_is_said() {
    let sound = [Process::pause(100, 1), Process::member(101, 1, 1)];
    let before = audit(&Tree::of(&sound));
    assert_eq!(watch::changes(&before, &before), Vec::<String>::new());
    let zombie = Process::zombie(102, 100, &sound[0]);
    let new = Process::pause(300, 3);
    let now = audit(&Tree::of(&[&sound[..], &[zombie, new]].concat()));
    let id = crate::tree::uid(1);
    let changes = watch::changes(&before, &now);
    assert!(
        changes.contains(&format!("{id}: zombies 0 → 1")),
        "{changes:?}"
    );
    let fails = format!("{id}: node/zombies-reaped pass → fail");
    assert!(changes.contains(&fails), "{changes:?}");
    let made = format!("{}: new, nothing wrong", crate::tree::uid(3));
    assert!(changes.contains(&made), "{changes:?}");
    let gone = watch::changes(&now, &before);
    assert!(
        gone.contains(&format!("{}: gone", crate::tree::uid(3))),
        "{gone:?}"
    );
}

/// Until it is told to end, as any run in order.
#[test]
fn it_watches_until_it_is_interrupted() {
    let tree = Tree::of(&[Process::pause(100, 1)]);
    let folder = tempfile::tempdir().expect("a folder");
    let [metrics, done] = ["pause.prom", "done"].map(|name| folder.path().join(name));
    let mut watch = program();
    watch
        .args(["audit", "--watch", "0.3", "--proc"])
        .arg(tree.path());
    watch
        .arg("--report")
        .arg(format!("prometheus={}", metrics.display()));
    watch.arg("--done").arg(&done);
    let mut child = watch.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut next = |words: &str| {
        let found = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains(words)));
        assert!(found.is_some(), "{words}");
    };
    next("1 pod, 0 without a pause");
    tree.add(&Process::pause(200, 2));
    next(&format!("{}: new", crate::tree::uid(2)));
    // The file was written anew, and who waits for it was told.
    let text = fs::read_to_string(&metrics).expect("it is there");
    assert!(text.contains("pause_audit_pods 2"), "{text}");
    let told = fs::read_to_string(&done).expect("it is there");
    assert_eq!(told, metrics.display().to_string());
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is ours");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn the_checks_are_listed_with_their_sources() {
    let output = program()
        .args(["audit", "--checks"])
        .output()
        .expect("it starts");
    let text = text(&output);
    assert!(text.contains("node/zombies-reaped (MUST)"), "{text}");
    assert_eq!(
        text.matches("\n  source ").count(),
        text.matches("\n  mend   ").count()
    );
    assert!(text.matches("https://").count() >= 27, "{text}");
}

#[test]
fn nodes_are_merged_into_one_matrix() {
    let mut first = audit(&node());
    let mut second = audit(&Tree::of(&[Process::pause(100, 1)]));
    second.host.name = "node-b".to_owned();
    let made = Matrix::of(&[first.clone(), second.clone()]);
    assert_eq!(
        made.failed(),
        ["node/zombies-reaped", "node/containers-reap"]
    );
    let text = matrix::human(&made).expect("text");
    assert!(
        text.contains("node-a  2     not conformant  1 of 2 fail"),
        "{text}"
    );
    assert!(text.contains("3 pods on 2 nodes"), "{text}");
    // A later audit of the same node counts.
    first.started = "2026-11-29T00:00:00Z".to_owned();
    first.pods.clear();
    let later = Matrix::of(&[first.clone(), audit(&node()), second.clone()]);
    assert_eq!(later.nodes[0].pods, 0);

    let folder = tempfile::tempdir().expect("a folder");
    let paths = [first, second].map(|it| {
        let path = folder.path().join(format!("{}.json", it.host.name));
        fs::write(&path, json::render(&it).expect("JSON")).expect("written");
        path
    });
    let output = program()
        .arg("merge")
        .args(&paths)
        .output()
        .expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    fs::write(&paths[0], "{}").expect("written");
    let output = program()
        .arg("merge")
        .args(&paths)
        .output()
        .expect("it starts");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("node-a.json") && said.contains("hint"),
        "{said}"
    );
}

/// How long it takes is printed, and for people: no test depends on it.
#[test]
fn two_hundred_pods_are_found() {
    let pods = (1..=200_u32).flat_map(|pod| {
        let first = 1_000 + i32::try_from(pod).expect("small") * 10;
        [
            Process::pause(first, pod),
            Process::member(first + 1, pod, 1),
            Process::member(first + 2, pod, 2),
        ]
    });
    let tree = Tree::of(&pods.collect::<Vec<_>>());
    let began = Instant::now();
    let audit = audit(&tree);
    println!("200 pods in {:?}", began.elapsed());
    assert_eq!(audit.pods.len(), 200);
    assert_eq!(with_verdict(&audit, Verdict::Fail), Vec::<&str>::new());
    let text = table::render(&audit, table::View::Pods).expect("text");
    assert!(
        text.contains("200 pods, 0 without a pause, 1 different pause,"),
        "{text}"
    );
}
