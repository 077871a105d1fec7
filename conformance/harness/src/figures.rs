//! The figures that checks measure and of which less is better: what each is, what is good, how much
//! of a difference is noise, and what known pauses have.

use std::collections::BTreeMap;

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
    /// How far apart two measurements of one program may be; times are told apart by rounds.
    pub noise: Noise,
}

/// The larger of the two is noise.
#[derive(Clone, Copy, Debug)]
pub struct Noise {
    /// In the unit of the figure.
    pub least: f64,
    /// Of the figure itself.
    pub share: f64,
}

impl Noise {
    const fn of(least: f64, share: f64) -> Self {
        Self { least, share }
    }
}

/// The same each time.
const EXACT: Noise = Noise::of(0.0, 0.0);

/// Two pages: the kernel counts them in advance, and maps neighbours that are cached.
const PAGES: Noise = Noise::of(8192.0, 0.25);

/// A heap with a collector has a thread, or an arena, more or less: seen are 444 and 572 KiB of one
/// program.
const HEAP: Noise = Noise::of(8192.0, 0.5);

/// It is found in steps of 16 KiB, and what a start takes depends on what else the host does: seen are
/// 112 and 272 KiB of one program.
const STEPS: Noise = Noise::of(32_768.0, 0.75);

/// What other programs, and the kernel's clock, add or take.
const EVENTS: Noise = Noise::of(2.0, 0.25);

const fn one(name: &'static str, unit: &'static str, check: &'static str, good: f64) -> Figure {
    Figure {
        name,
        unit,
        is_distribution: false,
        check,
        good,
        noise: EXACT,
    }
}

const fn noisy(noise: Noise, mut figure: Figure) -> Figure {
    figure.noise = noise;
    figure
}

const fn many(name: &'static str, check: &'static str, good: f64) -> Figure {
    Figure {
        name,
        unit: "us",
        is_distribution: true,
        check,
        good,
        noise: EXACT,
    }
}

/// In microseconds.
const SECOND: f64 = 1_000_000.0;
/// In bytes.
const MIB: f64 = 1_048_576.0;

/// All of them, with what the requirements allow.
pub static FIGURES: [Figure; 15] = [
    noisy(
        EVENTS,
        one("idle_wakeups", "count", "resources/idle-wakeups", 0.0),
    ),
    one("image_size", "bytes", "resources/memory", 1_000_000.0),
    noisy(
        STEPS,
        one("least_memory", "bytes", "startup/tiny-memory", 4.0 * MIB),
    ),
    // It is a part of the image.
    one("program_size", "bytes", "resources/memory", 1_000_000.0),
    many("reap_latency", "reaping/latency", SECOND),
    noisy(PAGES, one("rss", "bytes", "resources/memory", MIB)),
    noisy(HEAP, one("rss_anonymous", "bytes", "resources/memory", MIB)),
    many("term_latency", "signals/term-latency", SECOND),
    noisy(
        EVENTS,
        one("term_loss_calls", "count", "startup/loss-window", 128.0),
    ),
    many("term_loss_window", "startup/loss-window", 50_000.0),
    // As soon as SIGTERM is to end it.
    many("time_to_ready", "startup/time-to-ready", 50_000.0),
    noisy(
        EVENTS,
        one("wakes_in_30_days", "count", "startup/stays-for-days", 0.0),
    ),
    one("wasi/program-size", "bytes", "wasi/program-tiny", 4096.0),
    one("wasi/waits-per-hour", "waits", "wasi/wakes-rarely", 60.0),
    one("wasi/work-per-wait", "fuel", "wasi/works-little", 1000.0),
];

/// The figure of this name.
pub fn find(name: &str) -> Option<&'static Figure> {
    FIGURES.iter().find(|figure| figure.name == name)
}

/// Whether a check measures a time.
pub fn is_timed_by(check: &str) -> bool {
    let times = |figure: &&Figure| figure.is_distribution && figure.check == check;
    FIGURES.iter().any(|figure| times(&figure))
}

/// What known pauses have, written by `cargo xtask scoreboard`: a figure, a pause and a number a line.
const KNOWN: &str = include_str!("figures/known.txt");

/// What known pauses have of this figure, by their names; of times, which are a host's, nothing.
pub fn known(name: &str) -> BTreeMap<String, f64> {
    let line = |line: &str| {
        let mut words = line.split('\t');
        let figure = words.next().filter(|figure| *figure == name);
        let (_, pause, number) = (figure?, words.next()?, words.next()?);
        Some((pause.to_owned(), number.parse().ok()?))
    };
    KNOWN.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_what_is_known_is_of_a_figure() {
        let mut seen = 0;
        for line in KNOWN.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split('\t').next().unwrap_or_default();
            assert!(find(name).is_some(), "{line}");
            let number: Option<f64> = line.split('\t').nth(2).and_then(|it| it.parse().ok());
            assert!(number.is_some_and(|it| it >= 0.0), "{line}");
            assert_eq!(line.split('\t').count(), 3, "{line}");
            seen += 1;
        }
        assert!(seen > 0);
        assert!(known("rss").contains_key("the reference"));
        assert!(known("no such figure").is_empty());
    }
}
