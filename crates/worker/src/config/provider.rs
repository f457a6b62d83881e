//! Config providers: `${file:/path:key}`, `${dir:/path:name}` and `${env:NAME}` in option values (KIP-297, KIP-421).
//!
//! Only the providers that the worker names in `config.providers` exist, under the names that it gives them.

use std::collections::HashMap;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use indexmap::IndexMap;
use tracing::warn;

use crate::kafka::topic_creation::full_match;
use crate::properties::{self, MAX_FILE_BYTES};
use connect_websocket_engine::config::{PROVIDED, Provided};
use connect_websocket_engine::config_def::ConfigError;
use connect_websocket_engine::file;
use connect_websocket_engine::secret::Secret;

const PROVIDERS: &str = "config.providers";
/// The most bytes that take the place of references in a configuration. One value can be used very often.
const MAX_PROVIDED_BYTES: usize = 16 << 20;

/// The worker's config providers by name.
pub struct Providers {
    by_name: IndexMap<String, Provider>,
}

enum Provider {
    File { allowed: AllowedPaths },
    Directory { allowed: AllowedPaths },
    Environment { variables: HashMap<String, String> },
}

/// A configuration with its references replaced.
#[derive(Clone)]
pub struct Resolved {
    /// Every option with its final value.
    pub values: IndexMap<String, String>,
    /// Values from a provider, with their options. They are secrets and never shown.
    pub provided: Provided,
}

impl fmt::Debug for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options: Vec<_> = self.values.keys().collect();
        f.debug_struct("Resolved").field("options", &options).field("provided", &self.provided).finish()
    }
}

impl Providers {
    /// Reads `config.providers`, `config.providers.{name}.class` and `config.providers.{name}.param.*` of the worker.
    /// Known classes: FileConfigProvider, DirectoryConfigProvider, EnvVarConfigProvider of Apache Kafka.
    pub fn from_worker(worker: &IndexMap<String, String>) -> Result<Self, Vec<ConfigError>> {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self::with_environment(worker, &environment)
    }

    fn with_environment(
        worker: &IndexMap<String, String>,
        environment: &HashMap<String, String>,
    ) -> Result<Self, Vec<ConfigError>> {
        let mut by_name = IndexMap::new();
        let mut errors = Vec::new();
        let names = worker.get(PROVIDERS).map_or("", String::as_str);
        for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match Provider::read(worker, name, environment) {
                Ok(provider) => {
                    by_name.insert(name.to_owned(), provider);
                }
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(Self { by_name }) } else { Err(errors) }
    }

    /// Replaces every `${provider:path:key}` and `${provider:key}`, also several in a value. A reference to an unknown
    /// provider or to a missing key is not changed. References inside a value from a provider are not replaced.
    ///
    /// A file cannot be read, or there are too many bytes. The error names the option and the path, but no value.
    pub fn resolve(&self, values: &IndexMap<String, String>) -> Result<Resolved, ConfigError> {
        let mut resolved = Resolved { values: IndexMap::with_capacity(values.len()), provided: Provided::default() };
        let mut files = HashMap::new();
        let mut provided_bytes = 0;
        for (option, value) in values {
            let mut out = String::with_capacity(value.len());
            let mut redacted = String::new();
            let mut replaced = false;
            let mut rest = value.as_str();
            while let Some((before, reference, after)) = next_reference(rest) {
                out.push_str(before);
                redacted.push_str(before);
                let found = match self.by_name.get(reference.provider) {
                    Some(provider) => provider
                        .look_up(&reference, &mut files)
                        .map_err(|why| ConfigError::new(option, format!("option {option}: {why}")))?,
                    None => None,
                };
                match found {
                    Some(replacement) => {
                        provided_bytes += replacement.len();
                        if provided_bytes > MAX_PROVIDED_BYTES {
                            let why = format!(
                                "option {option}: the values from config providers have more than {MAX_PROVIDED_BYTES} bytes \
                                 together; use fewer references"
                            );
                            return Err(ConfigError::new(option, why));
                        }
                        out.push_str(&replacement);
                        redacted.push_str(PROVIDED);
                        resolved.provided.secrets.push(Secret::new(replacement));
                        replaced = true;
                    }
                    None => {
                        out.push_str(reference.text);
                        redacted.push_str(reference.text);
                    }
                }
                rest = after;
            }
            out.push_str(rest);
            if replaced {
                redacted.push_str(rest);
                resolved.provided.redacted.insert(option.clone(), redacted);
            }
            resolved.values.insert(option.clone(), out);
        }
        Ok(resolved)
    }
}

struct Reference<'a> {
    text: &'a str,
    provider: &'a str,
    path: &'a str,
    key: &'a str,
}

/// Splits at the first reference: the text before it, the reference, the text after it. The provider ends at the first
/// colon, the path at the second. A key may contain colons. No part may contain a closing brace.
fn next_reference(value: &str) -> Option<(&str, Reference<'_>, &str)> {
    let mut from = 0;
    while let Some(start) = value[from..].find("${").map(|at| from + at) {
        let end = start + value[start..].find('}')?;
        if let Some((provider, rest)) = value[start + 2..end].split_once(':') {
            let (path, key) = rest.split_once(':').unwrap_or(("", rest));
            let text = &value[start..=end];
            return Some((&value[..start], Reference { text, provider, path, key }, &value[end + 1..]));
        }
        from = start + 2;
    }
    None
}

/// Properties files that were read during one resolution.
type Files = HashMap<PathBuf, IndexMap<String, String>>;

impl Provider {
    fn read(
        worker: &IndexMap<String, String>,
        name: &str,
        environment: &HashMap<String, String>,
    ) -> Result<Self, ConfigError> {
        let class_option = format!("{PROVIDERS}.{name}.class");
        let class =
            worker.get(&class_option).map(|class| class.trim()).ok_or_else(|| ConfigError::missing(&class_option))?;
        let parameter = |key: &str| {
            let option = format!("{PROVIDERS}.{name}.param.{key}");
            let value = worker.get(&option).map(String::as_str).filter(|value| !value.is_empty());
            (option, value)
        };
        match class.strip_prefix("org.apache.kafka.common.config.provider.").unwrap_or(class) {
            "FileConfigProvider" | "File" => {
                let (option, paths) = parameter("allowed.paths");
                Ok(Self::File { allowed: AllowedPaths::read(&option, paths)? })
            }
            "DirectoryConfigProvider" | "Directory" => {
                let (option, paths) = parameter("allowed.paths");
                Ok(Self::Directory { allowed: AllowedPaths::read(&option, paths)? })
            }
            "EnvVarConfigProvider" | "EnvVar" => {
                let (option, pattern) = parameter("allowlist.pattern");
                let mut variables = environment.clone();
                if let Some(pattern) = pattern {
                    let allowed = full_match(pattern).map_err(|why| ConfigError::invalid(&option, pattern, why))?;
                    variables.retain(|variable, _| allowed.is_match(variable));
                }
                Ok(Self::Environment { variables })
            }
            _ => Err(ConfigError::invalid(
                &class_option,
                class,
                "this worker runs no Java classes; use FileConfigProvider, DirectoryConfigProvider or \
                 EnvVarConfigProvider of org.apache.kafka.common.config.provider",
            )),
        }
    }

    fn look_up(&self, reference: &Reference<'_>, files: &mut Files) -> Result<Option<String>, String> {
        let Reference { path, key, .. } = *reference;
        match self {
            Self::Environment { variables } if path.is_empty() => Ok(variables.get(key).cloned()),
            Self::Environment { .. } => {
                Err(format!("Path is not supported for EnvVarConfigProvider, invalid value '{path}'"))
            }
            Self::File { .. } | Self::Directory { .. } if path.is_empty() => Ok(None),
            Self::File { allowed } => {
                let Some(path) = allowed.check(path) else {
                    return Ok(None);
                };
                if let Some(properties) = files.get(&path) {
                    return Ok(properties.get(key).cloned());
                }
                let failed = |why: String| format!("Could not read properties from file {}: {why}", path.display());
                let text = file::read_text(&path, MAX_FILE_BYTES).map_err(|error| failed(error.to_string()))?;
                let properties = properties::parse_text(&text).map_err(|error| failed(error.to_string()))?;
                let found = properties.get(key).cloned();
                files.insert(path, properties);
                Ok(found)
            }
            Self::Directory { allowed } => {
                let Some(directory) = allowed.check(path) else {
                    return Ok(None);
                };
                if !directory.is_dir() {
                    warn!("The path {path} is not a directory");
                    return Ok(None);
                }
                // The key is the name of an entry, never a path.
                let entry = directory.join(key);
                if entry.file_name() != Some(key.as_ref()) || !entry.is_file() {
                    return Ok(None);
                }
                file::read_text(&entry, MAX_FILE_BYTES)
                    .map(Some)
                    .map_err(|error| format!("Could not read file {} for property {key}: {error}", entry.display()))
            }
        }
    }
}

/// `allowed.paths`: absolute folders or files from which a provider may read. `None` allows all (KIP-993).
struct AllowedPaths(Option<Vec<PathBuf>>);

impl AllowedPaths {
    fn read(option: &str, paths: Option<&str>) -> Result<Self, ConfigError> {
        let Some(paths) = paths else {
            return Ok(Self(None));
        };
        let read = |path: &str| {
            let path = normalized(Path::new(path));
            if !path.is_absolute() {
                return Err(ConfigError::invalid(option, paths, format!("Path {} is not absolute", path.display())));
            }
            if !path.exists() {
                return Err(ConfigError::invalid(option, paths, format!("Path {} does not exist", path.display())));
            }
            Ok(path)
        };
        paths.split(',').map(read).collect::<Result<_, _>>().map(|paths| Self(Some(paths)))
    }

    fn check(&self, path: &str) -> Option<PathBuf> {
        let Some(allowed) = &self.0 else {
            return Some(PathBuf::from(path));
        };
        let normal = normalized(Path::new(path));
        if allowed.iter().any(|folder| normal.starts_with(folder)) {
            return Some(normal);
        }
        warn!("The path {path} is not allowed to be accessed");
        None
    }
}

/// Removes `.` and `name/..`, without access to the file system.
fn normalized(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => match out.components().next_back() {
                Some(Component::Normal(_)) => {
                    out.pop();
                }
                Some(Component::RootDir | Component::Prefix(_)) => {}
                _ => out.push(part),
            },
            _ => out.push(part),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn map(pairs: &[(&str, &str)]) -> IndexMap<String, String> {
        pairs.iter().map(|(option, value)| ((*option).to_owned(), (*value).to_owned())).collect()
    }

    fn providers(params: &[(&str, &str)]) -> Providers {
        let mut worker = map(&[
            ("config.providers", "file, dir,env"),
            ("config.providers.file.class", "org.apache.kafka.common.config.provider.FileConfigProvider"),
            ("config.providers.dir.class", "org.apache.kafka.common.config.provider.DirectoryConfigProvider"),
            ("config.providers.env.class", "EnvVarConfigProvider"),
        ]);
        worker.extend(map(params));
        let environment =
            HashMap::from([("FEED_TOKEN".to_owned(), "e".to_owned()), ("HOME".to_owned(), "h".to_owned())]);
        Providers::with_environment(&worker, &environment).unwrap()
    }

    fn resolve(providers: &Providers, value: &str) -> String {
        providers.resolve(&map(&[("a", value)])).unwrap().values["a"].clone()
    }

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("connect-websocket-provider-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self, name: &str, content: &str) -> String {
            let path = self.0.join(name);
            fs::write(&path, content).unwrap();
            path.to_str().unwrap().to_owned()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn replaces_several_references_in_one_value() {
        let folder = Folder::new("several");
        let file = folder.file("s.properties", "user=u\u{e9}\npass = p${env:HOME}\n");
        let value = format!("Basic ${{file:{file}:user}}:${{file:{file}:pass}} ${{env:FEED_TOKEN}}!");
        assert_eq!(resolve(&providers(&[]), &value), "Basic u\u{e9}:p${env:HOME} e!");
    }

    #[test]
    fn a_value_cannot_be_repeated_without_end() {
        let folder = Folder::new("repeated");
        let name = folder.file("large", &"x".repeat(1 << 20));
        let reference = name.rsplit_once('/').map(|(path, name)| format!("${{dir:{path}:{name}}}")).unwrap();
        let providers = providers(&[]);
        assert_eq!(resolve(&providers, &reference.repeat(16)).len(), 16 << 20);
        let refused = providers.resolve(&map(&[("a", &reference.repeat(10)), ("b", &reference.repeat(10_000))]));
        let message = refused.unwrap_err().message;
        assert!(message.starts_with("option b: the values from config providers have more than"), "{message}");
    }

    #[test]
    fn leaves_what_it_does_not_know() {
        let providers = providers(&[]);
        for text in
            ["${vault:x:y}", "${env:NONE}", "${x}", "$", "${", "${env:HOME", "${file::k}", "${file:k}", "a}b${c"]
        {
            assert_eq!(resolve(&providers, text), text);
        }
        assert_eq!(resolve(&providers, "${x}${env:HOME}${ab${env:HOME}"), "${x}h${ab${env:HOME}");
    }

    #[test]
    fn a_key_may_hold_colons() {
        let folder = Folder::new("colons");
        let file = folder.file("s.properties", "a\\:b=c\n");
        assert_eq!(resolve(&providers(&[]), &format!("${{file:{file}:a:b}}")), "c");
    }

    #[test]
    fn a_directory_entry_is_read_whole() {
        let folder = Folder::new("entry");
        folder.file("token", "s3cret\n");
        let directory = folder.0.to_str().unwrap();
        let providers = providers(&[]);
        assert_eq!(resolve(&providers, &format!("${{dir:{directory}:token}}")), "s3cret\n");
        for text in [
            format!("${{dir:{directory}/x:token}}"),
            format!("${{dir:{directory}:../token}}"),
            format!("${{dir:{directory}:..}}"),
        ] {
            assert_eq!(resolve(&providers, &text), text);
        }
    }

    #[test]
    fn says_which_values_stand_where_and_hides_them() {
        let resolved = providers(&[]).resolve(&map(&[("a", "xyz${env:FEED_TOKEN}"), ("b", "${env:NONE}")])).unwrap();
        assert_eq!(resolved.provided.redacted, map(&[("a", "xyz***")]));
        assert_eq!(resolved.provided.secrets, [Secret::new("e")]);
        assert!(!format!("{resolved:?}").contains("xyz"));
    }

    #[test]
    fn allowed_paths_are_a_wall() {
        let folder = Folder::new("wall");
        let inside = folder.file("s.properties", "k=v\n");
        let outside = Folder::new("outside");
        let other = outside.file("s.properties", "k=v\n");
        let providers = providers(&[("config.providers.file.param.allowed.paths", folder.0.to_str().unwrap())]);
        assert_eq!(resolve(&providers, &format!("${{file:{inside}:k}}")), "v");
        for path in [
            other,
            format!(
                "{}/../{}",
                folder.0.display(),
                outside.0.join("s.properties").strip_prefix(std::env::temp_dir()).unwrap().display()
            ),
        ] {
            let text = format!("${{file:{path}:k}}");
            assert_eq!(resolve(&providers, &text), text);
        }
    }

    #[test]
    fn the_environment_obeys_its_pattern() {
        let providers = providers(&[("config.providers.env.param.allowlist.pattern", "FEED_.*")]);
        assert_eq!(resolve(&providers, "${env:FEED_TOKEN}${env:HOME}"), "e${env:HOME}");
    }

    #[test]
    fn an_unreadable_file_is_an_error_that_names_it() {
        let error = providers(&[]).resolve(&map(&[("a.b", "${file:/no/such/file:k}")])).unwrap_err();
        assert_eq!(error.option, "a.b");
        assert!(
            error.message.starts_with("option a.b: Could not read properties from file /no/such/file: "),
            "{error}"
        );
        let error = providers(&[]).resolve(&map(&[("a", "${env:p:k}")])).unwrap_err();
        assert!(error.message.contains("Path is not supported for EnvVarConfigProvider"), "{error}");
        let error = providers(&[]).resolve(&map(&[("a", "${file:/dev/zero:k}")])).unwrap_err();
        assert!(error.message.contains("not a regular file"), "{error}");
    }

    #[test]
    fn an_unknown_class_is_refused_by_name() {
        let refused = |pairs: &[(&str, &str)]| {
            Providers::from_worker(&map(pairs)).err().unwrap().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let errors = refused(&[("config.providers", "v"), ("config.providers.v.class", "com.example.Vault")]);
        assert!(
            errors[0].starts_with("Invalid value com.example.Vault for configuration config.providers.v.class: "),
            "{errors:?}"
        );
        assert_eq!(
            refused(&[("config.providers", "v")]),
            ["Missing required configuration \"config.providers.v.class\" which has no default value."]
        );
        let errors = refused(&[
            ("config.providers", "f"),
            ("config.providers.f.class", "FileConfigProvider"),
            ("config.providers.f.param.allowed.paths", "relative"),
        ]);
        assert!(errors[0].contains("Path relative is not absolute"), "{errors:?}");
    }
}
