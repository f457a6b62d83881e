//! TLS properties of Java clients, for librdkafka. Stores and PEM files are read at validation. So a wrong path or
//! password is an error of validation, and not of the first connection.

use std::path::Path;

use super::keystore;
use super::translation::{Property, Translation};
use connect_websocket_engine::config_def::ConfigError;
use connect_websocket_engine::file;

/// Translates `ssl.*` for a protocol with TLS.
pub(super) fn translate(t: &mut Translation) {
    truststore(t);
    key_store(t);
    endpoint_identification(t);
    protocols(t);
    cipher_suites(t);
    if let Some(factory) = t.take_text("ssl.engine.factory.class") {
        let why = "this worker runs no Java classes; set truststore and keystore instead";
        t.errors.push(ConfigError::invalid(&factory.option, &factory.value, why));
    }
}

fn truststore(t: &mut Translation) {
    let store_type = store_type(t, "ssl.truststore.type");
    let password = t.take_text("ssl.truststore.password");
    let location = t.take_text("ssl.truststore.location");
    let inline = take_pem(t, "ssl.truststore.certificates");
    if let Some(inline) = inline {
        if !store_type.is_pem() {
            t.errors.push(ConfigError::new(
                &inline.option,
                format!("{} is PEM text: set ssl.truststore.type=PEM", inline.option),
            ));
        } else if let Err(why) = keystore::check_pem_certificates(inline.value.as_bytes()) {
            t.errors.push(ConfigError::new(&inline.option, format!("{}: {why}", inline.option)));
        } else {
            t.set("ssl.ca.pem", inline.value);
        }
        return;
    }
    let Some(location) = location else {
        // The built-in OpenSSL has no certificate authorities, so those of the Linux distribution are used.
        t.set("ssl.ca.location", "probe");
        return;
    };
    let Some(bytes) = read(t, &location) else {
        return;
    };
    let translated = if store_type.is_pem() {
        match password {
            Some(_) => Err("SSL trust store password cannot be specified for PEM format.".to_owned()),
            None => keystore::check_pem_certificates(&bytes).map(|()| ("ssl.ca.location", location.value.clone())),
        }
    } else {
        let password = password.as_ref().map(|property| property.value.as_str());
        keystore::trusted_certificates(&bytes, password).map(|pem| ("ssl.ca.pem", pem))
    };
    match translated {
        Ok((setting, value)) => t.set(setting, value),
        Err(why) => t.errors.push(ConfigError::invalid(&location.option, &location.value, why)),
    }
}

fn key_store(t: &mut Translation) {
    let store_type = store_type(t, "ssl.keystore.type");
    let password = t.take_text("ssl.keystore.password");
    let key_password = t.take_text("ssl.key.password");
    let location = t.take_text("ssl.keystore.location");
    let inline = (take_pem(t, "ssl.keystore.key"), take_pem(t, "ssl.keystore.certificate.chain"));
    let key_secret = key_password.as_ref().map(|property| property.value.as_str());
    match (inline, location) {
        ((None, None), None) => {}
        ((Some(key), Some(chain)), None) => {
            if !store_type.is_pem() {
                t.errors.push(ConfigError::new(
                    &key.option,
                    format!("{} is PEM text: set ssl.keystore.type=PEM", key.option),
                ));
                return;
            }
            match keystore::check_pem_identity(key.value.as_bytes(), key_secret, chain.value.as_bytes()) {
                Ok(()) => {
                    t.set("ssl.key.pem", key.value);
                    t.set("ssl.certificate.pem", chain.value);
                    set_key_password(t, key_password);
                }
                Err(why) => t.errors.push(ConfigError::invalid_secret(&key.option, why)),
            }
        }
        ((Some(one), None) | (None, Some(one)), None) => t.errors.push(ConfigError::new(
            &one.option,
            "ssl.keystore.key and ssl.keystore.certificate.chain belong together: set both",
        )),
        ((Some(one), _) | (None, Some(one)), Some(_)) => t.errors.push(ConfigError::new(
            &one.option,
            format!("{} and ssl.keystore.location exclude each other: keep one", one.option),
        )),
        ((None, None), Some(location)) => {
            let Some(bytes) = read(t, &location) else {
                return;
            };
            let failed = |why| ConfigError::invalid(&location.option, &location.value, why);
            if store_type.is_pem() {
                if password.is_some() {
                    let why = "SSL key store password cannot be specified with PEM format, only key password may be specified.";
                    t.errors.push(failed(why.to_owned()));
                    return;
                }
                match keystore::check_pem_identity(&bytes, key_secret, &bytes) {
                    Ok(()) => {
                        t.set("ssl.key.location", location.value.clone());
                        t.set("ssl.certificate.location", location.value);
                        set_key_password(t, key_password);
                    }
                    Err(why) => t.errors.push(failed(why)),
                }
                return;
            }
            let password = password.as_ref().map(|property| property.value.as_str());
            match keystore::identity(&bytes, password, key_secret) {
                Ok(identity) => {
                    t.set("ssl.key.pem", identity.key);
                    t.set("ssl.certificate.pem", identity.chain);
                }
                Err(why) => t.errors.push(failed(why)),
            }
        }
    }
}

fn take_pem(t: &mut Translation, name: &str) -> Option<Property> {
    let property = t.take_text(name)?;
    Some(Property { value: keystore::normalized_pem(&property.value), option: property.option })
}

fn set_key_password(t: &mut Translation, password: Option<Property>) {
    if let Some(password) = password {
        t.set("ssl.key.password", password.value);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum StoreType {
    Pem,
    Java,
}

impl StoreType {
    fn is_pem(self) -> bool {
        self == Self::Pem
    }
}

fn store_type(t: &mut Translation, name: &str) -> StoreType {
    let Some(property) = t.take_text(name) else {
        return StoreType::Java;
    };
    match property.value.to_ascii_uppercase().as_str() {
        "PEM" => StoreType::Pem,
        "JKS" | "PKCS12" => StoreType::Java,
        _ => {
            let why = "this worker reads PEM, PKCS12 and JKS stores";
            t.errors.push(ConfigError::invalid(&property.option, &property.value, why));
            StoreType::Java
        }
    }
}

fn read(t: &mut Translation, location: &Property) -> Option<Vec<u8>> {
    match file::read(Path::new(&location.value), file::MAX_BYTES) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            let why = format!("the file cannot be read: {error}");
            t.errors.push(ConfigError::invalid(&location.option, &location.value, why));
            None
        }
    }
}

fn endpoint_identification(t: &mut Translation) {
    let Some(property) = t.take("ssl.endpoint.identification.algorithm") else {
        return;
    };
    match property.value.to_ascii_lowercase().as_str() {
        "https" => t.set("ssl.endpoint.identification.algorithm", "https"),
        "" => t.set("ssl.endpoint.identification.algorithm", "none"),
        _ => {
            let why = "use https, or an empty value to accept any host name";
            t.errors.push(ConfigError::invalid(&property.option, &property.value, why));
        }
    }
}

/// Checks the protocols. TLS 1.2 and 1.3 are always on, because librdkafka cannot choose.
fn protocols(t: &mut Translation) {
    let Some(property) = t.take_text("ssl.enabled.protocols") else {
        return;
    };
    let protocols: Vec<&str> = property.value.split(',').map(str::trim).collect();
    let has = |wanted: &str| protocols.iter().any(|protocol| protocol.eq_ignore_ascii_case(wanted));
    if has("TLSv1.2") && has("TLSv1.3") && protocols.len() == 2 {
        return;
    }
    if has("TLSv1.2") {
        t.warnings.push(format!(
            "{}={}: this worker uses TLSv1.2 and TLSv1.3, whichever is the newest that both sides know",
            property.option, property.value
        ));
    } else {
        let why =
            "this worker cannot switch off TLSv1.2; write TLSv1.2,TLSv1.3 (the newest that both sides know is used)";
        t.errors.push(ConfigError::invalid(&property.option, &property.value, why));
    }
}

/// Translates the IANA names of cipher suites, as Java writes them, to OpenSSL's.
fn cipher_suites(t: &mut Translation) {
    let Some(property) = t.take_text("ssl.cipher.suites") else {
        return;
    };
    let mut names = Vec::new();
    for suite in property.value.split(',').map(str::trim).filter(|suite| !suite.is_empty()) {
        match openssl_name(suite) {
            Some(name) => names.push(name),
            // The suites of TLS 1.3 are always on.
            None if suite.starts_with("TLS_AES_") || suite == "TLS_CHACHA20_POLY1305_SHA256" => {}
            None => {
                let why = format!("{suite} is unknown here; use ECDHE suites with AES GCM or CHACHA20");
                t.errors.push(ConfigError::invalid(&property.option, &property.value, why));
                return;
            }
        }
    }
    if names.is_empty() {
        let why = "the suites of TLS 1.3 cannot be chosen one by one; remove the option or name suites of TLS 1.2";
        t.errors.push(ConfigError::invalid(&property.option, &property.value, why));
        return;
    }
    t.set("ssl.cipher.suites", names.join(":"));
}

fn openssl_name(suite: &str) -> Option<&'static str> {
    Some(match suite {
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" => "ECDHE-ECDSA-AES256-GCM-SHA384",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" => "ECDHE-ECDSA-AES128-GCM-SHA256",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256" => "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384" => "ECDHE-RSA-AES256-GCM-SHA384",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" => "ECDHE-RSA-AES128-GCM-SHA256",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256" => "ECDHE-RSA-CHACHA20-POLY1305",
        "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384" => "DHE-RSA-AES256-GCM-SHA384",
        "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256" => "DHE-RSA-AES128-GCM-SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384" => "ECDHE-ECDSA-AES256-SHA384",
        "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256" => "ECDHE-ECDSA-AES128-SHA256",
        "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384" => "ECDHE-RSA-AES256-SHA384",
        "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256" => "ECDHE-RSA-AES128-SHA256",
        "TLS_RSA_WITH_AES_256_GCM_SHA384" => "AES256-GCM-SHA384",
        "TLS_RSA_WITH_AES_128_GCM_SHA256" => "AES128-GCM-SHA256",
        _ => return None,
    })
}
