//! Images, as they are handed to an engine.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use pause_image::Subject;

use super::api::{Api, Refusal};
use super::keeper::Keeper;

/// Why an image was not loaded.
pub(super) enum NotLoaded {
    /// Nothing could be asked.
    Here(String),
    /// The engine says so.
    Refused(String),
}

/// Hands an image over; the id by which the engine knows it.
///
/// # Errors
/// As [`NotLoaded`].
pub(super) fn load(
    name_of_engine: &str,
    (api, keeper): (&Api, &Keeper),
    made: &AtomicU64,
    subject: &Subject,
) -> Result<String, NotLoaded> {
    let number = made.fetch_add(1, Ordering::Relaxed);
    let name = keeper.image(number);
    let here = |step: &str, error: io::Error| NotLoaded::Here(format!("{step}: {error}"));
    let refused = |refusal: Refusal| match refusal {
        Refusal::Said { message, .. } => NotLoaded::Refused(format!("{name_of_engine}: {message}")),
        Refusal::Unreached(why) => NotLoaded::Here(format!("{name_of_engine}: {why}")),
    };
    let saved = subject.docker_archive(&name);
    let (_, archive) = saved.map_err(|error| here("write its image for an engine", error))?;
    let told = keeper.makes(&name);
    told.map_err(|error| here("tell the keeper of an image", error))?;
    let loaded = api.post_archive("/images/load?quiet=1", archive);
    keeper.made(&name);
    let lines = loaded.map_err(refused)?;
    let found = api.get(&format!("/images/{name}/json"), &[]);
    let found = found.map_err(|refusal| match (complaint(&lines), refusal) {
        // The status of the answer was sent before the archive was read.
        (Some(why), Refusal::Said { .. }) => NotLoaded::Refused(format!("{name_of_engine}: {why}")),
        (_, refusal) => refused(refusal),
    })?;
    Ok(found["Id"].as_str().unwrap_or(&name).to_owned())
}

/// What the lines of an answer say is wrong.
fn complaint(lines: &str) -> Option<String> {
    let said = lines.lines().find_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(line["error"].as_str()?.to_owned())
    })?;
    Some(pause_image::escape_text(said.trim()).to_string())
}
