//! Links what is built to be tried, not to be passed on, for fixed addresses. A run starts this
//! program some 30 times, as WASI engine, and each start of one for any address relocates over 100,000
//! pointers first.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|it| it == value);
    // Of other C libraries the start files differ between the two.
    let is_known = is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu");
    let is_static = env::var("CARGO_CFG_TARGET_FEATURE").is_ok_and(|it| it.contains("crt-static"));
    if is("PROFILE", "debug") && is_known && !is_static {
        println!("cargo::rustc-link-arg=-no-pie");
    }
}
