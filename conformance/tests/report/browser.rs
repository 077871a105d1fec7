//! The HTML report as a browser shows it: Chromium lays it out at three widths, light and dark.
//!
//! Chromium is large, so that the long form alone installs it, and then demands it
//! (`PAUSE_CONFORMANCE_BROWSER`). Elsewhere the test is left out where it is missing.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use assert_cmd::Command;
use conformance::report::html;
use serde_json::Value;

use crate::sample;

/// The variable with which the long form demands a browser.
const DEMANDED: &str = "PAUSE_CONFORMANCE_BROWSER";

/// Time that no browser needs for one page, on however busy a machine.
const HANGS: Duration = Duration::from_mins(3);

/// A telephone, a tablet, a screen.
const WIDTHS: [u32; 3] = [380, 800, 1400];

/// Measures each frame once all have been laid out.
const SCRIPT: &str = r#"
const number = text => Number.parseFloat(text);
addEventListener("load", () => {
  const frames = [...document.querySelectorAll("iframe")].map(frame => {
    const page = frame.contentDocument, view = frame.contentWindow;
    const box = node => node.getBoundingClientRect();
    const all = selector => [...page.querySelectorAll(selector)];
    const style = node => view.getComputedStyle(node);
    const open = all("svg, .name span, .axis span, figcaption, h1, h2, li");
    return {
      width: frame.clientWidth,
      scrolls: page.scrollingElement.scrollWidth,
      figures: all("figure").length,
      pictures: all("svg").map(svg => ({ width: box(svg).width, height: box(svg).height })),
      bars: all("rect.bar").filter(bar => box(bar).width > 0 && box(bar).height > 0).length,
      outside: open.filter(node => box(node).right > frame.clientWidth + 0.5).length,
      smallest: Math.min(...open.filter(node => node.textContent).map(node => number(style(node).fontSize))),
      bar: style(all("rect.bar")[0]).fill,
      ground: style(page.documentElement).colorScheme + " " + view.matchMedia("(prefers-color-scheme: dark)").matches,
    };
  });
  document.body.replaceChildren(document.createTextNode("BEGIN" + JSON.stringify(frames) + "END"));
});
"#;

fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .flat_map(|folder| ["chromium", "chromium-browser"].map(|name| folder.join(name)))
        .find(|program| program.exists());
    assert!(
        found.is_some() || std::env::var_os(DEMANDED).is_none(),
        "chromium is not installed"
    );
    found
}

/// A page that holds the report at each width. Its script may look into the frames, whose own policy
/// forbids scripts.
fn page(report: &str) -> String {
    let report = report.replace('&', "&amp;").replace('"', "&quot;");
    let mut page = "<!doctype html><meta charset=utf-8><body>".to_owned();
    for width in WIDTHS {
        let style = format!("width:{width}px;height:2000px;border:0");
        write!(
            page,
            "<iframe style=\"{style}\" srcdoc=\"{report}\"></iframe>"
        )
        .unwrap();
    }
    write!(page, "<script>{SCRIPT}</script>").unwrap();
    page
}

/// What the browser says of each frame.
fn look(browser: &Path, folder: &Path, dark: bool) -> Vec<Value> {
    let scheme = u8::from(!dark);
    let output = Command::new(browser)
        .timeout(HANGS)
        .args(["--headless", "--no-sandbox", "--disable-gpu"])
        .args(["--disable-dev-shm-usage", "--no-first-run", "--dump-dom"])
        .arg("--hide-scrollbars")
        .arg(format!("--blink-settings=preferredColorScheme={scheme}"))
        .arg(format!("--user-data-dir={}", folder.join("user").display()))
        .arg(format!("file://{}", folder.join("page.html").display()))
        .env("HOME", folder)
        .output()
        .unwrap();
    let dom = String::from_utf8_lossy(&output.stdout);
    let told = dom
        .split_once("BEGIN")
        .and_then(|(_, rest)| rest.split_once("END"));
    let errors = String::from_utf8_lossy(&output.stderr);
    let (told, _) = told.unwrap_or_else(|| panic!("{}: {errors}\n{dom}", output.status));
    serde_json::from_str(&told.replace("&amp;", "&")).unwrap()
}

#[test]
fn a_browser_shows_a_comparison_at_every_width_light_and_dark() {
    let Some(browser) = browser() else {
        eprintln!("chromium is not installed");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let report = html::render(&sample::compared_images()).unwrap();
    std::fs::write(folder.path().join("page.html"), page(&report)).unwrap();
    let mut colours = Vec::new();
    for dark in [false, true] {
        let frames = look(&browser, folder.path(), dark);
        assert_eq!(frames.len(), WIDTHS.len());
        for (frame, width) in frames.iter().zip(WIDTHS) {
            assert_eq!(frame["width"], width);
            assert_eq!(frame["scrolls"], width, "it scrolls sideways: {frame:#}");
            assert_eq!(frame["outside"], 0, "{frame:#}");
            // Two latencies, two sizes, of three images each.
            assert_eq!(frame["figures"], 4, "{frame:#}");
            let pictures = frame["pictures"].as_array().unwrap();
            assert_eq!(pictures.len(), 12);
            for picture in pictures {
                let length = |key: &str| picture[key].as_f64().unwrap();
                assert!(
                    length("width") > 200.0 && length("height") > 8.0,
                    "{picture}"
                );
            }
            assert!(frame["bars"].as_u64().unwrap() > 12, "{frame:#}");
            assert!(frame["smallest"].as_f64().unwrap() >= 11.0, "{frame:#}");
            assert!(
                frame["ground"]
                    .as_str()
                    .unwrap()
                    .ends_with(&dark.to_string())
            );
        }
        colours.push(frames[0]["bar"].clone());
    }
    assert_ne!(colours[0], colours[1], "dark is as light");
}

/// What needs no browser.
#[test]
fn a_comparison_has_its_pictures_and_they_share_one_scale() {
    let report = html::render(&sample::compared_images()).unwrap();
    let count = |what: &str| report.matches(what).count();
    assert_eq!(count("<figure>"), 4);
    assert_eq!(count("<svg class=\"histogram\""), 6);
    assert_eq!(count("<svg class=\"size\""), 6);
    let boxes = report.split("<svg class=\"histogram\" ").skip(1);
    let mut boxes: Vec<_> = boxes.filter_map(|it| it.split("preserve").next()).collect();
    boxes.dedup();
    assert_eq!(boxes.len(), 1, "{boxes:?}");
    let axes = report.split("<div class=\"axis\">").skip(1);
    let mut axes: Vec<_> = axes.filter_map(|it| it.split("</div>").next()).collect();
    assert_eq!(axes.len(), 2);
    axes.dedup();
    assert_eq!(axes.len(), 1, "{axes:?}");
    // Who comes first, and who last.
    let order: Vec<_> = report.split("<li value=\"").skip(1).collect();
    assert!(order[0].starts_with("1\"><b>[3] registry.example/small:1"));
    assert!(order[2].starts_with("3\"><b>[1] registry.example/broken:1"));
    // A report of one run compares nothing.
    assert!(!html::render(&sample::good()).unwrap().contains("Compared"));
}
