//! `--export=NAME=VALUE,NAME`: variables of the job. Nothing else of the terminal's environment travels.

use super::Unreadable;
use mesocentre_api::EnvironmentVariable;

/// Reads the list; a name without a value takes it from here, as sbatch does. A comma in a value is written `\,`.
///
/// # Errors
/// A sentence, for ALL and for a variable that is not set here.
pub fn parse(
    text: &str,
    here: impl Fn(&str) -> Option<String>,
) -> Result<Vec<EnvironmentVariable>, Unreadable> {
    let mut variables: Vec<EnvironmentVariable> = Vec::new();
    for each in split(text) {
        if each.eq_ignore_ascii_case("none") || each.eq_ignore_ascii_case("nil") {
            continue;
        }
        if each.eq_ignore_ascii_case("all") {
            return Err(Unreadable(
                "--export=ALL would send this terminal's whole environment, with its secrets, to another machine: name the variables, --export=NAME,OTHER=value".to_owned(),
            ));
        }
        let (name, value) = match each.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => match here(&each) {
                Some(value) => (each, value),
                None => {
                    return Err(Unreadable(format!(
                        "--export names {each}, which is not set here: write {each}=value"
                    )));
                }
            },
        };
        // The last one holds.
        variables.retain(|variable| variable.name != name);
        variables.push(EnvironmentVariable {
            name,
            value,
            ..EnvironmentVariable::default()
        });
    }
    Ok(variables)
}

fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ',' => parts.push(String::new()),
            '\\' if chars.next_if_eq(&',').is_some() => {
                if let Some(part) = parts.last_mut() {
                    part.push(',');
                }
            }
            c => {
                if let Some(part) = parts.last_mut() {
                    part.push(c);
                }
            }
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, Unreadable> {
        parse(text, |name| (name == "MODEL").then(|| "arome".to_owned()))
            .map(|all| all.into_iter().map(|v| (v.name, v.value)).collect())
    }

    #[test]
    fn named_variables_travel_and_nothing_else() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            read("A=1,B=x=y,MODEL,C=a\\,b,D=").unwrap(),
            [
                pair("A", "1"),
                pair("B", "x=y"),
                pair("MODEL", "arome"),
                pair("C", "a,b"),
                pair("D", "")
            ]
        );
        assert_eq!(read("NONE").unwrap(), []);
        assert_eq!(read("A=1,A=2").unwrap(), [pair("A", "2")]);
    }

    #[test]
    fn the_whole_environment_does_not_travel() {
        assert!(
            read("ALL,A=1")
                .unwrap_err()
                .to_string()
                .contains("name the variables")
        );
        assert!(read("UNSET").unwrap_err().to_string().contains("UNSET=value"));
    }
}
