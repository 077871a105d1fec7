//! The figures that checks measure and of which less is better: what each is, and what is good.

/// A figure of which less is better.
#[derive(Debug)]
pub struct Figure {
    /// Its name in reports.
    pub name: &'static str,
    /// As of [`Measurement::unit`].
    pub unit: &'static str,
    /// It is measured many times.
    pub is_distribution: bool,
    /// The check that measures it.
    pub check: &'static str,
    /// The most that is good, by a requirement: of a distribution, the largest.
    pub good: f64,
}

const fn one(name: &'static str, unit: &'static str, check: &'static str, good: f64) -> Figure {
    Figure {
        name,
        unit,
        is_distribution: false,
        check,
        good,
    }
}

const fn many(name: &'static str, check: &'static str, good: f64) -> Figure {
    Figure {
        name,
        unit: "us",
        is_distribution: true,
        check,
        good,
    }
}

/// In microseconds.
const SECOND: f64 = 1_000_000.0;
/// In bytes.
const MIB: f64 = 1_048_576.0;

/// All of them, with what the requirements allow.
pub static FIGURES: [Figure; 15] = [
    one("idle_wakeups", "count", "resources/idle-wakeups", 0.0),
    one("image_size", "bytes", "resources/memory", 1_000_000.0),
    one("least_memory", "bytes", "startup/tiny-memory", 4.0 * MIB),
    // It is a part of the image.
    one("program_size", "bytes", "resources/memory", 1_000_000.0),
    many("reap_latency", "reaping/latency", SECOND),
    one("rss", "bytes", "resources/memory", MIB),
    one("rss_anonymous", "bytes", "resources/memory", MIB),
    many("term_latency", "signals/term-latency", SECOND),
    one("term_loss_calls", "count", "startup/loss-window", 128.0),
    many("term_loss_window", "startup/loss-window", 50_000.0),
    // As soon as SIGTERM is to end it.
    many("time_to_ready", "startup/time-to-ready", 50_000.0),
    one("wakes_in_30_days", "count", "startup/stays-for-days", 0.0),
    one("wasi/program-size", "bytes", "wasi/program-tiny", 4096.0),
    one("wasi/waits-per-hour", "waits", "wasi/wakes-rarely", 60.0),
    one("wasi/work-per-wait", "fuel", "wasi/works-little", 1000.0),
];

/// The figure of this name.
pub fn find(name: &str) -> Option<&'static Figure> {
    FIGURES.iter().find(|figure| figure.name == name)
}
