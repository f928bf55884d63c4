//! `meso notice`: how an allocation's hours stand, as a message that is ready to mail: French first, English below.
//!
//! Nothing is sent: `meso notice climate-2026 --to lab@univ.test | sendmail -t`.

use crate::api_answer;
use crate::connection::{Connection, Place};
use crate::failure::Failure;
use crate::french_number::{french, french_percent};
use crate::output;
use crate::table::on_one_line;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use jiff::civil::Date;
use kube::{Api, ResourceExt};
use mesocentre_api::{Allocation, AllocationStatus, WhenExhausted, find_condition};

/// What `notice` takes.
#[derive(Args, Debug)]
pub struct Options {
    /// The allocation
    #[arg(value_name = "ALLOCATION")]
    allocation: String,
    /// To whom; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    to: Vec<String>,
    /// From whom
    #[arg(long, value_name = "ADDRESS")]
    from: Option<String>,
    /// The tenant [default: the namespace's]
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    #[command(flatten)]
    place: Place,
}

/// Prints the message.
///
/// # Errors
/// [`Failure`], as the API server answers, or when an address cannot stand in a header.
pub async fn run(options: Options, before: Place) -> Result<(), Failure> {
    for address in options.to.iter().chain(&options.from) {
        if address.chars().any(char::is_control) || !address.contains('@') {
            return Err(Failure::Usage(format!(
                "{address:?} is no address for mail: write one, for example lab@univ.test"
            )));
        }
    }
    let connection = Connection::open(options.place.or(before)).await?;
    let home = connection.home_of_tenant(options.tenant.as_deref())?;
    let api: Api<Allocation> = Api::namespaced(connection.client.clone(), home);
    let name = &options.allocation;
    let allocation = api
        .get_opt(name)
        .await
        .map_err(|error| api_answer::failure(&format!("reading the allocation {name} of {home}"), &error))?
        .ok_or_else(|| {
            Failure::NotFound(format!(
                "{home} has no allocation {name}: name one that meso allocations shows"
            ))
        })?;
    output::print(&message(&allocation, home, &options.to, options.from.as_deref()))
}

/// The message: RFC 5322, UTF-8.
fn message(allocation: &Allocation, home: &str, to: &[String], from: Option<&str>) -> String {
    let told = Told::of(allocation, home);
    let mut text = String::new();
    if let Some(from) = from {
        text.push_str(&format!("From: {from}\n"));
    }
    if !to.is_empty() {
        text.push_str(&format!("To: {}\n", to.join(",\n ")));
    }
    text.push_str(&format!("Subject: {}\n", encoded(&told.subject())));
    text.push_str(
        "MIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: 8bit\n\n",
    );
    text.push_str(&told.body());
    text
}

/// A header's text in encoded words of at most 75 characters each (RFC 2047).
fn encoded(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    let mut words = vec![String::new()];
    for c in text.chars() {
        // 42 bytes are 56 characters of base64, and 12 stand around them.
        if words.last().is_some_and(|word| word.len() + c.len_utf8() > 42) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.push(c);
        }
    }
    let words: Vec<String> = words
        .iter()
        .map(|word| format!("=?UTF-8?B?{}?=", STANDARD.encode(word)))
        .collect();
    words.join("\n ")
}

struct Told<'a> {
    allocation: &'a Allocation,
    status: AllocationStatus,
    name: String,
    home: &'a str,
    reason: String,
}

impl<'a> Told<'a> {
    fn of(allocation: &'a Allocation, home: &'a str) -> Self {
        let status = allocation.status.clone().unwrap_or_default();
        let reason = find_condition(&status.conditions, "WithinBudget")
            .map(|condition| condition.reason.clone())
            .unwrap_or_default();
        Self {
            allocation,
            name: allocation.name_any(),
            status,
            home,
            reason,
        }
    }

    fn subject(&self) -> String {
        match &self.status.used_percent {
            Some(percent) => format!(
                "Allocation {} : {} des heures utilisées",
                self.name,
                french_percent(percent)
            ),
            None => format!("Allocation {}", self.name),
        }
    }

    fn body(&self) -> String {
        let spec = &self.allocation.spec;
        let title = on_one_line(&spec.title);
        let mut text = format!(
            "Bonjour,\n\nVoici où en est l'allocation {} de {} sur {} ({title}), valable du {} au {}.\n\n",
            self.name,
            self.home,
            spec.scheduler,
            french_day(spec.valid_from),
            french_day(spec.valid_until)
        );
        for (french_label, _, value, unit) in self.rows() {
            text.push_str(&format!(
                "  {french_label:<34} {:>16}{}\n",
                french(&value),
                unit.0
            ));
        }
        text.push_str(&format!("\n{}\n", self.in_french()));
        text.push_str(&format!(
            "\n-- \nEnglish\n\nThis is how the allocation {} of {} on {} stands ({title}), valid from {} to {}.\n\n",
            self.name, self.home, spec.scheduler, spec.valid_from, spec.valid_until
        ));
        for (_, label, value, unit) in self.rows() {
            text.push_str(&format!("  {label:<34} {value:>16}{}\n", unit.1));
        }
        text.push_str(&format!("\n{}\n", self.in_english()));
        text
    }

    /// French label, English label, decimal, and what stands behind it in both.
    fn rows(&self) -> Vec<(&'static str, &'static str, String, (&'static str, &'static str))> {
        let (spec, status) = (&self.allocation.spec, &self.status);
        let carried = status.carried.clone().unwrap_or_default();
        let shown = |hours: &mesocentre_api::Budget| {
            let (cores, gpus) = (hours.core_hours, hours.gpu_hours);
            (
                cores.map(|hours| hours.to_string()),
                gpus.map(|hours| hours.to_string()),
            )
        };
        let (cores, gpus) = shown(&spec.budget);
        let (carried_cores, carried_gpus) = shown(&carried);
        const HOURS: (&str, &str) = (" h", " h");
        const PERCENT: (&str, &str) = ("\u{a0}%", " %");
        [
            ("Heures de cœur accordées", "Core-hours granted", cores, HOURS),
            ("  reportées", "  carried over", carried_cores, HOURS),
            ("  utilisées", "  used", status.used_core_hours.clone(), HOURS),
            (
                "  retenues par des travaux",
                "  held by jobs",
                status.held_core_hours.clone(),
                HOURS,
            ),
            (
                "  restantes",
                "  left",
                status.remaining_core_hours.clone(),
                HOURS,
            ),
            ("Heures de GPU accordées", "GPU-hours granted", gpus, HOURS),
            ("  reportées", "  carried over", carried_gpus, HOURS),
            ("  utilisées", "  used", status.used_gpu_hours.clone(), HOURS),
            ("  restantes", "  left", status.remaining_gpu_hours.clone(), HOURS),
            ("Part utilisée", "Part used", status.used_percent.clone(), PERCENT),
            (
                "Prévision au dernier jour",
                "Forecast for the last day",
                status.forecast_percent.clone(),
                PERCENT,
            ),
        ]
        .into_iter()
        .filter_map(|(french, english, value, unit)| Some((french, english, value?, unit)))
        .collect()
    }

    fn in_french(&self) -> String {
        let until = self.status.grace_until.map(french_day).unwrap_or_default();
        match (self.reason.as_str(), self.allocation.spec.when_exhausted) {
            ("Exhausted", WhenExhausted::Refuse) => "Les heures sont épuisées : les travaux attendent qu'il en soit accordé d'autres. Demandez une dotation complémentaire à l'équipe du mésocentre.".to_owned(),
            ("Exhausted", WhenExhausted::Charge) => "Les heures sont épuisées : ce qui est utilisé au-delà est facturé au tarif en vigueur. Demandez une dotation complémentaire à l'équipe du mésocentre si ce n'est pas voulu.".to_owned(),
            ("InGrace", _) => format!("Les heures sont épuisées : un dépassement est toléré jusqu'au {until}, ensuite les travaux attendront. Demandez une dotation complémentaire à l'équipe du mésocentre."),
            ("Within", _) => "La consommation est dans les limites prévues ; il n'y a rien à faire.".to_owned(),
            (reason, _) => match reason.strip_prefix("Above") {
                Some(at) => format!("Le seuil de {at}\u{a0}% est dépassé. Vérifiez que la prévision vous convient, et demandez à temps une dotation complémentaire si elle ne suffit pas."),
                None => "L'allocation n'a pas de budget d'heures, ou n'a pas encore commencé.".to_owned(),
            },
        }
    }

    fn in_english(&self) -> String {
        match find_condition(&self.status.conditions, "WithinBudget") {
            Some(condition) => format!("{}.", on_one_line(&condition.message)),
            None => "The allocation has no budget of hours, or has not begun yet.".to_owned(),
        }
    }
}

fn french_day(day: Date) -> String {
    day.strftime("%d/%m/%Y").to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]
mod tests {
    use super::*;
    use serde_json::json;

    fn allocation(title: &str, reason: &str) -> Allocation {
        serde_json::from_value(json!({
            "apiVersion": "mesocentre.io/v1alpha1", "kind": "Allocation",
            "metadata": {"name": "climate-2026", "namespace": "univ-caen"},
            "spec": {"scheduler": "austral", "title": title, "validFrom": "2026-01-01", "validUntil": "2026-12-31",
                     "budget": {"coreHours": "50000"}},
            "status": {"usedCoreHours": "41200.500000", "remainingCoreHours": "8799.500000", "usedPercent": "82.40",
                       "forecastPercent": "112.10", "conditions": [
                {"type": "WithinBudget", "status": "False", "reason": reason,
                 "message": "82.40 % of the core-hours are used: more than 80 %", "lastTransitionTime": "2026-11-24T10:00:00Z"}]},
        }))
        .unwrap()
    }

    #[test]
    fn a_notice_is_ready_to_mail_in_french_with_english_below() {
        let to = ["lab@univ.test".to_owned(), "dsi@univ.test".to_owned()];
        let text = message(
            &allocation("Climat", "Above80"),
            "univ-caen",
            &to,
            Some("meso@region.test"),
        );
        let (head, body) = text.split_once("\n\n").unwrap();
        assert!(
            head.starts_with(
                "From: meso@region.test\nTo: lab@univ.test,\n dsi@univ.test\nSubject: =?UTF-8?B?"
            )
        );
        let subject: String = head
            .lines()
            .filter_map(|line| {
                line.trim_start_matches("Subject: ")
                    .trim()
                    .strip_prefix("=?UTF-8?B?")
            })
            .map(|word| String::from_utf8(STANDARD.decode(word.trim_end_matches("?=")).unwrap()).unwrap())
            .collect();
        assert_eq!(
            subject,
            "Allocation climate-2026 : 82,40\u{a0}% des heures utilisées"
        );
        assert!(head.lines().all(|line| line.len() <= 78), "{head}");
        assert!(
            body.contains("utilisées") && body.contains("41\u{202f}200,500000 h"),
            "{body}"
        );
        assert!(body.contains("Le seuil de 80\u{a0}% est dépassé."), "{body}");
        assert!(
            body.contains("82.40 % of the core-hours are used: more than 80 %."),
            "{body}"
        );
    }

    #[test]
    fn what_somebody_wrote_into_an_allocation_adds_no_header() {
        let text = message(
            &allocation("x\n\nBcc: all@univ.test\n", "Within"),
            "univ-caen",
            &[],
            None,
        );
        let (head, _) = text.split_once("\n\n").unwrap();
        assert!(!head.contains("Bcc"), "{head}");
        assert!(!text.lines().any(|line| line.starts_with("Bcc")), "{text}");
    }
}
