use super::*;
use rdkafka::ClientConfig;
use rdkafka::producer::BaseProducer;
use std::path::PathBuf;

fn map(pairs: &[(&str, &str)]) -> IndexMap<String, String> {
    pairs.iter().map(|(option, value)| ((*option).to_owned(), (*value).to_owned())).collect()
}

fn worker(pairs: &[(&str, &str)]) -> IndexMap<String, String> {
    let mut worker =
        map(&[("bootstrap.servers", "localhost:9092"), ("key.converter", "x"), ("listeners", "http://:8083")]);
    worker.extend(map(pairs));
    worker
}

/// Settings of a producer, which librdkafka must accept.
fn accepted(pairs: &[(&str, &str)]) -> (ClientSettings, IndexMap<String, String>) {
    let settings = producer_settings(&worker(pairs), &map(&[]), "c", 0, &OverridePolicy::All).unwrap();
    let by_name = create(&settings);
    (settings, by_name)
}

fn create(settings: &ClientSettings) -> IndexMap<String, String> {
    let by_name: IndexMap<String, String> = settings.settings.iter().cloned().collect();
    assert_eq!(by_name.len(), settings.settings.len(), "a name comes twice: {settings:?}");
    let mut config = ClientConfig::new();
    for (name, value) in &by_name {
        config.set(name, value);
    }
    if let Err(error) = config.create::<BaseProducer>() {
        panic!("{error}: {settings:?}");
    }
    by_name
}

fn errors(pairs: &[(&str, &str)]) -> Vec<String> {
    let errors = producer_settings(&worker(pairs), &map(&[]), "c", 0, &OverridePolicy::All).unwrap_err();
    errors.iter().map(ToString::to_string).collect()
}

fn one_error(pairs: &[(&str, &str)]) -> String {
    let mut all = errors(pairs);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("connect-websocket-client-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const PLAIN: &str =
    "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"u\" password=\"s3cret\";";

#[test]
fn defaults_are_those_of_java_with_idempotence() {
    let (settings, by_name) = accepted(&[]);
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
    for (name, value) in [
        ("bootstrap.servers", "localhost:9092"),
        ("client.id", "connector-producer-c-0"),
        ("enable.idempotence", "true"),
        ("acks", "all"),
        ("max.in.flight.requests.per.connection", "5"),
        ("delivery.timeout.ms", "0"),
        ("linger.ms", "1"),
        ("sticky.partitioning.linger.ms", "10"),
        ("batch.size", "1000000"),
        ("queue.buffering.max.kbytes", "8193"),
        ("queue.buffering.max.messages", "12000"),
        ("message.max.bytes", "1048576"),
        ("request.timeout.ms", "30000"),
        ("socket.timeout.ms", "30000"),
        ("partitioner", "murmur2_random"),
        ("reconnect.backoff.ms", "50"),
        ("reconnect.backoff.max.ms", "1000"),
        ("retry.backoff.ms", "100"),
        ("connections.max.idle.ms", "540000"),
        ("socket.keepalive.enable", "true"),
        ("topic.metadata.refresh.interval.ms", "300000"),
        ("metadata.max.age.ms", "900000"),
        ("compression.type", "none"),
        ("security.protocol", "plaintext"),
    ] {
        assert_eq!(by_name.get(name).map(String::as_str), Some(value), "{name}");
    }
}

#[test]
fn the_connector_overrides_the_worker_overrides_the_defaults() {
    let worker = worker(&[("producer.linger.ms", "1"), ("producer.client.id", "w"), ("linger.ms", "9")]);
    let connector = map(&[
        ("producer.override.linger.ms", " 2 "),
        ("producer.override.bootstrap.servers", "a:1, b:2"),
        ("admin.override.client.id", "x"),
    ]);
    let settings = producer_settings(&worker, &connector, "c", 3, &OverridePolicy::All).unwrap();
    let by_name = create(&settings);
    assert_eq!(
        (by_name["linger.ms"].as_str(), by_name["client.id"].as_str(), by_name["bootstrap.servers"].as_str()),
        ("2", "w", "a:1,b:2")
    );
    assert!(settings.warnings.is_empty());
}

#[test]
fn policies_forbid_in_the_words_of_connect() {
    let connector = map(&[("producer.override.sasl.mechanism", "PLAIN"), ("producer.override.linger.ms", "2")]);
    let forbidden = |policy: OverridePolicy| -> Vec<String> {
        let made = producer_settings(&worker(&[]), &connector, "c", 0, &policy);
        let errors = made.err().unwrap_or_default().into_iter().map(|error| error.message);
        errors.filter(|message| message.contains("policy does not allow")).collect()
    };
    assert!(forbidden(OverridePolicy::All).is_empty());
    assert_eq!(forbidden(OverridePolicy::None).len(), 2);
    assert_eq!(
        forbidden(OverridePolicy::Principal),
        ["The 'Principal' policy does not allow 'linger.ms' to be overridden in the connector configuration."]
    );
    assert_eq!(forbidden(OverridePolicy::Allowlist(vec!["linger.ms".to_owned()])).len(), 1);
}

#[test]
fn idempotence_obeys_the_user() {
    let of = |pairs: &[(&str, &str)]| {
        let (_, by_name) = accepted(pairs);
        (
            by_name["enable.idempotence"].clone(),
            by_name["max.in.flight.requests.per.connection"].clone(),
            by_name["acks"].clone(),
        )
    };
    let expect = |on: &str, in_flight: &str, acks: &str| (on.to_owned(), in_flight.to_owned(), acks.to_owned());
    assert_eq!(of(&[("producer.enable.idempotence", "false")]), expect("false", "1", "all"));
    assert_eq!(of(&[("producer.acks", "1")]), expect("false", "1", "1"));
    assert_eq!(of(&[("producer.max.in.flight.requests.per.connection", "1")]), expect("true", "1", "all"));
    assert_eq!(of(&[("producer.max.in.flight.requests.per.connection", "6")]), expect("false", "6", "all"));
    assert_eq!(of(&[("producer.retries", "0")]), expect("false", "1", "all"));
    assert_eq!(of(&[("producer.acks", "-1")]), expect("true", "5", "-1"));
    assert_eq!(
        errors(&[
            ("producer.enable.idempotence", "true"),
            ("producer.acks", "1"),
            ("producer.retries", "0"),
            ("producer.max.in.flight.requests.per.connection", "6")
        ])
        .len(),
        3
    );
}

#[test]
fn every_plain_property_is_accepted_by_the_client() {
    let (settings, by_name) = accepted(&[
        ("producer.retries", "2147483647"),
        ("producer.linger.ms", "100"),
        ("producer.batch.size", "0"),
        ("producer.buffer.memory", "1000"),
        ("producer.max.request.size", "5000000"),
        ("producer.max.block.ms", "60000"),
        ("producer.delivery.timeout.ms", "120000"),
        ("producer.request.timeout.ms", "20000"),
        ("producer.compression.type", "zstd"),
        ("producer.compression.zstd.level", "22"),
        ("producer.compression.gzip.level", "9"),
        ("producer.partitioner.ignore.keys", "true"),
        ("producer.retry.backoff.ms", "0"),
        ("producer.retry.backoff.max.ms", "50"),
        ("producer.reconnect.backoff.ms", "2000"),
        ("producer.connections.max.idle.ms", "-1"),
        ("producer.metadata.max.age.ms", "9223372036854775807"),
        ("producer.metadata.recovery.strategy", "NONE"),
        ("producer.metadata.recovery.rebootstrap.trigger.ms", "1000"),
        ("producer.send.buffer.bytes", "-1"),
        ("producer.receive.buffer.bytes", "65536"),
        ("producer.socket.connection.setup.timeout.ms", "10000"),
        ("producer.client.dns.lookup", "use_all_dns_ips"),
        ("producer.client.rack", "r1"),
        ("producer.enable.metrics.push", "false"),
    ]);
    for (name, value) in [
        ("batch.size", "1"),
        // One record of max.request.size must have room.
        ("queue.buffering.max.kbytes", "4883"),
        ("compression.level", "12"),
        ("partitioner", "random"),
        ("retry.backoff.ms", "1"),
        ("reconnect.backoff.max.ms", "2000"),
        ("connections.max.idle.ms", "0"),
        ("topic.metadata.refresh.interval.ms", "3600000"),
        ("socket.send.buffer.bytes", "0"),
        ("delivery.timeout.ms", "120000"),
        ("sticky.partitioning.linger.ms", "200"),
    ] {
        assert_eq!(by_name.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(
        settings
            .warnings
            .iter()
            .any(|warning| warning.starts_with("producer.compression.zstd.level=22 is taken as 12")),
        "{:?}",
        settings.warnings
    );
}

#[test]
fn wrong_values_name_the_option_that_set_them() {
    assert_eq!(
        one_error(&[("producer.linger.ms", "soon")]),
        "Invalid value soon for configuration producer.linger.ms: Not a number of type LONG"
    );
    assert_eq!(
        one_error(&[("producer.retries", "-1")]),
        "Invalid value -1 for configuration producer.retries: Value must be at least 0"
    );
    assert_eq!(
        one_error(&[("producer.batch.size", "3000000000")]),
        "Invalid value 3000000000 for configuration producer.batch.size: Not a number of type INT"
    );
    assert!(one_error(&[("producer.compression.type", "brotli")]).contains("String must be one of"));
    assert!(
        one_error(&[("producer.enable.idempotence", "yes")]).ends_with("Expected value to be either true or false")
    );
    assert!(one_error(&[("producer.delivery.timeout.ms", "1000")]).contains("linger.ms + request.timeout.ms"));
    assert!(one_error(&[("bootstrap.servers", "localhost")]).contains("Invalid url in bootstrap.servers: localhost"));
    assert!(one_error(&[("producer.transactional.id", "t")]).contains("without transactions"));
    assert!(one_error(&[("producer.partitioner.class", "com.example.P")]).contains("com.example.P"));
    let missing = producer_settings(&map(&[]), &map(&[]), "c", 0, &OverridePolicy::All).unwrap_err();
    assert_eq!(missing, [ConfigError::missing("bootstrap.servers")]);
}

#[test]
fn what_has_no_effect_is_named_once() {
    let (settings, _) = accepted(&[
        ("producer.interceptor.classes", "com.example.I"),
        ("producer.metric.reporters", ""),
        ("producer.key.serializer", "x"),
        ("producer.acsk", "all"),
        ("producer.ssl.keystore.location", "/k"),
        ("producer.sasl.jaas.config", PLAIN),
    ]);
    let mut warnings = settings.warnings;
    warnings.sort();
    assert_eq!(
        warnings,
        [
            "producer.acsk has no effect: acsk is unknown",
            "producer.interceptor.classes has no effect: this worker runs no Java and has no equivalent",
            "producer.key.serializer has no effect: this worker runs no Java and has no equivalent",
            "producer.metric.reporters has no effect: this worker runs no Java and has no equivalent",
            "producer.sasl.jaas.config has no effect while security.protocol is PLAINTEXT",
            "producer.ssl.keystore.location has no effect while security.protocol is PLAINTEXT",
        ]
    );
}

#[test]
fn sasl_with_a_password() {
    let scram = PLAIN.replace("plain.PlainLoginModule", "scram.ScramLoginModule");
    for (mechanism, jaas) in [("PLAIN", PLAIN), ("SCRAM-SHA-256", &scram), ("SCRAM-SHA-512", &scram)] {
        let (settings, by_name) = accepted(&[
            ("producer.security.protocol", "SASL_SSL"),
            ("producer.sasl.mechanism", mechanism),
            ("producer.sasl.jaas.config", jaas),
        ]);
        assert_eq!(by_name["security.protocol"], "sasl_ssl");
        assert_eq!(by_name["sasl.mechanism"], mechanism);
        assert_eq!((by_name["sasl.username"].as_str(), by_name["sasl.password"].as_str()), ("u", "s3cret"));
        assert_eq!(by_name["ssl.ca.location"], "probe");
        assert!(!format!("{settings:?}").contains("s3cret"));
    }
}

#[test]
fn sasl_that_cannot_be_honoured_is_an_error() {
    let with = |pairs: &[(&str, &str)]| {
        let mut all = vec![
            ("producer.security.protocol", "SASL_PLAINTEXT"),
            ("producer.sasl.mechanism", "PLAIN"),
            ("producer.sasl.jaas.config", PLAIN),
        ];
        all.extend_from_slice(pairs);
        let error = one_error(&all);
        assert!(!error.contains("s3cret"), "{error}");
        error
    };
    assert!(
        with(&[("producer.sasl.client.callback.handler.class", "a.B")])
            .contains("Invalid value a.B for configuration producer.sasl.client.callback.handler.class")
    );
    assert!(with(&[("producer.sasl.login.class", "a.B")]).contains("producer.sasl.login.class"));
    assert!(
        with(&[("producer.sasl.mechanism", "AWS_MSK_IAM")])
            .contains("Invalid value AWS_MSK_IAM for configuration producer.sasl.mechanism: IAM")
    );
    assert!(with(&[("producer.sasl.mechanism", "GSSAPI")]).contains("Kerberos is not built in"));
    assert!(with(&[("producer.sasl.mechanism", "")]).contains("GSSAPI"), "Java's default");
    assert!(with(&[("producer.sasl.mechanism", "SCRAM-SHA-512")]).contains("needs ScramLoginModule"));
    assert!(with(&[("producer.sasl.jaas.config", "x required password=s3cret")]).contains("not terminated"));
    assert!(
        with(&[("producer.sasl.jaas.config", "PlainLoginModule required username=u;")])
            .contains("password=\"…\" is missing")
    );
    assert!(
        with(&[("producer.sasl.jaas.config", "")])
            .contains("Missing required configuration \"producer.sasl.jaas.config\"")
    );
    assert!(with(&[("producer.security.protocol", "TLS")]).contains("PLAINTEXT, SASL_PLAINTEXT, SASL_SSL, SSL"));
}

#[test]
fn oauth_bearer_only_without_a_token_endpoint() {
    let jaas = |options: &str| {
        format!("org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required {options};")
    };
    let settings = |options: &str, more: &[(&str, &str)]| {
        let jaas = jaas(options);
        let mut all = vec![
            ("producer.security.protocol", "SASL_PLAINTEXT"),
            ("producer.sasl.mechanism", "OAUTHBEARER"),
            ("producer.sasl.jaas.config", jaas.as_str()),
        ];
        all.extend_from_slice(more);
        producer_settings(&worker(&all), &map(&[]), "c", 0, &OverridePolicy::All)
    };
    let unsecured = settings(
        "unsecuredLoginStringClaim_sub=alice unsecuredLoginLifetimeSeconds=\"60\" unsecuredLoginExtension_tenant=t1",
        &[],
    )
    .unwrap();
    let by_name = create(&unsecured);
    assert_eq!(by_name["sasl.oauthbearer.config"], "extension_tenant=t1 lifeSeconds=60 principal=alice");
    assert_eq!(by_name["enable.sasl.oauthbearer.unsecure.jwt"], "true");
    assert_eq!(unsecured.warnings.len(), 1);
    let refused = |options: &str, more: &[(&str, &str)]| settings(options, more).unwrap_err()[0].to_string();
    assert!(refused("clientId=a clientSecret=s3cret", &[]).contains("OIDC"));
    assert!(
        refused("unsecuredLoginStringClaim_sub=a", &[("producer.sasl.oauthbearer.token.endpoint.url", "https://h/")])
            .contains("OIDC")
    );
    let handler = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler";
    assert!(refused("clientId=a", &[("producer.sasl.login.callback.handler.class", handler)]).contains("OIDC"));
    assert!(refused("", &[]).contains("unsecuredLoginStringClaim_sub"));
    assert!(refused("unsecuredLoginStringClaim_sub='a b'", &[]).contains("blanks"));
    assert!(refused("unsecuredLoginNumberClaim_x='1' unsecuredLoginStringClaim_sub=a", &[]).contains("only"));
}

/// The reason why OIDC is refused at validation: this build of librdkafka does not know it.
#[test]
fn the_client_itself_has_no_oidc_and_no_kerberos() {
    for (name, value) in [("sasl.oauthbearer.method", "oidc"), ("sasl.mechanism", "GSSAPI")] {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", "localhost:9092").set("security.protocol", "sasl_plaintext");
        if name == "sasl.oauthbearer.method" {
            config.set("sasl.mechanism", "OAUTHBEARER");
        }
        assert!(config.set(name, value).create::<BaseProducer>().is_err(), "{name}={value}");
    }
}

#[test]
fn java_stores_become_pem() {
    let folder = Folder::new("stores");
    let trust_jks = folder.file("t.jks", fixtures::bytes(fixtures::TRUST_JKS));
    let trust_p12 = folder.file("t.p12", fixtures::bytes(fixtures::TRUST_PKCS12));
    let key_jks = folder.file("k.jks", fixtures::bytes(fixtures::KEY_JKS));
    let key_p12 = folder.file("k.p12", fixtures::bytes(fixtures::KEY_PKCS12));
    let mut seen = Vec::new();
    for (trust, trust_type, key, key_password) in
        [(&trust_jks, "JKS", &key_jks, "keypass1"), (&trust_p12, "PKCS12", &key_p12, "storepass")]
    {
        let (settings, by_name) = accepted(&[
            ("producer.security.protocol", "SSL"),
            ("producer.ssl.truststore.location", trust),
            ("producer.ssl.truststore.password", "changeit"),
            ("producer.ssl.truststore.type", trust_type),
            ("producer.ssl.keystore.location", key),
            ("producer.ssl.keystore.password", "storepass"),
            ("producer.ssl.key.password", key_password),
            ("producer.ssl.endpoint.identification.algorithm", ""),
            ("producer.ssl.cipher.suites", "TLS_AES_256_GCM_SHA384,TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
            ("producer.ssl.enabled.protocols", "TLSv1.2,TLSv1.3"),
            ("producer.ssl.protocol", "TLSv1.3"),
        ]);
        assert_eq!(by_name["ssl.endpoint.identification.algorithm"], "none");
        assert_eq!(by_name["ssl.cipher.suites"], "ECDHE-ECDSA-AES256-GCM-SHA384");
        assert_eq!(
            settings.warnings,
            ["producer.ssl.protocol has no effect: this worker runs no Java and has no equivalent"]
        );
        assert!(!format!("{settings:?}").contains("BEGIN"), "{settings:?}");
        seen.push((
            by_name["ssl.ca.pem"].clone(),
            by_name["ssl.key.pem"].clone(),
            by_name["ssl.certificate.pem"].clone(),
        ));
    }
    assert_eq!(seen[0], seen[1]);
}

#[test]
fn pem_stores_are_passed_on() {
    let folder = Folder::new("pem");
    let identity = keystore::identity(&fixtures::bytes(fixtures::KEY_PKCS12), Some("storepass"), None).unwrap();
    let both = folder.file("both.pem", format!("{}{}", identity.key, identity.chain));
    let (_, by_name) = accepted(&[
        ("producer.security.protocol", "SSL"),
        ("producer.ssl.truststore.type", "PEM"),
        ("producer.ssl.truststore.location", &both),
        ("producer.ssl.keystore.type", "PEM"),
        ("producer.ssl.keystore.location", &both),
    ]);
    for setting in ["ssl.ca.location", "ssl.key.location", "ssl.certificate.location"] {
        assert_eq!(by_name[setting], both);
    }
    // One line with blanks, as continuation lines of a properties file leave it.
    let one_line = identity.chain.replace('\n', " ");
    let (_, by_name) = accepted(&[
        ("producer.security.protocol", "SSL"),
        ("producer.ssl.truststore.type", "PEM"),
        ("producer.ssl.truststore.certificates", &one_line),
        ("producer.ssl.keystore.type", "PEM"),
        ("producer.ssl.keystore.key", &identity.key),
        ("producer.ssl.keystore.certificate.chain", &identity.chain),
    ]);
    assert_eq!(by_name["ssl.ca.pem"], identity.chain);
    assert_eq!(by_name["ssl.key.pem"], identity.key);
}

#[test]
fn tls_that_cannot_be_honoured_is_an_error() {
    let folder = Folder::new("tls");
    let trust = folder.file("t.jks", fixtures::bytes(fixtures::TRUST_JKS));
    let with = |pairs: &[(&str, &str)]| {
        let mut all = vec![("producer.security.protocol", "SSL")];
        all.extend_from_slice(pairs);
        let error = one_error(&all);
        assert!(!error.contains("s3cret"), "{error}");
        error
    };
    assert!(
        with(&[("producer.ssl.truststore.location", "/no/such/file")])
            .contains("/no/such/file for configuration producer.ssl.truststore.location: the file cannot be read")
    );
    assert!(
        with(&[("producer.ssl.truststore.location", &trust), ("producer.ssl.truststore.password", "s3cret")])
            .contains("password is wrong")
    );
    assert!(
        with(&[("producer.ssl.truststore.location", &trust), ("producer.ssl.truststore.type", "BKS")])
            .contains("Invalid value BKS")
    );
    assert!(
        with(&[("producer.ssl.keystore.location", &trust), ("producer.ssl.keystore.password", "changeit")])
            .contains("no private key")
    );
    assert!(with(&[("producer.ssl.keystore.key", "s3cret")]).contains("belong together"));
    assert!(with(&[("producer.ssl.engine.factory.class", "a.B")]).contains("a.B"));
    assert!(with(&[("producer.ssl.enabled.protocols", "TLSv1.3")]).contains("cannot switch off TLSv1.2"));
    assert!(with(&[("producer.ssl.cipher.suites", "TLS_AES_128_GCM_SHA256")]).contains("TLS 1.3"));
    assert!(
        with(&[("producer.ssl.cipher.suites", "TLS_RSA_WITH_RC4_128_SHA")])
            .contains("TLS_RSA_WITH_RC4_128_SHA is unknown")
    );
    assert!(with(&[("producer.ssl.endpoint.identification.algorithm", "LDAPS")]).contains("LDAPS"));
}

#[test]
fn the_admin_client_inherits_from_the_worker() {
    let worker = worker(&[
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.jaas.config", PLAIN),
        ("ssl.client.auth", "required"),
        ("retry.backoff.ms", "7"),
        ("admin.retry.backoff.ms", "8"),
        ("producer.linger.ms", "9"),
    ]);
    let connector = map(&[("admin.override.client.id", "mine")]);
    let admin = create(&admin_settings(&worker, &connector, "c", 1, &OverridePolicy::All).unwrap());
    assert_eq!(
        (admin["sasl.username"].as_str(), admin["retry.backoff.ms"].as_str(), admin["client.id"].as_str()),
        ("u", "8", "mine")
    );
    assert!(!admin.contains_key("linger.ms"));
    let own = worker_admin_settings(&worker).unwrap();
    assert!(own.warnings.is_empty(), "{:?}", own.warnings);
    assert_eq!(create(&own)["retry.backoff.ms"], "7");
    let producer = create(&producer_settings(&worker, &connector, "c", 1, &OverridePolicy::All).unwrap());
    assert_eq!(producer["security.protocol"], "plaintext", "unprefixed properties do not reach the producer");
    let warnings = producer_settings(&worker, &connector, "c", 1, &OverridePolicy::All).unwrap().warnings;
    assert_eq!(warnings, ["security.protocol does not reach the producers of tasks: set producer.security.protocol"]);
}

#[test]
fn an_encrypted_pem_key_needs_its_password() {
    let folder = Folder::new("encrypted");
    let identity = keystore::identity(&fixtures::bytes(fixtures::KEY_PKCS12), Some("storepass"), None).unwrap();
    let key = openssl::pkey::PKey::private_key_from_pem(identity.key.as_bytes()).unwrap();
    let encrypted = key.private_key_to_pem_pkcs8_passphrase(openssl::symm::Cipher::aes_256_cbc(), b"s3cret").unwrap();
    let both = folder.file("both.pem", [encrypted.as_slice(), identity.chain.as_bytes()].concat());
    let properties = [
        ("producer.security.protocol", "SSL"),
        ("producer.ssl.keystore.type", "PEM"),
        ("producer.ssl.keystore.location", both.as_str()),
        ("producer.ssl.key.password", "s3cret"),
    ];
    let (settings, by_name) = accepted(&properties);
    assert_eq!(by_name["ssl.key.password"], "s3cret");
    assert!(!format!("{settings:?}").contains("s3cret"));
    assert!(one_error(&properties[..3]).contains("ssl.key.password"));
}
