//! The fourth step: what is planned and differs from what is, is written; what is ours and not planned, is deleted.
//!
//! An object that is not there is created; one that differs is replaced as a whole, against the version that was seen:
//! the planned fields as planned, and of metadata the planned labels and annotations among those of others. That is
//! one request each. Server-side apply takes the API server half as long again, and could not take out what a foreign
//! field manager put into a map, so a second request would follow it (docs/decisions/0010).

use super::made::{Key, Kind};
use super::proof::drift;
use crate::Context;
use crate::failure::{Failure, exists_already, is_not_found};
use futures::future::try_join_all;
use kube::api::{DeleteParams, GetParams, PostParams, Preconditions};
use kube::core::Request;
use mesocentre_api::FIELD_MANAGER;
use mesocentre_tenancy::Planned;
use mesocentre_tenancy::drift::{Change, differs};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Brings about what is planned, side by side.
///
/// # Errors
/// When the API server refuses, or an object changed meanwhile.
pub async fn apply<'a>(
    context: &Context,
    plan: impl IntoIterator<Item = &'a Planned>,
) -> Result<(), Failure> {
    try_join_all(plan.into_iter().map(|planned| apply_one(context, planned)))
        .await
        .map(drop)
}

/// Brings about one object; gives it as it is now.
///
/// # Errors
/// When the API server refuses, or the object changed meanwhile.
pub async fn apply_one(context: &Context, planned: &Planned) -> Result<Value, Failure> {
    let key = key_of(planned)?;
    let made = &context.tenancy.made;
    let digest = digest(&planned.body);
    let live = made.live(&context.stores, &key);
    let object = match live {
        Some(live) if !differs(&planned.body, &live) => live,
        live => {
            let drifted = made.expected(&key, digest);
            // Who it was is asked before the object is written, and only then.
            let change = match (drifted, &live) {
                (false, _) => None,
                (true, Some(_)) => Some(change(context, &key, &planned.body).await),
                (true, None) => Some(Change::removed()),
            };
            let object = match live {
                Some(live) => replace(context, &key, planned, live).await?,
                None => match create(context, &key, planned).await? {
                    Some(object) => object,
                    None => take_over(context, &key, planned).await?,
                },
            };
            if let Some(change) = change {
                drift::repaired(context, &key, &planned.body, change).await;
            }
            object
        }
    };
    made.expect(&key, digest);
    Ok(object)
}

/// What somebody did to an object of ours, as the API server has it now. What cannot be read is not known.
async fn change(context: &Context, key: &Key, planned: &Value) -> Change {
    let asked = request(key).get(&key.name, &GetParams::default());
    match ask(context, asked).await {
        Ok(live) => Change::of(planned, &live),
        Err(error) if is_not_found(&error) => Change::removed(),
        Err(error) => {
            tracing::debug!(object = %key, %error, "who changed it cannot be read");
            Change::unknown()
        }
    }
}

/// Creates an object. None: there is one of that name.
///
/// # Errors
/// When the API server refuses.
pub async fn create(context: &Context, key: &Key, planned: &Planned) -> Result<Option<Value>, Failure> {
    let doing = || format!("making the {key}");
    let request = request(key).create(&ours(), bytes(&planned.body, doing)?);
    match send(context, request).await {
        Ok(object) => {
            context.tenancy.made.remember(key, object.clone());
            Ok(Some(object))
        }
        Err(error) if exists_already(&error) => Ok(None),
        Err(error) => Err(Failure::api(doing(), error)),
    }
}

/// Reads an object from the API server. None: there is none.
///
/// # Errors
/// When the API server refuses.
pub async fn read(context: &Context, key: &Key) -> Result<Option<Value>, Failure> {
    match send(context, request(key).get(&key.name, &GetParams::default())).await {
        Ok(object) => Ok(Some(object)),
        Err(error) if is_not_found(&error) => Ok(None),
        Err(error) => Err(Failure::api(format!("reading the {key}"), error)),
    }
}

/// Deletes an object, of this version's UID and no other. One that is gone is gone.
///
/// # Errors
/// When the API server refuses.
pub async fn delete(context: &Context, key: &Key, uid: Option<&str>) -> Result<(), Failure> {
    let parameters = DeleteParams {
        preconditions: uid.map(|uid| Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        }),
        ..Default::default()
    };
    context.tenancy.made.expect_nothing(key);
    match send(context, request(key).delete(&key.name, &parameters)).await {
        Ok(_) => Ok(()),
        Err(error) if is_not_found(&error) => Ok(()),
        Err(error) => Err(Failure::api(format!("deleting the {key}"), error)),
    }
}

/// Deletes what is ours in a namespace, of these kinds, and neither planned nor to be kept.
///
/// # Errors
/// When the API server refuses.
pub async fn prune(
    context: &Context,
    namespace: &str,
    kinds: &[Kind],
    plan: &[&Planned],
    keep: impl Fn(&Value) -> bool,
) -> Result<(), Failure> {
    let planned: BTreeSet<(Kind, &str)> = plan
        .iter()
        .filter_map(|planned| Some((Kind::of(planned)?, planned.name.as_str())))
        .collect();
    let mut gone = Vec::new();
    for kind in kinds {
        for name in context.tenancy.made.names(namespace, *kind) {
            if planned.contains(&(*kind, &name)) {
                continue;
            }
            let key = Key::within(*kind, namespace, &name);
            let live = context.tenancy.made.live(&context.stores, &key);
            if live.is_some_and(|live| live["metadata"]["deletionTimestamp"].is_null() && !keep(&live)) {
                gone.push(key);
            }
        }
    }
    try_join_all(gone.iter().map(|key| delete(context, key, None)))
        .await
        .map(drop)
}

/// Writes the status of a quota by a merge patch; gives the object as it is now.
///
/// # Errors
/// When the API server refuses.
pub async fn patch_status(context: &Context, key: &Key, patch: &Value) -> Result<Value, Failure> {
    let parameters = kube::api::PatchParams {
        field_manager: Some(FIELD_MANAGER.into()),
        ..Default::default()
    };
    let request =
        request(key).patch_subresource("status", &key.name, &parameters, &kube::api::Patch::Merge(patch));
    let object = send(context, request)
        .await
        .map_err(|error| Failure::api(format!("writing the status of the {key}"), error))?;
    context.tenancy.made.remember(key, object.clone());
    Ok(object)
}

async fn replace(context: &Context, key: &Key, planned: &Planned, live: Value) -> Result<Value, Failure> {
    // What a binding leads to never changes, so that nobody's subjects come into another role.
    if key.kind == Kind::RoleBinding && live["roleRef"] != planned.body["roleRef"] {
        delete(context, key, live["metadata"]["uid"].as_str()).await?;
        return match create(context, key, planned).await? {
            Some(object) => Ok(object),
            None => take_over(context, key, planned).await,
        };
    }
    let doing = || format!("setting the {key} right");
    let whole = as_planned(&planned.body, live);
    let request = request(key).replace(&key.name, &ours(), bytes(&whole, doing)?);
    match send(context, request).await {
        Ok(object) => {
            context.tenancy.made.remember(key, object.clone());
            Ok(object)
        }
        // The cache lags: what it showed is gone, or is another already.
        Err(error) if is_not_found(&error) => {
            context.tenancy.made.forget(key);
            match create(context, key, planned).await? {
                Some(object) => Ok(object),
                None => Err(Failure::Conflict { doing: doing() }),
            }
        }
        Err(error) if crate::failure::is_conflict(&error) => match read(context, key).await? {
            Some(now) if !differs(&planned.body, &now) => {
                context.tenancy.made.remember(key, now.clone());
                Ok(now)
            }
            Some(now) => {
                context.tenancy.made.remember(key, now);
                Err(Failure::Conflict { doing: doing() })
            }
            None => {
                context.tenancy.made.forget(key);
                Err(Failure::Conflict { doing: doing() })
            }
        },
        Err(error) => Err(Failure::api(doing(), error)),
    }
}

/// There is one of that name that the cache does not know: it lags, or somebody took our label off it. In a namespace
/// of ours, the names that are planned are ours.
async fn take_over(context: &Context, key: &Key, planned: &Planned) -> Result<Value, Failure> {
    match read(context, key).await? {
        Some(live) if !differs(&planned.body, &live) => {
            context.tenancy.made.remember(key, live.clone());
            Ok(live)
        }
        Some(live) => Box::pin(replace(context, key, planned, live)).await,
        None => Err(Failure::Conflict {
            doing: format!("making the {key}"),
        }),
    }
}

/// The key of a planned object.
///
/// # Errors
/// When the plan holds a kind that this program does not make: a defect.
pub fn key_of(planned: &Planned) -> Result<Key, Failure> {
    Key::of(planned).ok_or_else(|| Failure::Form {
        doing: format!("making the {} {}", planned.kind, planned.name),
        source: serde::de::Error::custom("no controller makes objects of this kind"),
    })
}

fn request(key: &Key) -> Request {
    Request::new(key.kind.url_path(key.namespace.as_deref()))
}

fn ours() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.into()),
        ..Default::default()
    }
}

fn bytes(body: &Value, doing: impl Fn() -> String) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(body).map_err(|source| Failure::Form {
        doing: doing(),
        source,
    })
}

async fn send(
    context: &Context,
    request: Result<axum::http::Request<Vec<u8>>, kube::core::request::Error>,
) -> Result<Value, kube::Error> {
    let mut object = ask(context, request).await?;
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    Ok(object)
}

/// As the API server says it, with who wrote which field.
async fn ask(
    context: &Context,
    request: Result<axum::http::Request<Vec<u8>>, kube::core::request::Error>,
) -> Result<Value, kube::Error> {
    context
        .client
        .request(request.map_err(kube::Error::BuildRequest)?)
        .await
}

fn digest(body: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    body.to_string().hash(&mut hasher);
    hasher.finish()
}

/// The live object with everything planned as planned.
fn as_planned(planned: &Value, mut live: Value) -> Value {
    for (field, value) in planned.as_object().into_iter().flatten() {
        if field != "metadata" {
            live[field.as_str()] = value.clone();
        }
    }
    for map in ["labels", "annotations"] {
        let Some(wanted) = planned["metadata"][map].as_object() else {
            continue;
        };
        if !live["metadata"][map].is_object() {
            live["metadata"][map] = Value::Object(Map::new());
        }
        for (name, value) in wanted {
            live["metadata"][map][name.as_str()] = value.clone();
        }
    }
    live
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn setting_right_takes_out_what_others_put_into_planned_fields_and_leaves_their_labels() {
        let planned = json!({"metadata": {"labels": {"a": "1"}}, "spec": {"hard": {"pods": "1"}}});
        let live = json!({
            "metadata": {"labels": {"a": "2", "theirs": "x"}, "resourceVersion": "7"},
            "spec": {"hard": {"pods": "9", "secrets": "5"}},
        });
        let right = as_planned(&planned, live);
        assert_eq!(
            right,
            json!({
                "metadata": {"labels": {"a": "1", "theirs": "x"}, "resourceVersion": "7"},
                "spec": {"hard": {"pods": "1"}},
            })
        );
        assert!(!differs(&planned, &right));
    }
}
