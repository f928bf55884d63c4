//! Schemas of scalar forms that several kinds share.

use schemars::{Schema, SchemaGenerator, json_schema};

/// A civil day, `2026-12-31`. The API server checks the calendar and gives CEL a timestamp.
pub(crate) fn date(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date"})
}

/// A civil day that may be absent.
pub(crate) fn optional_date(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date", "nullable": true})
}

/// An instant, RFC 3339 in UTC.
pub(crate) fn instant(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date-time"})
}

/// An instant that may be absent.
pub(crate) fn optional_instant(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date-time", "nullable": true})
}

fn with_rule(rule: &str, message: &str, max_length: u32, nullable: bool) -> Schema {
    let mut schema = json_schema!({
        "type": "string",
        "maxLength": max_length,
        "x-kubernetes-validations": [{"rule": rule, "message": message}],
    });
    if nullable {
        schema.insert("nullable".into(), true.into());
    }
    schema
}

/// An exact decimal amount or quantity that is not negative, as a string.
pub(crate) fn decimal(_: &mut SchemaGenerator) -> Schema {
    with_rule(
        "self.matches('^[0-9]{1,15}([.][0-9]{1,8})?$')",
        "write a decimal number as a string, digits and at most 8 decimals, for example \"0.0120\"",
        26,
        false,
    )
}

/// As [`decimal`], and may be absent.
pub(crate) fn optional_decimal(_: &mut SchemaGenerator) -> Schema {
    with_rule(
        "self.matches('^[0-9]{1,15}([.][0-9]{1,8})?$')",
        "write a decimal number as a string, digits and at most 8 decimals, for example \"50000\"",
        26,
        true,
    )
}

/// An amount of money in a currency of two decimals; negative where something is given back.
pub(crate) fn money(_: &mut SchemaGenerator) -> Schema {
    with_rule(
        "self.matches('^-?[0-9]{1,15}([.][0-9]{1,2})?$')",
        "write an amount as a decimal string with at most two decimals, for example \"480000.00\"",
        20,
        false,
    )
}

/// A Kubernetes quantity that is not negative.
pub(crate) fn quantity(_: &mut SchemaGenerator) -> Schema {
    with_rule(
        "isQuantity(self) && !self.startsWith('-')",
        "write a Kubernetes quantity that is not negative, for example \"64\", \"500m\" or \"256Gi\"",
        32,
        false,
    )
}

/// As [`quantity`], and may be absent.
pub(crate) fn optional_quantity(_: &mut SchemaGenerator) -> Schema {
    with_rule(
        "isQuantity(self) && !self.startsWith('-')",
        "write a Kubernetes quantity that is not negative, for example 500m, 100Mi or 4Gi",
        32,
        true,
    )
}

/// A duration as Kubernetes writes it, in whole seconds or coarser.
pub(crate) fn duration(_: &mut SchemaGenerator) -> Schema {
    duration_that(false)
}

/// As [`duration`], and may be absent.
pub(crate) fn optional_duration(_: &mut SchemaGenerator) -> Schema {
    duration_that(true)
}

fn duration_that(nullable: bool) -> Schema {
    with_rule(
        "self.size() > 0 && self.matches('^([0-9]{1,7}h)?([0-9]{1,7}m)?([0-9]{1,9}s)?$')",
        "write a duration in hours, minutes and seconds, for example 5m, 1h30m or 168h",
        32,
        nullable,
    )
}
