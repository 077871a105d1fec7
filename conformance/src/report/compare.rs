//! Which image to take: the figures of several runs side by side, and the order in which their
//! verdicts put them.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{Measurement, Run, Tally};
use crate::report::matrix::{self, Matrix};
use crate::report::text;

/// One figure in every run, in words; empty where the run has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    /// The figure's name.
    pub name: String,
    /// One cell per run.
    pub cells: Vec<String>,
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

/// What more than one run has measured, by name.
pub fn figures(matrix: &Matrix<'_>) -> Vec<Figures> {
    let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
    for run in &matrix.runs {
        for (name, _) in run.measurements.iter().filter(|(_, it)| is_figure(it)) {
            *counts.entry(name).or_default() += 1;
        }
    }
    let shared = counts.into_iter().filter(|(_, count)| *count > 1);
    let cell = |name: &String, run: &&Run| {
        let measurement = run.measurements.get(name).filter(|it| is_figure(it));
        measurement.map_or_else(String::new, |it| text::measurement_beside(it, None))
    };
    let row = |(name, _): (&String, usize)| Figures {
        name: name.clone(),
        cells: matrix.runs.iter().map(|run| cell(name, run)).collect(),
    };
    shared.map(row).collect()
}

fn is_figure(measurement: &Measurement) -> bool {
    measurement.value.is_some() || measurement.p50.is_some()
}

/// Fewer failed MUSTs come first, then fewer MUSTs that are open, then fewer failed SHOULDs, then
/// more sizes in which none is smaller. Times are left out: their noise would decide. Empty where
/// not every run is of another image.
pub fn ranking(matrix: &Matrix<'_>) -> Vec<Ranked> {
    let images: BTreeSet<_> = matrix.runs.iter().map(|run| &run.image).collect();
    if images.len() < matrix.runs.len() {
        return Vec::new();
    }
    let sizes = sizes(&matrix.runs);
    let mut all: Vec<_> = matrix
        .runs
        .iter()
        .enumerate()
        .map(|(column, run)| (Standing::of(&run.tally, smallest(&sizes, column)), column))
        .collect();
    all.sort();
    let place = |standing: &Standing| all.iter().filter(|(other, _)| other < standing).count() + 1;
    all.iter()
        .map(|(standing, column)| Ranked {
            place: place(standing),
            column: *column,
            why: standing.in_words(sizes.len()),
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
    fn of(tally: &Tally, smallest: usize) -> Self {
        Self {
            must: tally.fail_must,
            open: tally.unjudged_must + tally.error,
            should: tally.fail_should,
            larger: std::cmp::Reverse(smallest),
        }
    }

    fn in_words(self, sizes: usize) -> String {
        let Self {
            must, open, should, ..
        } = self;
        let failed = format!("{must} MUST and {should} SHOULD failed");
        let open = (open > 0).then(|| format!("{open} open"));
        let smallest = self.larger.0;
        let sizes = (sizes > 0).then(|| format!("smallest in {smallest} of {sizes} sizes"));
        let words: Vec<_> = [Some(failed), open, sizes].into_iter().flatten().collect();
        words.join(", ")
    }
}

/// What every run has measured in bytes, run by run.
fn sizes(runs: &[&Run]) -> Vec<Vec<f64>> {
    let Some((first, _)) = runs.split_first() else {
        return Vec::new();
    };
    let of = |run: &&Run, name: &String| {
        let measurement = run.measurements.get(name);
        measurement.filter(|it| it.unit == "bytes")?.value
    };
    let names = first.measurements.keys();
    names
        .filter_map(|name| runs.iter().map(|run| of(run, name)).collect())
        .collect()
}

fn smallest(sizes: &[Vec<f64>], column: usize) -> usize {
    let is_smallest = |size: &&Vec<f64>| size.iter().all(|other| size[column] <= *other);
    sizes.iter().filter(is_smallest).count()
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
        let measurement = |value: f64| Measurement {
            unit: "bytes".to_owned(),
            value: Some(value),
            ..Measurement::default()
        };
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

    fn matrix(runs: &[Run]) -> Matrix<'_> {
        Matrix {
            columns: runs.iter().map(|run| run.image.clone()).collect(),
            runs: runs.iter().collect(),
            rows: Vec::new(),
        }
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
        let matrix = matrix(runs);
        let line =
            |it: Ranked| format!("{}. {}: {}\n", it.place, matrix.columns[it.column], it.why);
        ranking(&matrix).into_iter().map(line).collect()
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
            1. large: 0 MUST and 1 SHOULD failed, smallest in 0 of 1 sizes\n\
            1. small: 0 MUST and 1 SHOULD failed, smallest in 0 of 1 sizes\n\
            1. small too: 0 MUST and 1 SHOULD failed, smallest in 0 of 1 sizes\n\
            4. open: 0 MUST and 0 SHOULD failed, 1 open, smallest in 0 of 1 sizes\n\
            5. tiny but broken: 1 MUST and 0 SHOULD failed, smallest in 1 of 1 sizes\n";
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
        let order: Vec<_> = ranking(&matrix(&runs)).iter().map(|it| it.column).collect();
        assert_eq!(order, [1, 0]);
    }

    #[test]
    fn two_runs_of_one_image_are_not_put_in_an_order() {
        let runs = [
            run("one", tally(0, 0, 0), &[]),
            run("one", tally(1, 0, 0), &[]),
        ];
        assert_eq!(ranking(&matrix(&runs)), []);
    }

    #[test]
    fn figures_stand_side_by_side_where_two_have_them() {
        let runs = [
            run("a", tally(0, 0, 0), &[("rss", 2048.0), ("image_size", 1.0)]),
            run("b", tally(0, 0, 0), &[("rss", 512.0)]),
        ];
        let expected = Figures {
            name: "rss".to_owned(),
            cells: vec!["2 KiB".to_owned(), "512 B".to_owned()],
        };
        assert_eq!(figures(&matrix(&runs)), [expected]);
    }
}
