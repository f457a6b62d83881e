//! The native half of the Kafka Connect plugin: what `NativeLibrary.java` and `NativeTask.java` declare.
//!
//! Java calls Rust, once per batch, and Rust never calls Java. A method borrows its arguments, calls the module that
//! does the work, and throws an error or a panic as an exception (`failure.rs`).

mod batch;
mod description;
mod exactly_once;
mod failure;
mod log;
mod offsets;
mod strings;
mod task;

use connect_websocket_engine::config::Config;
use connect_websocket_engine::config_def::Properties;
use connect_websocket_engine::handover::HandedOver;
use jni::errors::Error as JniError;
use jni::objects::{JByteArray, JByteBuffer, JClass, JDoubleArray, JLongArray};
use jni::sys::{jint, jlong};
use jni::{Env, EnvUnowned, jni_mangle};

use crate::failure::{Failure, Throw};
use crate::task::{Polled, Progress};

/// The version, in the form in which Java compares it: both halves must have the same.
const VERSION: &str = concat!("kafka-connect-websocket ", env!("CARGO_PKG_VERSION"));

/// What `poll` returns for a handle that is closed.
const CLOSED: jint = jint::MIN;

#[jni_mangle("io.conduktor.connect.websocket.NativeLibrary")]
pub fn init<'l>(mut env: EnvUnowned<'l>, _class: JClass<'l>) {
    env.with_env(|_| -> Result<(), Failure> {
        log::init();
        Ok(())
    })
    .resolve::<Throw>()
}

#[jni_mangle("io.conduktor.connect.websocket.NativeLibrary")]
pub fn version<'l>(mut env: EnvUnowned<'l>, _class: JClass<'l>) -> JByteArray<'l> {
    env.with_env(|env| bytes(env, &strings::encode([Some(VERSION)]))).resolve::<Throw>()
}

#[jni_mangle("io.conduktor.connect.websocket.NativeLibrary")]
pub fn options<'l>(mut env: EnvUnowned<'l>, _class: JClass<'l>) -> JByteArray<'l> {
    env.with_env(|env| bytes(env, &description::options())).resolve::<Throw>()
}

#[jni_mangle("io.conduktor.connect.websocket.NativeLibrary")]
pub fn errors<'l>(mut env: EnvUnowned<'l>, _class: JClass<'l>, config: JByteArray<'l>) -> JByteArray<'l> {
    env.with_env(|env| describe(env, &config, description::errors)).resolve::<Throw>()
}

#[jni_mangle("io.conduktor.connect.websocket.NativeLibrary")]
pub fn shown<'l>(mut env: EnvUnowned<'l>, _class: JClass<'l>, config: JByteArray<'l>) -> JByteArray<'l> {
    env.with_env(|env| describe(env, &config, description::shown)).resolve::<Throw>()
}

#[jni_mangle("io.conduktor.connect.websocket.NativeLibrary")]
pub fn warnings<'l>(mut env: EnvUnowned<'l>, _class: JClass<'l>, config: JByteArray<'l>) -> JByteArray<'l> {
    env.with_env(|env| describe(env, &config, description::warnings)).resolve::<Throw>()
}

#[jni_mangle("io.conduktor.connect.websocket.NativeLibrary")]
pub fn exactly_once_obstacle<'l>(
    mut env: EnvUnowned<'l>,
    _class: JClass<'l>,
    config: JByteArray<'l>,
) -> JByteArray<'l> {
    env.with_env(|env| describe(env, &config, exactly_once::obstacle)).resolve::<Throw>()
}

#[jni_mangle("io.conduktor.connect.websocket.NativeLibrary")]
pub fn partitions<'l>(mut env: EnvUnowned<'l>, _class: JClass<'l>, config: JByteArray<'l>) -> JByteArray<'l> {
    env.with_env(|env| describe(env, &config, description::partitions)).resolve::<Throw>()
}

#[jni_mangle("io.conduktor.connect.websocket.NativeLibrary")]
pub fn figure_names<'l>(mut env: EnvUnowned<'l>, _class: JClass<'l>) -> JByteArray<'l> {
    env.with_env(|env| bytes(env, &description::figure_names())).resolve::<Throw>()
}

#[jni_mangle("io.conduktor.connect.websocket.NativeLibrary")]
pub fn set_log_level<'l>(mut env: EnvUnowned<'l>, _class: JClass<'l>, level: jint) {
    env.with_env(|_| -> Result<(), Failure> {
        log::set_level(level.clamp(0, 5) as u8);
        Ok(())
    })
    .resolve::<Throw>()
}

#[jni_mangle("io.conduktor.connect.websocket.NativeTask")]
pub fn start<'l>(mut env: EnvUnowned<'l>, _class: JClass<'l>, config: JByteArray<'l>, stored: JByteArray<'l>) -> jlong {
    env.with_env(|env| {
        let properties = properties(env, &config)?;
        let config = Config::parse(&properties).map_err(Failure::config)?;
        let rows = strings::decode(&env.convert_byte_array(&stored)?);
        let stored = offsets::stored(&config, &rows);
        Ok(task::start(config, stored, description::warning_of_bytes(&properties))?)
    })
    .resolve::<Throw>()
}

#[jni_mangle("io.conduktor.connect.websocket.NativeTask")]
pub fn identity<'l>(mut env: EnvUnowned<'l>, _class: JClass<'l>, handle: jlong) -> JByteArray<'l> {
    env.with_env(|env| {
        let task = task::get(handle);
        bytes(env, &strings::encode(task.iter().flat_map(|task| &task.identity).map(|text| Some(text.as_str()))))
    })
    .resolve::<Throw>()
}

#[jni_mangle("io.conduktor.connect.websocket.NativeTask")]
#[allow(unsafe_code)]
pub fn poll<'l>(
    mut env: EnvUnowned<'l>,
    _class: JClass<'l>,
    handle: jlong,
    buffer: JByteBuffer<'l>,
    committed: jlong,
    committed_at_ms: jlong,
    skipped: jlong,
    filtered: jlong,
) -> jint {
    env.with_env(|env| -> Result<jint, Failure> {
        let (start, capacity) = (env.get_direct_buffer_address(&buffer)?, env.get_direct_buffer_capacity(&buffer)?);
        // SAFETY: Java holds a reference to the buffer during the call, so its memory stays valid. It is `capacity`
        // bytes long. Nobody else reads or writes it meanwhile: each task has its own buffer, and only the thread that
        // polls uses it.
        let buffer = unsafe { std::slice::from_raw_parts_mut(start, capacity) };
        let progress = Progress::new(committed, committed_at_ms, [skipped, filtered]);
        let Some(task) = task::get(handle) else { return Ok(CLOSED) };
        let polled = task.poll(buffer, progress)?;
        batch::write_lines_wait(task.log_lines_wait(), buffer);
        Ok(match polled {
            Polled::Records(count) => jint::try_from(count).unwrap_or(jint::MAX),
            Polled::NeedsBuffer(size) => -jint::try_from(size).unwrap_or(jint::MAX),
        })
    })
    .resolve::<Throw>()
}

#[jni_mangle("io.conduktor.connect.websocket.NativeTask")]
pub fn log_lines<'l>(mut env: EnvUnowned<'l>, _class: JClass<'l>, handle: jlong) -> JByteArray<'l> {
    env.with_env(|env| {
        let lines = log::take(handle);
        let rows = lines.iter().flat_map(|line| [Some(line.level.as_str()), Some(line.message.as_str())]);
        bytes(env, &strings::encode(rows))
    })
    .resolve::<Throw>()
}

#[jni_mangle("io.conduktor.connect.websocket.NativeTask")]
pub fn figures<'l>(mut env: EnvUnowned<'l>, _class: JClass<'l>, handle: jlong) -> JDoubleArray<'l> {
    env.with_env(|env| -> Result<JDoubleArray<'l>, Failure> {
        let figures = task::get(handle).map(|task| description::figures(&task.metrics().snapshot()));
        let figures = figures.unwrap_or_default();
        let array = env.new_double_array(figures.len())?;
        array.set_region(env, 0, &figures)?;
        Ok(array)
    })
    .resolve::<Throw>()
}

#[jni_mangle("io.conduktor.connect.websocket.NativeTask")]
pub fn reset_counters<'l>(mut env: EnvUnowned<'l>, _class: JClass<'l>, handle: jlong) {
    env.with_env(|_| -> Result<(), Failure> {
        if let Some(task) = task::get(handle) {
            task.metrics().reset();
        }
        Ok(())
    })
    .resolve::<Throw>();
}

#[jni_mangle("io.conduktor.connect.websocket.NativeTask")]
pub fn acknowledged<'l>(mut env: EnvUnowned<'l>, _class: JClass<'l>, handle: jlong, message: jlong, records: jlong) {
    env.with_env(|_| -> Result<(), Failure> {
        if let Some(task) = task::get(handle) {
            task.acknowledged(message, u64::try_from(records).unwrap_or_default());
        }
        Ok(())
    })
    .resolve::<Throw>();
}

#[jni_mangle("io.conduktor.connect.websocket.NativeTask")]
pub fn stop<'l>(
    mut env: EnvUnowned<'l>,
    _class: JClass<'l>,
    handle: jlong,
    committed: jlong,
    committed_at_ms: jlong,
    skipped: jlong,
    filtered: jlong,
) -> JLongArray<'l> {
    env.with_env(|env| {
        let progress = Progress::new(committed, committed_at_ms, [skipped, filtered]);
        let HandedOver { records, left_behind, .. } =
            task::get(handle).map(|task| task.stop(progress)).unwrap_or_default();
        longs(env, &[records as i64, left_behind as i64])
    })
    .resolve::<Throw>()
}

#[jni_mangle("io.conduktor.connect.websocket.NativeTask")]
pub fn close<'l>(mut env: EnvUnowned<'l>, _class: JClass<'l>, handle: jlong) {
    env.with_env(|_| -> Result<(), Failure> {
        task::close(handle);
        Ok(())
    })
    .resolve::<Throw>()
}

fn bytes<'l>(env: &mut Env<'l>, bytes: &[u8]) -> Result<JByteArray<'l>, Failure> {
    Ok(env.byte_array_from_slice(bytes)?)
}

/// Calls `describe` with a configuration from Java, for errors and warnings.
fn describe<'l>(
    env: &mut Env<'l>,
    config: &JByteArray<'_>,
    describe: fn(&Properties) -> Vec<u8>,
) -> Result<JByteArray<'l>, Failure> {
    let config = properties(env, config)?;
    bytes(env, &describe(&config))
}

fn longs<'l>(env: &mut Env<'l>, values: &[i64]) -> Result<JLongArray<'l>, Failure> {
    let array = env.new_long_array(values.len())?;
    array.set_region(env, 0, values)?;
    Ok(array)
}

/// Reads a configuration: names and values in turn. A null value, which Connect allows, counts as not set.
fn properties(env: &mut Env<'_>, config: &JByteArray<'_>) -> Result<Properties, JniError> {
    let mut texts = strings::decode(&env.convert_byte_array(config)?).into_iter();
    let mut properties = Properties::new();
    while let (Some(name), Some(value)) = (texts.next(), texts.next()) {
        if let (Some(name), Some(value)) = (name, value) {
            properties.insert(name, value);
        }
    }
    Ok(properties)
}
