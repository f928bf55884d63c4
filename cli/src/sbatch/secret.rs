//! `--secret NAME=SECRET/KEY`: a variable of the job whose value stays in a Secret of the workspace.

use super::Unreadable;
use mesocentre_api::{EnvironmentVariable, KeyOf, ValueSource};

/// Reads one.
///
/// # Errors
/// A sentence with what to write.
pub fn parse(text: &str) -> Result<EnvironmentVariable, Unreadable> {
    let read = text.split_once('=').and_then(|(name, at)| {
        let (secret, key) = at.split_once('/')?;
        let all_there = [name, secret, key].iter().all(|part| !part.is_empty());
        all_there.then(|| EnvironmentVariable {
            name: name.to_owned(),
            value_from: Some(ValueSource {
                secret_key_ref: Some(KeyOf {
                    name: secret.to_owned(),
                    key: key.to_owned(),
                }),
                config_map_key_ref: None,
            }),
            ..EnvironmentVariable::default()
        })
    });
    read.ok_or_else(|| {
        Unreadable(format!(
            "--secret {text} cannot be read: write the variable, the Secret and the key in it, for example \
             TOKEN=model-credentials/token"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_names_the_secret_and_its_key_and_never_the_value() {
        let variable = parse("TOKEN=model-credentials/api.token").unwrap();
        let at = variable.value_from.unwrap().secret_key_ref.unwrap();
        assert_eq!((variable.name.as_str(), variable.value.as_str()), ("TOKEN", ""));
        assert_eq!(
            (at.name.as_str(), at.key.as_str()),
            ("model-credentials", "api.token")
        );
        for wrong in ["TOKEN", "TOKEN=secret", "=a/b", "T=/b", "T=a/"] {
            assert!(
                parse(wrong)
                    .unwrap_err()
                    .to_string()
                    .contains("TOKEN=model-credentials/token"),
                "{wrong}"
            );
        }
    }
}
