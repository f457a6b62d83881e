//! Java programs on the jars that `e2e/kafka/fetch.sh` fetches.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Which Apache Kafka Connect; the broker is always the newer one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ConnectVersion {
    /// 3.9.2, the last release before 4.0.
    V3_9,
    /// 4.3.1.
    #[default]
    V4_3,
}

impl ConnectVersion {
    /// As `GET /` says it.
    pub fn as_str(self) -> &'static str {
        match self {
            ConnectVersion::V3_9 => "3.9.2",
            ConnectVersion::V4_3 => "4.3.1",
        }
    }
}

/// How a JVM is started.
#[derive(Debug, Clone)]
pub(crate) struct Java {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) version: ConnectVersion,
    /// Whether the sample connector is on the class path.
    pub(crate) sample: bool,
}

impl Default for Java {
    fn default() -> Java {
        Java {
            program: PathBuf::from("java"),
            arguments: Vec::new(),
            version: ConnectVersion::default(),
            sample: false,
        }
    }
}

impl Java {
    /// A JVM that runs the class `main`, logging warnings and the main events to its standard output.
    ///
    /// # Panics
    /// If the jars are missing.
    pub(crate) fn command(&self, heap: &str, main: &str) -> Command {
        let home = home();
        let (class_path, logging) = match self.version {
            ConnectVersion::V3_9 => (class_path(&["libs-3.9/*"]), "log4j.configuration=file:"),
            ConnectVersion::V4_3 if self.sample => (class_path(&["libs/*", "sample"]), "log4j2.configurationFile="),
            ConnectVersion::V4_3 => (class_path(&["libs/*"]), "log4j2.configurationFile="),
        };
        let log4j = match self.version {
            ConnectVersion::V3_9 => home.join("log4j.properties"),
            ConnectVersion::V4_3 => home.join("log4j2.properties"),
        };
        let mut command = Command::new(&self.program);
        command
            .arg(format!("-Xmx{heap}"))
            .args(["-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=4", "-Xshare:auto"])
            .arg(format!("-D{logging}{}", log4j.display()))
            .args(&self.arguments)
            .args(["-cp", &class_path, main]);
        command
    }
}

/// Compiles and runs a source file of `e2e/kafka` on the jars of Kafka 4.3; whether it ended with code 0, and its output.
///
/// # Panics
/// If there is no JDK, or the jars are missing.
pub fn java_source(file: &str, arguments: &[&str]) -> (bool, String) {
    java_source_with(&[], file, arguments)
}

/// The same with arguments of the JVM, such as `-Dkey=value`.
///
/// # Panics
/// As [`java_source`].
pub fn java_source_with(jvm: &[&str], file: &str, arguments: &[&str]) -> (bool, String) {
    let output = Command::new("java")
        .args(["-Xmx256m", "-cp", &class_path(&["libs/*"])])
        .arg(format!("-Dlog4j2.configurationFile={}", home().join("log4j2.properties").display()))
        .args(jvm)
        .arg(home().join(file))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("java cannot be started: {e}; install a JDK of version 17 or newer"));
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (output.status.success(), text.concat())
}

/// The directory that holds nothing but the packaged plugin.
///
/// # Panics
/// If it has not been built.
pub fn plugin_dir() -> PathBuf {
    packaged_plugin().unwrap_or_else(|| {
        panic!("the plugin is not in target/plugin/plugin-path; build it with: make plugin (make test does)")
    })
}

/// The Java agent that serves JMX to Prometheus.
pub(crate) fn jmx_exporter() -> PathBuf {
    PathBuf::from(class_path(&["exporter/jmx_prometheus_javaagent.jar"]))
}

pub(crate) fn packaged_plugin() -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/plugin/plugin-path/kafka-connect-websocket");
    let mut entries = dir.read_dir().ok()?;
    entries.any(|entry| entry.is_ok_and(|entry| entry.path().extension().is_some_and(|e| e == "jar"))).then_some(dir)
}

/// Where the sources and settings for Java lie.
fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kafka")
}

fn class_path(parts: &[&str]) -> String {
    let jars = Path::new(env!("CARGO_MANIFEST_DIR")).join(".kafka");
    assert!(
        jars.join("complete").exists(),
        "the jars of Kafka are missing in e2e/.kafka; fetch them with e2e/kafka/fetch.sh (make test does)"
    );
    let paths: Vec<String> = parts.iter().map(|part| jars.join(part).display().to_string()).collect();
    paths.join(":")
}
