//! What the node's kubelet says without being asked: in its arguments, and in its program.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::inside;
use super::proc::{ProcRoot, Process, Snapshot};

/// A kubelet that runs on the node, outside of every container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kubelet {
    /// The sandbox image in its arguments.
    pub image: Option<String>,
    /// Its version, such as `v1.29.3`, where its program says it.
    pub version: Option<String>,
}

/// Looks for it.
pub(super) fn find(root: &ProcRoot, snapshot: &Snapshot) -> Option<Kubelet> {
    // One in a container may be anybody's.
    let mut all = snapshot.processes.values();
    let found = all.find(|it| it.name == "kubelet" && it.place.container.is_none())?;
    Some(Kubelet {
        image: image(root, found),
        version: version(root, found),
    })
}

fn image(root: &ProcRoot, kubelet: &Process) -> Option<String> {
    const OPTION: &str = "--pod-infra-container-image";
    let arguments = root.arguments(&[kubelet]);
    let arguments = arguments.into_values().next()?;
    let at = arguments.iter().position(|word| word.starts_with(OPTION))?;
    match arguments[at].strip_prefix(OPTION)?.strip_prefix('=') {
        Some(image) => Some(image.to_owned()),
        None => arguments.get(at + 1).cloned(),
    }
}

fn version(root: &ProcRoot, kubelet: &Process) -> Option<String> {
    let asked = vec![(kubelet.key(), (root.clone(), kubelet.clone()))];
    let answers = root.patience().each(asked, |(root, process)| {
        let handle = root.hold(process).ok()??;
        let program = inside::executable(&handle).ok()?;
        let built = build_info(&program).ok()??;
        version_of(&built).map(str::to_owned)
    });
    answers.into_iter().next()??
}

/// The largest program that is searched; kubelet has 60 to 130 MB.
const MOST: u64 = 256 << 20;
/// How many places are read that look like the information.
const MOST_PLACES: usize = 16;
/// The longest text of build information that is read.
const MOST_TEXT: usize = 1 << 20;

/// What the linker of Go puts into each program, at an address that 16 divides (Go's
/// `debug/buildinfo`).
const MAGIC: &[u8; 14] = b"\xff Go buildinf:";
const ALIGNMENT: usize = 16;
/// Where the texts begin after it, if the flag says that they follow, as they do from Go 1.18 on.
const HEAD: usize = 32;
const TEXTS_FOLLOW: u8 = 2;

/// What a Go program says of its build: lines such as `mod`, `dep` and `build`, fields apart by
/// tabs.
fn build_info(program: &File) -> io::Result<Option<String>> {
    let mut block = vec![0; 128 << 10];
    let mut rest = vec![0; HEAD + MOST_TEXT];
    let (mut offset, mut places) = (0, 0);
    while offset < MOST && places < MOST_PLACES {
        let count = fill(program, offset, &mut block)?;
        for (number, unit) in block[..count].chunks_exact(ALIGNMENT).enumerate() {
            let is_place = unit.starts_with(MAGIC) && unit[ALIGNMENT - 1] & TEXTS_FOLLOW != 0;
            if is_place && places < MOST_PLACES {
                places += 1;
                let at = offset + (number * ALIGNMENT) as u64;
                let count = fill(program, at, &mut rest)?;
                // A program that reads such programs holds the magic bytes as well.
                if let Some(found) = rest[..count].get(HEAD..).and_then(texts) {
                    return Ok(Some(found));
                }
            }
        }
        if count < block.len() {
            break;
        }
        offset += count as u64;
    }
    Ok(None)
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while count < buffer.len() {
        match file.read_at(&mut buffer[count..], offset + count as u64) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

/// Two texts, each after its length: Go's version, and what is wanted.
fn texts(bytes: &[u8]) -> Option<String> {
    let (go, rest) = text(bytes)?;
    let (built, _) = text(rest)?;
    let is_go = go.starts_with(b"go") || go.starts_with(b"devel");
    is_go.then(|| String::from_utf8_lossy(built).into_owned())
}

/// A text after its length, seven bits a byte, the lowest first.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut length = 0;
    for (number, byte) in bytes.iter().enumerate().take(4) {
        length |= usize::from(byte & 0x7f) << (7 * number);
        if byte & 0x80 == 0 {
            return bytes[number + 1..].split_at_checked(length);
        }
    }
    None
}

/// The version of Kubernetes: what the linker was told to write into the program, which a build
/// with `-trimpath` does not repeat, or the version of the module.
fn version_of(built: &str) -> Option<&str> {
    const TOLD: &str = "k8s.io/component-base/version.gitVersion=";
    let told = built.split(TOLD).nth(1);
    let module = || {
        let mut lines = built.lines();
        lines.find_map(|line| line.strip_prefix("mod\tk8s.io/kubernetes\t"))
    };
    let rest = told.or_else(module)?;
    let is_end = |letter: char| !letter.is_ascii_alphanumeric() && !".+-".contains(letter);
    let version = rest.split(is_end).next()?;
    version.starts_with('v').then_some(version)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const BUILT: &str = "path\tk8s.io/kubernetes/cmd/kubelet\nmod\tk8s.io/kubernetes\t(devel)\t\n\
                         build\t-ldflags=\"all=-X 'k8s.io/component-base/version.gitVersion=v1.29.3' -s\"\n";

    #[rstest::rstest]
    #[case::told(BUILT, Some("v1.29.3"))]
    #[case::of_a_vendor(
        "build\t-ldflags=\"-X k8s.io/component-base/version.gitVersion=v1.30.1-eks-49c6de4\"\n",
        Some("v1.30.1-eks-49c6de4")
    )]
    #[case::of_the_module("mod\tk8s.io/kubernetes\tv1.33.1\th1:abc=\n", Some("v1.33.1"))]
    #[case::not_said("mod\tk8s.io/kubernetes\t(devel)\t\nbuild\t-trimpath=true\n", None)]
    #[case::of_another("mod\tgithub.com/k3s-io/k3s\tv1.33.1\t\n", None)]
    fn a_version_is_what_was_told_or_the_modules(
        #[case] built: &str,
        #[case] expected: Option<&str>,
    ) {
        assert_eq!(version_of(built), expected);
    }

    fn after_length(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut length = text.len();
        while length >= 0x80 {
            bytes.push(length as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes.extend(text.bytes());
        bytes
    }

    fn head() -> Vec<u8> {
        let mut head = MAGIC.to_vec();
        head.extend([8, TEXTS_FOLLOW]);
        head.resize(HEAD, 0);
        head
    }

    #[rstest::rstest]
    #[case::at_the_start(0)]
    #[case::across_blocks((128 << 10) - ALIGNMENT)]
    #[case::later(3 * (128 << 10) + ALIGNMENT)]
    fn build_information_is_found_where_it_lies(#[case] before: usize) {
        let mut file = tempfile::tempfile().expect("a file");
        let bytes = [
            vec![1; before],
            // What reads such information holds the magic bytes, and nothing after them.
            [head(), vec![0xff; 4 * ALIGNMENT]].concat(),
            head(),
            after_length("go1.22.1"),
            after_length(BUILT),
        ];
        file.write_all(&bytes.concat()).expect("written");
        let found = build_info(&file).expect("it can be read");
        assert_eq!(found.as_deref(), Some(BUILT));
    }

    #[test]
    fn one_that_looks_like_it_everywhere_is_given_up() {
        let mut file = tempfile::tempfile().expect("a file");
        let decoys = [head(), vec![0xff; 2 * ALIGNMENT]]
            .concat()
            .repeat(MOST_PLACES);
        let bytes = [
            decoys,
            head(),
            after_length("go1.22.1"),
            after_length(BUILT),
        ];
        file.write_all(&bytes.concat()).expect("written");
        assert_eq!(build_info(&file).expect("it can be read"), None);
    }

    #[test]
    fn a_length_that_is_too_long_is_none() {
        let mut file = tempfile::tempfile().expect("a file");
        let bytes = [
            head(),
            after_length("go1.22.1"),
            vec![0xff, 0xff, 0x7f, b'x'],
        ];
        file.write_all(&bytes.concat()).expect("written");
        assert_eq!(build_info(&file).expect("it can be read"), None);
    }
}
