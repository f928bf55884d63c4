//! Who reports, and as which source they may: both are the API server's to say.

use super::Refusal;
use axum::http::{HeaderMap, StatusCode, header};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};

/// What tokens are for: one that was made for the API server is no good here, and one for here none there.
const AUDIENCE: &str = "mesocentre-intake";
/// The resource that a role names, with the sources in resourceNames.
const GROUP: &str = "intake.mesocentre.io";
const RESOURCE: &str = "usagerecords";

/// Who reports.
pub struct Access(UserInfo);

impl Access {
    /// By the bearer token.
    pub async fn of(client: &Client, headers: &HeaderMap) -> Result<Self, Refusal> {
        let unknown = |why: &str| Refusal::new(StatusCode::UNAUTHORIZED, why);
        let token = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "))
            .ok_or_else(|| {
                unknown(
                    "there is no token: write Authorization: Bearer, and one of kubectl create token NAME --audience mesocentre-intake",
                )
            })?;
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: token.trim().to_owned(),
                audiences: Some(vec![AUDIENCE.to_owned()]),
            },
            ..TokenReview::default()
        };
        let reviewed = Api::all(client.clone())
            .create(&PostParams::default(), &review)
            .await
            .map_err(away)?;
        let status = reviewed.status.unwrap_or_default();
        let is_for_us = status
            .audiences
            .unwrap_or_default()
            .iter()
            .any(|audience| audience == AUDIENCE);
        match status.user {
            Some(user) if status.authenticated == Some(true) && is_for_us => Ok(Self(user)),
            _ => Err(unknown(
                "the token is not one of this cluster's for the audience mesocentre-intake, or is no longer good: make one with kubectl create token NAME --audience mesocentre-intake",
            )),
        }
    }

    /// Whether they may report as this source.
    pub async fn may_report_as(&self, client: &Client, source: &str) -> Result<(), Refusal> {
        let user = self.0.clone();
        let name = user.username.clone().unwrap_or_default();
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: user.username,
                uid: user.uid,
                groups: user.groups,
                extra: user.extra,
                resource_attributes: Some(ResourceAttributes {
                    group: Some(GROUP.to_owned()),
                    resource: Some(RESOURCE.to_owned()),
                    verb: Some("create".to_owned()),
                    name: Some(source.to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let reviewed = Api::all(client.clone())
            .create(&PostParams::default(), &review)
            .await
            .map_err(away)?;
        if reviewed.status.is_some_and(|status| status.allowed) {
            return Ok(());
        }
        Err(Refusal::new(
            StatusCode::FORBIDDEN,
            format!(
                "{name} may not report as {source}: bind it to a ClusterRole with the verb create on {RESOURCE}.{GROUP} and resourceNames: [{source}]"
            ),
        ))
    }
}

fn away(error: kube::Error) -> Refusal {
    tracing::warn!(%error, "whose a report is cannot be asked now");
    Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "the API server does not say now who this is: send it again in a few seconds",
    )
}
