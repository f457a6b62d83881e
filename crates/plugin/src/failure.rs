//! Errors and panics of native methods as exceptions of Kafka Connect.

use std::any::Any;

use connect_websocket_engine::config_def::ConfigError;
use connect_websocket_engine::error::{Error, ErrorKind};
use connect_websocket_engine::panic;
use jni::Env;
use jni::errors::ErrorPolicy;
use jni::jni_str;
use jni::strings::{JNIStr, JNIString};

/// Why a native method failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An error of the engine, already a sentence.
    Engine(Error),
    /// A call into the JVM has failed. The JVM's own exception may be pending.
    Jni(jni::errors::Error),
}

impl Failure {
    /// Returns the failure for an invalid configuration, with all errors.
    pub(crate) fn config(errors: Vec<ConfigError>) -> Failure {
        let sentences: Vec<String> = errors.into_iter().map(|error| error.message).collect();
        Failure::Engine(Error::fatal(sentences.join("\n")))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Engine(error)
    }
}

impl From<jni::errors::Error> for Failure {
    fn from(error: jni::errors::Error) -> Failure {
        Failure::Jni(error)
    }
}

/// Throws, and returns a default value, which Java does not use.
pub(crate) struct Throw;

impl<T: Default> ErrorPolicy<T, Failure> for Throw {
    type Captures<'local: 'method, 'method> = ();

    fn on_error<'local: 'method, 'method>(
        env: &mut Env<'local>,
        (): &mut (),
        failure: Failure,
    ) -> jni::errors::Result<T> {
        match failure {
            Failure::Engine(error) => throw(env, class_of(error.kind()), &error.to_string()),
            // Java's own exception says more.
            Failure::Jni(_) if env.exception_check() => {}
            Failure::Jni(error) => {
                throw(env, class_of(ErrorKind::Fatal), &format!("a call into the JVM failed, which is a bug: {error}"));
            }
        }
        Ok(T::default())
    }

    fn on_panic<'local: 'method, 'method>(
        env: &mut Env<'local>,
        (): &mut (),
        payload: Box<dyn Any + Send + 'static>,
    ) -> jni::errors::Result<T> {
        throw(env, class_of(ErrorKind::Fatal), &panic_sentence(payload.as_ref()));
        // Dropping the payload of a panic may panic too.
        std::mem::forget(payload);
        Ok(T::default())
    }
}

/// Throws an error. Fatal: the task fails with this as its trace. Retriable: Connect calls `poll` again.
fn class_of(kind: ErrorKind) -> &'static JNIStr {
    match kind {
        ErrorKind::Fatal => jni_str!("org/apache/kafka/connect/errors/ConnectException"),
        ErrorKind::Retriable => jni_str!("org/apache/kafka/connect/errors/RetriableException"),
    }
}

fn throw(env: &mut Env<'_>, class: &'static JNIStr, message: &str) {
    // It returns an error, because now an exception is pending. That is intended.
    let _ = env.throw_new(class, JNIString::from(message));
}

/// Returns the message of a panic.
pub(crate) fn panic_sentence(payload: &(dyn Any + Send)) -> String {
    panic::sentence("the connector", payload)
}
