//! Lists the profiles in `feeds/`, so that adding a feed is adding a file.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?).join("feeds");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut files = fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "properties"));
    // By name, not by file name: "okx" stands before "okx-private".
    files.sort_by_key(|file| file.file_stem().map(|name| name.to_owned()));
    let (mut names, mut texts) = (String::new(), String::new());
    for file in files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let _ = write!(names, "{name:?}, ");
        let _ = write!(texts, "include_str!({:?}), ", file.display().to_string());
    }
    let list = format!("pub const NAMES: &[&str] = &[{names}];\nstatic TEXTS: &[&str] = &[{texts}];\n");
    fs::write(Path::new(&env::var("OUT_DIR").map_err(io::Error::other)?).join("feeds.rs"), list)
}
