//! What we say to a feed and wait for: templates and expressions. No I/O here: bytes, the time and chance come in.
//!
//! ```text
//! compile:  text + Scope (names, where we are) ─▶ Template | Condition | Expression, and the Paths they read
//! evaluate: Values (message, variables, now, chance) ─▶ text, yes or no; or why not
//! ```

pub mod decimal;
pub mod expression;
#[cfg(test)]
mod fixture;
pub mod function;
pub mod list;
pub mod signature;
pub mod template;
pub mod variables;

pub use expression::{Condition, Expression, Failure, Message, Paths, Problem, Scope, Values};
pub use template::{Position, Template};
pub use variables::{Made, Names, VariableId, Variables};
