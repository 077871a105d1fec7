//! What a pod may do to be missed, to be taken for another, or to hold the audit up.

use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use conformance::event::{Conclusion, Verdict};
use conformance::node::proc::ProcRoot;
use conformance::report::audit::table::{View, render};

use crate::tree::{Process, Tree, cgroup, container};
use crate::{audit, with_verdict};

#[test]
fn a_name_reaches_no_terminal_and_no_other_field() {
    let pod = Process {
        name: "x) R 1 1\x1b[2J",
        ..Process::member(101, 1, 1)
    };
    let zombie = Process {
        name: "z\n) Z",
        ..Process::zombie(102, 101, &pod)
    };
    let tree = Tree::of(&[Process::pause(100, 1), pod, zombie]);
    let audit = audit(&tree);
    assert_eq!(audit.pods[0].zombies.len(), 1);
    for view in [View::Pods, View::Pod, View::Zombies] {
        let text = render(&audit, view).expect("text");
        assert!(!text.contains('\x1b') && !text.contains("z\n)"), "{text}");
    }
}

#[test]
fn the_image_is_not_left_by_links() {
    let tree = Tree::of(&[Process::pause(100, 1)]);
    let secret = tree.path().join("secret");
    fs::write(&secret, "pause").expect("written");
    let file = tree.of_process(100, "root/pause");
    fs::remove_file(&file).expect("it was there");
    // From the pod's root it leads nowhere, from the node's to the very program.
    symlink(&secret, &file).expect("a link");
    let audit = audit(&tree);
    assert_eq!(with_verdict(&audit, Verdict::Fail), Vec::<&str>::new());
    assert_eq!(
        with_verdict(&audit, Verdict::Inconclusive),
        ["node/own-program"]
    );
}

#[test]
fn what_is_no_file_is_not_opened() {
    let tree = Tree::of(&[Process::pause(100, 1)]);
    let file = tree.of_process(100, "root/pause");
    fs::remove_file(&file).expect("it was there");
    // A pipe without a writer would hold whoever opens it.
    let made = Command::new("mkfifo")
        .arg(&file)
        .status()
        .expect("coreutils");
    assert!(made.success());
    let audit = audit(&tree);
    assert_eq!(
        with_verdict(&audit, Verdict::Inconclusive),
        ["node/own-program"]
    );
}

/// A file that never answers: of a filesystem whose server does not even greet the kernel.
struct Stuck {
    at: PathBuf,
    _server: fs::File,
}

impl Stuck {
    /// Over this file.
    fn over(at: &Path) -> std::io::Result<Self> {
        let server = fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/fuse")?;
        let (fd, regular) = (server.as_raw_fd(), 0o100_644);
        let how = format!("fd={fd},rootmode={regular:o},user_id=0,group_id=0");
        let how = std::ffi::CString::new(how)?;
        let flags = rustix::mount::MountFlags::NOSUID | rustix::mount::MountFlags::NODEV;
        rustix::mount::mount("stuck", at, "fuse", flags, Some(how.as_c_str()))?;
        Ok(Self {
            at: at.to_owned(),
            _server: server,
        })
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        // Forced, it fails whoever waits; without a server it ends in any case.
        let _ = rustix::mount::unmount(
            &self.at,
            rustix::mount::UnmountFlags::FORCE | rustix::mount::UnmountFlags::DETACH,
        );
    }
}

#[test]
fn pods_that_do_not_answer_keep_no_other_from_its_verdict() {
    let pauses: Vec<_> = (1..20)
        .map(|pod| Process::pause(pod * 100, pod as u32))
        .collect();
    let tree = Tree::of(&pauses);
    // More than are asked at first: arguments that are never told, and a program that never is read.
    let mut stuck = Vec::new();
    for (number, name) in (1..=12).zip(["cmdline", "program"].into_iter().cycle()) {
        match Stuck::over(&tree.of_process(number * 100, name)) {
            Ok(one) => stuck.push(one),
            // As an ordinary user nothing can be mounted.
            Err(error) => return eprintln!("left out: no FUSE here: {error}"),
        }
    }
    let began = Instant::now();
    let audit = audit(&tree);
    let took = began.elapsed();
    drop(stuck);
    assert!(took < Duration::from_mins(1), "{took:?}");
    assert_eq!(audit.pods.len(), 19);
    assert_eq!(with_verdict(&audit, Verdict::Fail), Vec::<&str>::new());
    for (number, pod) in (1..).zip(&audit.pods) {
        let mut own = pod.checks.iter();
        let own = own
            .find(|it| it.id == "node/own-program")
            .expect("a record");
        if number <= 12 {
            assert_eq!(own.verdict, Verdict::Skipped, "{}", pod.name);
            let why = own.reason.clone().unwrap_or_default();
            assert!(why.contains("does not answer"), "{why}");
        } else {
            assert_eq!(own.verdict, Verdict::Pass, "{}: {:?}", pod.name, own.reason);
        }
    }
}

#[test]
fn a_path_out_of_the_image_stays_in_it() {
    let tree = Tree::of(&[Process {
        arguments: "../../../../program\0",
        ..Process::pause(100, 1)
    }]);
    let audit = audit(&tree);
    assert_eq!(
        with_verdict(&audit, Verdict::Inconclusive),
        ["node/own-program"]
    );
}

#[test]
fn a_container_that_names_its_own_cgroup_is_in_no_other_pod() {
    let liar = Process {
        cgroup: format!(
            "0::/docker/{}{}",
            "e".repeat(64),
            cgroup(1, 0).trim_start_matches("0::")
        ),
        ..Process::member(400, 4, 0)
    };
    let zombie = Process::zombie(401, 400, &liar);
    let sound = [Process::pause(100, 1), Process::member(101, 1, 1)];
    let audit = audit(&Tree::of(&[&sound[..], &[liar, zombie]].concat()));
    assert_eq!(audit.pods.len(), 1);
    assert_eq!(audit.pods[0].zombies, []);
    assert_eq!(audit.conclusion, Conclusion::Conformant);
}

#[test]
fn a_container_named_pause_is_not_taken_for_the_sandbox() {
    // It is older than the pod's own, by whatever clock.
    let other = Process {
        name: "pause",
        arguments: "/pause\0",
        started: 10,
        ..Process::member(101, 1, 1)
    };
    let audit = audit(&Tree::of(&[Process::pause(100, 1), other]));
    assert_eq!(audit.pods[0].id, container(1, 0));
    assert_eq!(with_verdict(&audit, Verdict::Fail), Vec::<&str>::new());
}

#[test]
fn a_process_whose_first_thread_has_ended_is_no_zombie() {
    let pause = Process::pause(100, 1);
    let alive = Process {
        threads: 3,
        ..Process::zombie(102, 100, &pause)
    };
    let audit = audit(&Tree::of(&[pause, alive]));
    assert_eq!(audit.pods[0].zombies, []);
}

#[test]
fn pauses_inside_of_one_container_are_pods_of_their_own() {
    let node = format!("0::/docker/{}", "d".repeat(64));
    let inside = |pid, pod| Process {
        cgroup: format!("{node}/pods\n"),
        pids: "77 7 1",
        started: 3_000,
        ..Process::pause(pid, pod)
    };
    let init = Process {
        name: "init",
        cgroup: format!("{node}\n"),
        ..Process::member(400, 4, 0)
    };
    // It is in none of them.
    let zombie = Process::zombie(403, 400, &init);
    let audit = audit(&Tree::of(&[init, inside(401, 5), inside(402, 6), zombie]));
    let ids: Vec<_> = audit.pods.iter().map(|pod| pod.id.as_str()).collect();
    assert_eq!(ids, ["pid-401", "pid-402"]);
    assert!(audit.pods.iter().all(|pod| pod.zombies.is_empty()));
}

#[test]
fn a_pid_that_is_anothers_now_is_not_held() {
    let tree = Tree::of(&[Process::pause(100, 1)]);
    let root = ProcRoot::open(tree.path()).expect("the folder is there");
    let snapshot = root.snapshot().expect("it can be read");
    let before = &snapshot.processes[&100];
    assert!(root.hold(before).is_ok_and(|it| it.is_some()));
    // The same number, started later.
    tree.add(&Process {
        started: 5_000,
        ..Process::pause(100, 1)
    });
    assert!(root.hold(before).is_ok_and(|it| it.is_none()));
}

#[test]
fn a_process_that_ends_while_it_is_read_is_left_out() {
    let tree = Tree::of(&[Process::pause(100, 1), Process::pause(200, 2)]);
    fs::remove_file(tree.of_process(200, "stat")).expect("it was there");
    // Its folder is there, as that of a process which was just reaped.
    let audit = audit(&tree);
    assert_eq!(audit.pods.len(), 1);
    assert_eq!(audit.notes, Vec::<String>::new());
}

#[test]
fn files_that_make_no_sense_are_no_panic() {
    let tree = Tree::of(&[Process::pause(100, 1), Process::pause(200, 2)]);
    for (name, text) in [
        ("stat", "200 (pause"),
        ("status", "Name:\n\n\0"),
        ("cgroup", ":::\n\n0::"),
        ("oom_score_adj", "many"),
    ] {
        let path = tree.of_process(200, name);
        let before = fs::read(&path).expect("it is there");
        fs::write(&path, text).expect("written");
        let audit = audit(&tree);
        assert!(
            audit.pods.iter().any(|pod| pod.id == container(1, 0)),
            "{name}"
        );
        fs::write(&path, before).expect("written");
    }
    // Without an end: it is in no pod that is known, and held for one that was made by hand.
    fs::write(tree.of_process(200, "cgroup"), vec![b'x'; 2 << 20]).expect("written");
    let ids: Vec<_> = audit(&tree).pods.into_iter().map(|pod| pod.id).collect();
    assert_eq!(ids, [container(1, 0), "pid-200".to_owned()]);
}

#[test]
fn a_hidden_proc_is_said_to_be_hidden() {
    let tree = Tree::of(&[Process::pause(100, 1)]);
    fs::remove_dir_all(tree.path().join("1")).expect("it was there");
    let audit = audit(&tree);
    assert!(audit.notes[0].contains("hidepid"), "{:?}", audit.notes);
    // What is seen is judged.
    assert_eq!(audit.conclusion, Conclusion::Conformant);
    fs::remove_dir_all(tree.path().join("100")).expect("it was there");
    let blind = crate::audit(&tree);
    assert_eq!(blind.conclusion, Conclusion::NotJudged);
    let why = blind.report().error.unwrap_or_default();
    assert!(why.contains("hidepid"), "{why}");
    // One where no pod runs is no fault.
    assert_eq!(
        crate::audit(&Tree::of(&[])).conclusion,
        Conclusion::Conformant
    );
}

#[test]
fn thousands_of_processes_of_one_pod_change_nothing_about_another() {
    let member = Process::member(101, 1, 1);
    let crowd = (1_000..4_000).map(|pid| Process::zombie(pid, 101, &member));
    let crowd: Vec<_> = crowd.collect();
    let sound = [
        Process::pause(100, 1),
        member.clone(),
        Process::pause(200, 2),
        Process::member(201, 2, 1),
    ];
    let audit = audit(&Tree::of(&[&sound[..], &crowd].concat()));
    let [first, second] = &audit.pods[..] else {
        panic!("two pods");
    };
    // So many are listed.
    assert_eq!(first.zombies.len(), 1_000);
    assert_eq!(second.zombies, []);
    assert_eq!(second.failed().count(), 0);
    let evidence = first.failed().map(|record| record.evidence.len()).max();
    assert!(evidence.is_some_and(|lines| lines <= 10), "{evidence:?}");
}
