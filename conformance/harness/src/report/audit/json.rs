//! The JSON of an audit, and its published schema.

use crate::node::merge::Matrix;
use crate::node::model::Audit;
use crate::report::json::pretty;

/// The audit, `schema_version` first.
///
/// # Errors
/// When a value cannot be serialised.
pub fn render(audit: &Audit) -> serde_json::Result<String> {
    pretty(audit)
}

/// The matrix of many audits.
///
/// # Errors
/// When a value cannot be serialised.
pub fn render_matrix(matrix: &Matrix) -> serde_json::Result<String> {
    pretty(matrix)
}

/// The schema of the audit (JSON Schema 2020-12), as published in `schema/`.
///
/// # Errors
/// When the schema cannot be serialised.
#[cfg(feature = "schema")]
pub fn schema() -> serde_json::Result<String> {
    use crate::node::model::SCHEMA_VERSION;
    use schemars::generate::SchemaSettings;

    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut schema = settings.into_generator().into_root_schema_for::<Audit>();
    schema.insert(
        "title".to_owned(),
        format!("pause-conformance audit, version {SCHEMA_VERSION}").into(),
    );
    let mut text = serde_json::to_string_pretty(&schema)?;
    text.push('\n');
    Ok(text)
}
