//! Reports: snapshots of every format, and independent readers for the formats that programs read.
//! The samples have one of each verdict, several runs, and text that an attacker chose.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "report/agreement.rs"]
mod agreement;
#[path = "report/browser.rs"]
mod browser;
#[path = "report/events.rs"]
mod events;
#[path = "report/files.rs"]
mod files;
#[path = "report/hostile.rs"]
mod hostile;
#[path = "report/outlines.rs"]
mod outlines;
#[path = "report/readers.rs"]
mod readers;
#[path = "report/sample.rs"]
mod sample;
#[path = "report/schema.rs"]
mod schema;
#[path = "report/snapshots.rs"]
mod snapshots;
#[path = "report/specs.rs"]
mod specs;
