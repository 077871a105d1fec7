//! WASI subjects: what they offer, and which files count as one. Their sound and broken images are
//! in the self-test.

mod common;

use common::{load_layout, load_text};
use conformance::subject::Traits;
use conformance::subject::build::{ImageBuilder, LayoutBuilder, Packing, Tar, WasmImageBuilder};
use conformance::subject::{Kind, NoProgram, Platforms, Subject};
use serde_json::json;

fn module() -> Vec<u8> {
    wat::parse_str(include_str!("../../fixtures/wasi/sound_hourly.wat")).expect("a module")
}

fn compat(program: &[u8]) -> ImageBuilder {
    let mut layer = Tar::default();
    layer.file("pause.wasm", 0o755, program);
    let mut image =
        ImageBuilder::of_layer(&layer, "wasm").set("Entrypoint", json!(["/pause.wasm"]));
    image.config["os"] = json!("wasi");
    let key = "module.wasm.image/variant".to_owned();
    image.annotations.insert(key, "compat".to_owned());
    image
}

fn single(image: &ImageBuilder) -> LayoutBuilder {
    LayoutBuilder::single(image, "3.10")
}

fn only(layout: &LayoutBuilder) -> Subject {
    let mut subjects = load_layout(layout).expect("an image that can be read");
    assert_eq!(subjects.len(), 1);
    subjects.remove(0)
}

#[test]
fn a_wasi_subject_offers_nothing_native() {
    for layout in [
        WasmImageBuilder::artifact("wasip1", module()).layout(),
        single(&compat(&module()).layer(&Tar::default(), Packing::Gzip)),
    ] {
        let subject = only(&layout);
        assert_eq!(subject.program.as_ref().err(), Some(&NoProgram::Wasm));
        let offers = subject.traits();
        assert!(offers.contains(Traits::WASM | Traits::WASM_MODULE | Traits::IMAGE));
        assert!(!offers.intersects(Traits::PROGRAM | Traits::ELF | Traits::NATIVE_IMAGE));
    }
}

#[test]
fn a_file_is_taken_by_its_first_bytes_or_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pause.wasm");
    std::fs::write(&path, module()).expect("a file");
    let path = path.display();
    for text in [path.to_string(), format!("wasm:{path}")] {
        let subjects = load_text(&text, Platforms::Host).expect("it can be read");
        assert_eq!(subjects[0].kind, Kind::Wasm);
        assert_eq!(subjects[0].platform.to_string(), "wasip1/wasm");
    }
    std::fs::write(folder.path().join("text"), "hello").expect("a file");
    let text = format!("wasm:{}", folder.path().join("text").display());
    let error = load_text(&text, Platforms::Host).expect_err("it is no program");
    assert!(
        error.to_string().contains(r"does not begin with \0asm"),
        "{error}"
    );
    assert!(error.hint().is_some());
}
