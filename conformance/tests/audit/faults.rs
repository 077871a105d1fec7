//! Each check of a pod and of the node has a fault that it alone finds, and a sound node has none.

use conformance::event::{Conclusion, Verdict};
use conformance::kubernetes::Minor;
use conformance::node::checks::{OF_PODS, OF_THE_NODE, Options};
use conformance::node::gather::gather;
use conformance::node::model::{Audit, Blamed, Pod};
use conformance::node::proc::ProcRoot;
use conformance::node::source::{Basis, Source, Told, ToldImage, ToldMember, ToldPause, ToldPod};
use rstest::rstest;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use crate::tree::{Process, Tree, container, namespaces, uid};
use crate::{Runtime, audit, audit_with, head, with_verdict};

/// A sound pod: a pause, and a container beside it.
fn pod() -> [Process; 2] {
    [Process::pause(100, 1), Process::member(101, 1, 1)]
}

#[test]
fn a_sound_node_has_no_fault() {
    let tree = Tree::of(&pod());
    let audit = audit(&tree);
    assert_eq!(with_verdict(&audit, Verdict::Fail), Vec::<&str>::new());
    assert_eq!(
        with_verdict(&audit, Verdict::Inconclusive),
        Vec::<&str>::new()
    );
    assert_eq!(audit.conclusion, Conclusion::Conformant);
    let [pod] = &audit.pods[..] else {
        panic!("{:#?}", audit.pods);
    };
    assert_eq!(pod.uid, Some(uid(1)));
    assert_eq!(pod.id, container(1, 0));
    let pause = pod.pause.as_ref().expect("it is seen");
    assert_eq!(pause.pid, 100);
    assert_eq!(pause.resident_bytes, Some(632 * 1024));
    assert_eq!(pause.wakeups, Some(7));
    assert!((pause.age_seconds - 99_990.0).abs() < 1.0, "{pause:?}");
    let net = &pod.namespaces[0];
    assert_eq!((net.members, net.of, net.of_the_node), (1, 1, false));
    let judged = with_verdict(&audit, Verdict::Pass).len();
    assert!(judged >= 17, "{judged} passed");
}

/// What a pause does wrong.
type Fault = fn(&mut Process);

/// Faults of a pause alone, by the check that finds each.
const FAULTS: [(&str, Fault); 12] = [
    ("node/first-process", |it| it.pids = "77 2"),
    ("node/own-program", |it| it.program = b"another"),
    ("node/single-thread", |it| it.threads = 4),
    ("node/no-descriptors", |it| {
        it.descriptors.push((7, "/var/lib/secret"));
    }),
    ("node/working-directory", |it| it.at_root = false),
    ("node/user", |it| it.uid = 0),
    ("node/capabilities", |it| it.capabilities = 0x20),
    ("node/no-new-privileges", |it| it.no_new_privileges = 0),
    ("node/seccomp", |it| it.seccomp = 0),
    ("node/oom-score", |it| it.score = 0),
    ("node/memory", |it| it.memory = 1025),
    ("node/processor-time", |it| it.ticks = 60_000),
];

/// All faults of a pod, by the check that finds each.
fn faults() -> Vec<(&'static str, Vec<Process>)> {
    let of_pause = FAULTS.iter().map(|(id, fault)| {
        let [mut pause, member] = pod();
        fault(&mut pause);
        (*id, vec![pause, member])
    });
    let [pause, member] = pod();
    let child = Process {
        parent: 100,
        name: "sh",
        started: 1_500,
        pid: 102,
        ..pause.clone()
    };
    let mut apart = member.clone();
    apart.namespaces[0] += 5;
    let second = Process {
        cgroup: crate::tree::cgroup(1, 9),
        started: 1_400,
        pid: 109,
        ..pause.clone()
    };
    let beside = |other: Process| vec![pause.clone(), member.clone(), other];
    let others = [
        ("node/no-children", beside(child)),
        ("node/namespaces-shared", vec![pause.clone(), apart]),
        (
            "node/zombies-reaped",
            beside(Process::zombie(103, 100, &pause)),
        ),
        (
            "node/containers-reap",
            beside(Process::zombie(103, 101, &member)),
        ),
        ("node/one-pause", beside(second)),
    ];
    of_pause.chain(others).collect()
}

#[test]
fn each_fault_of_a_pause_is_found_by_its_check_alone() {
    for (id, processes) in faults() {
        let audit = audit(&Tree::of(&processes));
        assert_eq!(with_verdict(&audit, Verdict::Fail), [id]);
        assert!(audit.advice.contains_key(id), "{id}");
    }
}

#[test]
fn each_check_has_its_fault() {
    let elsewhere = [
        "node/pause-alive",
        "node/architecture",
        "node/image-kept",
        "node/image-present",
        "node/image-pinned",
        "node/image-platform",
        "node/image-used",
        "node/image-registry",
        "node/kubelet-agrees",
        "node/image-version",
        "node/one-program",
    ];
    let faults: Vec<_> = faults().into_iter().map(|(id, _)| id).collect();
    let all = OF_PODS
        .iter()
        .map(|it| it.id)
        .chain(OF_THE_NODE.iter().map(|it| it.id));
    for id in all {
        let times = faults
            .iter()
            .chain(&elsewhere)
            .filter(|it| **it == id)
            .count();
        assert_eq!(times, 1, "{id}");
    }
}

/// What a runtime says of pod 1.
fn told() -> ToldPod {
    ToldPod {
        id: container(1, 0),
        uid: Some(uid(1)),
        namespace: Some("default".to_owned()),
        name: "web-1".to_owned(),
        image: Some("registry.k8s.io/pause:3.10".to_owned()),
        image_kept: Some(true),
        runs: true,
        pause: ToldPause::Runs {
            pid: Some(100),
            container: Some(container(1, 0)),
        },
        kubernetes: true,
        ..ToldPod::default()
    }
}

fn image() -> ToldImage {
    ToldImage {
        reference: "registry.k8s.io/pause:3.10".to_owned(),
        basis: Basis::Configured,
        present: true,
        pinned: Some(true),
        platform: Some(pause_image::Platform::host().to_string()),
    }
}

fn says(pods: Vec<ToldPod>, image: ToldImage) -> Told {
    Told {
        version: "containerd 2.0".to_owned(),
        pods,
        image: Some(image),
    }
}

#[test]
fn a_pod_that_a_runtime_names_is_one_row() {
    let audit = audit_with(&Tree::of(&pod()), Some(says(vec![told()], image())));
    assert_eq!(with_verdict(&audit, Verdict::Fail), Vec::<&str>::new());
    let titles: Vec<_> = audit.pods.iter().map(Pod::title).collect();
    assert_eq!(titles, ["default/web-1"]);
    assert_eq!(audit.pods[0].version.as_deref(), Some("3.10"));
    // The container is known by the pod's cgroup alone.
    assert_eq!(audit.pods[0].namespaces[0].of, 1);
    assert_eq!(audit.node.programs[0].pods, 1);
}

/// As cri-dockerd and docker tell of the same sandbox, and CRI-O and /proc of one without a pause.
#[test]
fn what_one_source_does_not_say_another_does() {
    let tree = Tree::of(&pod());
    let root = ProcRoot::open(tree.path()).expect("the folder is there");
    let first = ToldPod {
        image: None,
        image_kept: None,
        ..told()
    };
    let sources = [first, told()].map(|told| {
        let told = says(vec![told], image());
        Box::new(Runtime(told)) as Box<dyn Source>
    });
    let seen = gather(&root, &sources).expect("it can be read");
    assert_eq!(seen.pods.len(), 1);
    assert_eq!(seen.pods[0].told.image, told().image);
    assert_eq!(seen.pods[0].told.image_kept, Some(true));
    let member = ToldPod {
        id: container(1, 5),
        uid: None,
        pause: ToldPause::default(),
        ..told()
    };
    let dropped = ToldPod {
        pause: ToldPause::Without("drop_infra_ctr".to_owned()),
        members: vec![ToldMember {
            id: member.id.clone(),
            ..ToldMember::default()
        }],
        ..told()
    };
    let sources = [dropped, member].map(|told| {
        let told = says(vec![told], image());
        Box::new(Runtime(told)) as Box<dyn Source>
    });
    let seen = gather(&root, &sources).expect("it can be read");
    assert_eq!(seen.pods.len(), 1);
}

/// What is wrong with an image, of a pod or of the runtime.
type ImageFault = fn(&mut ToldPod, &mut ToldImage);

#[test]
fn faults_of_images_are_found_by_their_checks() {
    let faults: [(&str, ImageFault); 6] = [
        ("node/image-kept", |pod, _| pod.image_kept = Some(false)),
        ("node/image-present", |_, image| image.present = false),
        ("node/image-pinned", |_, image| image.pinned = Some(false)),
        ("node/image-platform", |_, image| {
            image.platform = Some("linux/mips".to_owned());
        }),
        ("node/image-used", |pod, _| {
            pod.image = Some("k8s.gcr.io/pause:3.2".to_owned());
        }),
        ("node/image-registry", |pod, image| {
            let private = "602401143452.dkr.ecr.eu-west-1.amazonaws.com/eks/pause:3.10";
            pod.image = Some(private.to_owned());
            image.reference = private.to_owned();
            image.pinned = None;
        }),
    ];
    for (id, fault) in faults {
        let (mut told, mut image) = (told(), image());
        fault(&mut told, &mut image);
        let audit = audit_with(&Tree::of(&pod()), Some(says(vec![told], image)));
        assert_eq!(with_verdict(&audit, Verdict::Fail), [id]);
    }
}

#[test]
fn kubelet_names_another_image() {
    let kubelet = Process {
        name: "kubelet",
        cgroup: "0::/system.slice/kubelet.service\n".to_owned(),
        arguments: "/usr/bin/kubelet\0--pod-infra-container-image=example.org/pause:1\0",
        pid: 50,
        ..Process::init()
    };
    let tree = Tree::of(&[&pod()[..], std::slice::from_ref(&kubelet)].concat());
    let audit = audit_with(&tree, Some(says(vec![told()], image())));
    assert_eq!(with_verdict(&audit, Verdict::Fail), ["node/kubelet-agrees"]);
    // It keeps the one that it names.
    let its = |reference: &str| ToldImage {
        reference: reference.to_owned(),
        pinned: Some(false),
        ..image()
    };
    let pinned = |image| {
        let audit = audit_with(&tree, Some(says(vec![told()], image)));
        let mut all = audit.node.checks.iter();
        let found = all.find(|it| it.id == "node/image-pinned");
        found.expect("a record").verdict
    };
    assert_eq!(pinned(its("example.org/pause:1")), Verdict::Pass);
    assert_eq!(pinned(its("example.org/pause:2")), Verdict::Fail);
    // One in a pod is anybody's.
    let in_a_pod = Process {
        cgroup: crate::tree::cgroup(1, 3),
        ..kubelet
    };
    let tree = Tree::of(&[&pod()[..], &[in_a_pod]].concat());
    let audit = audit_with(&tree, Some(says(vec![told()], image())));
    assert!(!with_verdict(&audit, Verdict::Fail).contains(&"node/kubelet-agrees"));
}

#[test]
fn an_old_version_is_found_for_the_nodes_kubernetes() {
    let tree = Tree::of(&pod());
    let root = ProcRoot::open(tree.path()).expect("the folder is there");
    let seen = gather(&root, &[Box::new(Runtime(says(vec![told()], image())))]);
    let seen = seen.expect("it can be read");
    let of = |minor: &str| {
        let options = Options {
            zombie_age: 60.0,
            kubernetes: Some(Minor::parse(minor).expect("it is known")),
        };
        Audit::of(&seen, &options, head())
    };
    assert_eq!(
        with_verdict(&of("1.36"), Verdict::Fail),
        ["node/image-version"]
    );
    assert_eq!(with_verdict(&of("1.31"), Verdict::Fail), Vec::<&str>::new());
}

/// A program that Go's linker made says of its build what `go version -m` shows.
const OF_GO: &[u8] = b"\xff Go buildinf:\x08\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x08go1.22.1\
    \x50build\t-ldflags=\"-X 'k8s.io/component-base/version.gitVersion=v1.36.2-eks-1' -s\"\n";

#[test]
fn kubelets_program_says_which_version_is_wanted() {
    let kubelet = Process {
        name: "kubelet",
        cgroup: "0::/system.slice/kubelet.service\n".to_owned(),
        arguments: "/usr/bin/kubelet\0",
        program: OF_GO,
        pid: 50,
        ..Process::init()
    };
    let tree = Tree::of(&[&pod()[..], std::slice::from_ref(&kubelet)].concat());
    let audit = audit_with(&tree, Some(says(vec![told()], image())));
    assert_eq!(with_verdict(&audit, Verdict::Fail), ["node/image-version"]);
    // One that is newer than the table says nothing about the image.
    let newer = OF_GO
        .iter()
        .map(|byte| if *byte == b'3' { b'9' } else { *byte });
    let newer = Process {
        program: newer.collect::<Vec<_>>().leak(),
        ..kubelet
    };
    let tree = Tree::of(&[&pod()[..], &[newer]].concat());
    let audit = audit_with(&tree, Some(says(vec![told()], image())));
    assert_eq!(
        with_verdict(&audit, Verdict::Inconclusive),
        ["node/image-version"]
    );
}

#[test]
fn two_pauses_are_told_apart_by_their_bytes() {
    let other = Process {
        program: b"pause 2",
        file: "pause 2",
        ..Process::pause(200, 2)
    };
    let audit = audit(&Tree::of(&[&pod()[..], &[other]].concat()));
    assert_eq!(with_verdict(&audit, Verdict::Fail), ["node/one-program"]);
    assert_eq!(audit.node.programs.len(), 2);
}

#[test]
fn a_pause_that_died_below_its_pod_is_found() {
    let tree = Tree::of(&[Process::member(101, 1, 1)]);
    let audit = audit_with(&tree, Some(says(vec![told()], image())));
    assert_eq!(with_verdict(&audit, Verdict::Fail), ["node/pause-alive"]);
    // So it is where its number is another's now.
    let other = Process {
        cgroup: crate::tree::cgroup(7, 3),
        ..Process::member(100, 7, 3)
    };
    let tree = Tree::of(&[Process::member(101, 1, 1), other]);
    let audit = audit_with(&tree, Some(says(vec![told()], image())));
    assert_eq!(with_verdict(&audit, Verdict::Fail), ["node/pause-alive"]);
    let zombie = Process {
        state: 'Z',
        ..Process::pause(100, 1)
    };
    let tree = Tree::of(&[Process::member(101, 1, 1), zombie]);
    let audit = audit_with(&tree, Some(says(vec![told()], image())));
    assert_eq!(with_verdict(&audit, Verdict::Fail), ["node/pause-alive"]);
}

#[test]
fn a_sandbox_without_a_pause_is_said_to_be_that() {
    let dropped = ToldPod {
        pause: ToldPause::Without("drop_infra_ctr".to_owned()),
        ..told()
    };
    let tree = Tree::of(&[Process::member(101, 1, 1)]);
    let by_cri = audit_with(&tree, Some(says(vec![dropped], image())));
    assert_eq!(
        by_cri.pods[0].without_pause.as_deref(),
        Some("drop_infra_ctr")
    );
    let by_proc = audit(&tree);
    assert!(by_proc.pods[0].without_pause.is_some());
    for audit in [by_cri, by_proc] {
        assert_eq!(audit.pods.len(), 1);
        assert_eq!(with_verdict(&audit, Verdict::Fail), Vec::<&str>::new());
        assert_eq!(audit.conclusion, Conclusion::Conformant);
    }
}

#[test]
fn a_pod_with_the_nodes_pids_is_not_asked_to_be_first() {
    let mut pause = Process {
        pids: "100",
        ..Process::pause(100, 1)
    };
    pause.namespaces[3] = crate::tree::NODE[3];
    let audit = audit(&Tree::of(&[pause]));
    assert_eq!(with_verdict(&audit, Verdict::Fail), Vec::<&str>::new());
    assert!(with_verdict(&audit, Verdict::Skipped).contains(&"node/first-process"));
}

#[test]
fn zombies_are_their_parents() {
    let member = Process::member(101, 1, 1);
    let young = Process {
        started: crate::tree::UPTIME * crate::tree::TICKS - 100,
        ..Process::zombie(104, 100, &Process::pause(100, 1))
    };
    let outside = Process {
        name: "shim",
        cgroup: "0::/system.slice\n".to_owned(),
        ..Process::member(60, 1, 1)
    };
    let others = [
        Process::zombie(103, 101, &member),
        young,
        outside,
        Process::zombie(105, 60, &member),
        // Of no pod.
        Process::zombie(106, 1, &Process::init()),
    ];
    let audit = audit(&Tree::of(&[&pod()[..], &others].concat()));
    let pod = &audit.pods[0];
    let count = |owner| pod.zombies_of(owner);
    let counts = [Blamed::Pause, Blamed::Container, Blamed::Outside].map(count);
    assert_eq!(counts, [1, 1, 1], "{:#?}", pod.zombies);
    // The pause's own has just ended.
    assert_eq!(
        with_verdict(&audit, Verdict::Fail),
        ["node/containers-reap"]
    );
    let of_web = pod
        .zombies
        .iter()
        .find(|it| it.pid == 103)
        .expect("it is listed");
    assert_eq!(of_web.owner_name.as_deref(), Some("web"));
    let above: Vec<_> = of_web.ancestors.iter().map(|it| it.pid).collect();
    assert_eq!(above, [101, 1]);
}

#[test]
fn a_pod_made_by_hand_is_found_by_its_name() {
    let id = "c".repeat(64);
    let by_hand = Process {
        cgroup: format!("0::/docker/{}\n", "d".repeat(64)),
        score: 0,
        ..Process::pause(300, 3)
    };
    let beside = Process {
        cgroup: format!("0::/docker/{id}\n"),
        ..Process::member(301, 3, 0)
    };
    // Named so, and process 1 of nothing.
    let none = Process {
        pids: "302",
        cgroup: "0::/user.slice\n".to_owned(),
        pid: 302,
        namespaces: namespaces(4),
        ..by_hand.clone()
    };
    let audit = audit(&Tree::of(&[by_hand, beside, none]));
    let [pod] = &audit.pods[..] else {
        panic!("{:#?}", audit.pods);
    };
    assert_eq!(pod.name, "dddddddddddd");
    assert_eq!(pod.namespaces[0].of, 1);
    assert_eq!(with_verdict(&audit, Verdict::Fail), Vec::<&str>::new());
}

#[test]
fn a_pause_of_another_architecture_is_not_blamed_for_its_emulator() {
    let emulated = Process {
        arguments: "/usr/bin/qemu-s390x-static\0/pause\0",
        executes: "qemu-s390x-static",
        program: b"qemu",
        threads: 2,
        memory: 11_500,
        ..Process::pause(100, 1)
    };
    let image = ToldImage {
        platform: Some("linux/mips".to_owned()),
        ..image()
    };
    let tree = Tree::of(&[emulated]);
    let head = b"\x7fELF\x02\x02\x01\0\0\0\0\0\0\0\0\0\0\x02\0\x16";
    std::fs::write(tree.of_process(100, "root/pause"), head).expect("written");
    let audit = audit_with(&tree, Some(says(vec![told()], image)));
    assert_eq!(
        with_verdict(&audit, Verdict::Fail),
        ["node/image-platform", "node/architecture"]
    );
    let mut checks = audit.pods[0].checks.iter();
    let found = checks.find(|it| it.id == "node/architecture");
    let found = found.and_then(|it| it.observed.clone()).unwrap_or_default();
    assert_eq!(found, "qemu-s390x-static runs a program for s390x");
    let skipped = with_verdict(&audit, Verdict::Skipped);
    for id in ["node/own-program", "node/single-thread", "node/memory"] {
        assert!(skipped.contains(&id), "{id}");
    }
}

#[test]
fn an_image_that_only_the_pods_name_is_judged_as_such() {
    let by_pods = || ToldImage {
        basis: Basis::Pods,
        ..image()
    };
    let of = |image| audit_with(&Tree::of(&pod()), Some(says(vec![told()], image)));
    let sound = of(by_pods());
    assert_eq!(with_verdict(&sound, Verdict::Fail), Vec::<&str>::new());
    let record = |audit: &Audit, id: &str| {
        let found = audit.node.checks.iter().find(|it| it.id == id);
        found.expect("a record").clone()
    };
    for id in ["node/image-present", "node/image-pinned"] {
        let record = record(&sound, id);
        assert_eq!(record.verdict, Verdict::Pass);
        let evidence = record.evidence.join("\n");
        assert!(evidence.contains("most pods of cri run it"), "{evidence}");
    }
    // It cannot be compared with itself.
    assert_eq!(record(&sound, "node/image-used").verdict, Verdict::Skipped);
    // What nothing but the configuration decides is not decided.
    let gone = of(ToldImage {
        present: false,
        ..by_pods()
    });
    assert_eq!(with_verdict(&gone, Verdict::Fail), Vec::<&str>::new());
    let present = record(&gone, "node/image-present");
    assert_eq!(present.verdict, Verdict::Inconclusive);
    let loose = of(ToldImage {
        pinned: Some(false),
        ..by_pods()
    });
    assert_eq!(with_verdict(&loose, Verdict::Fail), ["node/image-pinned"]);
    // Of two different ones that run not both are configured.
    let other = ToldPod {
        image: Some("k8s.gcr.io/pause:3.2".to_owned()),
        ..told()
    };
    let mixed = audit_with(&Tree::of(&pod()), Some(says(vec![other], by_pods())));
    assert_eq!(with_verdict(&mixed, Verdict::Fail), ["node/image-used"]);
}

#[test]
fn all_descriptors_are_counted_and_some_are_named() {
    let mut many = Process::pause(100, 1);
    many.descriptors
        .extend((3..43).map(|number| (number, "/leak")));
    let audit = audit(&Tree::of(&[many]));
    let mut all = audit.pods[0].checks.iter();
    let record = all.find(|it| it.id == "node/no-descriptors");
    let record = record.expect("a record");
    assert_eq!(record.observed.as_deref(), Some("40"));
    assert_eq!(record.evidence.len(), 17);
    assert_eq!(record.evidence[16], "and 24");
}

/// An emulator has its program open until it is loaded.
#[rstest]
#[case(true, Verdict::Pass)]
#[case(false, Verdict::Fail)]
fn what_a_pause_opens_to_start_counts_if_it_stays_open(
    #[case] closes: bool,
    #[case] verdict: Verdict,
) {
    let mut starting = Process {
        started: crate::tree::UPTIME * crate::tree::TICKS,
        ..Process::pause(100, 1)
    };
    starting.descriptors.push((7, "/pause"));
    let tree = Tree::of(&[starting]);
    let looked = inotify::init(CreateFlags::CLOEXEC).expect("inotify");
    let seen = WatchFlags::CLOSE_NOWRITE;
    inotify::add_watch(&looked, tree.of_process(100, "fd"), seen).expect("watched");
    let audit = std::thread::scope(|scope| {
        scope.spawn(|| {
            rustix::io::read(&looked, &mut [0; 512]).expect("it looks");
            if closes {
                std::fs::remove_file(tree.of_process(100, "fd/7")).expect("removed");
            }
        });
        audit(&tree)
    });
    let mut all = audit.pods[0].checks.iter();
    let record = all.find(|it| it.id == "node/no-descriptors");
    assert_eq!(record.expect("a record").verdict, verdict);
}

#[test]
fn a_machine_that_holds_a_sandbox_is_no_pause() {
    for executes in ["runsc", "qemu-system-x86_64", "containerd-shim-kata-v2"] {
        let machine = Process {
            name: "exe",
            arguments: "runsc-sandbox\0boot\0",
            executes,
            threads: 20,
            memory: 200_000,
            uid: 0,
            ..Process::pause(100, 1)
        };
        // By /proc alone, and by a runtime that tells nothing of it but its pid, as CRI-O.
        for told in [None, Some(says(vec![told()], image()))] {
            let audit = audit_with(&Tree::of(std::slice::from_ref(&machine)), told);
            assert_eq!(with_verdict(&audit, Verdict::Fail), Vec::<&str>::new());
            let why = audit.pods[0].without_pause.clone().unwrap_or_default();
            assert!(why.contains("in a machine of its own"), "{why}");
            assert!(why.contains(executes), "{why}");
        }
    }
}
