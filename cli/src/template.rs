//! `meso template`, and what `meso submit --template` makes of one: scripts that the site, or a workspace, offers with
//! parameters.
//!
//! A template is a ConfigMap that bears a label. What a parameter says reaches the script as an environment variable, so no
//! value is ever part of a program; on `#SBATCH` lines, which no shell reads, `{{NAME}}` is replaced, by plain words alone.

use crate::api_answer;
use crate::connection::{Connection, Place};
use crate::failure::Failure;
use crate::output::{self, FormatArgument, List, machine_readable};
use crate::sbatch::script::is_plain_word;
use crate::table::{Align, Table};
use clap::{Args, Subcommand};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use mesocentre_api::EnvironmentVariable;
use mesocentre_api::job_template::{LABEL, NAMESPACE};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Keys of a template's ConfigMap.
const SCRIPT: &str = "script";
const TITLE: &str = "title";
const PARAMETERS: &str = "parameters";

/// What to do with templates.
#[derive(Debug, Subcommand)]
pub enum TemplateCommand {
    /// List the templates that you can submit
    List(ListOptions),
    /// Show a template: its parameters and its script
    Show(ShowOptions),
}

/// What `template list` takes.
#[derive(Args, Debug)]
pub struct ListOptions {
    #[command(flatten)]
    format: FormatArgument,
    #[command(flatten)]
    place: Place,
}

/// What `template show` takes.
#[derive(Args, Debug)]
pub struct ShowOptions {
    /// The template's name
    name: String,
    #[command(flatten)]
    place: Place,
}

/// A script with parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    name: String,
    title: String,
    parameters: Vec<Parameter>,
    script: String,
}

/// What is left open.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Parameter {
    /// The environment variable that the script reads.
    name: String,
    #[serde(default)]
    description: String,
    /// Absent: it must be given.
    default: Option<String>,
    /// The only values that it may have; any when empty.
    #[serde(default)]
    choices: Vec<String>,
    /// A whole number from here on …
    min: Option<i64>,
    /// … to here.
    max: Option<i64>,
}

/// Lists them.
///
/// # Errors
/// [`Failure`], as the API server answers.
pub async fn list(options: ListOptions, before: Place) -> Result<(), Failure> {
    let connection = Connection::open(options.place.or(before)).await?;
    let maps = all(&connection).await?;
    if let Some(text) = machine_readable(options.format.format, &List::of(&maps))? {
        return output::print(&text);
    }
    let mut table = Table::new(&[
        ("NAME", Align::Left),
        ("PARAMETERS", Align::Left),
        ("WHAT", Align::Left),
    ]);
    for map in &maps {
        // One that is not well made is shown, so that its author sees why nobody can use it.
        let (parameters, title) = match Template::read(map) {
            Ok(template) => (template.asked_for(), template.title),
            Err(why) => (String::new(), format!("cannot be used: {why}")),
        };
        table.row(vec![map.name_any(), parameters, title]);
    }
    output::print(&table.render(output::terminal_width()))?;
    if maps.is_empty() {
        eprintln!(
            "No templates in {} or {}: a template is a ConfigMap with the label {}=true",
            connection.namespace().unwrap_or("your workspace"),
            NAMESPACE,
            LABEL
        );
    }
    Ok(())
}

/// Shows one.
///
/// # Errors
/// [`Failure`], as the API server answers, or when it cannot be read.
pub async fn show(options: ShowOptions, before: Place) -> Result<(), Failure> {
    let connection = Connection::open(options.place.or(before)).await?;
    let template = find(&connection, &options.name).await?;
    output::print(&template.shown())
}

/// The template of this name: the workspace's own before the site's.
///
/// # Errors
/// [`Failure`], as the API server answers, or when it cannot be read.
pub async fn find(connection: &Connection, name: &str) -> Result<Template, Failure> {
    let maps = all(connection).await?;
    let Some(map) = maps.iter().find(|map| map.name_any() == name) else {
        let names: Vec<String> = maps.iter().map(ResourceExt::name_any).collect();
        return Err(Failure::NotFound(match names.as_slice() {
            [] => format!(
                "there is no template {name}, nor any other: `meso template list` says where they are looked for"
            ),
            names => format!("there is no template {name}: there are {}", names.join(", ")),
        }));
    };
    Template::read(map).map_err(|why| Failure::Failed(format!("the template {name} cannot be used: {why}")))
}

/// The workspace's, then the site's; of two of one name the first.
async fn all(connection: &Connection) -> Result<Vec<ConfigMap>, Failure> {
    let labelled = ListParams::default().labels(&format!("{}=true", LABEL));
    let mut maps: Vec<ConfigMap> = Vec::new();
    for namespace in [connection.namespace().ok(), Some(NAMESPACE)]
        .into_iter()
        .flatten()
    {
        let api: Api<ConfigMap> = Api::namespaced(connection.client.clone(), namespace);
        let found = match api.list(&labelled).await {
            Ok(found) => found.items,
            // A site without templates has no such place, and nobody a right in it.
            Err(kube::Error::Api(status)) if status.code == 403 && namespace == NAMESPACE => Vec::new(),
            Err(error) => {
                return Err(api_answer::failure(
                    &format!("listing the templates of {namespace}"),
                    &error,
                ));
            }
        };
        for mut map in found {
            map.metadata.managed_fields = None;
            if !maps.iter().any(|other| other.name_any() == map.name_any()) {
                maps.push(map);
            }
        }
    }
    Ok(maps)
}

impl Template {
    fn read(map: &ConfigMap) -> Result<Self, String> {
        let data = map.data.clone().unwrap_or_default();
        let script = data.get(SCRIPT).ok_or_else(|| format!("it has no {SCRIPT}"))?;
        let parameters: Vec<Parameter> = match data.get(PARAMETERS) {
            Some(text) => serde_yaml::from_str(text)
                .map_err(|error| format!("its {PARAMETERS} cannot be read: {error}"))?,
            None => Vec::new(),
        };
        for (index, parameter) in parameters.iter().enumerate() {
            let name = &parameter.name;
            let is_name = name.starts_with(|c: char| c.is_ascii_uppercase())
                && name
                    .chars()
                    .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
            let is_taken = ["SLURM", "SBATCH", "LD_"]
                .iter()
                .any(|taken| name.starts_with(taken))
                || ["PATH", "HOME", "USER", "SHELL"].contains(&name.as_str());
            if !is_name || is_taken {
                return Err(format!(
                    "its parameter {name:?} is no name of a variable that a job may set: write capitals, digits and _, and no name of Slurm's or the shell's"
                ));
            }
            if parameters.iter().take(index).any(|earlier| earlier.name == *name) {
                return Err(format!("it has the parameter {name} twice"));
            }
            if let Some(default) = &parameter.default {
                parameter
                    .check(default)
                    .map_err(|why| format!("the default of its parameter {name} {why}"))?;
            }
        }
        Ok(Self {
            name: map.name_any(),
            title: data
                .get(TITLE)
                .map(|title| title.trim().to_owned())
                .unwrap_or_default(),
            parameters,
            script: script.clone(),
        })
    }

    /// `INPUT [NODES=2]`: what must be given, and what may be.
    fn asked_for(&self) -> String {
        let all: Vec<String> = self
            .parameters
            .iter()
            .map(|parameter| match &parameter.default {
                Some(default) => format!("[{}={default}]", parameter.name),
                None => parameter.name.clone(),
            })
            .collect();
        all.join(" ")
    }

    fn shown(&self) -> String {
        let mut text = format!("{}  {}\n\n", self.name, self.title);
        let mut table = Table::new(&[
            ("PARAMETER", Align::Left),
            ("DEFAULT", Align::Left),
            ("MAY BE", Align::Left),
            ("WHAT", Align::Left),
        ]);
        for parameter in &self.parameters {
            table.row(vec![
                parameter.name.clone(),
                parameter
                    .default
                    .clone()
                    .unwrap_or_else(|| "(must be given)".to_owned()),
                parameter.may_be(),
                parameter.description.clone(),
            ]);
        }
        if !self.parameters.is_empty() {
            text.push_str(&table.render(output::terminal_width()));
            text.push('\n');
        }
        text.push_str(&self.script);
        text
    }

    /// The script with these values (`NAME=VALUE`), and the variables that carry them.
    ///
    /// # Errors
    /// [`Failure::Usage`] with what to write.
    pub fn fill(&self, set: &[String]) -> Result<(String, Vec<EnvironmentVariable>), Failure> {
        let usage = |why: String| Failure::Usage(format!("the template {}: {why}", self.name));
        let mut given: BTreeMap<&str, &str> = BTreeMap::new();
        for each in set {
            let Some((name, value)) = each.split_once('=') else {
                return Err(usage(format!(
                    "--set {each} says no value: write --set {each}=VALUE"
                )));
            };
            if !self.parameters.iter().any(|parameter| parameter.name == name) {
                return Err(usage(format!(
                    "it has no parameter {name}: it takes {}",
                    if self.parameters.is_empty() {
                        "none".to_owned()
                    } else {
                        self.asked_for()
                    }
                )));
            }
            given.insert(name, value);
        }
        let mut values = Vec::new();
        for parameter in &self.parameters {
            let name = &parameter.name;
            let value = given.get(name.as_str()).copied().or(parameter.default.as_deref());
            let Some(value) = value else {
                let what = if parameter.description.is_empty() {
                    String::new()
                } else {
                    format!(" ({})", parameter.description)
                };
                return Err(usage(format!("it wants {name}{what}: write --set {name}=VALUE")));
            };
            parameter
                .check(value)
                .map_err(|why| usage(format!("{name} {why}")))?;
            values.push(EnvironmentVariable {
                name: name.clone(),
                value: value.to_owned(),
                ..EnvironmentVariable::default()
            });
        }
        Ok((self.header_with(&values).map_err(usage)?, values))
    }

    /// `{{NAME}}` is replaced on the lines that sbatch reads, and nowhere else.
    fn header_with(&self, values: &[EnvironmentVariable]) -> Result<String, String> {
        let mut script = String::with_capacity(self.script.len());
        for line in self.script.split_inclusive('\n') {
            if !line.starts_with("#SBATCH") {
                script.push_str(line);
                continue;
            }
            let mut line = line.to_owned();
            for EnvironmentVariable { name, value, .. } in values {
                let open = format!("{{{{{name}}}}}");
                if !line.contains(&open) {
                    continue;
                }
                if !is_plain_word(value) {
                    return Err(format!(
                        "{name} stands on an #SBATCH line, and {value:?} cannot: write letters, digits and any of _./:,=%@+-"
                    ));
                }
                line = line.replace(&open, value);
            }
            if let Some((_, rest)) = line.split_once("{{")
                && let Some((name, _)) = rest.split_once("}}")
            {
                return Err(format!(
                    "its script asks for {name}, which is none of its parameters: tell its author"
                ));
            }
            script.push_str(&line);
        }
        Ok(script)
    }
}

impl Parameter {
    fn may_be(&self) -> String {
        match (self.choices.as_slice(), self.min, self.max) {
            ([], None, None) => "anything".to_owned(),
            ([], Some(min), Some(max)) => format!("{min} to {max}"),
            ([], Some(min), None) => format!("{min} or more"),
            ([], None, Some(max)) => format!("at most {max}"),
            (choices, ..) => choices.join(", "),
        }
    }

    /// Why a value is none, as the end of a sentence.
    fn check(&self, value: &str) -> Result<(), String> {
        let fits = if !self.choices.is_empty() {
            self.choices.iter().any(|choice| choice == value)
        } else if self.min.is_some() || self.max.is_some() {
            value.parse::<i64>().is_ok_and(|number| {
                self.min.is_none_or(|min| number >= min) && self.max.is_none_or(|max| number <= max)
            })
        } else {
            true
        };
        if value.contains('\0') {
            Err("holds a NUL character: leave it out".to_owned())
        } else if fits {
            Ok(())
        } else {
            Err(format!("cannot be {value:?}: it may be {}", self.may_be()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn template(parameters: &str, script: &str) -> Result<Template, String> {
        let map: ConfigMap = serde_json::from_value(json!({
            "metadata": {"name": "mpi"}, "data": {"title": "Many nodes\n", "parameters": parameters, "script": script},
        }))
        .unwrap();
        Template::read(&map)
    }

    const PARAMETERS: &str = "\
- {name: INPUT, description: what is computed}
- {name: NODES, default: '2', min: 1, max: 64}
- {name: MODEL, default: arome, choices: [arome, arpege]}
";
    const SCRIPT: &str = "#!/bin/bash\n#SBATCH --nodes={{NODES}} -J {{MODEL}}\n  #SBATCH {{NOT_OURS}}\nsrun model \"$INPUT\" {{NODES}}\n";

    fn set(all: &[&str]) -> Vec<String> {
        all.iter().map(|each| (*each).to_owned()).collect()
    }

    #[test]
    fn values_are_variables_of_the_job_and_on_sbatch_lines_plain_words() {
        let template = template(PARAMETERS, SCRIPT).unwrap();
        let odd = "INPUT=a b; $(reboot) \"'\n{{NODES}}";
        let (script, variables) = template.fill(&set(&[odd, "NODES=4"])).unwrap();
        assert_eq!(
            script,
            "#!/bin/bash\n#SBATCH --nodes=4 -J arome\n  #SBATCH {{NOT_OURS}}\nsrun model \"$INPUT\" {{NODES}}\n"
        );
        let variables: Vec<(&str, &str)> = variables
            .iter()
            .map(|v| (v.name.as_str(), v.value.as_str()))
            .collect();
        assert_eq!(
            variables,
            [
                ("INPUT", &odd["INPUT=".len()..]),
                ("NODES", "4"),
                ("MODEL", "arome")
            ]
        );
    }

    #[test]
    fn what_is_missing_unknown_or_out_of_bounds_is_told_with_what_to_write() {
        let template = template(PARAMETERS, SCRIPT).unwrap();
        for (given, told) in [
            (
                set(&[]),
                "it wants INPUT (what is computed): write --set INPUT=VALUE",
            ),
            (
                set(&["INPUT=x", "NODES=65"]),
                "NODES cannot be \"65\": it may be 1 to 64",
            ),
            (set(&["INPUT=x", "NODES=two"]), "it may be 1 to 64"),
            (set(&["INPUT=x", "MODEL=gfs"]), "it may be arome, arpege"),
            (
                set(&["INPUT=x", "NODE=2"]),
                "it has no parameter NODE: it takes INPUT [NODES=2] [MODEL=arome]",
            ),
            (set(&["INPUT"]), "write --set INPUT=VALUE"),
        ] {
            let failure = template.fill(&given).unwrap_err();
            assert_eq!(failure.code(), 2);
            assert!(failure.to_string().contains(told), "{failure}");
        }
    }

    #[test]
    fn a_value_cannot_make_a_line_of_its_own() {
        let template = template("- {name: PARTITION}", "#!/bin/sh\n#SBATCH -p {{PARTITION}}\n").unwrap();
        for value in ["standard --uid=0", "standard\n#SBATCH --uid=0", "\"x\"", ""] {
            let failure = template
                .fill(&[format!("PARTITION={value}")])
                .unwrap_err()
                .to_string();
            assert!(failure.contains("stands on an #SBATCH line"), "{failure}");
        }
        assert!(template.fill(&set(&["PARTITION=standard"])).is_ok());
    }

    #[test]
    fn a_template_that_is_not_well_made_says_so_to_its_author() {
        for (parameters, told) in [
            ("- {name: SLURM_CONF}", "no name of a variable"),
            ("- {name: nodes}", "no name of a variable"),
            ("- {name: LD_PRELOAD}", "no name of a variable"),
            ("- {name: A}\n- {name: A}", "twice"),
            (
                "- {name: A, default: '9', max: 3}",
                "the default of its parameter A cannot be \"9\"",
            ),
            ("- {nam: A}", "cannot be read"),
        ] {
            let why = template(parameters, SCRIPT).unwrap_err();
            assert!(why.contains(told), "{why}");
        }
        let open = template("", "#!/bin/sh\n#SBATCH -N {{NODES}}\n").unwrap();
        assert!(open.fill(&[]).unwrap_err().to_string().contains("asks for NODES"));
    }

    #[test]
    fn the_templates_of_the_docs_can_be_used() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/job-templates");
        let mut seen = 0;
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let map: ConfigMap = serde_yaml::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            assert_eq!(
                map.labels().get(LABEL).map(String::as_str),
                Some("true"),
                "{path:?}"
            );
            let template = Template::read(&map).unwrap();
            let given: Vec<String> = template
                .parameters
                .iter()
                .filter(|parameter| parameter.default.is_none())
                .map(|parameter| format!("{}=x", parameter.name))
                .collect();
            let (script, _) = template.fill(&given).unwrap();
            crate::sbatch::script::Script::read(script.into_bytes()).unwrap();
            seen += 1;
        }
        assert!(seen >= 3, "{seen} templates");
    }
}
