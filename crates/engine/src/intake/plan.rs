//! The options of the intake: typed, then compiled.

use regex::Regex;

use super::decode::Codec;
use super::fields::{self, Fields, Topic, Unit, field};
use super::memory;
use super::pick::{self, Pick};
use super::split::Split;
use super::value::ValueForm;
use crate::dialogue::expression::{Condition, Message, Paths, Problem, Scope};
use crate::dialogue::template::Template;
use crate::dialogue::variables::Names;

/// What a binary message becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryMessages {
    Bytes,
    Base64,
    Text,
    Skip,
}

/// The options of the intake, typed but not compiled.
#[derive(Debug, Clone)]
pub struct Settings {
    pub decode: Vec<Codec>,
    /// The dictionary of zstd.
    pub dictionary: Vec<u8>,
    pub message_max_bytes: usize,
    /// The most bytes of all records of a message.
    pub records_max_bytes: usize,
    pub binary: BinaryMessages,
    pub split: Option<Split>,
    pub pointers: Vec<String>,
    pub pointer_missing: pick::Missing,
    pub record_decode: Vec<Codec>,
    pub filter: Option<String>,
    pub topic: String,
    pub topics_max: usize,
    /// A regular expression for the whole name of a topic.
    pub topics_allowed: Option<Regex>,
    pub key: Option<String>,
    pub key_bytes: bool,
    pub timestamp: Option<String>,
    pub timestamp_unit: Unit,
    pub headers: Vec<(String, String)>,
    /// `websocket.idle.key`.
    pub idle_key: Option<String>,
    pub missing: fields::Missing,
    pub value: ValueForm,
    /// The most bytes of value, key and headers.
    pub max_bytes: Option<usize>,
    pub provenance: bool,
    pub memory: memory::Settings,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            decode: Vec::new(),
            dictionary: Vec::new(),
            message_max_bytes: 16 << 20,
            records_max_bytes: 64 << 20,
            binary: BinaryMessages::Bytes,
            split: None,
            pointers: Vec::new(),
            pointer_missing: pick::Missing::default(),
            record_decode: Vec::new(),
            filter: None,
            topic: String::new(),
            topics_max: 1000,
            topics_allowed: None,
            key: None,
            key_bytes: false,
            timestamp: None,
            timestamp_unit: Unit::default(),
            headers: Vec::new(),
            idle_key: None,
            missing: fields::Missing::default(),
            value: ValueForm::default(),
            max_bytes: None,
            provenance: false,
            memory: memory::Settings::default(),
        }
    }
}

/// The compiled options of the intake.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(super) settings: Settings,
    pub(super) pick: Option<Pick>,
    pub(super) filter: Option<Condition>,
    pub(super) fields: Fields,
    pub(super) idle_key: Option<Template>,
    /// `None`: nothing is kept from message to message.
    pub(super) memory: Option<memory::Plan>,
    /// Whether a record differs from its message.
    pub(super) apart: bool,
    /// Whether no option of the intake is used.
    pub(super) plain: bool,
}

impl Plan {
    /// Whether records have topics of their own.
    pub fn names_topics(&self) -> bool {
        self.fields.topic.is_some()
    }

    /// Whether the silence of keys is noticed (`websocket.idle.key`).
    pub fn sees_keys(&self) -> bool {
        self.idle_key.is_some()
    }

    /// Returns what is kept from message to message, if anything.
    pub fn memory(&self) -> Option<&memory::Plan> {
        self.memory.as_ref()
    }

    /// Compiles the options. The pointers go to `paths`, together with those of the steps.
    ///
    /// # Errors
    /// Everything that is wrong, each with the option's name.
    pub fn compile(settings: Settings, names: &Names, paths: &mut Paths) -> Result<Plan, Vec<(String, Problem)>> {
        let mut problems = Vec::new();
        let pick = (!settings.pointers.is_empty())
            .then(|| Pick::compile(&settings.pointers, settings.pointer_missing, &mut paths.message))
            .transpose()
            .unwrap_or_else(|problem| {
                problems.push(("websocket.record.pointer".to_owned(), problem));
                None
            });
        let apart = pick.is_some() || !settings.record_decode.is_empty();
        let message = if apart { Message::Record } else { Message::Whole };
        let mut scope = Scope { names, given: &["connection"], message, answer: false, paths };
        let filter = settings.filter.as_ref().map(|text| Condition::compile(text, &mut scope)).transpose();
        let filter = filter.unwrap_or_else(|problem| {
            problems.push(("websocket.record.filter".to_owned(), problem));
            None
        });
        let fields = compile_fields(&settings, &mut scope, &mut problems);
        let idle_key = settings.idle_key.as_ref();
        let idle_key = idle_key.and_then(|text| field("websocket.idle.key", text, &mut scope, &mut problems));
        let memory = memory::Plan::compile(&settings.memory, &mut scope, &mut problems);
        if let Err(why) = scope.paths.message.build().and_then(|_| scope.paths.record.build()) {
            problems.push(("websocket.record.pointer".to_owned(), Problem::new(1, why)));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let has_fields =
            fields.topic.is_some() || fields.key.is_some() || fields.timestamp.is_some() || !fields.headers.is_empty();
        let changes_value = settings.value != ValueForm::AsReceived || settings.provenance;
        let unpacks = !settings.decode.is_empty() || settings.split.is_some() || apart;
        let watches = idle_key.is_some() || memory.is_some();
        let selects = filter.is_some() || settings.max_bytes.is_some();
        let plain = !unpacks && !selects && !has_fields && !changes_value && !watches;
        Ok(Plan { settings, pick, filter, fields, idle_key, memory, apart, plain })
    }
}

fn compile_fields(settings: &Settings, scope: &mut Scope<'_>, problems: &mut Vec<(String, Problem)>) -> Fields {
    let mut template = |name: &str, text: &str| field(name, text, scope, problems);
    let topic = template("kafka.topic", &settings.topic).filter(|topic| topic.constant().is_none());
    let key = settings.key.as_ref().and_then(|text| template("websocket.record.key", text));
    let timestamp = settings.timestamp.as_ref().and_then(|text| template("websocket.record.timestamp", text));
    let header = |(name, text): &(String, String)| {
        Some((name.clone(), template(&format!("websocket.record.header.{name}"), text)?))
    };
    let headers = settings.headers.iter().filter_map(header).collect();
    Fields {
        topic: topic.map(|template| Topic {
            template,
            allowed: settings.topics_allowed.clone(),
            max: settings.topics_max,
        }),
        key,
        key_bytes: settings.key_bytes,
        timestamp: timestamp.map(|template| (template, settings.timestamp_unit)),
        headers,
        missing: settings.missing,
    }
}
