//! Which container and which pod a process is in, by its cgroups.
//!
//! A container may make cgroups below its own, and name them as it likes. So a path is read from
//! the root on, and the first container in it is the one.

/// The container of a process, and the pod of that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The pod: its uid where kubelet made the cgroup, its id where podman did.
    pub pod: Option<PodKey>,
    /// The id of the container, 64 hexadecimal digits.
    pub container: Option<String>,
    /// An id right below that, which the container may have made up: where the other is a pod's, as
    /// of podman with a cgroup parent of the user's, this one is the container's.
    pub below: Option<String>,
}

/// Who made a pod, and by which name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PodKey {
    /// The uid that the API server gave, or the hash of a static pod.
    Kubernetes(String),
    /// The id that podman gave.
    Podman(String),
}

impl Place {
    /// Reads `/proc/PID/cgroup`, as in cgroups(7): hierarchies are tried in order, and the first
    /// that names a container counts.
    pub fn read(text: &str) -> Self {
        let paths = text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
        let places = paths.map(Self::of_path);
        let mut best = Self::default();
        for place in places {
            if place.container.is_some() {
                return place;
            }
            if best.pod.is_none() {
                best = place;
            }
        }
        best
    }

    fn of_path(path: &str) -> Self {
        let mut place = Self::default();
        let mut before = "";
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        while let Some(part) = parts.next() {
            if place.pod.is_none() {
                place.pod = pod(part, before);
                if place.pod.is_some() {
                    before = part;
                    continue;
                }
            }
            if let Some(id) = container(part) {
                place.container = Some(id);
                place.below = parts.next().and_then(container);
                return place;
            }
            before = part;
        }
        place
    }
}

/// `pod<uid>`, `kubepods-burstable-pod<uid>.slice`, `machine-libpod_pod_<id>.slice`, or what is
/// below podman's `libpod_parent`.
fn pod(part: &str, before: &str) -> Option<PodKey> {
    let name = part.strip_suffix(".slice").unwrap_or(part);
    if before == "libpod_parent" && is_id(name) {
        return Some(PodKey::Podman(name.to_owned()));
    }
    if let Some((_, id)) = name.rsplit_once("libpod_pod_") {
        return is_id(id).then(|| PodKey::Podman(id.to_owned()));
    }
    let uid = match name.strip_prefix("kubepods") {
        Some(rest) => rest.rsplit_once("-pod").map(|(_, uid)| uid)?,
        None => name.strip_prefix("pod")?,
    };
    // systemd's slices have no dashes in a part of their name.
    let uid = uid.replace('_', "-");
    is_uid(&uid).then_some(PodKey::Kubernetes(uid))
}

/// `<id>`, `cri-containerd-<id>.scope`, `crio-<id>`, `docker-<id>.scope`, `libpod-<id>`.
fn container(part: &str) -> Option<String> {
    let name = part.strip_suffix(".scope").unwrap_or(part);
    let (maker, id) = name.rsplit_once('-').unwrap_or(("", name));
    // What watches a container is beside it.
    (is_id(id) && !maker.contains("conmon")).then(|| id.to_owned())
}

/// Whether this is the id of a container.
pub fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(is_hex)
}

fn is_uid(text: &str) -> bool {
    let digits = text.bytes().filter(|byte| *byte != b'-');
    digits.clone().count() == 32 && digits.clone().all(is_hex)
}

fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::{Place, PodKey};

    const UID: &str = "0b1c2d3e-0000-1111-2222-333344445555";

    fn id(digit: char) -> String {
        digit.to_string().repeat(64)
    }

    #[rstest]
    #[case("0::/kubepods/burstable/pod0b1c2d3e-0000-1111-2222-333344445555/A\n")]
    #[case(
        "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod0b1c2d3e_0000_1111_2222_333344445555.slice/cri-containerd-A.scope\n"
    )]
    #[case(
        "0::/kubepods.slice/kubepods-pod0b1c2d3e_0000_1111_2222_333344445555.slice/crio-A.scope/container\n"
    )]
    #[case("3:cpu:/\n2:memory:/kubepods/pod0b1c2d3e-0000-1111-2222-333344445555/A\n0::/\n")]
    fn kubelets_cgroups_are_read(#[case] text: &str) {
        let place = Place::read(&text.replace('A', &id('a')));
        assert_eq!(place.pod, Some(PodKey::Kubernetes(UID.to_owned())));
        assert_eq!(place.container, Some(id('a')));
    }

    #[rstest]
    #[case("0::/machine.slice/machine-libpod_pod_B.slice/libpod-A.scope/container")]
    #[case("0::/libpod_parent/B/libpod-A")]
    fn podmans_cgroups_are_read(#[case] text: &str) {
        let place = Place::read(&text.replace('A', &id('a')).replace('B', &id('b')));
        assert_eq!(place.pod, Some(PodKey::Podman(id('b'))));
        assert_eq!(place.container, Some(id('a')));
    }

    #[rstest]
    #[case("0::/docker/A", true)]
    #[case("0::/system.slice/docker-A.scope", true)]
    #[case("0::/system.slice/libpod-conmon-A.scope", false)]
    #[case("0::/system.slice/ssh.service", false)]
    #[case("0::/podracing/A", true)]
    #[case("nonsense", false)]
    #[case("", false)]
    fn other_containers_have_no_pod(#[case] text: &str, #[case] is_container: bool) {
        let place = Place::read(&text.replace('A', &id('a')));
        assert_eq!(place.pod, None);
        assert_eq!(place.container.is_some(), is_container);
    }

    #[test]
    fn a_cgroup_that_a_container_made_moves_it_nowhere() {
        let text = format!("0::/docker/{}/kubepods/pod{UID}/{}", id('a'), id('b'));
        let place = Place::read(&text);
        assert_eq!(place.pod, None);
        assert_eq!(place.container, Some(id('a')));
        let text = format!("0::/kubepods/pod{UID}/{}/{}", id('a'), id('b'));
        assert_eq!(Place::read(&text).container, Some(id('a')));
    }
}
