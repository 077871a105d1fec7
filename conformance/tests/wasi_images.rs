//! WASI images in each of their forms, broken ones, and native images that look like
//! one: each fails exactly the checks it names.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::{Elf, load_layout, load_text};
use conformance::check::Needs;
use conformance::checks::FAMILIES;
use conformance::context::{CheckOptions, Shared};
use conformance::event::Verdict;
use conformance::subject::build::{ImageBuilder, LayoutBuilder, Packing, Tar};
use conformance::subject::{Kind, NoProgram, Platforms, Subject};
use conformance::{runner, self_test};
use rstest::rstest;
use serde_json::{Value, json};

const ARTIFACT: &str = "application/vnd.wasm.config.v0+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const RAW: &str = "application/wasm";
const LEGACY: &str = "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm";

fn module() -> Vec<u8> {
    wat::parse_str(include_str!("../../fixtures/wasi/sound_hourly.wat")).expect("a module")
}

fn component() -> Vec<u8> {
    wat::parse_str(include_str!("../../fixtures/wasi/sound_component.wat")).expect("a component")
}

/// An image whose layers are these, as they are; `config` is told the layers' digests.
struct Raw {
    config_type: &'static str,
    config: Value,
    layers: Vec<(&'static str, Vec<u8>)>,
    annotations: Value,
}

impl Raw {
    fn artifact(os: &str, program: Vec<u8>) -> Self {
        Self {
            config_type: ARTIFACT,
            config: json!({ "os": os, "architecture": "wasm" }),
            layers: vec![(RAW, program)],
            annotations: json!({}),
        }
    }

    fn legacy(program: Vec<u8>) -> Self {
        Self {
            config_type: CONFIG,
            config: json!({ "os": "wasi", "architecture": "wasm", "config": { "User": "65535:65535" } }),
            layers: vec![(LEGACY, program)],
            annotations: json!({}),
        }
    }

    fn config(mut self, key: &str, value: Value) -> Self {
        self.config[key] = value;
        self
    }

    fn layer(mut self, media_type: &'static str, content: Vec<u8>) -> Self {
        self.layers.push((media_type, content));
        self
    }

    fn add(&self, layout: &mut LayoutBuilder) -> Value {
        let layers: Vec<Value> = self
            .layers
            .iter()
            .map(|(media_type, content)| layout.blob(media_type, content.clone()))
            .collect();
        let digests: Vec<&Value> = layers.iter().map(|layer| &layer["digest"]).collect();
        let mut config = self.config.clone();
        if self.config_type == ARTIFACT && config.get("layerDigests").is_none() {
            config["layerDigests"] = json!(digests);
        } else if config.get("rootfs").is_none() {
            config["rootfs"] = json!({ "type": "layers", "diff_ids": digests });
        }
        let config = layout.blob(self.config_type, config.to_string().into_bytes());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config,
            "layers": layers,
            "annotations": self.annotations,
        });
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        layout.blob(media_type, manifest.to_string().into_bytes())
    }

    fn layout(&self) -> LayoutBuilder {
        let mut layout = LayoutBuilder::default();
        let descriptor = self.add(&mut layout);
        layout.manifests.push(descriptor);
        layout
    }
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

fn native() -> ImageBuilder {
    ImageBuilder::pause(&Elf::of(62).bytes(), "amd64")
}

/// What a WASI image over an index stands in, with these platforms beside it.
fn indexed(with_native: bool) -> LayoutBuilder {
    let mut layout = LayoutBuilder::default();
    let mut wasi = Raw::artifact("wasip1", module()).add(&mut layout);
    wasi["platform"] = json!({ "os": "wasip1", "architecture": "wasm" });
    let mut all = vec![wasi];
    if with_native {
        let mut native = layout.image(&native());
        native["platform"] = json!({ "os": "linux", "architecture": "amd64" });
        all.push(native);
    }
    let index = layout.index(&all);
    layout.manifests.push(index);
    layout
}

/// Ids of the checks without a sandbox that fail; an end that is none is an id too.
fn failures(subject: &Subject) -> BTreeSet<String> {
    let checks: Vec<_> = FAMILIES
        .iter()
        .flat_map(|family| family.checks.iter().copied())
        .filter(|check| !check.needs.contains(Needs::SANDBOX))
        .collect();
    let shared = Arc::new(Shared::new(
        subject.clone(),
        CheckOptions::default(),
        None,
        1.0,
    ));
    let settings = self_test::settings(Arc::default());
    let ran = runner::run(&checks, &shared, &settings, &mut |_| {});
    let ended = |verdict| {
        matches!(
            verdict,
            Verdict::Fail | Verdict::Error | Verdict::Inconclusive
        )
    };
    ran.records
        .iter()
        .filter(|record| ended(record.verdict))
        .map(|record| match record.verdict {
            Verdict::Fail => record.id.clone(),
            other => format!("{} {other:?} {:?}", record.id, record.reason),
        })
        .collect()
}

fn only(layout: &LayoutBuilder) -> Subject {
    let mut subjects = load_layout(layout).expect("an image that can be read");
    assert_eq!(subjects.len(), 1);
    subjects.remove(0)
}

#[rstest]
#[case::artifact(Raw::artifact("wasip1", module()).layout(), &[])]
#[case::artifact_component(Raw::artifact("wasip2", component()).layout(), &[])]
#[case::legacy(Raw::legacy(module()).layout(), &[])]
#[case::legacy_component(Raw::legacy(component()).layout(), &[])]
#[case::compat(single(&compat(&module())), &[])]
#[case::compat_component(single(&compat(&component())), &[])]
#[case::native(single(&native()), &[])]
#[case::two_layers(
    Raw::artifact("wasip1", module()).layer(RAW, component()).layout(),
    &["wasi/image-one-form"]
)]
#[case::a_native_layer_too(
    Raw::legacy(module()).layer("application/vnd.oci.image.layer.v1.tar", Tar::default().finish()).layout(),
    &["wasi/image-one-form"]
)]
#[case::artifact_layer_below_an_image_config(
    Raw { config_type: CONFIG, ..Raw::artifact("wasip1", module()) }.layout(),
    &["wasi/image-one-form"]
)]
#[case::artifact_without_digests(
    Raw::artifact("wasip1", module()).config("layerDigests", json!([])).layout(),
    &["wasi/image-one-form"]
)]
#[case::artifact_with_wrong_digests(
    Raw::artifact("wasip1", module()).config("layerDigests", json!(["sha256:00"])).layout(),
    &["image/digests-hold", "wasi/image-one-form"]
)]
#[case::artifact_and_annotation(
    Raw { annotations: json!({ "module.wasm.image/variant": "compat" }), ..Raw::artifact("wasip1", module()) }.layout(),
    &["wasi/image-one-form"]
)]
#[case::wasm_without_annotation(
    single(&ImageBuilder { annotations: [].into(), ..compat(&module()) }),
    &["wasi/image-one-form"]
)]
#[case::a_component_said_to_be_a_module(
    Raw::artifact("wasip1", component()).layout(),
    &["wasi/image-platform-true"]
)]
#[case::wasi_said_to_be_native(
    Raw::legacy(module()).config("os", json!("linux")).config("architecture", json!("amd64")).layout(),
    &["wasi/image-platform-true"]
)]
#[case::compat_said_to_be_native(
    single(&ImageBuilder { config: native().config, ..compat(&module()) }.set("Entrypoint", json!(["/pause.wasm"]))),
    &["wasi/image-platform-true"]
)]
#[case::wasm_below_a_native_config(
    single(
        &ImageBuilder { config: native().config, annotations: [].into(), ..compat(&module()) }
            .set("Entrypoint", json!(["/pause.wasm"]))
    ),
    &["wasi/image-one-form", "wasi/image-platform-true"]
)]
#[case::a_native_program_in_an_artifact(
    Raw::artifact("wasip1", Elf::of(62).bytes()).layout(),
    &["wasi/program-valid"]
)]
#[case::a_native_program_in_runwasis_layer(
    Raw::legacy(Elf::of(62).bytes()).layout(),
    &["wasi/program-valid"]
)]
#[case::an_os_of_a_later_preview(
    Raw::artifact("wasip1", component()).config("os", json!("wasip3")).layout(),
    &["wasi/image-platform-true"]
)]
#[case::wrong_diff_id(
    Raw::legacy(module()).config("rootfs", json!({ "diff_ids": ["sha256:00"] })).layout(),
    &["image/digests-hold"]
)]
#[case::not_wasm_at_all(
    Raw::artifact("wasip1", b"hello".to_vec()).layout(),
    &["wasi/program-valid"]
)]
#[case::native_with_annotation(
    single(&ImageBuilder {
        annotations: [("run.oci.handler".to_owned(), "wasm".to_owned())].into(),
        ..native()
    }),
    &["wasi/native-unmistakable"]
)]
#[case::native_said_to_be_for_wasi(
    single(&{
        let mut image = native();
        image.config["os"] = json!("wasip1");
        image
    }),
    &["wasi/native-unmistakable"]
)]
#[case::native_said_to_be_wasm(
    single(&ImageBuilder::pause(&Elf::of(62).bytes(), "wasm")),
    &["image/platform-agrees", "wasi/native-unmistakable"]
)]
fn each_image_fails_what_it_breaks(#[case] layout: LayoutBuilder, #[case] fails: &[&str]) {
    let expected: BTreeSet<String> = fails.iter().map(|id| (*id).to_owned()).collect();
    assert_eq!(failures(&only(&layout)), expected);
}

#[test]
fn a_native_program_named_wasm_fails_one_check() {
    let mut layer = Tar::default();
    layer.file("pause.wasm", 0o755, &Elf::of(62).bytes());
    layer.symlink("pause", "pause.wasm");
    let image = ImageBuilder::of_layer(&layer, "amd64").set("Entrypoint", json!(["/pause.wasm"]));
    let expected: BTreeSet<String> = ["wasi/native-unmistakable".to_owned()].into();
    assert_eq!(failures(&only(&single(&image))), expected);
}

#[rstest]
#[case(true, &[])]
#[case(false, &["wasi/index-has-native"])]
fn an_index_wants_a_native_image_beside(#[case] with_native: bool, #[case] fails: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    indexed(with_native).write(folder.path()).expect("a layout");
    let wasi = "wasip1/wasm".parse().expect("a platform");
    let text = format!("oci:{}", folder.path().display());
    let subjects = load_text(&text, Platforms::List(vec![wasi])).expect("it can be read");
    let [subject] = &subjects[..] else {
        panic!("{} subjects", subjects.len())
    };
    let expected: BTreeSet<String> = fails.iter().map(|id| (*id).to_owned()).collect();
    assert_eq!(failures(subject), expected);
}

#[test]
fn a_wasi_subject_offers_nothing_native() {
    for layout in [
        Raw::artifact("wasip1", module()).layout(),
        single(&compat(&module()).layer(&Tar::default(), Packing::Gzip)),
    ] {
        let subject = only(&layout);
        assert_eq!(subject.program.as_ref().err(), Some(&NoProgram::Wasm));
        let offers = subject.offers();
        assert!(offers.contains(Needs::WASM | Needs::WASM_MODULE | Needs::IMAGE));
        assert!(!offers.intersects(Needs::PROGRAM | Needs::ELF | Needs::NATIVE_IMAGE));
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
