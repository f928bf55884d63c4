//! Tries what perimeters forbid, as the account `mesocentre-auditor`, whose every write must be a dry run
//! (`charts/…/admission/auditor.yaml`). The operator itself, and administrators, pass by several policies: what they may do
//! shows nothing.

use crate::Context;
use crate::failure::Failure;
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use kube::api::{Patch, PatchParams, PostParams};
use kube::config::AuthInfo;
use kube::core::Request;
use mesocentre_tenancy::proof::{Answered, Attempt, Method, Tried, judge};
use serde_json::{Value, json};
use tokio::sync::Mutex;

/// The account, in the operator's namespace.
const ACCOUNT: &str = "mesocentre-auditor";
/// How long a token lasts: the shortest that the API server gives.
const LASTS: i64 = 600;

/// Speaks as the auditor while its token lasts.
#[derive(Default)]
pub struct Auditor(Mutex<Option<(Client, Timestamp)>>);

impl Auditor {
    /// Tries all of these, two at a time.
    ///
    /// # Errors
    /// When no token of the account can be had.
    pub async fn try_all(
        &self,
        context: &Context,
        attempts: Vec<Attempt>,
        is_suspended: bool,
    ) -> Result<Vec<Tried>, Failure> {
        let client = self.client(context).await?;
        let tried = futures::stream::iter(attempts).map(|attempt| {
            let client = client.clone();
            async move {
                let answered = ask(&client, &attempt).await;
                judge(&attempt, answered, is_suspended)
            }
        });
        Ok(tried.buffered(2).collect().await)
    }

    async fn client(&self, context: &Context) -> Result<Client, Failure> {
        let mut held = self.0.lock().await;
        let soon = Timestamp::now() + SignedDuration::from_mins(1);
        if let Some((client, until)) = held.as_ref().filter(|(_, until)| *until > soon) {
            tracing::trace!(%until, "the auditor's token still lasts");
            return Ok(client.clone());
        }
        let doing = || format!("asking for a token of the account {ACCOUNT}");
        let failed = |error| Failure::api(doing(), error);
        let path = format!("/api/v1/namespaces/{}/serviceaccounts", context.namespace);
        let body = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": LASTS},
        });
        let request = Request::new(path)
            .create_subresource(
                "token",
                ACCOUNT,
                &PostParams::default(),
                body.to_string().into_bytes(),
            )
            .map_err(|error| failed(kube::Error::BuildRequest(error)))?;
        let answer: Value = context.client.request(request).await.map_err(failed)?;
        let form = || Failure::Form {
            doing: doing(),
            source: serde::de::Error::custom("the answer holds no token"),
        };
        let token = answer["status"]["token"].as_str().ok_or_else(form)?;
        let until = answer["status"]["expirationTimestamp"]
            .as_str()
            .and_then(|time| time.parse().ok())
            .ok_or_else(form)?;
        let mut config = context.server.clone();
        config.auth_info = AuthInfo {
            token: Some(token.to_owned().into()),
            ..AuthInfo::default()
        };
        let client = Client::try_from(config).map_err(failed)?;
        *held = Some((client.clone(), until));
        Ok(client)
    }
}

async fn ask(client: &Client, attempt: &Attempt) -> Answered {
    let request = match attempt.method {
        Method::Create => {
            let rehearsal = PostParams {
                dry_run: true,
                ..Default::default()
            };
            Request::new(attempt.path.clone()).create(&rehearsal, attempt.body.to_string().into_bytes())
        }
        Method::Merge => {
            let rehearsal = PatchParams {
                dry_run: true,
                ..Default::default()
            };
            let (path, name) = attempt.path.rsplit_once('/').unwrap_or(("", &attempt.path));
            Request::new(path.to_owned()).patch(name, &rehearsal, &Patch::Merge(&attempt.body))
        }
    };
    let request = match request {
        Ok(request) => request,
        Err(error) => return Answered::Failed(format!("it could not be sent: {error}")),
    };
    match client.request::<Value>(request).await {
        Ok(_) => Answered::LetIn,
        Err(kube::Error::Api(status))
            if (400..500).contains(&status.code) && status.code != 401 && status.code != 429 =>
        {
            Answered::Refused(status.message.clone())
        }
        Err(error) => Answered::Failed(format!("the API server did not answer the question: {error}")),
    }
}
