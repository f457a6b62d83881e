//! Reading, altering and resetting a connector's offsets (KIP-875).

use std::sync::Arc;

use connect_websocket_engine::offset::{MAX_SEQUENCE, PARTITION_KEY, SEQUENCE};
use serde_json::Value;

use super::{Herder, HerderError, TargetState, not_found};
use crate::entities::{ConnectorOffset, ConnectorOffsets};
use crate::store::JsonObject;

/// A source partition and its new offset. Without an offset, the partition is reset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetChange {
    pub partition: JsonObject,
    pub offset: Option<JsonObject>,
}

impl Herder {
    pub fn connector_offsets(&self, name: &str) -> Result<ConnectorOffsets, HerderError> {
        if !self.read().contains_key(name) {
            return Err(not_found(name));
        }
        let offsets = self.offsets.connector_offsets(name).into_iter();
        Ok(ConnectorOffsets {
            offsets: offsets.map(|(partition, offset)| ConnectorOffset { partition, offset }).collect(),
        })
    }

    /// Changes stored offsets of a stopped connector. Returns Connect's message.
    pub async fn alter_offsets(
        self: &Arc<Self>,
        name: String,
        changes: Vec<OffsetChange>,
    ) -> Result<String, HerderError> {
        if changes.is_empty() {
            let why = "Partitions / offsets need to be provided for an alter offsets request";
            return Err(HerderError::BadRequest(why.to_owned()));
        }
        self.change(&name.clone(), move |herder| async move {
            herder.check_stopped(&name)?;
            for change in &changes {
                check_change(change)?;
            }
            for OffsetChange { partition, offset } in &changes {
                herder.offsets.set(&name, partition, offset.as_ref());
            }
            herder.flush_offsets().await?;
            Ok("The offsets for this connector have been altered successfully".to_owned())
        })
        .await
    }

    /// Resets all stored offsets of a stopped connector. Returns Connect's message.
    pub async fn reset_offsets(self: &Arc<Self>, name: String) -> Result<String, HerderError> {
        self.change(&name.clone(), move |herder| async move {
            herder.check_stopped(&name)?;
            for (partition, _) in herder.offsets.connector_offsets(&name) {
                herder.offsets.set(&name, &partition, None);
            }
            herder.flush_offsets().await?;
            Ok("The offsets for this connector have been reset successfully".to_owned())
        })
        .await
    }

    /// Writes the offset file, on a blocking thread.
    pub(super) async fn flush_offsets(&self) -> Result<(), HerderError> {
        let offsets = Arc::clone(&self.offsets);
        let flushed = tokio::task::spawn_blocking(move || offsets.flush()).await;
        flushed.map_err(|_| super::unexpected())?.map_err(|error| HerderError::Internal(error.to_string()))
    }

    fn check_stopped(&self, name: &str) -> Result<(), HerderError> {
        let connectors = self.read();
        let connector = connectors.get(name).ok_or_else(|| not_found(name))?;
        if connector.target == TargetState::Stopped && connector.task.is_none() {
            return Ok(());
        }
        Err(HerderError::BadRequest(format!(
            "Connectors must be in the STOPPED state before their offsets can be modified. This can be done for the \
             specified connector by issuing a 'PUT' request to the '/connectors/{name}/stop' endpoint"
        )))
    }
}

/// Checks that a task can continue from an offset.
fn check_change(change: &OffsetChange) -> Result<(), HerderError> {
    let refuse = |why: &str| Err(HerderError::BadRequest(why.to_owned()));
    let mut entries = change.partition.iter();
    let (Some((key, Value::String(_))), None) = (entries.next(), entries.next()) else {
        return refuse("a source partition of this connector has one entry, a string: {\"websocket_url\": \"<url>\"}");
    };
    if key != PARTITION_KEY {
        return refuse("a source partition of this connector has one entry, a string: {\"websocket_url\": \"<url>\"}");
    }
    let Some(offset) = &change.offset else {
        return Ok(());
    };
    // 1.0 and 1e3 are not integers.
    if offset.get(SEQUENCE).and_then(Value::as_i64).is_none_or(|sequence| !(0..=MAX_SEQUENCE).contains(&sequence)) {
        return refuse(&format!(
            "a source offset of this connector has a sequence, an integer of at least 0 and at most {MAX_SEQUENCE}: \
             {{\"sequence\": 42}}; an offset of null resets the partition"
        ));
    }
    match offset.iter().find(|(_, value)| value.is_object() || value.is_array()) {
        Some((field, _)) => refuse(&format!(
            "Offsets may only contain primitive types as values, but field {field} contains an object or an array; remove it"
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(partition: &str, offset: &str) -> Result<(), String> {
        let change = OffsetChange {
            partition: serde_json::from_str(partition).unwrap(),
            offset: serde_json::from_str(offset).unwrap(),
        };
        check_change(&change).map_err(|error| error.to_string())
    }

    #[test]
    fn only_offsets_that_a_task_can_continue_from_are_accepted() {
        assert!(check(r#"{"websocket_url":"ws://h"}"#, r#"{"sequence":0,"session_id":"s"}"#).is_ok());
        assert!(check(r#"{"websocket_url":"ws://h"}"#, "null").is_ok());
        for partition in ["{}", r#"{"websocket_url":1}"#, r#"{"x":"y"}"#, r#"{"websocket_url":"a","x":"y"}"#] {
            assert!(check(partition, "null").unwrap_err().contains("{\"websocket_url\": \"<url>\"}"), "{partition}");
        }
        for offset in [
            "{}",
            r#"{"sequence":-1}"#,
            r#"{"sequence":"1"}"#,
            r#"{"sequence":1.5}"#,
            r#"{"sequence":99999999999999999999}"#,
            r#"{"sequence":9223372036854775807}"#,
        ] {
            assert!(
                check(r#"{"websocket_url":"ws://h"}"#, offset).unwrap_err().contains("integer of at least 0"),
                "{offset}"
            );
        }
        assert!(check(r#"{"websocket_url":"ws://h"}"#, r#"{"sequence":1,"x":[]}"#).unwrap_err().contains("field x"));
    }
}
