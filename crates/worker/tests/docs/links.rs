//! Every link in the Markdown of this repository leads to a file that exists, and to a heading in it.

use std::fs;
use std::path::{Path, PathBuf};

use super::{root, sorted};

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let pages = pages();
    assert!(pages.len() > 60, "{pages:?}");
    let broken: Vec<String> = pages.iter().flat_map(|page| broken_links(page)).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn a_heading_has_the_anchor_that_git_hosts_and_the_site_give_it() {
    assert_eq!(anchor("What `make demo` does"), "what-make-demo-does");
    assert_eq!(anchor("Kafka's own"), "kafkas-own");
    assert_eq!(anchor("A. It goes on"), "a-it-goes-on");
}

/// All Markdown files of the repository.
pub(super) fn pages() -> Vec<PathBuf> {
    let folders = ["docs", "examples", "bench", "packaging", "fuzz"];
    let mut pages: Vec<PathBuf> = folders.iter().flat_map(|folder| below(&root().join(folder))).collect();
    pages.extend(sorted(&root()).into_iter().filter(|path| is_markdown(path)));
    pages
}

fn below(folder: &Path) -> Vec<PathBuf> {
    let inside = |path: PathBuf| match path.is_dir() {
        true if path.ends_with("target") || path.ends_with("results") => Vec::new(),
        true => below(&path),
        false => vec![path],
    };
    sorted(folder).into_iter().flat_map(inside).filter(|path| is_markdown(path)).collect()
}

fn is_markdown(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "md")
}

fn broken_links(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).unwrap();
    let prose = without_code(&text);
    let links = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let ours = links.filter(|link| !link.contains("://") && !link.starts_with("mailto:"));
    let broken = ours.filter_map(|link| Some(format!("{}: {link}: {}", page.display(), why_broken(page, link)?)));
    broken.collect()
}

fn why_broken(page: &Path, link: &str) -> Option<&'static str> {
    let (file, heading) = link.split_once('#').unwrap_or((link, ""));
    let target = if file.is_empty() { page.to_owned() } else { page.parent().unwrap().join(file) };
    if !target.exists() {
        return Some("no such file");
    }
    if heading.is_empty() || !is_markdown(&target) {
        return None;
    }
    let text = fs::read_to_string(&target).unwrap();
    let headings: Vec<String> = without_code_blocks(&text).lines().filter_map(heading_of).map(anchor).collect();
    match headings.iter().filter(|one| *one == heading).count() {
        0 => Some("no such heading"),
        1 => None,
        // Git hosts and the site number them differently.
        _ => Some("two headings of this name"),
    }
}

fn heading_of(line: &str) -> Option<&str> {
    let text = line.trim_start_matches('#');
    (text.len() < line.len()).then(|| text.strip_prefix(' '))?
}

/// The anchor of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase().replace(|c: char| !(c.is_alphanumeric() || " -_".contains(c)), "");
    kept.split_whitespace().collect::<Vec<_>>().join("-")
}

fn without_code(text: &str) -> String {
    let prose = without_code_blocks(text);
    prose.split('`').step_by(2).collect()
}

fn without_code_blocks(text: &str) -> String {
    let mut inside = false;
    let outside = |line: &&str| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        !fence && !inside
    };
    text.lines().filter(outside).map(|line| format!("{line}\n")).collect()
}
