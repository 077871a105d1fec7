//! Images whose program is wrong as a file: one ELF header or section each.

use super::ImageFixture;
use super::parts::{amd64, arm64, mutated, of_program, single};
use crate::subject::build::{ImageBuilder, LayoutBuilder};

const STATIC: &[&str] = &["binary/static"];
const PAGES: &[&str] = &["binary/page-size-64k"];
const STACK: &[&str] = &["binary/no-exec-stack"];
const STRIPPED: &[&str] = &["binary/stripped"];

pub(super) static IMAGES: &[ImageFixture] = &[
    ImageFixture::new(
        "no-interpreter",
        "asks for an interpreter that is not there, as musl-gcc -static-pie makes it",
        STATIC,
        || with("declares-interpreter"),
    ),
    ImageFixture::new(
        "no-library",
        "needs a library that is not there",
        STATIC,
        || with("needs-library"),
    ),
    ImageFixture::new(
        "half-a-header",
        "has a program that ends in its ELF header",
        STATIC,
        || with("truncated-header"),
    ),
    ImageFixture::new(
        "half-a-table",
        "has a program that ends in its program headers",
        STATIC,
        || with("truncated-program-headers"),
    ),
    ImageFixture::new(
        "small-pages",
        "is laid out for pages of 4 KiB alone",
        PAGES,
        || on_arm64("aligned-to-4k"),
    ),
    ImageFixture::new(
        "incongruent-pages",
        "has a segment that no large page can map",
        PAGES,
        || on_arm64("incongruent"),
    ),
    ImageFixture::new(
        "executable-stack",
        "asks for a stack that can be executed",
        STACK,
        || with("executable-stack"),
    ),
    ImageFixture::new(
        "silent-about-its-stack",
        "does not say that its stack must not be executed",
        STACK,
        || with("no-stack-header"),
    ),
    ImageFixture::new(
        "writable-code",
        "has code that can be written",
        STACK,
        || with("writable-code"),
    ),
    ImageFixture::new("symbols", "has a symbol table", STRIPPED, || {
        with("with-symbols")
    }),
    ImageFixture::new(
        "debug-information",
        "has debug information",
        STRIPPED,
        || with("with-debug-section"),
    ),
];

fn with(mutation: &str) -> LayoutBuilder {
    of_program(&mutated(mutation, &amd64()))
}

fn on_arm64(mutation: &str) -> LayoutBuilder {
    single(&ImageBuilder::pause(&mutated(mutation, &arm64()), "arm64"))
}
