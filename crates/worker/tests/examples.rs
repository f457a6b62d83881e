//! Every file in `examples/` is accepted by `connect-websocket validate`, and the compose files name what exists.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use yaml_rust2::{Yaml, YamlLoader};

const WORKER: &str = "worker.properties";
const SECRETS: [&str; 6] =
    ["FEED_TOKEN", "HOME_ASSISTANT_TOKEN", "OKX_KEY", "OKX_PASSPHRASE", "OKX_SECRET", "SLACK_APP_TOKEN"];

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

/// All connectors, in the order of their names.
fn connectors() -> Vec<PathBuf> {
    let entries = fs::read_dir(examples()).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries
        .filter(|path| path.extension().is_some_and(|extension| extension == "properties" || extension == "json"))
        .filter(|path| !path.ends_with(WORKER))
        .collect();
    files.sort();
    files
}

/// Exit code 0 and not a word of warning.
fn accepted(arguments: &[&Path]) {
    let output = Command::new(env!("CARGO_BIN_EXE_connect-websocket"))
        .arg("validate")
        .args(arguments)
        // What the examples' config provider looks for.
        .envs(SECRETS.map(|name| (name, "a-secret")))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    assert!(!said.contains("warning"), "{arguments:?}: {said}");
    assert!(!said.contains("a-secret"), "{arguments:?}: {said}");
}

#[test]
fn every_example_is_valid_on_its_own_and_with_the_worker_beside_it() {
    let connectors = connectors();
    assert!(connectors.len() >= 5, "{connectors:?}");
    for connector in connectors {
        accepted(&[&connector]);
        accepted(&[&connector, Path::new("--worker"), &examples().join(WORKER)]);
    }
}

#[test]
fn examples_of_known_feeds_leave_the_session_to_the_profile() {
    let mut profiles = Vec::new();
    for connector in connectors() {
        let text = fs::read_to_string(&connector).unwrap();
        let Some(feed) = text.lines().find_map(|line| line.strip_prefix("websocket.feed=")) else { continue };
        assert!(!text.contains("websocket.session.") && !text.contains(".message="), "{connector:?}");
        profiles.push(feed.to_owned());
    }
    assert_eq!(profiles.len(), connectors().len() - 1, "all but the feed of its own steps: {profiles:?}");
}

#[test]
fn validate_prints_the_session_in_words() {
    let output = Command::new(env!("CARGO_BIN_EXE_connect-websocket"))
        .arg("validate")
        .arg("kucoin.properties")
        .current_dir(examples())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    for line in [
        "1. POST https://api.kucoin.com/api/v1/bullet-public → endpoint, secret.token, interval, ",
        "2. connect to {{endpoint}}?token={{secret.token}}",
        "3. wait up to 10 s for /type == 'welcome'; the attempt fails if /type == 'error'",
    ] {
        assert!(said.contains(&format!("kucoin.properties: {line}")), "{line} is not in\n{said}");
    }
}

#[test]
fn every_example_is_listed_and_writes_to_a_topic_of_its_own() {
    let readme = fs::read_to_string(examples().join("README.md")).unwrap();
    let mut topics = Vec::new();
    for connector in connectors() {
        let name = connector.file_name().unwrap().to_string_lossy().into_owned();
        assert!(readme.contains(&format!("({name})")), "examples/README.md does not name {name}");
        let text = fs::read_to_string(&connector).unwrap();
        topics.extend(text.lines().filter_map(|line| line.strip_prefix("kafka.topic=").map(str::to_owned)));
    }
    let count = topics.len();
    topics.sort();
    topics.dedup();
    assert_eq!((topics.len(), count), (count, connectors().len()), "{topics:?}");
}

/// A compose file of `examples/compose`, parsed.
fn compose(name: &str) -> Yaml {
    let text = fs::read_to_string(examples().join("compose").join(name)).unwrap();
    let mut documents = YamlLoader::load_from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(documents.len(), 1, "{name}");
    documents.remove(0)
}

fn texts(list: &Yaml) -> Vec<&str> {
    list.as_vec().into_iter().flatten().map(|text| text.as_str().unwrap_or_else(|| panic!("{text:?}"))).collect()
}

/// The services of a compose file and of those that it includes, with the file of each.
fn services(name: &str) -> Vec<(String, String, Yaml)> {
    let file = compose(name);
    let mut found: Vec<_> = texts(&file["include"]).into_iter().flat_map(services).collect();
    for (service, what) in file["services"].as_hash().into_iter().flatten() {
        found.push((name.to_owned(), service.as_str().unwrap().to_owned(), what.clone()));
    }
    found
}

/// What a service mounts: the host's path or a volume's name, and where.
fn mounts(service: &Yaml) -> Vec<(&str, &str)> {
    texts(&service["volumes"])
        .into_iter()
        .map(|volume| volume.trim_end_matches(":ro").split_once(':').unwrap_or_else(|| panic!("{volume}")))
        .collect()
}

#[test]
fn compose_files_mount_what_exists_and_run_what_they_mount() {
    let directory = examples().join("compose");
    for (host, name) in [("connect", "plugin.yaml"), ("worker", "worker.yaml")] {
        let services = services(name);
        let names: Vec<&str> = services.iter().map(|(_, service, _)| service.as_str()).collect();
        assert_eq!(names, ["kafka", host]);
        for (file, service, what) in &services {
            let built = what["build"]["dockerfile"]
                .as_str()
                .map(|dockerfile| directory.join(what["build"]["context"].as_str().unwrap()).join(dockerfile).exists());
            assert!(what["image"].as_str().is_some() != (built == Some(true)), "{file}: {service} has no image");
            for (from, _) in mounts(what) {
                let there = match from.strip_prefix('.') {
                    // The plugin has to be built first.
                    Some(_) => from.starts_with("../../target/plugin/") || directory.join(from).exists(),
                    None => !compose(file)["volumes"][from].is_badvalue(),
                };
                assert!(there, "{file}: {service} mounts {from}, which does not exist");
            }
            for (needed, _) in what["depends_on"].as_hash().into_iter().flatten() {
                assert!(names.contains(&needed.as_str().unwrap()), "{file}: {service} depends on {needed:?}");
            }
        }
        let (_, _, run) = &services[1];
        let mounts = mounts(run);
        let files: Vec<PathBuf> = texts(&run["command"])
            .into_iter()
            .filter(|argument| argument.ends_with(".properties"))
            .map(|argument| {
                let mount = mounts.iter().find(|(_, to)| *to == argument);
                directory.join(mount.unwrap_or_else(|| panic!("{name}: {argument} is not mounted")).0)
            })
            .collect();
        let [worker, connector] = files.as_slice() else { panic!("{name}: {files:?}") };
        accepted(&[connector, Path::new("--worker"), worker]);
        let settings = fs::read_to_string(worker).unwrap();
        let setting = |key: &str| settings.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap();
        let offsets = Path::new(setting("offset.storage.file.filename"));
        assert!(
            mounts.iter().any(|(from, to)| !from.starts_with('.') && offsets.starts_with(to)),
            "{name}: {offsets:?}"
        );
        let advertised = services[0].2["environment"]["KAFKA_ADVERTISED_LISTENERS"].as_str().unwrap();
        let bootstrap = format!("://{}", setting("bootstrap.servers"));
        assert!(advertised.split(',').any(|address| address.ends_with(&bootstrap)), "{name}: {advertised}");
    }
}

#[test]
fn every_file_of_compose_is_listed() {
    let readme = fs::read_to_string(examples().join("README.md")).unwrap();
    for entry in fs::read_dir(examples().join("compose")).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        if !name.ends_with(".dockerignore") {
            assert!(readme.contains(&format!("(compose/{name})")), "examples/README.md does not name {name}");
        }
    }
}
