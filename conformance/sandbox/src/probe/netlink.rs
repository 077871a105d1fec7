//! rtnetlink(7) as a network plugin speaks it: makes a pod's device, and says what a
//! network namespace holds. The probe only carries the messages.

use std::io;
use std::net::Ipv4Addr;

use nix::libc;

/// Carries one request to the kernel, and its answer back.
type Carry<'a> = &'a dyn Fn(&[u8]) -> io::Result<Vec<u8>>;

/// netlink(7): `struct nlmsghdr`; rtnetlink(7): `ifinfomsg`, `ifaddrmsg`, `rtmsg`, `rtattr`.
const HEAD: usize = 16;
const LINK: usize = 16;
const ADDRESS: usize = 8;
const ROUTE: usize = 12;
const ATTRIBUTE: usize = 4;

/// linux/veth.h.
const VETH_INFO_PEER: u16 = 1;

/// Length of the prefix of a pod's network, in bits.
const PREFIX: u8 = 24;

pub(super) fn add_device(
    carry: impl Fn(&[u8]) -> io::Result<Vec<u8>>,
    name: &str,
    address: Ipv4Addr,
) -> io::Result<bool> {
    if !add_link(&carry, name, address)? {
        return Ok(false);
    }
    let index = links(&carry)?
        .into_iter()
        .find_map(|(index, found, _)| (found == name).then_some(index))
        .ok_or_else(|| io::Error::other("the kernel does not list a device it has just made"))?;
    add_address(&carry, index, address)?;
    add_default_route(&carry, index, address)?;
    Ok(true)
}

/// Makes a veth pair, or else a dummy device; `false` where the kernel has neither.
fn add_link(carry: Carry<'_>, name: &str, address: Ipv4Addr) -> io::Result<bool> {
    let up = link(libc::IFF_UP as u32);
    let [a, b, c, d] = address.octets();
    // The end in the pod is brought up by its flags; the other has no peer yet (veth(4), ENOTCONN).
    let peer = [
        link(0).as_slice(),
        &attribute(libc::IFLA_IFNAME, &string(&format!("{name}-peer"))),
    ]
    .concat();
    let veth = [
        attribute(libc::IFLA_INFO_KIND, b"veth"),
        attribute(libc::IFLA_INFO_DATA, &attribute(VETH_INFO_PEER, &peer)),
    ]
    .concat();
    let dummy = attribute(libc::IFLA_INFO_KIND, b"dummy");
    for kind in [veth, dummy] {
        let body = [
            up.clone(),
            attribute(libc::IFLA_IFNAME, &string(name)),
            // Locally administered, made from the address.
            attribute(libc::IFLA_ADDRESS, &[0x02, 0x42, a, b, c, d]),
            attribute(libc::IFLA_LINKINFO, &kind),
        ];
        match change(carry, libc::RTM_NEWLINK, &body.concat()) {
            Ok(()) => return Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

fn add_address(carry: Carry<'_>, index: u32, address: Ipv4Addr) -> io::Result<()> {
    let mut head = vec![libc::AF_INET as u8, PREFIX, 0, libc::RT_SCOPE_UNIVERSE];
    head.extend(index.to_ne_bytes());
    let body = [
        head,
        attribute(libc::IFA_LOCAL, &address.octets()),
        attribute(libc::IFA_ADDRESS, &address.octets()),
    ];
    change(carry, libc::RTM_NEWADDR, &body.concat())
}

/// By the first address of the network.
fn add_default_route(carry: Carry<'_>, index: u32, address: Ipv4Addr) -> io::Result<()> {
    let [a, b, c, _] = address.octets();
    let mut head = vec![libc::AF_INET as u8, 0, 0, 0, libc::RT_TABLE_MAIN];
    head.extend([
        libc::RTPROT_STATIC,
        libc::RT_SCOPE_UNIVERSE,
        libc::RTN_UNICAST,
    ]);
    head.extend(0_u32.to_ne_bytes());
    let body = [
        head,
        attribute(libc::RTA_GATEWAY, &[a, b, c, 1]),
        attribute(libc::RTA_OIF, &index.to_ne_bytes()),
    ];
    change(carry, libc::RTM_NEWROUTE, &body.concat())
}

pub(super) fn describe(carry: impl Fn(&[u8]) -> io::Result<Vec<u8>>) -> io::Result<Vec<String>> {
    let links = links(&carry)?;
    let name = |index: u32| {
        links
            .iter()
            .find(|(at, ..)| *at == index)
            .map_or("?", |(_, name, _)| name.as_str())
    };
    let mut all: Vec<_> = links.iter().map(|(.., line)| line.clone()).collect();
    for body in dump(&carry, libc::RTM_GETADDR, ADDRESS)? {
        let (head, attributes) = body.split_at(ADDRESS);
        let index = number(head.get(4..));
        let address = find(attributes, libc::IFA_LOCAL)
            .and_then(v4)
            .unwrap_or(Ipv4Addr::UNSPECIFIED);
        all.push(format!("address {address}/{} dev {}", head[1], name(index)));
    }
    for body in dump(&carry, libc::RTM_GETROUTE, ROUTE)? {
        let (head, attributes) = body.split_at(ROUTE);
        let part = |word: &str, kind: u16| {
            find(attributes, kind)
                .and_then(v4)
                .map(|address| format!(" {word} {address}"))
                .unwrap_or_default()
        };
        let to = part("to", libc::RTA_DST);
        let via = part("via", libc::RTA_GATEWAY);
        let device = number(find(attributes, libc::RTA_OIF));
        all.push(format!(
            "route{to}/{}{via} dev {} table {}",
            head[1],
            name(device),
            head[4]
        ));
    }
    all.sort();
    Ok(all)
}

/// Index, name and description of each device.
fn links(carry: Carry<'_>) -> io::Result<Vec<(u32, String, String)>> {
    Ok(dump(carry, libc::RTM_GETLINK, LINK)?
        .iter()
        .map(|body| {
            let (head, attributes) = body.split_at(LINK);
            let index = number(head.get(4..));
            let name = find(attributes, libc::IFLA_IFNAME).unwrap_or_default();
            let name = String::from_utf8_lossy(name)
                .trim_end_matches('\0')
                .to_owned();
            let state = if number(head.get(8..)) & libc::IFF_UP as u32 == 0 {
                "down"
            } else {
                "up"
            };
            let hardware: Vec<_> = find(attributes, libc::IFLA_ADDRESS)
                .unwrap_or_default()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            let line = format!("device {index} {name} {state} {}", hardware.join(":"));
            (index, name, line)
        })
        .collect())
}

/// A request that the kernel acknowledges.
fn change(carry: Carry<'_>, kind: u16, body: &[u8]) -> io::Result<()> {
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    messages(&carry(&message(kind, flags, body))?).map(drop)
}

/// The bodies of all objects of a kind, of IPv4 or of no family, each at least `least` bytes long.
fn dump(carry: Carry<'_>, kind: u16, least: usize) -> io::Result<Vec<Vec<u8>>> {
    let mut body = vec![0; least];
    body[0] = if kind == libc::RTM_GETLINK {
        libc::AF_UNSPEC as u8
    } else {
        libc::AF_INET as u8
    };
    let answer = carry(&message(
        kind,
        libc::NLM_F_REQUEST | libc::NLM_F_DUMP,
        &body,
    ))?;
    let mut bodies = messages(&answer)?;
    bodies.retain(|body| body.len() >= least);
    Ok(bodies)
}

fn message(kind: u16, flags: libc::c_int, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD + body.len());
    bytes.extend(((HEAD + body.len()) as u32).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((flags as u16).to_ne_bytes());
    // Sequence and port: one request a socket needs neither.
    bytes.extend([0; 8]);
    bytes.extend(body);
    bytes
}

/// The bodies of an answer's messages; an error that it holds is returned as one.
fn messages(mut answer: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let mut bodies = Vec::new();
    while answer.len() >= HEAD {
        let length = (number(Some(answer)) as usize).clamp(HEAD, answer.len());
        let kind = u16::from_ne_bytes([answer[4], answer[5]]);
        let body = &answer[HEAD..length];
        match i32::from(kind) {
            libc::NLMSG_DONE => break,
            libc::NLMSG_ERROR => match number(Some(body)) as i32 {
                0 => break,
                error => return Err(io::Error::from_raw_os_error(-error)),
            },
            _ => bodies.push(body.to_vec()),
        }
        answer = answer.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(bodies)
}

/// An `ifinfomsg` that says these flags, for any device.
fn link(flags: u32) -> Vec<u8> {
    let mut head = vec![0; 8];
    head.extend(flags.to_ne_bytes());
    head.extend(flags.to_ne_bytes());
    head
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = ATTRIBUTE + value.len();
    let mut bytes = Vec::with_capacity(length.next_multiple_of(4));
    bytes.extend((length as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(length.next_multiple_of(4), 0);
    bytes
}

/// The value of the first attribute of a kind.
fn find(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    while let [a, b, c, d, ..] = *attributes {
        let length = usize::from(u16::from_ne_bytes([a, b])).clamp(ATTRIBUTE, attributes.len());
        if u16::from_ne_bytes([c, d]) == kind {
            return attributes.get(ATTRIBUTE..length);
        }
        attributes = attributes
            .get(length.next_multiple_of(4)..)
            .unwrap_or_default();
    }
    None
}

fn number(bytes: Option<&[u8]>) -> u32 {
    match bytes {
        Some([a, b, c, d, ..]) => u32::from_ne_bytes([*a, *b, *c, *d]),
        _ => 0,
    }
}

fn v4(bytes: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(bytes).ok().map(Ipv4Addr::from)
}

fn string(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}
