//! Which image to take: the figures of several runs side by side, and the order in which their
//! verdicts put them.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{Comparison, Difference, Measurement, Place, Report, Run, SideBySide, Tally};
use crate::report::matrix::{self, Matrix};
use crate::report::text;

/// One figure in every run, in words; a cell is empty where the run has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    /// The figure's name.
    pub name: String,
    /// One cell per column of the matrix.
    pub cells: Vec<String>,
    /// Which columns, from 1, are the best, or that no difference is shown.
    pub remark: String,
}

/// One image in the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranked {
    /// Its place, from 1; images that nothing tells apart share one.
    pub place: usize,
    /// Its column in the matrix.
    pub column: usize,
    /// What put it there.
    pub why: String,
}

/// Measurements of each run of a report.
pub type InTurn = BTreeMap<usize, BTreeMap<String, Measurement>>;

/// How the runs of a report compare; `None` where fewer than two can be. What was measured `in_turn`
/// goes before what a run measured by itself.
pub fn of(report: &Report, in_turn: &InTurn) -> Option<Comparison> {
    let matrix = Matrix::of(report)?;
    let (runs, numbers) = (&matrix.runs, &matrix.numbers);
    let measured = |(run, number): (&&Run, &usize)| {
        let mut all = run.measurements.clone();
        all.extend(in_turn.get(number).cloned().unwrap_or_default());
        all
    };
    let all: Vec<_> = runs.iter().zip(numbers).map(measured).collect();
    let figures = side_by_side(&all);
    let number = |column: usize| numbers.get(column).copied().unwrap_or_default();
    let ranking = rank(runs, &figures).into_iter().map(|it| Place {
        place: it.place,
        run: number(it.column),
        why: it.why,
    });
    let in_report = |figure: SideBySide| {
        let mut runs = vec![None; report.runs.len()];
        for (column, measurement) in figure.runs.into_iter().enumerate() {
            if let Some(place) = runs.get_mut(number(column)) {
                *place = measurement;
            }
        }
        let best = figure.best.into_iter().map(number).collect();
        SideBySide {
            runs,
            best,
            ..figure
        }
    };
    Some(Comparison {
        ranking: ranking.collect(),
        figures: figures.into_iter().map(in_report).collect(),
    })
}

/// The comparison that a report has, or what it would be.
pub fn shown(report: &Report) -> Comparison {
    let own = report.comparison.clone();
    own.or_else(|| of(report, &InTurn::new()))
        .unwrap_or_default()
}

/// What more than one has measured, by name.
fn side_by_side(all: &[BTreeMap<String, Measurement>]) -> Vec<SideBySide> {
    let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
    let figures = all.iter().flatten().filter(|(_, it)| it.figure().is_some());
    for (name, _) in figures {
        *counts.entry(name).or_default() += 1;
    }
    let shared = counts.into_iter().filter(|(_, count)| *count > 1);
    let row = |(name, _): (&String, usize)| {
        let of = |run: &BTreeMap<String, Measurement>| run.get(name).cloned();
        let runs: Vec<Option<Measurement>> = all.iter().map(of).collect();
        let best = best(name, &runs);
        let name = name.clone();
        SideBySide { name, runs, best }
    };
    shared.map(row).collect()
}

/// The runs than which none is shown to be better; none where no difference is shown.
fn best(name: &str, runs: &[Option<Measurement>]) -> Vec<usize> {
    let measured = || {
        runs.iter()
            .enumerate()
            .filter_map(|(at, it)| Some((at, it.as_ref()?)))
    };
    let is_best = |own: &Measurement| measured().all(|(_, other)| !is_better(name, other, own));
    let best: Vec<_> = measured()
        .filter(|(_, own)| is_best(own))
        .map(|(at, _)| at)
        .collect();
    if best.len() == measured().count() {
        return Vec::new();
    }
    best
}

/// A difference shows that one is better than another: less, but of what is done in a second.
fn is_better(name: &str, one: &Measurement, other: &Measurement) -> bool {
    match one.difference(name, other) {
        Difference::Shown(ratio) if one.unit == "1/s" => ratio > 1.0,
        Difference::Shown(ratio) => ratio < 1.0,
        Difference::None | Difference::NotShown => false,
    }
}

/// The figures of a comparison in words, by the columns of the matrix.
pub fn figures(comparison: &Comparison, matrix: &Matrix<'_>) -> Vec<Figures> {
    let row = |figure: &SideBySide| {
        let cell = |number: &usize| {
            let measurement = figure.runs.get(*number).and_then(Option::as_ref);
            measurement.map_or_else(String::new, text::brief)
        };
        let column = |run: &usize| matrix.numbers.iter().position(|it| it == run);
        let best = figure.best.iter().filter_map(column);
        let best: Vec<_> = best.map(|column| format!("[{}]", column + 1)).collect();
        Figures {
            name: figure.name.clone(),
            cells: matrix.numbers.iter().map(cell).collect(),
            remark: match best[..] {
                [] => "no difference shown".to_owned(),
                _ => format!("best: {}", best.join(" ")),
            },
        }
    };
    comparison.figures.iter().map(row).collect()
}

/// The order of a comparison, by the columns of the matrix.
pub fn ranking(comparison: &Comparison, matrix: &Matrix<'_>) -> Vec<Ranked> {
    let ranked = |place: &Place| {
        let column = matrix.numbers.iter().position(|it| *it == place.run)?;
        Some(Ranked {
            place: place.place,
            column,
            why: place.why.clone(),
        })
    };
    comparison.ranking.iter().filter_map(ranked).collect()
}

/// Fewer failed MUSTs come first, then fewer MUSTs that are open, then fewer failed SHOULDs, then
/// more sizes in which it is shown to be smaller than another. Times are left out: where they matter, they are
/// what a requirement allows. Empty where not every run is of another image.
fn rank(runs: &[&Run], figures: &[SideBySide]) -> Vec<Ranked> {
    let images: BTreeSet<_> = runs.iter().map(|run| &run.image).collect();
    if images.len() < runs.len() {
        return Vec::new();
    }
    let in_bytes = |it: &Option<Measurement>| it.as_ref().is_some_and(|it| it.unit == "bytes");
    let sizes = figures
        .iter()
        .filter(|figure| figure.runs.iter().all(in_bytes));
    let sizes: Vec<_> = sizes.collect();
    let smaller = |column: usize| {
        let than = |size: &&&SideBySide| {
            let own = size.runs.get(column).and_then(Option::as_ref);
            let others = size.runs.iter().flatten();
            let is_smaller =
                |other: &&Measurement| own.is_some_and(|own| is_better(&size.name, own, other));
            others.filter(is_smaller).count()
        };
        sizes.iter().map(|size| than(&size)).sum()
    };
    let compared = sizes.len() * runs.len().saturating_sub(1);
    let mut all: Vec<_> = runs
        .iter()
        .enumerate()
        .map(|(column, run)| (Standing::of(&run.tally, smaller(column)), column))
        .collect();
    all.sort();
    let place = |standing: &Standing| all.iter().filter(|(other, _)| other < standing).count() + 1;
    all.iter()
        .map(|(standing, column)| Ranked {
            place: place(standing),
            column: *column,
            why: standing.in_words(compared),
        })
        .collect()
}

/// What an order is made by: less is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Standing {
    must: u32,
    open: u32,
    should: u32,
    larger: std::cmp::Reverse<usize>,
}

impl Standing {
    fn of(tally: &Tally, smaller: usize) -> Self {
        Self {
            must: tally.fail_must,
            open: tally.unjudged_must + tally.error,
            should: tally.fail_should,
            larger: std::cmp::Reverse(smaller),
        }
    }

    fn in_words(self, compared: usize) -> String {
        let Self {
            must, open, should, ..
        } = self;
        let failed = format!("{must} MUST and {should} SHOULD failed");
        let open = (open > 0).then(|| format!("{open} open"));
        let smaller = self.larger.0;
        let sizes = (compared > 0)
            .then(|| format!("smaller in {smaller} of {compared} comparisons of size"));
        let words: Vec<_> = [Some(failed), open, sizes].into_iter().flatten().collect();
        words.join(", ")
    }
}

/// The rows that are not the same in every run.
pub fn differing<'m, 'a>(matrix: &'m Matrix<'a>, strict: bool) -> Vec<&'m matrix::Row<'a>> {
    let differs = |row: &&matrix::Row<'_>| {
        let mut words = row.cells.iter().map(|cell| matrix::word(*cell, strict));
        let first = words.next();
        words.any(|word| Some(word) != first)
    };
    matrix.rows.iter().filter(differs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::RunHead;

    fn run(image: &str, tally: Tally, sizes: &[(&str, f64)]) -> Run {
        // Of a size that no noise explains.
        let measurement = |value: f64| Measurement::one("bytes", value * 1e6);
        let head = RunHead {
            image: image.to_owned(),
            ..RunHead::default()
        };
        let sizes = sizes.iter();
        Run {
            tally,
            measurements: sizes
                .map(|(name, value)| ((*name).to_owned(), measurement(*value)))
                .collect(),
            ..Run::new(&head, Vec::new())
        }
    }

    fn places(runs: &[Run]) -> Vec<Ranked> {
        let runs: Vec<_> = runs.iter().collect();
        let measurements: Vec<_> = runs.iter().map(|run| run.measurements.clone()).collect();
        rank(&runs, &side_by_side(&measurements))
    }

    fn tally(fail_must: u32, unjudged_must: u32, fail_should: u32) -> Tally {
        Tally {
            fail_must,
            fail_should,
            unjudged_must,
            ..Tally::default()
        }
    }

    /// Places, images and reasons, in their order.
    fn order(runs: &[Run]) -> String {
        let line = |it: Ranked| format!("{}. {}: {}\n", it.place, runs[it.column].image, it.why);
        places(runs).into_iter().map(line).collect()
    }

    #[test]
    fn a_must_weighs_more_than_a_should_and_that_more_than_a_size() {
        let order = order(&[
            run("tiny but broken", tally(1, 0, 0), &[("rss", 1.0)]),
            run("large", tally(0, 0, 1), &[("rss", 9.0)]),
            run("small", tally(0, 0, 1), &[("rss", 2.0)]),
            run("open", tally(0, 1, 0), &[("rss", 2.0)]),
            run("small too", tally(0, 0, 1), &[("rss", 2.0)]),
        ]);
        let expected = "\
            1. small: 0 MUST and 1 SHOULD failed, smaller in 1 of 4 comparisons of size\n\
            1. small too: 0 MUST and 1 SHOULD failed, smaller in 1 of 4 comparisons of size\n\
            3. large: 0 MUST and 1 SHOULD failed, smaller in 0 of 4 comparisons of size\n\
            4. open: 0 MUST and 0 SHOULD failed, 1 open, smaller in 1 of 4 comparisons of size\n\
            5. tiny but broken: 1 MUST and 0 SHOULD failed, smaller in 4 of 4 comparisons of size\n";
        assert_eq!(order, expected);
    }

    #[test]
    fn the_smaller_of_two_that_are_as_right_comes_first() {
        let runs = [
            run(
                "large",
                tally(0, 0, 0),
                &[("rss", 9.0), ("image_size", 1.0)],
            ),
            run(
                "small",
                tally(0, 0, 0),
                &[("rss", 2.0), ("image_size", 1.0)],
            ),
        ];
        let order: Vec<_> = places(&runs).iter().map(|it| it.column).collect();
        assert_eq!(order, [1, 0]);
    }

    #[test]
    fn two_runs_of_one_image_are_not_put_in_an_order() {
        let runs = [
            run("one", tally(0, 0, 0), &[]),
            run("one", tally(1, 0, 0), &[]),
        ];
        assert_eq!(places(&runs), []);
    }

    #[test]
    fn figures_stand_side_by_side_where_two_have_them() {
        let runs = [
            run("a", tally(0, 0, 0), &[("rss", 2.0), ("image_size", 1.0)]),
            run("b", tally(0, 0, 0), &[("rss", 1.0)]),
        ];
        let measurements: Vec<_> = runs.iter().map(|run| run.measurements.clone()).collect();
        let rows = side_by_side(&measurements);
        let [row] = &rows[..] else {
            panic!("{rows:?}");
        };
        assert_eq!((row.name.as_str(), &row.best[..]), ("rss", &[1][..]));
    }

    #[test]
    fn noise_puts_no_image_before_another() {
        let runs = [
            run("a", tally(0, 0, 0), &[("rss", 1.02), ("image_size", 1.0)]),
            run("b", tally(0, 0, 0), &[("rss", 1.0), ("image_size", 1.0)]),
        ];
        let places: Vec<_> = places(&runs).iter().map(|it| it.place).collect();
        assert_eq!(places, [1, 1]);
    }

    #[test]
    fn of_what_is_done_in_a_second_more_is_better() {
        let of = |times: f64| {
            let rounds = (0..10).map(|round| times * f64::from(100 + round));
            Measurement::repeated("1/s", rounds.collect())
        };
        assert_eq!(best("reap_throughput", &[of(1.0), of(2.0), None]), [1]);
        assert_eq!(best("reap_throughput", &[of(1.0), of(1.0)]), [0; 0]);
    }
}
