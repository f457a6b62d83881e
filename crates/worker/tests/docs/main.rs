//! The documentation is true: generated pages are what the code says, links lead somewhere, commands and configurations exist.
//!
//! `UPDATE=1 cargo test --workspace --test docs` (`make docs`) rewrites what is generated.

use std::fs;
use std::path::{Path, PathBuf};

mod blocks;
mod failures;
mod feeds;
mod figures;
mod kubernetes;
mod links;
mod options;
mod rest;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Compares a file with what it should be, or makes it so with `UPDATE=1`.
fn check(file: &str, expected: &str) {
    let path = root().join(file);
    let mut found = fs::read_to_string(&path).unwrap_or_default();
    // Other tests read the same files meanwhile: only what has changed is written.
    if found != expected && std::env::var_os("UPDATE").is_some() {
        fs::write(&path, expected).unwrap();
        found = expected.to_owned();
    }
    assert!(found == expected, "{file} is not what the code says: run `make docs` and commit the file");
}

/// What stands between `begin` and the first character that ends it, in all sources below a folder.
fn parts_of_sources(folder: &str, begin: &str, ends: fn(char) -> bool) -> Vec<String> {
    let mut parts = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for path in sorted(&folder) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = fs::read_to_string(&path).unwrap();
            parts.extend(source.split(begin).skip(1).filter_map(|rest| rest.split(ends).next()).map(str::to_owned));
        }
    }
    parts
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}
