//! Distributions, differences and noise.

use rstest::rstest;

use super::*;

/// Numbers that look random and are the same each time (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as f64 / u64::MAX as f64
    }

    /// A latency as hosts have them: a floor, a tail, now and then an outlier; and slower as a whole
    /// in some rounds, by `load`.
    fn latency(&mut self, floor: f64, load: f64) -> u64 {
        let tail = -self.next().max(1e-9).ln() * floor / 8.0;
        let outlier = if self.next() < 0.03 { floor * 8.0 } else { 0.0 };
        ((floor + tail) * load + outlier) as u64
    }
}

/// Two programs measured in turn, of which the second takes `times` as long: within a round the host
/// is as loaded for the one as for the other, but for a little.
fn in_turn(seed: u64, samples: usize, times: f64) -> [Measurement; 2] {
    let mut numbers = Numbers(seed);
    let mut rounds = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        let busy = 1.0 + numbers.next() * numbers.next();
        for (of, times) in rounds.iter_mut().zip([1.0, times]) {
            let load = busy * (0.9 + 0.2 * numbers.next());
            let one = |_| numbers.latency(200.0 * times, load);
            of.push((0..samples).map(one).collect::<Vec<u64>>());
        }
    }
    rounds.map(|rounds| Measurement::distribution("us", &rounds).expect("samples"))
}

#[rstest]
#[case::one_a_round_on_a_busy_host(1)]
#[case::few(3)]
#[case::as_usual(25)]
#[case::many(200)]
fn an_image_is_never_different_from_itself(#[case] samples: usize) {
    for seed in 0..1000 {
        let [here, there] = in_turn(seed, samples, 1.0);
        let found = here.difference("term_latency", &there);
        assert!(!matches!(found, Difference::Shown(_)), "{seed}: {found:?}");
    }
}

#[test]
fn one_that_takes_three_times_as_long_is_always_different() {
    for seed in 0..100 {
        let [here, there] = in_turn(seed, 25, 3.0);
        match there.difference("term_latency", &here) {
            Difference::Shown(ratio) => assert!((2.0..4.5).contains(&ratio), "{seed}: {ratio}"),
            other => panic!("{seed}: {other:?}"),
        }
    }
}

/// As recorded on a host with two processors: what two programs had in one round each.
#[test]
fn a_difference_of_one_round_is_none() {
    let one = |samples: &[u64]| Measurement::distribution("us", &[samples.to_vec()]);
    let (Some(here), Some(there)) = (one(&[549, 560, 571]), one(&[1870, 1910, 2000])) else {
        panic!("samples");
    };
    assert!(here.rounds.is_empty());
    assert_eq!(
        here.difference("term_latency", &there),
        Difference::NotShown
    );
}

#[rstest]
#[case::none(0, None)]
#[case::fewer(99, None)]
#[case::enough(100, Some(99.0))]
fn a_p99_takes_a_hundred_samples(#[case] samples: u64, #[case] p99: Option<f64>) {
    let samples: Vec<u64> = (1..=samples).collect();
    let measurement = Measurement::distribution("us", &[samples]).unwrap_or_default();
    assert_eq!(measurement.p99, p99);
}

#[test]
fn of_nothing_there_is_no_measurement() {
    assert_eq!(Measurement::distribution("us", &[]), None);
    assert_eq!(Measurement::distribution("us", &[Vec::new()]), None);
    assert_eq!(Measurement::repeated("1/s", Vec::new()), None);
}

#[test]
fn each_sample_is_in_one_bin_that_holds_it() {
    let samples: Vec<u64> = vec![0, 1, 2, 10, 11, 85, 100, 101, 1_000_000];
    let bins = bins(&samples);
    assert_eq!(bins.iter().map(|bin| bin.count).sum::<u64>(), 9);
    let of = |sample: u64| {
        let bin = bins
            .iter()
            .find(|bin| bin.at_most() + 1e-6 >= sample as f64);
        bin.map(|bin| (bin.tenth, bin.count))
    };
    assert_eq!(of(0), Some((0, 2)));
    assert_eq!(of(10), Some((10, 1)));
    assert_eq!(of(11), Some((11, 1)));
    assert_eq!(of(100), Some((20, 2)));
    assert_eq!(of(1_000_000), Some((60, 1)));
}

#[rstest]
#[case::a_page_more("rss", 708_608.0, 712_704.0, false)]
#[case::a_small_one_and_its_page("rss", 20_480.0, 24_576.0, false)]
#[case::a_heap("rss_anonymous", 446_464.0, 479_232.0, false)]
#[case::a_heap_and_an_arena("rss_anonymous", 454_656.0, 585_728.0, false)]
#[case::a_busy_host("least_memory", 278_528.0, 114_688.0, false)]
#[case::less_memory("least_memory", 819_200.0, 49_152.0, true)]
#[case::no_heap("rss_anonymous", 8_192.0, 454_656.0, true)]
#[case::another_program("rss", 20_480.0, 708_608.0, true)]
#[case::a_byte_of_a_file("program_size", 560.0, 561.0, true)]
#[case::the_same("program_size", 560.0, 560.0, false)]
fn memory_varies_by_pages_and_files_do_not(
    #[case] name: &str,
    #[case] here: f64,
    #[case] there: f64,
    #[case] shown: bool,
) {
    let [one, other] = [here, there].map(|value| Measurement::one("bytes", value));
    let found = one.difference(name, &other);
    assert_eq!(matches!(found, Difference::Shown(_)), shown, "{found:?}");
    if here.to_bits() == there.to_bits() {
        assert_eq!(found, Difference::None);
    }
}

#[test]
fn the_median_of_rounds_is_one_of_them() {
    let of = |rounds: &[f64]| Measurement::repeated("1/s", rounds.to_vec());
    assert_eq!(of(&[3.0, 1.0, 2.0]).and_then(|it| it.value), Some(2.0));
    assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]).and_then(|it| it.value), Some(2.0));
}
