//! The JSON report, a serialised `event::Report`, and its published schema.

use std::fmt::Write as _;

use crate::event::Report;
use pause_image::is_plain;

/// The report as indented JSON, `schema_version` first, with a newline at its end.
///
/// Characters that could act on a terminal are written as `\uXXXX` although JSON allows them
/// unescaped; the values stay the same.
///
/// # Errors
/// When a value cannot be serialised.
pub fn render(report: &Report) -> serde_json::Result<String> {
    pretty(report)
}

/// Any value, in the same way.
pub(super) fn pretty(value: &impl serde::Serialize) -> serde_json::Result<String> {
    let plain = serde_json::to_string_pretty(value)?;
    Ok(escape(&plain))
}

/// JSON is ASCII outside of its strings, so every other character is inside of one.
fn escape(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + 1);
    for c in json.chars() {
        if c >= '\x7f' && !is_plain(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string does not fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out.push('\n');
    out
}

/// The schema of the report (JSON Schema 2020-12), as published in `schema/`.
///
/// # Errors
/// When the schema cannot be serialised.
#[cfg(feature = "schema")]
pub fn schema() -> serde_json::Result<String> {
    use crate::event::SCHEMA_VERSION;
    use schemars::generate::SchemaSettings;

    // The schema of what is written, not of what is read: a field that is always written is
    // required.
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut schema = settings.into_generator().into_root_schema_for::<Report>();
    schema.insert(
        "title".to_owned(),
        format!("pause-conformance report, version {SCHEMA_VERSION}").into(),
    );
    let mut text = serde_json::to_string_pretty(&schema)?;
    text.push('\n');
    Ok(text)
}
