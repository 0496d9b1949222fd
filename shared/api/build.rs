//! Compiles `proto/` without protoc, keeps the descriptor set with our method options in it, and writes down which
//! request belongs to which method (`src/call.rs`).

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use prost_reflect::{DescriptorPool, FieldDescriptor, Value};

fn main() -> Result<(), Box<dyn Error>> {
    let here = env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo sets CARGO_MANIFEST_DIR")?;
    let proto = Path::new(&here).join("../../proto");
    // tonic-prost-build's own rerun hints have no effect with compile_fds.
    println!("cargo:rerun-if-changed={}", proto.display());
    let mut files = Vec::new();
    collect(&proto, &mut files)?;
    files.sort();

    let mut compiler = protox::Compiler::new([&proto])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(&files)?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    // protox's own encoder keeps the option extensions, which prost's types drop.
    fs::write(out.join("descriptor.bin"), compiler.encode_file_descriptor_set())?;

    fs::write(out.join("calls.rs"), calls(&compiler.descriptor_pool())?)?;

    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    tonic_prost_build::configure()
        .bytes(".")
        .codec_path("crate::codec::Codec")
        .compile_fds_with_config(compiler.file_descriptor_set(), config)?;
    Ok(())
}

/// The implementations of `Rpc` and `Changing`.
fn calls(pool: &DescriptorPool) -> Result<String, Box<dyn Error>> {
    let mut code = String::new();
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let input = method.input();
        let request = format!("crate::{}::{}", input.package_name().replace('.', "::"), input.name());
        let name = format!("{}/{}", method.parent_service().full_name(), method.name());
        writeln!(code, "impl Rpc for {request} {{ const METHOD: &'static str = {name:?}; }}")?;
        if input.get_field_by_name("request_id").is_some() {
            let secret: Vec<u32> = input.fields().filter(is_secret).map(|field| field.number()).collect();
            writeln!(code, "impl Changing for {request} {{")?;
            writeln!(code, "    const SECRET: &'static [u32] = &{secret:?};")?;
            writeln!(code, "    fn request_id(&self) -> &str {{ &self.request_id }}")?;
            writeln!(code, "}}")?;
        }
    }
    Ok(code)
}

fn is_secret(field: &FieldDescriptor) -> bool {
    let options = field.options();
    options.get_field_by_name("debug_redact").is_some_and(|value| *value == Value::Bool(true))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
