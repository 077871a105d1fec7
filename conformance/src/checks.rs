//! The registry of checks: two lines a family, in the order of reports.

pub mod binary;
pub mod cli;
pub mod engine;
pub mod image;
pub mod namespaces;
pub mod output;
pub mod pid1;
pub mod reaping;
pub mod resources;
pub mod security;
pub mod signals;
pub mod startup;
pub mod wasi;

use crate::check::Family;

/// Every family there is.
pub static FAMILIES: &[&Family] = &[
    &image::FAMILY,
    &binary::FAMILY,
    &startup::FAMILY,
    &pid1::FAMILY,
    &signals::FAMILY,
    &reaping::FAMILY,
    &namespaces::FAMILY,
    &security::FAMILY,
    &resources::FAMILY,
    &output::FAMILY,
    &cli::FAMILY,
    &engine::FAMILY,
    &wasi::FAMILY,
];

#[cfg(test)]
mod tests;
