//! rtnetlink(7) as a network plugin speaks it: makes a pod's device, and lists what a network
//! namespace holds. The probe only carries the messages.
//!
//! netlink-packet-core frames messages and attributes. netlink-packet-route would also have a type
//! for each message, but takes nine seconds to compile for the six that are used here.

use std::io;
use std::net::Ipv4Addr;

use netlink_packet_core::{
    DefaultNla, Emitable, NLA_HEADER_SIZE, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer, NetlinkHeader,
    NlasIterator, parse_i32, parse_u32,
};
use nix::libc;

/// Carries one request to the kernel, and its answer back.
type Carry<'a> = &'a dyn Fn(&[u8]) -> io::Result<Vec<u8>>;

/// Sizes of `ifinfomsg`, `ifaddrmsg` and `rtmsg`, rtnetlink(7).
const LINK: usize = 16;
const ADDRESS: usize = 8;
const ROUTE: usize = 12;

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
    let [a, b, c, d] = address.octets();
    // The end in the pod is brought up by its flags; the other has no peer yet (veth(4), ENOTCONN).
    let peer_name = attribute(libc::IFLA_IFNAME, string(&format!("{name}-peer")));
    let peer = [link(0), bytes(&peer_name)].concat();
    let data = bytes(&attribute(VETH_INFO_PEER, peer));
    let veth = [
        attribute(libc::IFLA_INFO_KIND, "veth"),
        attribute(libc::IFLA_INFO_DATA, data),
    ];
    let dummy = [attribute(libc::IFLA_INFO_KIND, "dummy")];
    for kind in [&veth[..], &dummy] {
        let attributes = [
            attribute(libc::IFLA_IFNAME, string(name)),
            // Locally administered, made from the address.
            attribute(libc::IFLA_ADDRESS, [0x02, 0x42, a, b, c, d]),
            attribute(libc::IFLA_LINKINFO, bytes(&kind)),
        ];
        let head = link(libc::IFF_UP as u32);
        match change(carry, libc::RTM_NEWLINK, head, &attributes) {
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
    let attributes = [
        attribute(libc::IFA_LOCAL, address.octets()),
        attribute(libc::IFA_ADDRESS, address.octets()),
    ];
    change(carry, libc::RTM_NEWADDR, head, &attributes)
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
    let attributes = [
        attribute(libc::RTA_GATEWAY, [a, b, c, 1]),
        attribute(libc::RTA_OIF, index.to_ne_bytes()),
    ];
    change(carry, libc::RTM_NEWROUTE, head, &attributes)
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
fn change(
    carry: Carry<'_>,
    kind: u16,
    mut body: Vec<u8>,
    attributes: &[DefaultNla],
) -> io::Result<()> {
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    body.extend(bytes(&attributes));
    messages(&carry(&message(kind, flags, &body))?).map(drop)
}

/// The bodies of all objects of a kind, of IPv4 or of no family, each at least `least` bytes long.
fn dump(carry: Carry<'_>, kind: u16, least: usize) -> io::Result<Vec<Vec<u8>>> {
    let mut body = vec![0; least];
    body[0] = if kind == libc::RTM_GETLINK {
        libc::AF_UNSPEC as u8
    } else {
        libc::AF_INET as u8
    };
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_DUMP;
    let mut bodies = messages(&carry(&message(kind, flags, &body))?)?;
    bodies.retain(|body| body.len() >= least);
    Ok(bodies)
}

fn message(kind: u16, flags: libc::c_int, body: &[u8]) -> Vec<u8> {
    // Sequence number and port stay 0: one request a socket needs neither.
    let mut header = NetlinkHeader::default();
    header.length = (header.buffer_len() + body.len()) as u32;
    header.message_type = kind;
    header.flags = flags as u16;
    [&bytes(&header), body].concat()
}

/// The bodies of an answer's messages; an error that it holds is returned as one.
fn messages(mut answer: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let mut bodies = Vec::new();
    while let Ok(message) = NetlinkBuffer::new_checked(answer) {
        let body = message.payload();
        match message.message_type() {
            NLMSG_DONE => break,
            NLMSG_ERROR => match parse_i32(body.get(..4).unwrap_or_default()) {
                Ok(0) => break,
                Ok(error) => return Err(io::Error::from_raw_os_error(error.wrapping_neg())),
                Err(error) => return Err(io::Error::other(error)),
            },
            _ => bodies.push(body.to_vec()),
        }
        let length = message.length() as usize;
        answer = answer.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(bodies)
}

/// An `ifinfomsg` with these flags, for any device.
fn link(flags: u32) -> Vec<u8> {
    let mut head = vec![0; 8];
    head.extend(flags.to_ne_bytes());
    head.extend(flags.to_ne_bytes());
    head
}

fn attribute(kind: u16, value: impl Into<Vec<u8>>) -> DefaultNla {
    DefaultNla::new(kind, value.into())
}

fn bytes(part: &impl Emitable) -> Vec<u8> {
    let mut bytes = vec![0; part.buffer_len()];
    part.emit(&mut bytes);
    bytes
}

/// The value of the first attribute of a kind.
fn find(attributes: &[u8], kind: u16) -> Option<&[u8]> {
    let mut attributes = NlasIterator::new(attributes).filter_map(Result::ok);
    let found = attributes.find(|attribute| attribute.kind() == kind)?;
    found
        .into_inner()
        .get(NLA_HEADER_SIZE..usize::from(found.length()))
}

/// 0 where there is none.
fn number(bytes: Option<&[u8]>) -> u32 {
    let bytes = bytes.and_then(|bytes| bytes.get(..4));
    bytes.map_or(0, |bytes| parse_u32(bytes).unwrap_or(0))
}

fn v4(bytes: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(bytes).ok().map(Ipv4Addr::from)
}

fn string(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    /// The error that `change` returns for this answer.
    fn refused(answer: &[u8]) -> Option<io::Error> {
        change(&|_| Ok(answer.to_vec()), libc::RTM_NEWADDR, link(0), &[]).err()
    }

    fn answer(error: i32) -> Vec<u8> {
        let body = [&error.to_ne_bytes()[..], &[0; 16]].concat();
        message(NLMSG_ERROR, 0, &body)
    }

    #[test]
    fn an_acknowledgement_is_no_error_and_an_errno_is() {
        assert!(refused(&answer(0)).is_none());
        let error = refused(&answer(-libc::EEXIST)).expect("it was refused");
        assert_eq!(error.raw_os_error(), Some(libc::EEXIST));
    }

    #[test]
    fn a_device_is_described_by_its_flags_and_attributes() {
        let mut device = link(libc::IFF_UP as u32);
        device[4..8].copy_from_slice(&7_u32.to_ne_bytes());
        let name = attribute(libc::IFLA_IFNAME, string("eth0"));
        let hardware = attribute(libc::IFLA_ADDRESS, [2, 0x42, 10, 0, 0, 5]);
        let body = [device, bytes(&[name, hardware].as_slice())].concat();
        let of = |request: &[u8]| {
            let kind = NetlinkBuffer::new(request).message_type();
            let found = if kind == libc::RTM_GETLINK {
                &body[..]
            } else {
                &[]
            };
            Ok([
                message(libc::RTM_NEWLINK, 0, found),
                message(NLMSG_DONE, 0, &[]),
            ]
            .concat())
        };
        let lines = describe(of).expect("it is well-formed");
        assert_eq!(lines, ["device 7 eth0 up 02:42:0a:00:00:05"]);
    }

    /// The answer passes through a process in the pod.
    #[rstest]
    #[case::empty(&[])]
    #[case::short(&[16, 0, 0])]
    #[case::no_errno(&message(NLMSG_ERROR, 0, &[1]))]
    #[case::least_errno(&answer(i32::MIN))]
    #[case::zero_length(&[0; 64])]
    #[case::long(&[0xff; 64])]
    #[case::attribute_of_no_length(&message(libc::RTM_NEWLINK, 0, &[0; 32]))]
    #[case::attribute_too_long(&message(libc::RTM_NEWLINK, 0, &[0xff; 32]))]
    fn a_malformed_answer_makes_nothing_panic(#[case] answer: &[u8]) {
        let _ = refused(answer);
        let _ = describe(|_| Ok(answer.to_vec()));
    }
}
