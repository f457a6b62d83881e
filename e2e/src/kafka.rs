//! Real Apache Kafka brokers (KRaft) in temporary directories: one node, or a second that joins it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use futures_executor::block_on;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use tempfile::TempDir;

use crate::java::Java;
use crate::process::{Process, free_port, wait_until};
use crate::properties;

/// A broker needs about 5 s on an idle machine of two cores.
const READY_WITHIN: Duration = Duration::from_secs(90);
const STOP_WITHIN: Duration = Duration::from_secs(60);
const ADMIN_WITHIN: Duration = Duration::from_secs(20);

/// A broker on ports of its own. It is killed when dropped, and its data removed.
pub struct Kafka {
    // Dropped before the directory that holds its data and log.
    process: Option<Process>,
    dir: TempDir,
    port: u16,
    /// Where the cluster's controller listens.
    controller: u16,
    secured: Option<Secured>,
}

/// Extra settings for a broker.
#[derive(Debug, Default)]
pub struct KafkaBuilder {
    properties: Vec<(String, String)>,
    secured: bool,
    /// The controller of the cluster that it joins.
    joins: Option<u16>,
}

/// What a client needs for the secured listeners of [`Kafka::secured`].
#[derive(Debug, Clone)]
pub struct Secured {
    /// `host:port` with TLS; a client certificate is accepted, not demanded.
    pub ssl: String,
    /// `host:port` with SASL (PLAIN, SCRAM-SHA-256, SCRAM-SHA-512) without TLS.
    pub sasl_plaintext: String,
    /// `host:port` with SASL over TLS.
    pub sasl_ssl: String,
    /// PEM file of the authority that signed the broker's certificate, for `127.0.0.1` and `localhost`.
    pub ca: PathBuf,
    /// PEM file with a client's private key and certificate.
    pub client: PathBuf,
}

impl Secured {
    /// The user of every SASL mechanism.
    pub const USER: &str = "alice";
    /// Her password.
    pub const PASSWORD: &str = "alice-secret";
}

impl Kafka {
    /// Starts a broker with default settings: topics are created on first use, with one partition.
    ///
    /// # Panics
    /// If the jars are missing or the broker isn't ready in time.
    pub fn start() -> Kafka {
        Kafka::builder().start()
    }

    /// The broker that the tests of one program share; started on first use, killed with the program.
    pub fn shared() -> &'static Kafka {
        static SHARED: OnceLock<Kafka> = OnceLock::new();
        SHARED.get_or_init(Kafka::start)
    }

    /// A broker with other settings.
    pub fn builder() -> KafkaBuilder {
        KafkaBuilder::default()
    }

    /// A broker that has listeners with TLS and SASL besides its plain one, see [`Kafka::security`].
    pub fn secured() -> KafkaBuilder {
        KafkaBuilder { secured: true, ..KafkaBuilder::default() }
    }

    /// A second broker of this cluster, with node id 2. The first has node id 1 and the controller: it must outlive the second.
    pub fn another(&self) -> KafkaBuilder {
        KafkaBuilder { joins: Some(self.controller), ..KafkaBuilder::default() }
    }

    /// `host:port` of the plain listener.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The secured listeners.
    ///
    /// # Panics
    /// If the broker was not built by [`Kafka::secured`].
    pub fn security(&self) -> &Secured {
        self.secured
            .as_ref()
            .unwrap_or_else(|| panic!("this broker has no secured listeners, start it with Kafka::secured()"))
    }

    /// Creates a topic and waits until the broker knows it.
    ///
    /// # Panics
    /// If the broker refuses it.
    pub fn create_topic(&self, name: &str, partitions: i32) {
        self.create_topic_with(name, partitions, &[]);
    }

    /// Creates a topic with settings such as `max.message.bytes`.
    ///
    /// # Panics
    /// If the broker refuses it.
    pub fn create_topic_with(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        self.create(NewTopic::new(name, partitions, TopicReplication::Fixed(1)), settings);
    }

    /// Creates a topic of one partition on the brokers with these node ids; the first leads.
    ///
    /// # Panics
    /// If the broker refuses it.
    pub fn create_topic_on(&self, brokers: &[i32], name: &str, settings: &[(&str, &str)]) {
        self.create(NewTopic::new(name, 1, TopicReplication::Variable(&[brokers])), settings);
    }

    fn create<'a>(&self, topic: NewTopic<'a>, settings: &[(&'a str, &'a str)]) {
        let name = topic.name;
        let topic = settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
        let options = AdminOptions::new().operation_timeout(Some(ADMIN_WITHIN));
        let results = block_on(self.admin().create_topics([&topic], &options))
            .unwrap_or_else(|e| panic!("topic {name} not created: {e}"));
        for result in results {
            result.unwrap_or_else(|(_, e)| panic!("topic {name} not created: {e}"));
        }
    }

    /// How many partitions a topic has.
    ///
    /// # Panics
    /// If the broker doesn't say.
    pub fn partitions(&self, topic: &str) -> usize {
        let metadata = self.admin().inner().fetch_metadata(Some(topic), ADMIN_WITHIN);
        let metadata = metadata.unwrap_or_else(|e| panic!("the partitions of topic {topic} are not known: {e}"));
        metadata.topics().iter().map(|topic| topic.partitions().len()).sum()
    }

    /// The value of a setting of a topic.
    ///
    /// # Panics
    /// If the broker doesn't say.
    pub fn topic_setting(&self, topic: &str, name: &str) -> Option<String> {
        let options = AdminOptions::new().request_timeout(Some(ADMIN_WITHIN));
        let described = block_on(self.admin().describe_configs([&ResourceSpecifier::Topic(topic)], &options));
        let described = described.unwrap_or_else(|e| panic!("the settings of topic {topic} are not known: {e}"));
        let entries = described.into_iter().flat_map(|resource| {
            resource.unwrap_or_else(|e| panic!("the settings of topic {topic} are not known: {e}")).entries
        });
        entries.into_iter().find(|entry| entry.name == name)?.value
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new()
            .set("bootstrap.servers", self.bootstrap())
            .create()
            .unwrap_or_else(|e| panic!("no admin client: {e}"))
    }

    /// Changes one setting of a topic; others go back to their defaults.
    pub fn set_topic_setting(&self, topic: &str, name: &str, value: &str) {
        let options = AdminOptions::new().request_timeout(Some(ADMIN_WITHIN));
        let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(name, value);
        let changed = block_on(self.admin().alter_configs([&change], &options));
        let changed = changed.unwrap_or_else(|e| panic!("{name} of topic {topic} cannot be set: {e}"));
        changed
            .into_iter()
            .for_each(|one| _ = one.unwrap_or_else(|e| panic!("{name} of topic {topic} cannot be set: {e:?}")));
    }

    /// Stops the broker in good order; ports and data are kept for [`Kafka::start_again`].
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.terminate(STOP_WITHIN);
        }
    }

    /// Kills the broker; ports and data are kept for [`Kafka::start_again`].
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts a stopped or killed broker on the same ports and data.
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "the broker still runs");
        let mut command = Java::default().command("512m", "kafka.Kafka");
        command.arg("server.properties").current_dir(self.dir.path());
        let mut process = Process::start("kafka", &command, &self.dir.path().join("kafka.log"));
        let probe: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.bootstrap())
            // Attempts fail until the broker listens: that is no news.
            .set("log_level", "0")
            .set("reconnect.backoff.max.ms", "200")
            .create()
            .unwrap_or_else(|e| panic!("no Kafka client: {e}"));
        wait_until("Kafka to be ready", READY_WITHIN, || {
            if let Some(code) = process.exit_code() {
                panic!("Kafka ended with exit code {code} while starting");
            }
            probe
                .fetch_metadata(None, Duration::from_millis(500))
                .ok()
                .filter(|metadata| metadata.brokers().iter().any(|broker| broker.port() == i32::from(self.port)))
        });
        self.process = Some(process);
    }

    /// Suspends the broker (SIGSTOP): connections stay open, nothing is answered.
    pub fn suspend(&self) {
        self.running().suspend();
    }

    /// Lets a suspended broker run again.
    pub fn resume(&self) {
        self.running().resume();
    }

    /// The broker's log since the first start.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("kafka.log")).unwrap_or_default()
    }

    fn running(&self) -> &Process {
        self.process.as_ref().unwrap_or_else(|| panic!("the broker does not run"))
    }
}

impl KafkaBuilder {
    /// Sets a line of `server.properties`, such as `auto.create.topics.enable=false` or `message.max.bytes=1000`.
    pub fn property(mut self, key: &str, value: &str) -> KafkaBuilder {
        properties::set(&mut self.properties, key, value);
        self
    }

    /// Formats the storage, starts the broker and waits until it answers.
    ///
    /// # Panics
    /// If the jars are missing or the broker isn't ready in time.
    pub fn start(self) -> Kafka {
        let dir = tempfile::Builder::new()
            .prefix("kafka-")
            .tempdir()
            .unwrap_or_else(|e| panic!("no temporary directory: {e}"));
        let port = free_port();
        let controller = self.joins.unwrap_or_else(free_port);
        let mut lines = Vec::new();
        let mut listeners = format!("PLAINTEXT://127.0.0.1:{port}");
        let secured = self.secured.then(|| secure(dir.path(), &mut lines, &mut listeners));
        let (roles, id, all_listeners) = match self.joins {
            Some(_) => ("broker", "2", listeners.clone()),
            None => ("broker,controller", "1", format!("{listeners},CONTROLLER://127.0.0.1:{controller}")),
        };
        for (key, value) in [
            ("process.roles", roles),
            ("node.id", id),
            ("controller.quorum.voters", &format!("1@127.0.0.1:{controller}")),
            ("listeners", &all_listeners),
            ("advertised.listeners", &listeners),
            ("controller.listener.names", "CONTROLLER"),
            (
                "listener.security.protocol.map",
                "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL",
            ),
            ("inter.broker.listener.name", "PLAINTEXT"),
            ("log.dirs", &dir.path().join("data").display().to_string()),
            ("offsets.topic.replication.factor", "1"),
            // The default of 50 costs a second of file creation at the first consumer group.
            ("offsets.topic.num.partitions", "1"),
            ("transaction.state.log.replication.factor", "1"),
            ("transaction.state.log.min.isr", "1"),
            ("transaction.state.log.num.partitions", "1"),
            ("share.coordinator.state.topic.replication.factor", "1"),
            ("share.coordinator.state.topic.min.isr", "1"),
            ("group.initial.rebalance.delay.ms", "0"),
        ] {
            lines.push((key.to_owned(), value.to_owned()));
        }
        for (key, value) in &self.properties {
            properties::set(&mut lines, key, value);
        }
        properties::write(&dir.path().join("server.properties"), &lines);
        format_storage(dir.path(), secured.is_some());

        let mut kafka = Kafka { dir, port, controller, secured, process: None };
        kafka.start_again();
        kafka
    }
}

fn format_storage(dir: &Path, users: bool) {
    let mut command = Java::default().command("128m", "kafka.tools.StorageTool");
    command.current_dir(dir);
    // Any 16 bytes in URL-safe base64 are a cluster id.
    command.args(["format", "-t", "Y29ubmVjdC1lMmUtdGVzdA", "-c", "server.properties"]);
    if users {
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
            command
                .args(["--add-scram", &format!("{mechanism}=[name={},password={}]", Secured::USER, Secured::PASSWORD)]);
        }
    }
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("java cannot be started: {e}; install a JDK of version 17 or newer"));
    assert!(
        output.status.success(),
        "Kafka's storage cannot be formatted: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Adds listeners with TLS and SASL to `server.properties` and makes the certificates.
fn secure(dir: &Path, lines: &mut Vec<(String, String)>, listeners: &mut String) -> Secured {
    let mut listener = |protocol: &str| {
        let port = free_port();
        listeners.push_str(&format!(",{protocol}://127.0.0.1:{port}"));
        format!("127.0.0.1:{port}")
    };
    let secured = Secured {
        ssl: listener("SSL"),
        sasl_plaintext: listener("SASL_PLAINTEXT"),
        sasl_ssl: listener("SASL_SSL"),
        ca: dir.join("ca.pem"),
        client: dir.join("client.pem"),
    };
    write_certificates(dir, &secured).unwrap_or_else(|e| panic!("certificates for the broker cannot be made: {e}"));

    for (key, value) in [
        ("ssl.keystore.type", "PEM"),
        ("ssl.keystore.location", &dir.join("broker.pem").display().to_string()),
        ("ssl.truststore.type", "PEM"),
        ("ssl.truststore.location", &secured.ca.display().to_string()),
        ("ssl.client.auth", "requested"),
        ("sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"),
    ] {
        lines.push((key.to_owned(), value.to_owned()));
    }
    for listener in ["sasl_plaintext", "sasl_ssl"] {
        let plain = "org.apache.kafka.common.security.plain.PlainLoginModule";
        let scram = "org.apache.kafka.common.security.scram.ScramLoginModule";
        let (user, password) = (Secured::USER, Secured::PASSWORD);
        for (mechanism, jaas) in [
            ("plain", format!("{plain} required user_{user}=\"{password}\";")),
            ("scram-sha-256", format!("{scram} required;")),
            ("scram-sha-512", format!("{scram} required;")),
        ] {
            lines.push((format!("listener.name.{listener}.{mechanism}.sasl.jaas.config"), jaas));
        }
    }
    secured
}

/// Writes `ca.pem`, and key and certificate of broker and client as Kafka's PEM key stores want them.
fn write_certificates(dir: &Path, secured: &Secured) -> Result<(), Box<dyn std::error::Error>> {
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, "test authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    fs::write(&secured.ca, authority.pem())?;

    for (path, common_name) in [(dir.join("broker.pem"), "broker"), (secured.client.clone(), "client")] {
        let mut leaf = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        leaf.distinguished_name.push(DnType::CommonName, common_name);
        let key = KeyPair::generate()?;
        let certificate = leaf.signed_by(&key, &authority)?;
        fs::write(path, format!("{}{}{}", key.serialize_pem(), certificate.pem(), authority.pem()))?;
    }
    Ok(())
}
