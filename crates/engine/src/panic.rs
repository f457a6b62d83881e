//! A panic's message as a sentence for people.

use std::any::Any;
use std::fmt::Display;

/// tokio's words if the system allows no further thread, which is not a bug.
const NO_THREAD: &str = "OS can't spawn worker thread";

/// Returns the sentence about a panic of `who`. It may contain data or secrets.
pub fn sentence(who: &str, panic: &(dyn Any + Send)) -> String {
    let text = message(panic).unwrap_or("without a message");
    no_thread_left(panic).unwrap_or_else(|| format!("{who} panicked, which is a bug: {text}"))
}

/// Returns the sentence, if the panic is only that a thread could not be created. It contains no data.
pub fn no_thread_left(panic: &(dyn Any + Send)) -> Option<String> {
    message(panic).filter(|text| text.contains(NO_THREAD)).map(|text| no_thread(&text))
}

/// Returns the sentence for a thread that cannot be created.
pub fn no_thread(why: &dyn Display) -> String {
    format!(
        "the system allows no further thread ({why}); raise its limit (ulimit -u, TasksMax of the service, the container's \
         limit of processes), or run fewer connectors"
    )
}

fn message(panic: &(dyn Any + Send)) -> Option<&str> {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(panic: fn()) -> String {
        sentence("the task", &*std::panic::catch_unwind(panic).unwrap_err())
    }

    #[test]
    fn a_panic_keeps_its_message() {
        assert_eq!(of(|| panic!("all is wrong")), "the task panicked, which is a bug: all is wrong");
        assert!(of(|| panic!("{} is wrong", 7)).ends_with(": 7 is wrong"));
        assert!(of(|| std::panic::panic_any(5)).contains("without a message"));
    }

    #[test]
    fn a_thread_that_cannot_be_made_is_no_bug() {
        let why = of(|| panic!("OS can't spawn worker thread: {}", "Resource temporarily unavailable"));
        assert!(why.contains("TasksMax") && !why.contains("bug"), "{why}");
    }
}
