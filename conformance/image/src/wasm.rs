//! What a WebAssembly program says of itself: a core module of WASI preview 1, or a
//! component of preview 2. Nothing is run.
//!
//! The program is hostile until judged: the reader bounds every count and depth
//! itself, and nothing here allocates by what a header promises.

use std::fmt;
use std::sync::Arc;

use wasmparser::component_types::{ComponentDefinedType, ComponentEntityType, ComponentValType};
use wasmparser::types::Types;
use wasmparser::{
    ComponentExternalKind, ComponentTypeRef, CompositeInnerType, Encoding, ExternalKind, FuncType,
    MemoryType, Parser, Payload, TypeRef, Validator, WasmFeatures,
};

use super::escape;

/// The interface that an engine calls of a component.
pub const RUN: &str = "wasi:cli/run";

/// The most imports, exports or memories that are read; a pause has a handful.
const MOST: usize = 1024;

/// The media types under which a program is a layer of its own.
pub const LAYER_TYPES: [&str; 3] = [
    "application/wasm",
    "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm",
    "application/vnd.wasm.content.layer.v1+wasm",
];

/// The media type of the configuration of a CNCF artifact.
pub const ARTIFACT_CONFIG: &str = "application/vnd.wasm.config.v0+json";

/// Annotations by which engines take an image for WASI, and the values that say so.
pub const ANNOTATIONS: [(&str, &[&str]); 2] = [
    ("module.wasm.image/variant", &["compat", "compat-smart"]),
    ("run.oci.handler", &["wasm"]),
];

/// A subject that is a WebAssembly program.
#[derive(Clone, Debug)]
pub struct WasmSubject {
    /// Its name, for people: a path in the image, or the layer's media type.
    pub name: String,
    /// The program's bytes.
    pub content: Arc<[u8]>,
    /// What it says of itself; `Err` says why it is not valid.
    pub read: Result<Wasm, String>,
}

impl WasmSubject {
    /// Reads a program.
    pub fn new(name: impl Into<String>, content: Arc<[u8]>) -> Self {
        Self {
            name: name.into(),
            read: Wasm::read(&content),
            content,
        }
    }

    /// Whether it is a core module, going by its first eight bytes.
    pub fn is_module(&self) -> bool {
        self.content.get(4..8) == Some(&[1, 0, 0, 0])
    }
}

/// Whether the first eight bytes are a component's: version 13, layer 1.
pub fn is_component(program: &[u8]) -> bool {
    program.get(4..8) == Some(&[0x0d, 0, 1, 0])
}

/// Which of the two binary formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WasmKind {
    /// A core module.
    Module,
    /// A component.
    Component,
}

/// A valid program.
#[derive(Clone, Debug)]
pub struct Wasm {
    /// Module or component.
    pub kind: WasmKind,
    /// What it takes from its host, in order.
    pub imports: Vec<Extern>,
    /// What it gives.
    pub exports: Vec<Extern>,
    /// A function that runs while it is instantiated, before its entry is called.
    pub start: bool,
    /// Its memories, those of a component's inner modules included.
    pub memories: Vec<Memory>,
    /// Parameters and result of the function `run` that a component exports in
    /// `wasi:cli/run`: `() -> result`.
    pub run: Option<String>,
}

/// An import or an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extern {
    /// The module imported from; empty for exports and for components.
    pub module: String,
    /// Its name.
    pub name: String,
    /// What it is: `function`, `memory`, …, `instance`.
    pub what: &'static str,
    /// Parameters and results of a core function: `(i32) -> ()`.
    pub signature: Option<String>,
}

impl Extern {
    /// Whether it is this interface of preview 2, in any version of that.
    pub fn is_preview2(&self, interface: &str) -> bool {
        let version = self
            .name
            .strip_prefix(interface)
            .and_then(|rest| rest.strip_prefix('@'));
        self.what == "instance" && version.is_some_and(|version| version.starts_with("0.2."))
    }
}

impl fmt::Display for Extern {
    /// Escaped: the names are the image's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.module.is_empty() { "" } else { "." };
        let name = format!("{}{separator}{}", self.module, self.name);
        f.write_str(&escape(name.as_bytes()))
    }
}

/// A linear memory, in pages of 64 KiB (or what the memory itself says).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Pages at the start.
    pub initial: u64,
    /// The most that it may grow to.
    pub maximum: Option<u64>,
    /// Bytes of a page.
    pub page: u64,
}

impl From<MemoryType> for Memory {
    fn from(memory: MemoryType) -> Self {
        Self {
            initial: memory.initial,
            maximum: memory.maximum,
            page: memory
                .page_size_log2
                .map_or(65536, |log2| 1_u64.checked_shl(log2).unwrap_or(u64::MAX)),
        }
    }
}

impl Wasm {
    /// Validates a program and reads what matters of it.
    ///
    /// # Errors
    /// One escaped line that says where and why it is not valid.
    pub fn read(content: &[u8]) -> Result<Self, String> {
        let mut reader = Reader {
            wasm: Self {
                kind: WasmKind::Module,
                imports: Vec::new(),
                exports: Vec::new(),
                start: false,
                memories: Vec::new(),
                run: None,
            },
            depth: 0,
        };
        let features = WasmFeatures::default();
        let types = Validator::new_with_features(features)
            .validate_all(content)
            .map_err(|error| words(&error))?;
        for payload in Parser::new(0).parse_all(content) {
            let payload = payload.map_err(|error| words(&error))?;
            reader.take(payload).map_err(|error| words(&error))?;
        }
        let lists = [
            reader.wasm.imports.len(),
            reader.wasm.exports.len(),
            reader.wasm.memories.len(),
        ];
        if lists.iter().any(|length| *length >= MOST) {
            return Err(format!(
                "{MOST} imports, exports or memories, the suite's limit"
            ));
        }
        if reader.wasm.kind == WasmKind::Module {
            let signatures = signatures(content).map_err(|error| words(&error))?;
            signatures.fill(&mut reader.wasm);
        }
        let exports = &reader.wasm.exports;
        let interface = exports.iter().find(|export| export.is_preview2(RUN));
        reader.wasm.run = interface.and_then(|interface| run_type(&types, &interface.name));
        Ok(reader.wasm)
    }

    /// An export by name.
    pub fn export(&self, name: &str) -> Option<&Extern> {
        self.exports.iter().find(|export| export.name == name)
    }
}

/// Parameters and result of the function `run` of an exported instance, in words.
fn run_type(types: &Types, interface: &str) -> Option<String> {
    let exported = types.component_entity_type_of_export(interface)?;
    let ComponentEntityType::Instance(instance) = exported else {
        return None;
    };
    let run = types[instance].exports.get("run")?;
    let ComponentEntityType::Func(function) = run else {
        return None;
    };
    let function = &types[*function];
    let plain = |result: ComponentValType| {
        let ComponentValType::Type(id) = result else {
            return false;
        };
        matches!(
            &types[id],
            ComponentDefinedType::Result {
                ok: None,
                err: None
            }
        )
    };
    let parameters = match function.params.len() {
        0 => "()".to_owned(),
        count => format!("({count} parameters)"),
    };
    Some(match function.result {
        None => format!("{parameters} -> ()"),
        Some(result) if plain(result) => format!("{parameters} -> result"),
        Some(_) => format!("{parameters} -> another type"),
    })
}

fn words(error: &wasmparser::BinaryReaderError) -> String {
    escape(format!("{} (at byte {})", error.message(), error.offset()).as_bytes())
}

struct Reader {
    wasm: Wasm,
    /// Modules and components that the current one is in.
    depth: usize,
}

impl Reader {
    fn take(&mut self, payload: Payload<'_>) -> wasmparser::Result<()> {
        match payload {
            // A module within has a version and an end of its own, as payloads.
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => self.depth += 1,
            Payload::End(_) => self.depth = self.depth.saturating_sub(1),
            Payload::MemorySection(section) => {
                for memory in section {
                    push(&mut self.wasm.memories, memory?.into());
                }
            }
            Payload::StartSection { .. } | Payload::ComponentStartSection { .. } => {
                self.wasm.start = true;
            }
            payload if self.depth == 0 => self.take_own(payload)?,
            _ => {}
        }
        Ok(())
    }

    /// Of the module or component itself, not of one within.
    fn take_own(&mut self, payload: Payload<'_>) -> wasmparser::Result<()> {
        match payload {
            Payload::Version { encoding, .. } => {
                self.wasm.kind = match encoding {
                    Encoding::Module => WasmKind::Module,
                    Encoding::Component => WasmKind::Component,
                };
            }
            Payload::ImportSection(section) => {
                for import in section {
                    let import = import?;
                    if let TypeRef::Memory(memory) = import.ty {
                        push(&mut self.wasm.memories, memory.into());
                    }
                    self.import(import.module, import.name, type_word(import.ty));
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    self.export(export.name, kind_word(export.kind));
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    let import = import?;
                    self.import("", import.name.0, component_word(import.ty));
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    let export = export?;
                    self.export(export.name.0, component_kind_word(export.kind));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn import(&mut self, module: &str, name: &str, what: &'static str) {
        push(&mut self.wasm.imports, named(module, name, what));
    }

    fn export(&mut self, name: &str, what: &'static str) {
        push(&mut self.wasm.exports, named("", name, what));
    }
}

fn named(module: &str, name: &str, what: &'static str) -> Extern {
    Extern {
        module: module.to_owned(),
        name: name.to_owned(),
        what,
        signature: None,
    }
}

fn push<T>(list: &mut Vec<T>, item: T) {
    if list.len() < MOST {
        list.push(item);
    }
}

/// The types of a core module's functions.
struct Signatures {
    types: Vec<Option<FuncType>>,
    /// Type of each function, imported ones first.
    functions: Vec<u32>,
    /// Function of each export.
    exports: Vec<(String, u32)>,
}

fn signatures(content: &[u8]) -> wasmparser::Result<Signatures> {
    let mut all = Signatures {
        types: Vec::new(),
        functions: Vec::new(),
        exports: Vec::new(),
    };
    for payload in Parser::new(0).parse_all(content) {
        match payload? {
            Payload::TypeSection(section) => {
                for group in section {
                    for sub in group?.into_types() {
                        all.types.push(match sub.composite_type.inner {
                            CompositeInnerType::Func(function) => Some(function),
                            _ => None,
                        });
                    }
                }
            }
            Payload::ImportSection(section) => {
                for import in section {
                    if let TypeRef::Func(index) = import?.ty {
                        all.functions.push(index);
                    }
                }
            }
            Payload::FunctionSection(section) => {
                for index in section {
                    all.functions.push(index?);
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.kind == ExternalKind::Func {
                        push(&mut all.exports, (export.name.to_owned(), export.index));
                    }
                }
            }
            _ => {}
        }
    }
    Ok(all)
}

impl Signatures {
    fn of(&self, function: u32) -> Option<String> {
        let index = *self.functions.get(usize::try_from(function).ok()?)?;
        let function = self.types.get(usize::try_from(index).ok()?)?.as_ref()?;
        let list = |types: &[wasmparser::ValType]| {
            let names: Vec<String> = types.iter().map(ToString::to_string).collect();
            format!("({})", names.join(", "))
        };
        Some(format!(
            "{} -> {}",
            list(function.params()),
            list(function.results())
        ))
    }

    fn fill(&self, wasm: &mut Wasm) {
        let mut next = 0;
        for import in &mut wasm.imports {
            if import.what == "function" {
                import.signature = self.of(next);
                next += 1;
            }
        }
        for export in &mut wasm.exports {
            if export.what == "function"
                && let Some((_, index)) = self.exports.iter().find(|(name, _)| *name == export.name)
            {
                export.signature = self.of(*index);
            }
        }
    }
}

fn type_word(of: TypeRef) -> &'static str {
    match of {
        TypeRef::Func(_) => "function",
        TypeRef::Table(_) => "table",
        TypeRef::Memory(_) => "memory",
        TypeRef::Global(_) => "global",
        TypeRef::Tag(_) => "tag",
    }
}

fn kind_word(of: ExternalKind) -> &'static str {
    match of {
        ExternalKind::Func => "function",
        ExternalKind::Table => "table",
        ExternalKind::Memory => "memory",
        ExternalKind::Global => "global",
        ExternalKind::Tag => "tag",
    }
}

fn component_word(of: ComponentTypeRef) -> &'static str {
    match of {
        ComponentTypeRef::Module(_) => "module",
        ComponentTypeRef::Func(_) => "function",
        ComponentTypeRef::Value(_) => "value",
        ComponentTypeRef::Type(_) => "type",
        ComponentTypeRef::Instance(_) => "instance",
        ComponentTypeRef::Component(_) => "component",
    }
}

fn component_kind_word(of: ComponentExternalKind) -> &'static str {
    match of {
        ComponentExternalKind::Module => "module",
        ComponentExternalKind::Func => "function",
        ComponentExternalKind::Value => "value",
        ComponentExternalKind::Type => "type",
        ComponentExternalKind::Instance => "instance",
        ComponentExternalKind::Component => "component",
    }
}

#[cfg(test)]
mod tests;
