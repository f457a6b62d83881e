//! `docs/operations/kubernetes.md`: what its resources name is on the page too. The fields themselves were checked against the
//! schemas of the versions that the page names; [`API_VERSIONS`] is what to check anew when one is added.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use connect_websocket_engine::config::Config;
use yaml_rust2::{Yaml, YamlLoader};

use super::root;

const PAGE: &str = "docs/operations/kubernetes.md";
const API_VERSIONS: &[(&str, &str)] = &[
    ("v1", "Service"),
    ("apps/v1", "StatefulSet"),
    ("kafka.strimzi.io/v1", "KafkaConnect"),
    ("kafka.strimzi.io/v1", "KafkaConnector"),
];

fn page() -> String {
    fs::read_to_string(root().join(PAGE)).unwrap()
}

/// The page's resources by their kind.
fn resources() -> BTreeMap<String, Yaml> {
    let page = page();
    let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let documents = blocks.flat_map(|block| YamlLoader::load_from_str(block).unwrap());
    documents.map(|document| (text(&document["kind"]), document)).collect()
}

fn text(of: &Yaml) -> String {
    of.as_str().unwrap_or_default().to_owned()
}

/// These strings of the entries of a list.
fn each(list: &Yaml, field: &str) -> BTreeSet<String> {
    list.as_vec().into_iter().flatten().map(|entry| text(&entry[field])).collect()
}

#[test]
fn the_resources_are_of_current_apis() {
    let resources = resources();
    let found = resources.iter().map(|(kind, resource)| (text(&resource["apiVersion"]), kind.clone()));
    let known = API_VERSIONS.iter().map(|(version, kind)| ((*version).to_owned(), (*kind).to_owned()));
    assert_eq!(found.collect::<BTreeSet<_>>(), known.collect());
}

#[test]
fn the_workers_resources_fit_together() {
    let (page, resources) = (page(), resources());
    let (service, set) = (&resources["Service"], &resources["StatefulSet"]["spec"]);
    let pod = &set["template"];
    assert_eq!(set["serviceName"], service["metadata"]["name"]);
    for labels in [&set["selector"]["matchLabels"], &service["spec"]["selector"]] {
        assert_eq!(*labels, pod["metadata"]["labels"]);
    }
    assert_eq!(text(&pod["spec"]["securityContext"]["fsGroupChangePolicy"]), "OnRootMismatch");

    let container = &pod["spec"]["containers"][0];
    let mut volumes = each(&pod["spec"]["volumes"], "name");
    volumes.extend(
        set["volumeClaimTemplates"].as_vec().into_iter().flatten().map(|claim| text(&claim["metadata"]["name"])),
    );
    assert_eq!(each(&container["volumeMounts"], "name"), volumes);

    let files =
        container["args"].as_vec().unwrap().iter().map(|file| text(file).rsplit('/').next().unwrap().to_owned());
    for file in files {
        assert!(page.contains(&format!("--from-file={file}")), "no command makes {file}");
        assert!(page.contains(&format!("`{file}`:\n\n```properties\n")), "{file} is not on the page");
    }
    for secret in page.split("=${env:").skip(1).filter_map(|rest| rest.split('}').next()) {
        assert!(page.contains(&format!("--from-literal={secret}=")), "no command makes the secret {secret}");
    }
    let mounts = each(&container["volumeMounts"], "mountPath");
    for option in ["websocket.handover.dir=", "offset.storage.file.filename="] {
        let path = page.split(option).nth(1).and_then(|rest| rest.lines().next()).unwrap_or_default();
        assert!(mounts.iter().any(|mount| path.starts_with(&format!("{mount}/"))), "{option}{path} is in no volume");
    }
}

#[test]
fn the_connector_of_strimzi_is_one_and_belongs_to_the_cluster() {
    let resources = resources();
    let (cluster, connector) = (&resources["KafkaConnect"], &resources["KafkaConnector"]);
    assert_eq!(cluster["metadata"]["name"], connector["metadata"]["labels"]["strimzi.io/cluster"]);
    let options = connector["spec"]["config"].as_hash().unwrap().iter().map(|(key, value)| (text(key), text(value)));
    if let Err(errors) = Config::parse(&options.collect()) {
        panic!("{errors:?}");
    }

    let pod = &cluster["spec"]["template"];
    assert_eq!(
        each(&pod["connectContainer"]["volumeMounts"], "name"),
        each(&pod["pod"]["volumes"], "name"),
        "what the connectors' files are kept in is mounted"
    );
    let handover = text(&connector["spec"]["config"]["websocket.handover.dir"]);
    let mounts = each(&pod["connectContainer"]["volumeMounts"], "mountPath");
    assert!(mounts.iter().any(|mount| handover.starts_with(&format!("{mount}/"))), "{handover} is in no volume");
}
