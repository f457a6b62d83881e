//! Basic authentication (RFC 7617) with the users of a file: like Kafka Connect's `BasicAuthSecurityRestExtension`, or
//! with hashed passwords.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bcrypt::HashParts;
use connect_websocket_engine::config_def::ConfigError;
use connect_websocket_engine::file;
use ring::hmac;
use ring::rand::SystemRandom;
use tokio::sync::Semaphore;
use tracing::debug;

use super::error::RestError;
use crate::config::values::Values;
use crate::kafka::client_properties::jaas;
use crate::properties;

pub(super) const EXTENSIONS: &str = "rest.extension.classes";
pub(super) const USERS_FILE: &str = "rest.basic.auth.users.file";
pub(super) const JAAS_FILE: &str = "rest.basic.auth.jaas.file";

/// The entry of a JAAS file that Connect's extension looks for, and its login module.
const JAAS_ENTRY: &str = "KafkaConnect";
const LOGIN_MODULE: &str = "PropertyFileLoginModule";
const EXTENSION: &str = "org.apache.kafka.connect.rest.basic.auth.extension.BasicAuthSecurityRestExtension";
/// The JVM option for the JAAS file. Kafka's scripts take it from this environment variable.
const JAVA_OPTIONS: &str = "KAFKA_OPTS";
const JAVA_JAAS_FILE: &str = "-Djava.security.auth.login.config=";

const MAX_FILE_BYTES: usize = 1 << 20;
/// The highest cost of a hash. Cost 12 takes a third of a second.
const MAX_COST: u32 = 12;
/// How many passwords may wait while one is compared with its hash.
const MAX_WAITING: usize = 16;
/// After a wrong password, the next comparison waits for this many times its duration. So guessing uses a tenth of a
/// core.
const PAUSE: u32 = 9;

/// The users and their credentials.
pub struct Users {
    passwords: HashMap<String, Password>,
    /// A random key of this process, so that fingerprints are of no use elsewhere.
    key: hmac::Key,
    /// Fingerprints of passwords that were compared with a hash and are right. Otherwise each request would need the
    /// hash.
    verified: Mutex<HashMap<String, hmac::Tag>>,
    waiting: Semaphore,
    turn: Arc<Semaphore>,
}

enum Password {
    /// The fingerprint of a password in a file.
    Plain(hmac::Tag),
    /// A bcrypt hash.
    Hashed(String),
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Users({})", self.passwords.len())
    }
}

impl Users {
    /// Reads the users that the options name. Returns `None` if no option names users.
    pub(super) fn configured(values: &mut Values<'_>) -> Option<Arc<Users>> {
        let filled = |name| values.optional(name).filter(|text| !text.is_empty()).map(str::to_owned);
        let (option, value, read) = match (filled(USERS_FILE), filled(JAAS_FILE), filled(EXTENSIONS)) {
            (None, None, None) => return None,
            (Some(_), Some(file), _) => (JAAS_FILE, file, Err(format!("it excludes {USERS_FILE}: keep one"))),
            (Some(file), None, _) => (USERS_FILE, file.clone(), hashed(&file)),
            (None, Some(file), _) => (JAAS_FILE, file.clone(), plain(&file)),
            (None, None, Some(classes)) => (EXTENSIONS, classes, of_java_options()),
        };
        let users = read.and_then(Users::new);
        users.map_err(|why| values.errors.push(ConfigError::invalid(option, &value, why))).map(Arc::new).ok()
    }

    fn new(entries: Vec<Entry>) -> Result<Users, String> {
        if entries.is_empty() {
            return Err("there is no user in it, so nobody could use the REST API; add one".into());
        }
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| "the system has no random numbers for a key".to_owned())?;
        let passwords = entries.into_iter().map(|(user, secret)| {
            let password = match secret {
                Secret::Plain(password) => Password::Plain(hmac::sign(&key, &said(&user, &password))),
                Secret::Hashed(hash) => Password::Hashed(hash),
            };
            (user, password)
        });
        Ok(Users {
            passwords: passwords.collect(),
            key,
            verified: Mutex::default(),
            waiting: Semaphore::new(MAX_WAITING),
            turn: Arc::new(Semaphore::new(1)),
        })
    }

    /// Checks the credentials of a request.
    pub(super) async fn check(&self, headers: &HeaderMap) -> Result<(), RestError> {
        let admitted = match credentials(headers) {
            Some((user, password)) => self.is_right(&user, &password).await?,
            None => false,
        };
        if admitted {
            return Ok(());
        }
        debug!("event=rest_login_refused");
        Err(RestError::new(StatusCode::UNAUTHORIZED, "User cannot access the resource."))
    }

    async fn is_right(&self, user: &str, password: &str) -> Result<bool, RestError> {
        let said = said(user, password);
        match self.passwords.get(user) {
            Some(Password::Plain(right)) => Ok(self.is_of(right, &said)),
            Some(Password::Hashed(_)) if self.was_right(user, &said) => Ok(true),
            Some(Password::Hashed(hash)) => {
                let right = self.compare(password, hash).await?;
                if right {
                    let fingerprint = hmac::sign(&self.key, &said);
                    self.verified.lock().unwrap_or_else(PoisonError::into_inner).insert(user.to_owned(), fingerprint);
                }
                Ok(right)
            }
            None => {
                // An unknown user takes as long as a known one, so that the time does not show which users exist.
                let any = self.passwords.values().find_map(|password| match password {
                    Password::Hashed(hash) => Some(hash),
                    Password::Plain(_) => None,
                });
                if let Some(hash) = any {
                    self.compare(password, hash).await?;
                }
                Ok(false)
            }
        }
    }

    fn was_right(&self, user: &str, said: &[u8]) -> bool {
        let verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        verified.get(user).is_some_and(|right| self.is_of(right, said))
    }

    /// Whether a fingerprint is that of these credentials, in constant time.
    fn is_of(&self, fingerprint: &hmac::Tag, said: &[u8]) -> bool {
        hmac::verify(&self.key, said, fingerprint.as_ref()).is_ok()
    }

    /// Compares a password with a hash, one at a time.
    async fn compare(&self, password: &str, hash: &str) -> Result<bool, RestError> {
        let busy = |_| RestError::new(StatusCode::TOO_MANY_REQUESTS, "too many logins at a time; try again later");
        let _place = self.waiting.try_acquire().map_err(busy)?;
        let turn = Arc::clone(&self.turn).acquire_owned().await;
        let (begun, password, hash) = (Instant::now(), password.to_owned(), hash.to_owned());
        let compared = tokio::task::spawn_blocking(move || bcrypt::verify(password, &hash).unwrap_or(false)).await;
        let right = compared.unwrap_or(false);
        if !right {
            let pause = begun.elapsed() * PAUSE;
            tokio::spawn(async move {
                tokio::time::sleep(pause).await;
                drop(turn);
            });
        }
        Ok(right)
    }
}

type Entry = (String, Secret);

enum Secret {
    Plain(String),
    Hashed(String),
}

/// Reads lines `user:hash`, as `htpasswd -B` writes them. Errors name the line without its content.
fn hashed(path: &str) -> Result<Vec<Entry>, String> {
    let text = read(path)?;
    let mut entries: Vec<Entry> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong =
            |why: &str| Err(format!("line {} {why}; write it with htpasswd -B (cost up to {MAX_COST})", at + 1));
        let Some((user, hash)) = line.split_once(':').filter(|(user, _)| !user.is_empty()) else {
            return wrong("is not user:hash");
        };
        match HashParts::from_str(hash) {
            Ok(parts) if parts.get_cost() <= MAX_COST => {}
            Ok(_) => return wrong("has a hash that costs more than each login may"),
            Err(_) => return wrong("has no bcrypt hash"),
        }
        if entries.iter().any(|(known, _)| known == user) {
            return wrong("has a user that another line has");
        }
        entries.push((user.to_owned(), Secret::Hashed(hash.to_owned())));
    }
    Ok(entries)
}

/// Reads the users of the properties file that a JAAS file names, as Connect's extension does.
fn plain(path: &str) -> Result<Vec<Entry>, String> {
    let modules = jaas::entry(&read(path)?, JAAS_ENTRY)?;
    let [module] = modules.as_slice() else {
        return Err(format!("the file has no entry {JAAS_ENTRY} with exactly one login module"));
    };
    if module.class.rsplit('.').next() != Some(LOGIN_MODULE) {
        return Err(format!(
            "the entry {JAAS_ENTRY} has another login module than {LOGIN_MODULE}; this worker runs no Java"
        ));
    }
    let Some(file) = module.options.get("file").filter(|file| !file.trim().is_empty()) else {
        return Err(format!("{LOGIN_MODULE} needs file=\"/path/to/credentials.properties\""));
    };
    let read = file::read(Path::new(file), MAX_FILE_BYTES).map_err(|error| error.to_string());
    let users = read.and_then(|bytes| properties::parse(&bytes).map_err(|error| error.to_string()));
    let users = users.map_err(|why| format!("the file {file} of {LOGIN_MODULE} cannot be read: {why}"))?;
    Ok(users.into_iter().map(|(user, password)| (user, Secret::Plain(password))).collect())
}

fn read(path: &str) -> Result<String, String> {
    file::read_text(Path::new(path), MAX_FILE_BYTES).map_err(|error| format!("the file {path} cannot be read: {error}"))
}

fn of_java_options() -> Result<Vec<Entry>, String> {
    let options = std::env::var(JAVA_OPTIONS).unwrap_or_default();
    let none = format!("there are no users: give {USERS_FILE}, {JAAS_FILE}, or {JAVA_JAAS_FILE}… in {JAVA_OPTIONS}");
    jaas_file(&options).ok_or(none).and_then(plain)
}

/// Returns the JAAS file in a JVM's options.
fn jaas_file(java_options: &str) -> Option<&str> {
    let mut words = java_options.split_whitespace().map(|word| word.trim_matches(['"', '\'']));
    let path = words.find_map(|word| word.strip_prefix(JAVA_JAAS_FILE))?;
    let path = path.trim_start_matches('=').trim_matches(['"', '\'']);
    Some(path.strip_prefix("file:").unwrap_or(path))
}

/// Checks that the extension is the one that is built in.
pub(super) fn check_extensions(classes: &str) -> Result<(), String> {
    let simple = EXTENSION.rsplit('.').next().unwrap_or(EXTENSION);
    match classes.split(',').map(str::trim).find(|class| !class.is_empty() && *class != EXTENSION && *class != simple) {
        Some(class) => Err(format!(
            "this worker runs no Java classes and would not do what {class} does; only {EXTENSION} is built in"
        )),
        None => Ok(()),
    }
}

/// Returns user and password of the one `Authorization` header.
fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64_STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// Returns the input of a fingerprint.
fn said(user: &str, password: &str) -> Vec<u8> {
    [&(user.len() as u64).to_be_bytes(), user.as_bytes(), password.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn users() -> Users {
        let hash = bcrypt::hash_with_salt("hunter2", 4, *b"0123456789abcdef").unwrap().to_string();
        Users::new(vec![("ann".into(), Secret::Hashed(hash)), ("bob".into(), Secret::Plain("s3cret".into()))]).unwrap()
    }

    async fn status(users: &Users, authorization: &str) -> u16 {
        let value = HeaderValue::from_str(authorization).unwrap();
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
        users.check(&headers).await.map_or_else(|refused| refused.status().as_u16(), |()| 200)
    }

    fn basic(credentials: &str) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(credentials))
    }

    #[tokio::test]
    async fn a_user_is_who_knows_the_password() {
        let users = users();
        // The second time the hash is not compared again.
        for right in ["ann:hunter2", "ann:hunter2", "bob:s3cret"] {
            assert_eq!(status(&users, &basic(right)).await, 200, "{right}");
        }
        for wrong in ["ann:hunter3", "ann:s3cret", "bob:", "bob:s3cretx", "eve:hunter2", ":", "ann"] {
            assert_eq!(status(&users, &basic(wrong)).await, 401, "{wrong}");
        }
        for malformed in ["Basic", "Basic %", "Bearer YW5uOmh1bnRlcjI=", ""] {
            assert_eq!(status(&users, malformed).await, 401, "{malformed}");
        }
        assert!(users.check(&HeaderMap::new()).await.is_err());
    }

    #[tokio::test]
    async fn guesses_wait_in_a_short_queue_and_known_users_do_not() {
        let users = Arc::new(users());
        assert_eq!(status(&users, &basic("ann:hunter2")).await, 200);
        let mut guesses = tokio::task::JoinSet::new();
        for guess in 0..3 * MAX_WAITING {
            let users = Arc::clone(&users);
            guesses.spawn(async move { status(&users, &basic(&format!("ann:{guess}"))).await });
        }
        let refused = guesses.join_next().await.unwrap().unwrap();
        assert_eq!(status(&users, &basic("ann:hunter2")).await, 200);
        let mut all = guesses.join_all().await;
        all.push(refused);
        assert!(all.contains(&429) && all.contains(&401) && !all.contains(&200), "{all:?}");
    }

    #[test]
    fn the_jaas_file_is_found_among_java_options() {
        let options = "-Xmx1g -Djava.security.auth.login.config=/etc/jaas.conf -Dx=y";
        assert_eq!(jaas_file(options), Some("/etc/jaas.conf"));
        assert_eq!(jaas_file("\"-Djava.security.auth.login.config==file:/a\""), Some("/a"));
        assert_eq!(jaas_file("-Dx=y"), None);
    }

    #[test]
    fn other_extensions_are_refused() {
        assert!(check_extensions(EXTENSION).is_ok() && check_extensions("BasicAuthSecurityRestExtension, ").is_ok());
        assert!(check_extensions(&format!("{EXTENSION},com.example.Audit")).unwrap_err().contains("com.example.Audit"));
    }
}
