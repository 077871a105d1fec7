//! A web server in this process, for registries that misbehave.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;

use conformance::subject::build::{ImageBuilder, LayoutBuilder};
use rustix::net::{AddressFamily, SocketType};

use super::{Elf, host};

/// Answers a request by its path, its head and the server's address; for `None` it never answers.
type Answer = dyn Fn(&str, &str, SocketAddr) -> Option<Vec<u8>> + Send + Sync;

/// A port that refuses connections while the socket lives: it is bound but does not listen.
pub(crate) fn refuses() -> (OwnedFd, SocketAddr) {
    let socket =
        rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = rustix::net::getsockname(&socket).expect("its address");
    (socket, address.try_into().expect("an address of IP"))
}

/// Starts a server, which runs until the test ends.
pub(crate) fn serve(
    answer: impl Fn(&str, &str, SocketAddr) -> Option<Vec<u8>> + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let answer: Arc<Answer> = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let answer = Arc::clone(&answer);
            thread::spawn(move || connection(stream, &*answer, address));
        }
    });
    address
}

fn connection(mut stream: TcpStream, answer: &Answer, address: SocketAddr) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    loop {
        // A TLS greeting gets an answer that is not TLS.
        if !reader
            .fill_buf()
            .is_ok_and(|bytes| bytes.starts_with(b"GET ") || bytes.starts_with(b"POST "))
        {
            return;
        }
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let length = head.lines().find_map(|line| {
            line.to_lowercase()
                .strip_prefix("content-length: ")?
                .parse()
                .ok()
        });
        // The body of a POST, a form of one line, is appended to the head.
        let mut form = vec![0; length.unwrap_or(0)];
        if reader.read_exact(&mut form).is_err() {
            return;
        }
        head.push_str(&String::from_utf8_lossy(&form));
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let Some(bytes) = answer(&path, &head, address) else {
            let _ = stream.read(&mut [0]);
            return;
        };
        if stream.write_all(&bytes).is_err() {
            return;
        }
    }
}

/// A response with this status and body.
pub(crate) fn reply(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

pub(crate) fn ok(body: &[u8]) -> Vec<u8> {
    reply("200 OK", "", body)
}

/// A registry's answers for `pause:3.10`, a sound image, by path.
pub(crate) fn image() -> impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static {
    let image = ImageBuilder::pause(&Elf::of(62).bytes(), &host());
    of_layout(LayoutBuilder::single(&image, "3.10"))
}

/// The same for the one image of a layout.
pub(crate) fn of_layout(
    layout: LayoutBuilder,
) -> impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static {
    let top = layout.manifests[0]["digest"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    move |path| {
        let digest = path.rsplit('/').next().unwrap_or_default();
        let digest = if digest == "3.10" { &top } else { digest };
        layout.blobs.get(digest).cloned()
    }
}

/// Serves that image, unless `twist` has another answer.
pub(crate) fn serve_image(
    twist: impl Fn(&str, &[u8]) -> Option<Option<Vec<u8>>> + Send + Sync + 'static,
) -> String {
    let image = image();
    let address = serve(move |path, _, _| {
        let Some(body) = image(path) else {
            return Some(reply("404 Not Found", "", b""));
        };
        twist(path, &body).unwrap_or_else(|| Some(ok(&body)))
    });
    format!("{address}/pause:3.10")
}
