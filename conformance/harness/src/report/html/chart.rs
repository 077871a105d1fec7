//! Pictures of figures side by side: inline SVG without text, which stretches to the page. Names and
//! numbers stand beside it as text, so that they can be read at every width.

use std::fmt::{self, Write};

use super::Text;
use crate::event::{Comparison, Measurement, SideBySide};
use crate::report::matrix::Matrix;
use crate::report::text;

/// The distributions that share one scale.
const LATENCIES: [&str; 2] = ["reap_latency", "term_latency"];

/// The height of a histogram, and the width of one of its bins, in units of its picture.
const HEIGHT: f64 = 100.0;
const BIN: f64 = 10.0;

/// Histograms of latencies on one scale, and bars of what is measured in bytes.
pub(super) fn write(out: &mut String, comparison: &Comparison, matrix: &Matrix<'_>) -> fmt::Result {
    let latencies = LATENCIES.map(|name| comparison.figures.iter().find(|it| it.name == name));
    let latencies: Vec<&SideBySide> = latencies.into_iter().flatten().collect();
    let scale = Scale::of(&latencies);
    let in_bytes = |figure: &&SideBySide| measured(figure).any(|it| it.unit == "bytes");
    let sizes: Vec<_> = comparison.figures.iter().filter(in_bytes).collect();
    if scale.is_none() && sizes.is_empty() {
        return Ok(());
    }
    out.push_str("<div class=\"charts\">\n");
    for figure in latencies {
        if let Some(scale) = &scale {
            write_histograms(out, figure, scale, matrix)?;
        }
    }
    for figure in sizes {
        write_bars(out, figure, matrix)?;
    }
    out.push_str("</div>\n");
    Ok(())
}

fn measured(figure: &SideBySide) -> impl Iterator<Item = &Measurement> {
    figure.runs.iter().flatten()
}

/// The runs of a figure that have it: by the number and label of their column.
fn rows<'a>(
    figure: &'a SideBySide,
    matrix: &'a Matrix<'_>,
) -> impl Iterator<Item = (usize, &'a str, &'a Measurement)> {
    let columns = matrix.columns.iter().zip(&matrix.numbers).enumerate();
    columns.filter_map(|(column, (label, run))| {
        let measurement = figure.runs.get(*run)?.as_ref()?;
        Some((column + 1, label.as_str(), measurement))
    })
}

/// Tenths of powers of ten, from and to.
struct Scale {
    from: u32,
    to: u32,
}

impl Scale {
    /// Holds all samples of these, in whole powers of ten; `None` where there are none.
    fn of(figures: &[&SideBySide]) -> Option<Self> {
        let bins = figures
            .iter()
            .flat_map(|it| measured(it))
            .flat_map(|it| &it.bins);
        let tenths: Vec<u32> = bins.map(|bin| bin.tenth).collect();
        let (least, most) = (tenths.iter().min()?, tenths.iter().max()?);
        // A bin lies before its tenth.
        let from = least.saturating_sub(1) / 10 * 10;
        let to = most.div_ceil(10) * 10;
        Some(Self {
            from,
            to: to.max(from + 10),
        })
    }

    fn width(&self) -> f64 {
        f64::from(self.to - self.from) * BIN
    }

    /// The powers of ten, as what part of the width they lie at.
    fn powers(&self) -> impl Iterator<Item = (u32, f64)> {
        let all = f64::from(self.to - self.from);
        let from = self.from;
        (from..=self.to).step_by(10).map(move |tenth| {
            let part = f64::from(tenth - from) / all;
            (tenth, part)
        })
    }
}

fn write_caption(out: &mut String, figure: &SideBySide) -> fmt::Result {
    write!(out, "<figure>\n<figcaption><b>{}</b>", Text(&figure.name))?;
    let mut all = measured(figure);
    let good = all.find_map(|it| Some(text::quantity(it.good?, &it.unit)));
    let good = good.map(|good| format!("good: at most {good}"));
    let alike = figure
        .best
        .is_empty()
        .then(|| "no difference shown".to_owned());
    let remarks: Vec<_> = good.into_iter().chain(alike).collect();
    let remarks = remarks.join("; ");
    writeln!(
        out,
        " <span class=\"dim\">{}</span></figcaption>",
        Text(&remarks)
    )
}

fn write_row(out: &mut String, number: usize, label: &str, value: &str) -> fmt::Result {
    writeln!(
        out,
        "<div class=\"name\"><span>[{number}] {}</span> <span class=\"number\">{}</span></div>",
        Text(label),
        Text(value)
    )
}

fn write_histograms(
    out: &mut String,
    figure: &SideBySide,
    scale: &Scale,
    matrix: &Matrix<'_>,
) -> fmt::Result {
    write_caption(out, figure)?;
    for (number, label, measurement) in rows(figure, matrix) {
        let samples = measurement.samples.unwrap_or_default();
        let value = format!("{}, {samples} samples", text::brief(measurement));
        write_row(out, number, label, &value)?;
        write_histogram(out, measurement, scale)?;
    }
    out.push_str("<div class=\"axis\">");
    for (tenth, part) in scale.powers() {
        let value = text::quantity(10_f64.powf(f64::from(tenth) / 10.0), "us");
        let percent = part * 100.0;
        write!(
            out,
            "<span style=\"left:{percent:.1}%\">{}</span>",
            Text(&value)
        )?;
    }
    out.push_str("</div>\n</figure>\n");
    Ok(())
}

/// Each bar is as high as the largest bin's share lets it be.
fn write_histogram(out: &mut String, measurement: &Measurement, scale: &Scale) -> fmt::Result {
    let width = scale.width();
    write!(
        out,
        "<svg class=\"histogram\" viewBox=\"0 0 {width} {HEIGHT}\" preserveAspectRatio=\"none\" aria-hidden=\"true\">"
    )?;
    for (_, part) in scale.powers() {
        let x = part * width;
        write!(out, "<path class=\"grid\" d=\"M{x} 0V{HEIGHT}\"/>")?;
    }
    let most = measurement.bins.iter().map(|bin| bin.count).max();
    let most = most.unwrap_or(1).max(1) as f64;
    for bin in &measurement.bins {
        let left = bin.tenth.saturating_sub(1).max(scale.from) - scale.from;
        let x = f64::from(left) * BIN;
        let height = bin.count as f64 / most * (HEIGHT - 4.0);
        let y = HEIGHT - height;
        write!(
            out,
            "<rect class=\"bar\" x=\"{x}\" y=\"{y:.1}\" width=\"{}\" height=\"{height:.1}\"/>",
            BIN - 1.0
        )?;
    }
    out.push_str("</svg>\n");
    Ok(())
}

fn write_bars(out: &mut String, figure: &SideBySide, matrix: &Matrix<'_>) -> fmt::Result {
    write_caption(out, figure)?;
    let most = measured(figure).filter_map(Measurement::figure);
    let most = most.fold(0.0, f64::max);
    for (number, label, measurement) in rows(figure, matrix) {
        let value = measurement.figure().unwrap_or_default();
        write_row(out, number, label, &text::brief(measurement))?;
        // What is there can be seen.
        let part = if most > 0.0 {
            value / most * 100.0
        } else {
            0.0
        };
        let part = part.max(if value > 0.0 { 0.3 } else { 0.0 });
        writeln!(
            out,
            "<svg class=\"size\" viewBox=\"0 0 100 10\" preserveAspectRatio=\"none\" aria-hidden=\"true\"><rect class=\"track\" width=\"100\" height=\"10\"/><rect class=\"bar\" width=\"{part:.1}\" height=\"10\"/></svg>"
        )?;
    }
    out.push_str("</figure>\n");
    Ok(())
}
