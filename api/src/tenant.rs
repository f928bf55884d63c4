//! Tenant: an institution or company inside a perimeter.

use crate::Condition;
use jiff::Timestamp;
use jiff::civil::Date;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An institution or company that uses the datacentre.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "mesocentre.io",
    version = "v1alpha1",
    kind = "Tenant",
    plural = "tenants",
    shortname = "tn",
    category = "meso",
    status = "TenantStatus",
    doc = "An institution or company inside a trust perimeter. It gets a home namespace of its own name. Written by administrators.",
    derive = "PartialEq",
    printcolumn(name = "Category", type_ = "string", json_path = ".spec.category"),
    printcolumn(name = "Perimeter", type_ = "string", json_path = ".spec.perimeter"),
    printcolumn(name = "Workspaces", type_ = "integer", json_path = ".status.workspaces"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Until", type_ = "string", json_path = ".spec.convention.validUntil"),
    printcolumn(name = "Suspended", type_ = "string", json_path = ".status.conditions[?(@.type=='Suspended')].status"),
    printcolumn(name = "Message", type_ = "string", priority = 1, json_path = ".status.conditions[?(@.type=='Ready')].message"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([a-z0-9-]{0,28}[a-z0-9])?$') && !self.metadata.name.contains('--')").message("a tenant's name has at most 30 lower-case letters, digits and single hyphens, begins with a letter, and holds no \"--\" (it separates tenant and workspace); write for example univ-caen"),
    validation = Rule::new("!self.metadata.name.startsWith('kube-') && !self.metadata.name.startsWith('mesocentre-') && !(self.metadata.name in ['default', 'root'])").message("a tenant cannot be named default, root, kube-… or mesocentre-…: those names belong to the platform; choose the institution's own name")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.category != 'PrivateClient' || !has(self.convention.kind) || self.convention.kind == 'CoInvestment'").message("a private client comes in by co-investment: write kind: CoInvestment in convention once such a convention is signed, or leave kind out"))]
pub struct TenantSpec {
    /// The name that people read.
    #[schemars(length(min = 1, max = 200))]
    pub display_name: String,
    /// What kind of body it is: decides the tariff, and whether its use is economic.
    #[x_kube(validation = Rule::new("self == oldSelf").message("a tenant's category does not change: its past bills rest on it; make another tenant"))]
    pub category: TenantCategory,
    /// The trust perimeter that it lives in.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("a tenant does not move to another perimeter: its data would go with it; make another tenant there"))]
    pub perimeter: String,
    /// Who is billed.
    pub legal_entity: LegalEntity,
    /// The agreement under which it uses the datacentre.
    pub convention: Convention,
    /// Who may act for it, and as what.
    #[serde(default)]
    #[schemars(length(max = 500))]
    pub members: Vec<TenantMember>,
    /// Hostnames under which it may publish, where its perimeter lets it: exact, or *.suffix for all below. Each belongs
    /// to one tenant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(max = 253)))]
    #[x_kube(validation = Rule::new("self.all(h, h.matches('^([*][.])?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?[.])+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$'))").message("write hostnames in lower case with at least two labels and no dot at the end, for example www.univ.example or *.apps.univ.example"))]
    pub hostnames: Vec<String>,
    /// What it may use, over all its namespaces together.
    pub quota: TenantQuota,
    /// Suspends it now, as the end of its convention would: nothing new starts, what runs is stopped after the perimeter's
    /// grace, data are kept for its retention. Take it out to resume it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended: Option<SuspendedByAdministrator>,
}

/// A suspension by an administrator.
#[derive(Clone, Debug, PartialEq, Eq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SuspendedByAdministrator {
    /// Why, in words for the tenant's members: each refusal repeats them.
    #[schemars(length(min = 3, max = 300))]
    #[x_kube(validation = Rule::new("!self.contains('\\n') && self.trim().size() >= 3").message("write the reason on one line, in words for the tenant's members, for example reason: the invoice of October is not paid"))]
    pub reason: String,
}

/// What kind of body a tenant is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum TenantCategory {
    /// A university or research organisation.
    University,
    /// A public service: hospital, local authority, agency.
    PublicService,
    /// A private client under a co-investment convention; its use is economic.
    PrivateClient,
}

impl TenantCategory {
    /// As manifests write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::University => "University",
            Self::PublicService => "PublicService",
            Self::PrivateClient => "PrivateClient",
        }
    }
}

/// Who is billed, as French invoicing wants it.
#[derive(Clone, Debug, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LegalEntity {
    /// Registered name.
    #[schemars(length(min = 1, max = 200))]
    pub name: String,
    /// SIRET number: 14 digits, the last a Luhn check digit (INSEE).
    #[schemars(length(max = 14))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{14}$')").message("write the 14 digits of the SIRET number without spaces, in quotes"))]
    pub siret: String,
    /// VAT number within the EU, for bodies that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 14))]
    pub vat_number: Option<String>,
    /// Registered address.
    pub address: PostalAddress,
    /// Where and how invoices reach it.
    pub invoicing: Invoicing,
}

/// A postal address.
#[derive(Clone, Debug, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PostalAddress {
    /// Number and street.
    #[schemars(length(max = 200))]
    pub street: String,
    /// Postal code.
    #[schemars(length(max = 16))]
    pub postal_code: String,
    /// Town.
    #[schemars(length(max = 100))]
    pub city: String,
    /// Country, ISO 3166-1 alpha-2, for example FR.
    #[schemars(length(max = 2))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Z]{2}$')").message("write the country as two capital letters (ISO 3166-1), for example FR"))]
    pub country_code: String,
}

/// How invoices reach a tenant.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Invoicing {
    /// Address for invoices.
    #[schemars(length(min = 3, max = 254))]
    pub email: String,
    /// Its address in the French directory of electronic invoicing: the SIREN, or the SIREN and what follows it. Without one,
    /// invoices name the address for mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 9, max = 125))]
    pub directory_address: Option<String>,
    /// Which law says how soon it pays and what a delay costs. Absent: Business for a PrivateClient, Public for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buyer: Option<BuyerLaw>,
    /// Service code that Chorus Pro routes public invoices by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    pub service_code: Option<String>,
    /// Number of the legal commitment that the buyer opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    pub engagement_number: Option<String>,
    /// Whether it refuses invoices without a service code, as Chorus Pro's directory says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub service_code_required: bool,
    /// Whether it refuses invoices without a commitment, as Chorus Pro's directory says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub engagement_required: bool,
}

/// Which law holds for a buyer's payments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BuyerLaw {
    /// A business: within 60 days (code de commerce, L441-10).
    Business,
    /// A public buyer: within 30 days (code de la commande publique, R2192-10).
    Public,
    /// A public health establishment: within 50 days (code de la commande publique, R2192-11).
    PublicHealth,
}

/// The agreement under which a tenant uses the datacentre. Both days are included, in the datacentre's zone.
#[derive(Clone, Debug, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.validFrom <= self.validUntil").message("the convention ends before it begins: write a validUntil on or after validFrom"))]
pub struct Convention {
    /// Reference of the signed document.
    #[schemars(length(min = 1, max = 100))]
    pub reference: String,
    /// First day.
    #[schemars(schema_with = "crate::schema::date")]
    pub valid_from: Date,
    /// Last day.
    #[schemars(schema_with = "crate::schema::date")]
    pub valid_until: Date,
    /// What was signed. Absent: CoInvestment for a PrivateClient, who cannot come in otherwise, and Service for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ConventionKind>,
}

/// What a convention is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConventionKind {
    /// Use of the datacentre's services, at the public tariff.
    Service,
    /// A share in the datacentre's investment and costs: the only way in for a private client, since service is
    /// non-market by default (Framework for State aid for R&D&I, 2022/C 414/01).
    CoInvestment,
}

/// One who may act for a tenant: a user or a group, as the API server names them, or a service account.
#[derive(Clone, Debug, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.user), has(self.group), has(self.serviceAccount)].filter(x, x).size() == 1").message("a member is a user, a group or a service account: write one of user, group and serviceAccount"))]
#[x_kube(validation = Rule::new("!has(self.posixAccount) || has(self.user)").message("a posixAccount belongs to one person, and jobs run as that person: write user beside it, not group or serviceAccount"))]
#[x_kube(validation = Rule::new("!(has(self.user) && self.user.startsWith('system:serviceaccount:'))").message("a service account is written by its namespace and its name: write serviceAccount: {namespace: ..., name: ...} instead of user"))]
#[x_kube(validation = Rule::new("!(has(self.user) && self.user.startsWith('system:') && !self.user.startsWith('system:serviceaccount:')) && !(has(self.group) && self.group.startsWith('system:'))").message("names that begin with system: belong to Kubernetes; write a person's user name or an institution's group"))]
pub struct TenantMember {
    /// User name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub user: Option<String>,
    /// Group name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub group: Option<String>,
    /// A service account: of a workspace of the tenant, or of a namespace that the administrators keep for it outside
    /// every tenant, as one for continuous integration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<ServiceAccountName>,
    /// What they may do.
    pub role: Role,
    /// The account on the batch scheduler's machines that the user's jobs run as. Without one, no batch jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z_][a-z0-9_.-]*$') && self != 'root'").message("write a posix account name, lower case, that is not root, for example alice"))]
    pub posix_account: Option<String>,
}

/// A service account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountName {
    /// Its namespace.
    #[schemars(length(max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')").message("write the name of a namespace, for example univ-caen-ci"))]
    #[x_kube(validation = Rule::new("!self.startsWith('kube-') && !self.startsWith('mesocentre-') && self != 'default'").message("service accounts of default, kube-… and mesocentre-… are the platform's, and no tenant acts by them: name one of a workspace of the tenant, or of a namespace made for its automation"))]
    pub namespace: String,
    /// Its name.
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')").message("write the name of a service account, for example deployer"))]
    pub name: String,
}

impl ServiceAccountName {
    /// As the API server names who acts by it.
    pub fn user_name(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.name)
    }
}

/// What a member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Role {
    /// Makes workspaces and agreements, and everything that a Member does.
    Owner,
    /// Runs jobs and workloads in the workspaces.
    Member,
    /// Reads the workspaces.
    Viewer,
    /// Reads allocations and statements.
    Billing,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 4] = [Role::Owner, Role::Member, Role::Viewer, Role::Billing];

    /// Whether who has it may run batch jobs: a Viewer reads, and Billing reads bills.
    pub fn runs_batch_jobs(self) -> bool {
        matches!(self, Self::Owner | Self::Member)
    }

    /// Lower case, as in the names of role bindings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Member => "member",
            Self::Viewer => "viewer",
            Self::Billing => "billing",
        }
    }
}

/// What a tenant may use, over all its namespaces together.
#[derive(Clone, Debug, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantQuota {
    /// CPUs that pods may request and be limited to.
    #[schemars(schema_with = "crate::schema::quantity")]
    pub cpu: Quantity,
    /// Memory that pods may request and be limited to.
    #[schemars(schema_with = "crate::schema::quantity")]
    pub memory: Quantity,
    /// Storage that claims may request.
    #[schemars(schema_with = "crate::schema::quantity")]
    pub storage: Quantity,
    /// Disk of nodes that pods may request and be limited to (what containers write, logs, emptyDir). Left out, it is
    /// 1Gi a pod of `pods`, which is what a container that says nothing is limited to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_quantity")]
    pub ephemeral_storage: Option<Quantity>,
    /// Number of pods.
    #[schemars(range(min = 0, max = 100000))]
    pub pods: i64,
    /// Number of GPUs, as containers ask for them by nvidia.com/gpu.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10000))]
    pub gpus: i64,
    /// Number of devices of each device class that resource claims may ask for; a class that is not named may not be
    /// asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 20))]
    #[x_kube(validation = Rule::new("self.all(k, k.size() <= 200 && k.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$') && self[k] >= 0 && self[k] <= 100000)").message("write the name of a DeviceClass and a number from 0 to 100000, for example h100.nvidia.com: 8"))]
    pub devices: BTreeMap<String, i64>,
    /// Number of each extended resource that pods may request, beside nvidia.com/gpu, which gpus counts; one that is not
    /// named may not be requested.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 20))]
    #[x_kube(validation = Rule::new("self.all(k, k.size() <= 250 && k.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?/[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$') && k != 'nvidia.com/gpu' && self[k] >= 0 && self[k] <= 100000)").message("write the name of an extended resource and a number from 0 to 100000, for example amd.com/gpu: 4; GPUs of nvidia.com/gpu are counted by gpus"))]
    #[x_kube(validation = Rule::new("self.all(k, !k.startsWith('kubernetes.io/') && !k.split('/')[0].endsWith('.kubernetes.io') && !k.startsWith('requests.'))").message("names of kubernetes.io are no extended resources that a quota counts: for devices of a class write its name under devices"))]
    pub extended_resources: BTreeMap<String, i64>,
    /// Number of services that may be load balancers, where the perimeter allows them.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10000))]
    pub load_balancers: i64,
    /// Number of objects of each kind, as resource or resource.group. What is not named has a number that nobody meets
    /// who works, for example 1000 configmaps.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 50))]
    #[x_kube(validation = Rule::new("self.all(k, k.size() <= 150 && k.matches('^[a-z][a-z0-9]*([.][a-z0-9]([a-z0-9.-]*[a-z0-9])?)?$') && self[k] >= 0 && self[k] <= 10000000)").message("write a resource with its group and a number from 0 to 10000000, for example configmaps: 100 or jobs.batch: 500"))]
    pub objects: BTreeMap<String, i64>,
    /// Number of workspaces.
    #[schemars(range(min = 0, max = 1000))]
    pub workspaces: i64,
}

/// What the operator knows of the tenant.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Its home namespace, once it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home_namespace: Option<String>,
    /// How many workspaces it has.
    #[serde(default)]
    pub workspaces: i32,
    /// The hostnames that it holds: no other tenant gets one of them, or one below, while they stand here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<String>,
    /// Why it cannot be deleted now, each a sentence; empty means that it can. Admission refuses a deletion while one
    /// stands, unless the annotation mesocentre.io/force-delete is "true".
    #[serde(default)]
    pub deletion_blockers: Vec<String>,
    /// Since when it is suspended, as the operator saw it; grace and retention count from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_instant")]
    pub suspended_since: Option<Timestamp>,
    /// When what runs of a suspended tenant is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_instant")]
    pub stops_at: Option<Timestamp>,
    /// When it was stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_instant")]
    pub stopped_at: Option<Timestamp>,
    /// The first day on which a suspended tenant's data may be deleted. Nothing is deleted by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_date")]
    pub data_kept_until: Option<Date>,
    /// Conditions: Ready, Suspended, ConventionEnding; DataKept while it is suspended; Vault, when the perimeter asks for
    /// secrets there.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}
