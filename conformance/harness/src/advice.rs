//! What a failure means in a pod, and how it is mended: in words with each check, and in code where
//! the languages that pauses are written in differ.

/// What a failure of a check means, and how it is mended.
#[derive(Clone, Copy, Debug)]
pub struct Advice {
    /// What it does to a pod, in a sentence.
    pub why: &'static str,
    /// What to change, in a sentence.
    pub mend: &'static str,
    /// How, where languages differ.
    pub code: Option<&'static Recipe>,
}

impl Advice {
    /// Without code.
    pub const fn new(why: &'static str, mend: &'static str) -> Self {
        Self {
            why,
            mend,
            code: None,
        }
    }

    /// With code.
    #[must_use]
    pub const fn as_in(self, recipe: &'static Recipe) -> Self {
        Self {
            code: Some(recipe),
            ..self
        }
    }
}

/// How one thing is done in each language: lines of code, of a command, or of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Recipe {
    /// In C.
    pub c: &'static str,
    /// In Go.
    pub go: &'static str,
    /// In Rust.
    pub rust: &'static str,
}

impl Recipe {
    /// Each language with its lines.
    pub fn languages(&self) -> [(&'static str, &'static str); 3] {
        [("C", self.c), ("Go", self.go), ("Rust", self.rust)]
    }
}

/// Ends on SIGTERM and SIGINT.
pub static TERM: Recipe = Recipe {
    c: "static void down(int s) { (void)s; _exit(0); }
struct sigaction sa = { .sa_handler = down };
sigaction(SIGTERM, &sa, NULL);
sigaction(SIGINT, &sa, NULL);
sigset_t none;
sigemptyset(&none);
sigprocmask(SIG_SETMASK, &none, NULL);",
    go: "down := make(chan os.Signal, 1)
signal.Notify(down, syscall.SIGTERM, syscall.SIGINT)
<-down
os.Exit(0)",
    rust: "// crate signal-hook; for no handler at all see SigSet::wait of nix
let mut signals = Signals::new([SIGTERM, SIGINT])?;
signals.forever().next();
std::process::exit(0);",
};

/// Reaps all that has ended.
pub static REAP: Recipe = Recipe {
    c: "while (waitpid(-1, NULL, WNOHANG) > 0) {}",
    go: "for {
\tpid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
\tif err != syscall.EINTR && pid <= 0 {
\t\tbreak
\t}
}",
    rust: "// crate rustix
while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}",
};

/// Waits for signals, and loses none.
pub static WAIT: Recipe = Recipe {
    c: "sigset_t set;
sigemptyset(&set);
sigaddset(&set, SIGTERM);
sigaddset(&set, SIGINT);
sigaddset(&set, SIGCHLD);
sigprocmask(SIG_BLOCK, &set, NULL);
for (;;) {
\twhile (waitpid(-1, NULL, WNOHANG) > 0) {}
\tint s = sigwaitinfo(&set, NULL);
\tif (s == SIGTERM || s == SIGINT) _exit(0);
\tif (s < 0 && errno != EINTR) _exit(1);
}",
    go: "down, ended := make(chan os.Signal, 1), make(chan os.Signal, 1)
signal.Notify(down, syscall.SIGTERM, syscall.SIGINT)
signal.Notify(ended, syscall.SIGCHLD) // a channel of its own: a full one drops signals
for {
\treap()
\tselect {
\tcase <-down:
\t\tos.Exit(0)
\tcase <-ended:
\t}
}",
    rust: "// crate nix
let set = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGCHLD]);
set.thread_block()?;
loop {
    reap();
    match set.wait()? {
        Signal::SIGCHLD => {}
        _ => std::process::exit(0),
    }
}",
};

/// Sleeps on while a child stops and goes on.
pub static NOCLDSTOP: Recipe = Recipe {
    c: "struct sigaction sa = { .sa_handler = SIG_DFL, .sa_flags = SA_NOCLDSTOP };
sigaction(SIGCHLD, &sa, NULL); // with a handler where you have one",
    go: "os/signal cannot set it: write pause in C or Rust",
    rust: "// crate nix
let quiet = SigAction::new(SigHandler::SigDfl, SaFlags::SA_NOCLDSTOP, SigSet::empty());
unsafe { sigaction(Signal::SIGCHLD, &quiet) }?;",
};

/// Survives signals that nobody handles.
pub static SURVIVE: Recipe = Recipe {
    c: "nothing to do as process 1: the kernel drops a signal that has no handler",
    go: "// first in main, before signal.Notify: the runtime handles all signals, and ends on some
for s := syscall.Signal(1); s < 65; s++ {
\tsignal.Ignore(s)
}",
    rust: "nothing to do as process 1: the kernel drops a signal that has no handler",
};

/// Survives a standard error that nobody reads.
pub static STDERR: Recipe = Recipe {
    c: "signal(SIGPIPE, SIG_IGN);
fcntl(2, F_SETFL, fcntl(2, F_GETFL) | O_NONBLOCK);",
    go: "signal.Ignore(syscall.SIGPIPE)",
    rust: "let _ = writeln!(std::io::stderr(), \"…\"); // eprintln! panics",
};

/// Links statically.
pub static STATIC: Recipe = Recipe {
    c: "cc -static -Os -s -o pause pause.c",
    go: "CGO_ENABLED=0 go build -o pause .",
    rust: "cargo build --release --target x86_64-unknown-linux-musl",
};

/// Strips, and builds for size.
pub static STRIP: Recipe = Recipe {
    c: "cc -static -Os -s -o pause pause.c",
    go: "CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o pause .",
    rust: "[profile.release]
strip = true
opt-level = \"s\"
lto = true
panic = \"abort\"",
};

/// Aligns segments to pages of 64 KiB.
pub static ALIGN: Recipe = Recipe {
    c: "cc -Wl,-z,max-page-size=65536 …",
    go: "nothing to do: the linker of Go does so; with cgo add -ldflags='-extldflags=-Wl,-z,max-page-size=65536'",
    rust: "RUSTFLAGS='-C link-arg=-Wl,-z,max-page-size=65536'",
};

/// Has no memory that is written and executed.
pub static NOEXEC: Recipe = Recipe {
    c: "cc -Wl,-z,noexecstack -Wl,-z,separate-code …
in assembly: .section .note.GNU-stack,\"\",%progbits",
    go: "nothing to do without cgo",
    rust: "RUSTFLAGS='-C link-arg=-Wl,-z,noexecstack'",
};

/// Compiles for the oldest processor.
pub static CPU: Recipe = Recipe {
    c: "cc -march=x86-64 …; arm64: -march=armv8-a",
    go: "GOAMD64=v1 go build …; arm64: GOARM64=v8.0",
    rust: "RUSTFLAGS='-C target-cpu=x86-64'; never target-cpu=native",
};

/// Compiles for another architecture.
pub static CROSS: Recipe = Recipe {
    c: "aarch64-linux-gnu-gcc -static -Os -s -o pause pause.c",
    go: "CGO_ENABLED=0 GOOS=linux GOARCH=arm64 go build -o pause .",
    rust: "cargo build --release --target aarch64-unknown-linux-musl",
};

/// Takes little memory and few system calls.
pub static SMALL: Recipe = Recipe {
    c: "cc -static -Os -s -nostartfiles …, with a _start of its own",
    go: "the runtime takes some MiB and several threads: write pause in C or Rust",
    rust: "#![no_std] and #![no_main], with panic = \"abort\"",
};

/// Has one thread.
pub static THREAD: Recipe = Recipe {
    c: "nothing to do without pthread_create",
    go: "the runtime always has several threads: write pause in C or Rust",
    rust: "no thread and no tokio runtime of several: SigSet::wait of nix waits in main",
};

/// Keeps no descriptor open.
pub static FDS: Recipe = Recipe {
    c: "close_range(3, ~0U, 0);",
    go: "the runtime keeps an epoll and an eventfd open once it polls: write pause in C or Rust",
    rust: "unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };",
};

/// A program for WASI.
pub static WASI: Recipe = Recipe {
    c: "clang --target=wasm32-wasip1 -nostdlib -Os -Wl,--strip-all -Wl,-z,stack-size=4096 -Wl,--initial-memory=65536 -Wl,--max-memory=65536 …",
    go: "its runtime imports far more than a pause needs: write it in C, Rust or text",
    rust: "#![no_std] and #![no_main], cargo build --release --target wasm32-wasip1",
};
