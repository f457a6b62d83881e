//! Why a connection ends.

use super::retry::Outlook;
use crate::dialogue::End;
use crate::gap::Cause;
use crate::intake::Refusal;

/// Why a connection ends, and what that means for the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) cause: Cause,
    pub(super) message: String,
    pub(super) outlook: Outlook,
    /// The code of the connector's Close, if it is not the usual one.
    pub(super) close_code: Option<u16>,
}

impl Ending {
    pub(super) fn new(cause: Cause, message: impl Into<String>) -> Ending {
        Ending { cause, message: message.into(), outlook: Outlook::Outage, close_code: None }
    }
}

impl From<End> for Ending {
    fn from(end: End) -> Ending {
        match end {
            End::Failed(message) => Ending { outlook: Outlook::Hopeless, ..Ending::new(Cause::StepFailed, message) },
            End::Final(message) => Ending { outlook: Outlook::Final, ..Ending::new(Cause::StepFailed, message) },
            End::Outage(message) => Ending::new(Cause::StepFailed, message),
            End::Lost(message) => Ending { outlook: Outlook::Planned, ..Ending::new(Cause::ResumeLost, message) },
            End::Reconnect(message) => {
                Ending { outlook: Outlook::Planned, ..Ending::new(Cause::StepReconnects, message) }
            }
        }
    }
}

impl From<Refusal> for Ending {
    fn from(refusal: Refusal) -> Ending {
        match refusal {
            Refusal::Violation { code, message } => {
                Ending { close_code: Some(code), ..Ending::new(Cause::ProtocolError, message) }
            }
            Refusal::Fatal(message) => Ending { outlook: Outlook::Final, ..Ending::new(Cause::ProtocolError, message) },
        }
    }
}
