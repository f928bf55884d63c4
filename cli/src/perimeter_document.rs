//! The document that an auditor keeps: a report, and the operator's signature over it. Pure: values in, values out; it is
//! checked without asking anybody.

use mesocentre_api::{GROUP, PerimeterReport, SIGNATURE_ALGORITHM, VERSION, signed_bytes};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What is kept.
#[derive(Debug, Serialize, Deserialize)]
pub struct Document {
    /// What it is, for whoever opens the file: French, then English. Not signed.
    pub title: Vec<String>,
    /// Which report, and what it says: what is signed.
    pub report: Value,
    /// The signature.
    pub signature: Value,
}

/// The document of a report as the API server gives it. None when it is not signed.
pub fn document(report: &Value) -> Option<Document> {
    let metadata = &report["metadata"];
    let mut status = report["status"].as_object()?.clone();
    let signature = status.remove("signature")?;
    let tenant = metadata["namespace"].as_str().unwrap_or_default();
    let at = status
        .get("generatedAt")
        .and_then(Value::as_str)
        .unwrap_or_default();
    Some(Document {
        title: vec![
            format!(
                "Rapport de périmètre de confiance : {tenant}, établi le {at}. À vérifier par : meso perimeter check FICHIER --key CLÉ"
            ),
            format!(
                "Report of a trust perimeter: {tenant}, made at {at}. Verify it by: meso perimeter check FILE --key KEY"
            ),
        ],
        report: json!({
            "apiVersion": format!("{GROUP}/{VERSION}"), "kind": "PerimeterReport",
            "metadata": {"namespace": metadata["namespace"], "name": metadata["name"], "uid": metadata["uid"]},
            "status": status,
        }),
        signature,
    })
}

impl Document {
    /// Whether the signature is over this very report, and by this key where one is named: the report, and the key that
    /// signed it.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn check(&self, key: Option<&str>) -> Result<(PerimeterReport, String), String> {
        let field = |name: &str| {
            self.signature[name]
                .as_str()
                .ok_or_else(|| format!("the signature has no {name}, so this is no whole document"))
        };
        let algorithm = field("algorithm")?;
        if algorithm != SIGNATURE_ALGORITHM {
            return Err(format!(
                "it is signed by {algorithm}, and this meso knows {SIGNATURE_ALGORITHM} only"
            ));
        }
        let signer = field("publicKey")?.to_owned();
        if let Some(key) = key
            && !key.trim().eq_ignore_ascii_case(&signer)
        {
            return Err(format!(
                "it is signed by the key {signer}, which is not the one that you named"
            ));
        }
        let (Some(public), Some(value)) = (bytes_of(&signer), bytes_of(field("value")?)) else {
            return Err("the signature is not in hexadecimal".to_owned());
        };
        let signed = signed_bytes(&self.report).ok_or("the report says nothing")?;
        UnparsedPublicKey::new(&ED25519, public)
            .verify(&signed, &value)
            .map_err(|_| "the signature does not fit: the report is not as it was signed".to_owned())?;
        let report = serde_json::from_value(self.report.clone())
            .map_err(|error| format!("the report is in a form that this meso does not know: {error}"))?;
        Ok((report, signer))
    }
}

fn bytes_of(hexadecimal: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = hexadecimal
        .chars()
        .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
        .collect();
    let digits = digits?;
    if digits.len() % 2 != 0 {
        return None;
    }
    Some(digits.chunks(2).map(|two| (two[0] << 4) | two[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::rand::SystemRandom;
    use ring::signature::{Ed25519KeyPair, KeyPair};

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn signed() -> (Value, String) {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        let mut report = json!({
            "apiVersion": "mesocentre.io/v1alpha1", "kind": "PerimeterReport",
            "metadata": {"name": "perimeter", "namespace": "chu", "uid": "u", "resourceVersion": "7"},
            "status": {"generatedAt": "2026-11-25T01:00:00Z", "operatorVersion": "0.1.0", "tenant": {"name": "chu"},
                       "perimeter": {"name": "hds"}, "rules": [], "drift": []},
        });
        let key = hex(pair.public_key().as_ref());
        let value = hex(pair.sign(&signed_bytes(&report).unwrap()).as_ref());
        report["status"]["signature"] = json!({"algorithm": "Ed25519", "publicKey": key, "value": value});
        (report, key)
    }

    #[test]
    fn a_document_is_good_as_it_was_signed_and_with_one_byte_changed_it_is_not() {
        let (report, key) = signed();
        let document = document(&report).unwrap();
        let text = serde_json::to_string_pretty(&document).unwrap();
        let read: Document = serde_json::from_str(&text).unwrap();
        let (kept, by) = read.check(Some(&key)).unwrap();
        assert_eq!(
            (kept.status.unwrap().tenant.name.as_str(), by),
            ("chu", key.clone())
        );
        for (from, to) in [
            ("\"chu\"", "\"chv\""),
            ("2026-11-25", "2026-11-26"),
            ("\"hds\"", "\"hdt\""),
        ] {
            let changed = text.replace(from, to);
            assert_ne!(changed, text);
            let changed: Document = serde_json::from_str(&changed).unwrap();
            assert!(
                changed
                    .check(Some(&key))
                    .unwrap_err()
                    .contains("not as it was signed")
            );
        }
    }

    #[test]
    fn a_document_signed_anew_by_another_is_seen_by_whoever_names_the_key() {
        let (report, _) = signed();
        let document = document(&report).unwrap();
        assert!(document.check(None).is_ok());
        assert!(
            document
                .check(Some(&"0".repeat(64)))
                .unwrap_err()
                .contains("not the one that you named")
        );
    }

    #[test]
    fn a_report_that_is_not_signed_makes_no_document() {
        assert!(document(&json!({"metadata": {}, "status": {}})).is_none());
    }
}
