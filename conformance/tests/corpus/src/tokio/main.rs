//! A pause on the runtime of tokio.

use tokio::signal::unix::{SignalKind, signal};

unsafe extern "C" {
    fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
}

#[tokio::main]
async fn main() {
    let listen = |kind| signal(kind).expect("a handler");
    let mut term = listen(SignalKind::terminate());
    let mut int = listen(SignalKind::interrupt());
    let mut chld = listen(SignalKind::child());
    loop {
        while unsafe { waitpid(-1, std::ptr::null_mut(), 1) } > 0 {}
        tokio::select! {
            _ = term.recv() => return,
            _ = int.recv() => return,
            _ = chld.recv() => {}
        }
    }
}
