//! Path segments and query parameters.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use serde::de::DeserializeOwned;

use super::error::RestError;

/// The percent-decoded segments of the path. If one is not UTF-8 or not a number, the path does not exist.
pub(super) struct Segments<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Segments<T> {
    type Rejection = RestError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, RestError> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(segments)| Segments(segments)).map_err(|_| RestError::plain(StatusCode::NOT_FOUND))
    }
}

/// The query parameters, percent-decoded, in order.
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(super) fn of(uri: &Uri) -> Parameters {
        Parameters(Query::try_from_uri(uri).map(|Query(pairs)| pairs).unwrap_or_default())
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Reads a boolean like `Boolean.valueOf`: everything except `true`, in any letter case, is false.
    pub(super) fn flag(&self, name: &str, default: bool) -> bool {
        self.all(name).next().map_or(default, |value| value.eq_ignore_ascii_case("true"))
    }
}

/// Returns a connector's name as one path segment.
pub(super) fn encode(name: &str) -> String {
    name.bytes().fold(String::with_capacity(name.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_as_one_segment() {
        assert_eq!(encode("名前"), "%E5%90%8D%E5%89%8D");
        assert_eq!(encode("a/b c"), "a%2Fb%20c");
        assert_eq!(encode("btc-usdt@trade"), "btc-usdt@trade");
    }

    #[test]
    fn parameters_are_decoded_and_flags_are_true_or_false() {
        let parameters = Parameters::of(&"/x?expand=status&expand=in%66o&a=TRUE&b=perhaps".parse().unwrap());
        assert_eq!(parameters.all("expand").collect::<Vec<_>>(), ["status", "info"]);
        assert!(parameters.flag("a", false) && !parameters.flag("b", true) && parameters.flag("c", true));
    }
}
