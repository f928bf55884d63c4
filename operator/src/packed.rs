//! Objects that are kept to be compared and are seldom read: as compact JSON, which is a third of what the same object
//! takes as a struct, of which each tenant has two dozen.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt::{Debug, Formatter};
use std::marker::PhantomData;

/// An object of the kind `K`, whole but for who wrote which field.
pub struct Packed<K> {
    /// What finds it in a cache, and nothing else: the rest of its metadata is in the JSON.
    meta: ObjectMeta,
    json: Box<[u8]>,
    kind: PhantomData<fn() -> K>,
}

impl<K> Packed<K> {
    /// The object as the API server has it.
    pub fn value(&self) -> Value {
        // It was JSON when it came.
        serde_json::from_slice(&self.json).unwrap_or_default()
    }
}

impl<K: DeserializeOwned> Packed<K> {
    /// The object, typed. None: it has another form than this program knows.
    pub fn read(&self) -> Option<K> {
        serde_json::from_slice(&self.json).ok()
    }
}

impl<K> Clone for Packed<K> {
    fn clone(&self) -> Self {
        Self {
            meta: self.meta.clone(),
            json: self.json.clone(),
            kind: PhantomData,
        }
    }
}

impl<K> Debug for Packed<K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.json))
    }
}

impl<'de, K> Deserialize<'de> for Packed<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut object = Value::deserialize(deserializer)?;
        let mut meta = ObjectMeta::default();
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
            let text = |field: &str| metadata.get(field).and_then(Value::as_str).map(str::to_owned);
            meta.name = text("name");
            meta.namespace = text("namespace");
            meta.resource_version = text("resourceVersion");
        }
        let json = serde_json::to_vec(&object).map_err(serde::de::Error::custom)?;
        Ok(Self {
            meta,
            json: json.into_boxed_slice(),
            kind: PhantomData,
        })
    }
}

impl<K: Resource> Resource for Packed<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(kind: &K::DynamicType) -> Cow<'_, str> {
        K::kind(kind)
    }

    fn group(kind: &K::DynamicType) -> Cow<'_, str> {
        K::group(kind)
    }

    fn version(kind: &K::DynamicType) -> Cow<'_, str> {
        K::version(kind)
    }

    fn plural(kind: &K::DynamicType) -> Cow<'_, str> {
        K::plural(kind)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ResourceQuota;
    use kube::ResourceExt;
    use serde_json::json;

    #[test]
    fn a_packed_object_is_found_by_its_name_and_gives_back_all_but_who_wrote_which_field() {
        let sent = |managed: Value| {
            json!({
                "apiVersion": "v1", "kind": "ResourceQuota",
                "metadata": {
                    "name": "tenant", "namespace": "univ-caen--main", "uid": "u", "resourceVersion": "7",
                    "labels": {"mesocentre.io/tenant": "univ-caen"}, "managedFields": managed,
                },
                "spec": {"hard": {"pods": "4"}, "fieldOfTomorrow": [1]},
                "status": {"hard": {"pods": "4"}, "used": {"pods": "1"}},
            })
        };
        let packed: Packed<ResourceQuota> =
            serde_json::from_value(sent(json!([{"manager": "kubectl"}]))).unwrap();
        assert_eq!(
            (
                packed.name_any().as_str(),
                packed.namespace().as_deref(),
                packed.resource_version().as_deref()
            ),
            ("tenant", Some("univ-caen--main"), Some("7"))
        );
        let mut whole = sent(Value::Null);
        whole["metadata"].as_object_mut().unwrap().remove("managedFields");
        assert_eq!(packed.value(), whole);
        let typed = packed.read().unwrap();
        assert_eq!(typed.status.unwrap().used.unwrap()["pods"].0, "1");
    }
}
