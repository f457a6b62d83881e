//! SASL properties of Java clients, for librdkafka as it is built here: PLAIN, SCRAM and unsecured OAUTHBEARER.

use super::jaas::{self, LoginModule};
use super::translation::Translation;
use connect_websocket_engine::config_def::ConfigError;

const JAAS: &str = "sasl.jaas.config";
const MECHANISM: &str = "sasl.mechanism";
const OTHER_WAYS: &str = "use PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or TLS client certificates";

/// Translates `sasl.*`. A property that changes how the client authenticates and is not supported is an error.
pub(super) fn translate(t: &mut Translation) {
    for handler in ["sasl.client.callback.handler.class", "sasl.login.callback.handler.class", "sasl.login.class"] {
        if let Some(property) = t.take_text(handler) {
            if property.value.ends_with("OAuthBearerLoginCallbackHandler") {
                refuse_oidc(t, &property.option, &property.value);
            } else {
                let why = format!("this worker runs no Java classes; {OTHER_WAYS}");
                t.errors.push(ConfigError::invalid(&property.option, &property.value, why));
            }
        }
    }
    let mechanism = t.take_text(MECHANISM);
    let option =
        mechanism.as_ref().map_or_else(|| format!("{}{MECHANISM}", t.prefix), |property| property.option.clone());
    // Kafka's own default.
    let mechanism = mechanism.map_or_else(|| "GSSAPI".to_owned(), |property| property.value);
    match mechanism.as_str() {
        "PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512" => {
            if let Some((option, module)) = login_module(t) {
                password_login(t, &mechanism, &option, module);
            }
        }
        "OAUTHBEARER" => oauth_bearer(t),
        "GSSAPI" => {
            let why = format!("Kerberos is not built into this worker; {OTHER_WAYS}");
            t.errors.push(ConfigError::invalid(&option, "GSSAPI", why));
        }
        "AWS_MSK_IAM" => {
            let why = "IAM needs Amazon's Java library; enable SASL/SCRAM or mutual TLS on the MSK cluster";
            t.errors.push(ConfigError::invalid(&option, "AWS_MSK_IAM", why));
        }
        other => {
            let why = format!("the mechanism is unknown; {OTHER_WAYS}");
            t.errors.push(ConfigError::invalid(&option, other, why));
        }
    }
}

/// Returns the login module with the option that has configured it. Errors are added to the list.
fn login_module(t: &mut Translation) -> Option<(String, LoginModule)> {
    let Some(property) = t.take_text(JAAS) else {
        t.errors.push(ConfigError::missing(&format!("{}{JAAS}", t.prefix)));
        return None;
    };
    match jaas::parse(&property.value) {
        Ok(module) => Some((property.option, module)),
        Err(why) => {
            t.errors.push(ConfigError::invalid_secret(&property.option, why));
            None
        }
    }
}

fn password_login(t: &mut Translation, mechanism: &str, option: &str, mut module: LoginModule) {
    let expected = if mechanism == "PLAIN" { "PlainLoginModule" } else { "ScramLoginModule" };
    if module.class.rsplit('.').next() != Some(expected) {
        let why = format!("{mechanism} needs {expected}, not another login module");
        t.errors.push(ConfigError::invalid_secret(option, why));
        return;
    }
    if module.options.get("tokenauth").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        let why = "delegation tokens (tokenauth) are not supported; use a user name and password";
        t.errors.push(ConfigError::invalid_secret(option, why));
    }
    t.set(MECHANISM, mechanism);
    for (key, setting) in [("username", "sasl.username"), ("password", "sasl.password")] {
        match module.options.remove(key) {
            Some(value) => t.set(setting, value),
            None => t.errors.push(ConfigError::invalid_secret(option, format!("{key}=\"…\" is missing"))),
        }
    }
}

/// librdkafka without libcurl has no OIDC. It can make unsecured tokens (RFC 7515, appendix A.5).
fn oauth_bearer(t: &mut Translation) {
    if let Some((_, property)) = t.take_prefix("sasl.oauthbearer.").into_iter().next() {
        refuse_oidc(t, &property.option, "[hidden]");
        return;
    }
    let Some((option, module)) = login_module(t) else {
        return;
    };
    if module.class.rsplit('.').next() != Some("OAuthBearerLoginModule") {
        let why = "OAUTHBEARER needs OAuthBearerLoginModule, not another login module";
        t.errors.push(ConfigError::invalid_secret(&option, why));
        return;
    }
    let mut config = Vec::new();
    let mut options: Vec<_> = module.options.iter().collect();
    options.sort();
    for (key, value) in options {
        if value.is_empty() || value.contains(|c: char| c.is_whitespace() || c == '"') {
            let why = "a value of an unsecured token cannot be empty or hold blanks and quotes";
            t.errors.push(ConfigError::invalid_secret(&option, why));
            return;
        }
        match key.as_str() {
            "unsecuredLoginPrincipalClaimName" => config.push(format!("principalClaimName={value}")),
            "unsecuredLoginScopeClaimName" => config.push(format!("scopeClaimName={value}")),
            "unsecuredLoginLifetimeSeconds" => config.push(format!("lifeSeconds={value}")),
            key => {
                let principal = principal_claim(&module);
                if let Some(extension) = key.strip_prefix("unsecuredLoginExtension_") {
                    config.push(format!("extension_{extension}={value}"));
                } else if key.strip_prefix("unsecuredLoginStringClaim_") == Some(principal) {
                    config.push(format!("principal={value}"));
                } else if matches!(key, "clientId" | "clientSecret" | "scope") {
                    refuse_oidc(t, &option, "[hidden]");
                    return;
                } else {
                    let why = "it has an option that unsecured tokens do not have here; only \
                               unsecuredLoginStringClaim_sub, …PrincipalClaimName, …ScopeClaimName, …LifetimeSeconds \
                               and …Extension_NAME exist";
                    t.errors.push(ConfigError::invalid_secret(&option, why));
                    return;
                }
            }
        }
    }
    if !config.iter().any(|part| part.starts_with("principal=")) {
        let why = format!("unsecuredLoginStringClaim_{}=\"…\" is missing", principal_claim(&module));
        t.errors.push(ConfigError::invalid_secret(&option, why));
        return;
    }
    t.warnings.push(format!("{option}: unsecured OAUTHBEARER tokens prove nothing; use them for tests only"));
    t.set(MECHANISM, "OAUTHBEARER");
    t.set("enable.sasl.oauthbearer.unsecure.jwt", "true");
    t.set("sasl.oauthbearer.config", config.join(" "));
}

fn principal_claim(module: &LoginModule) -> &str {
    module.options.get("unsecuredLoginPrincipalClaimName").map_or("sub", String::as_str)
}

fn refuse_oidc(t: &mut Translation, option: &str, value: &str) {
    let why = format!("OAUTHBEARER with a token endpoint (OIDC) is not built into this worker; {OTHER_WAYS}");
    t.errors.push(ConfigError::invalid(option, value, why));
}
