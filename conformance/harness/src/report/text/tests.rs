//! Tables of escapes and figures.

use proptest::prelude::*;
use rstest::rstest;

use pause_image::is_plain;

use super::{change, duration, escape, line, measurement, measurement_beside, plural, quantity};
use crate::event::Measurement;

#[rstest]
#[case(
    "plain text, with ü, 漢 and \\ as they are",
    "plain text, with ü, 漢 and \\ as they are"
)]
#[case("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m")]
#[case("a\nb\tc\rd", "a\\nb\\tc\\rd")]
#[case("\0\x07\x7f", "\\x00\\x07\\x7f")]
#[case("\u{9b}31m", "\\x9b31m")]
#[case("a\u{202e}b\u{2066}c", "a\\u{202e}b\\u{2066}c")]
#[case(
    "\u{feff}\u{200b}\u{2028}\u{ffff}\u{e0041}",
    "\\u{feff}\\u{200b}\\u{2028}\\u{ffff}\\u{e0041}"
)]
#[case("\u{ad}\u{61c}\u{180e}\u{fff9}", "\\xad\\u{61c}\\u{180e}\\u{fff9}")]
fn what_cannot_be_seen_is_shown(#[case] text: &str, #[case] shown: &str) {
    assert_eq!(escape(text), shown);
}

#[test]
fn neighbours_of_invisible_characters_stay() {
    let visible = " ~\u{a0}\u{ac}\u{ae}\u{61b}\u{61d}\u{200a}\u{2010}\u{2027}\u{202f}\u{205f}\u{2070}\u{fff8}\u{fffc}\u{fffd}";
    assert_eq!(escape(visible), visible);
}

#[rstest]
#[case(1000, 0)]
#[case(1001, 1)]
#[case(5000, 4000)]
fn a_long_line_is_cut_and_says_so(#[case] length: usize, #[case] over: usize) {
    let shown = line(&"x".repeat(length));
    if over == 0 {
        assert_eq!(shown.len(), length);
    } else {
        assert_eq!(shown, format!("{}… ({over} more bytes)", "x".repeat(1000)));
    }
}

proptest! {
    #[test]
    fn nothing_unprintable_gets_through(text in any::<String>()) {
        prop_assert!(!escape(&text).chars().any(|c| !is_plain(c)));
        prop_assert!(!line(&text).chars().any(|c| !is_plain(c)));
    }
}

#[rstest]
#[case(0, "0 µs")]
#[case(85, "85 µs")]
#[case(999, "999 µs")]
#[case(1_000, "1 ms")]
#[case(1_340, "1.34 ms")]
#[case(13_460, "13.5 ms")]
#[case(134_600, "135 ms")]
#[case(999_400, "999 ms")]
#[case(999_600, "1 s")]
#[case(2_410_000, "2.41 s")]
#[case(7_200_000_000, "7200 s")]
fn times_have_three_digits_and_a_unit(#[case] us: u64, #[case] shown: &str) {
    assert_eq!(duration(us), shown);
}

#[rstest]
#[case(0.0, "bytes", "0 B")]
#[case(1023.0, "bytes", "1023 B")]
#[case(1024.0, "bytes", "1 KiB")]
#[case(647_168.0, "bytes", "632 KiB")]
#[case(16_777_216.0, "bytes", "16 MiB")]
#[case(1_099_511_627_776.0, "bytes", "1024 GiB")]
#[case(3.0, "count", "3")]
#[case(0.25, "count", "0.25")]
#[case(9.99, "count", "9.99")]
#[case(9.996, "count", "10")]
#[case(99.94, "count", "99.9")]
#[case(99.96, "count", "100")]
#[case(-99.94, "count", "-99.9")]
#[case(12_345.4, "1/s", "12345/s")]
#[case(-1500.0, "us", "-1.5 ms")]
#[case(1.0, "pages", "1 pages")]
fn figures_are_scaled_by_their_unit(#[case] value: f64, #[case] unit: &str, #[case] shown: &str) {
    assert_eq!(quantity(value, unit), shown);
}

fn blank(unit: &str) -> Measurement {
    Measurement::new(unit)
}

#[test]
fn a_distribution_is_one_line() {
    let latency = Measurement {
        samples: Some(200),
        p50: Some(120.0),
        p99: Some(1_500.0),
        max: Some(2_000.0),
        good: None,
        ..blank("us")
    };
    assert_eq!(
        measurement(&latency),
        "p50 120 µs  p99 1.5 ms  max 2 ms  (200 samples)"
    );
}

#[test]
fn names_are_listed_after_their_number() {
    let calls = Measurement {
        value: Some(2.0),
        names: vec!["pause".to_owned(), "wait4".to_owned()],
        ..blank("names")
    };
    assert_eq!(measurement(&calls), "2  pause, wait4");
}

#[rstest]
#[case(0.000_1, "-100 %")]
#[case(0.5, "-50 %")]
#[case(0.999, "-0.1 %")]
#[case(1.0, "+0 %")]
#[case(1.1, "+10 %")]
#[case(2.99, "+199 %")]
#[case(3.0, "3 times as much")]
#[case(1_300.6, "1301 times as much")]
fn a_ratio_is_a_change(#[case] ratio: f64, #[case] shown: &str) {
    assert_eq!(change(ratio), shown);
}

fn figure(value: Option<f64>, p50: Option<f64>) -> Measurement {
    Measurement {
        value,
        p50,
        ..blank("bytes")
    }
}

fn named(names: &[&str]) -> Measurement {
    Measurement {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        ..blank("names")
    }
}

#[rstest]
#[case::none_there(figure(Some(2.0), None), None, "2 B")]
#[case::less(
    figure(Some(2.0), None),
    Some(figure(Some(4.0), None)),
    "2 B  (baseline 4 B, -50 %)"
)]
#[case::shown_alike(
    figure(Some(2.0), None),
    Some(figure(Some(2.0001), None)),
    "2 B  (baseline the same)"
)]
#[case::from_nothing(
    figure(Some(2.0), None),
    Some(figure(Some(0.0), None)),
    "2 B  (baseline 0 B)"
)]
#[case::medians(
    figure(None, Some(3.0)),
    Some(figure(None, Some(2.0))),
    "p50 3 B  (baseline p50 2 B, +50 %)"
)]
#[case::more_names(named(&["a", "b"]), Some(named(&["a"])), "a, b  (baseline without b)")]
#[case::fewer_names(named(&["a"]), Some(named(&["a", "b"])), "a  (baseline with b)")]
#[case::other_names(named(&["a"]), Some(named(&["b"])), "a  (baseline without a, with b)")]
#[case::same_names(named(&["a"]), Some(named(&["a"])), "a  (baseline the same)")]
#[case::no_names_any_more(named(&[]), Some(named(&["a"])), "  (baseline with a)")]
fn a_measurement_stands_beside_the_baselines(
    #[case] here: Measurement,
    #[case] there: Option<Measurement>,
    #[case] shown: &str,
) {
    assert_eq!(measurement_beside("size", &here, there.as_ref()), shown);
}

#[rstest]
#[case(0, "0 checks")]
#[case(1, "1 check")]
#[case(2, "2 checks")]
fn one_is_singular(#[case] count: u32, #[case] shown: &str) {
    assert_eq!(plural(count, "check", "checks"), shown);
}
