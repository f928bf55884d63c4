//! Who wants what in Vault, from the caches.

use crate::Context;
use crate::report::is_leaving;
use crate::tenancy::standing::{self, Refused};
use crate::tenancy::{namespace, quota};
use crate::watch::key;
use kube::ResourceExt;
use mesocentre_api::{Tenant, TrustPerimeter};
use mesocentre_tenancy::validate::MemberSubject;
use mesocentre_tenancy::vault::{PosixAccount, Uid, Wanted, Wish};
use mesocentre_tenancy::{NamespaceName, TenantName, ValidTenant, WorkspaceName};

/// Whether a tenant's perimeter asks for secrets in Vault.
pub fn asks(context: &Context, tenant: &Tenant) -> bool {
    let perimeter = context.stores.perimeters.get(&key(None, &tenant.spec.perimeter));
    perimeter.is_some_and(|perimeter| perimeter_asks(&perimeter))
}

fn perimeter_asks(perimeter: &TrustPerimeter) -> bool {
    perimeter.spec.vault.as_ref().is_some_and(|vault| vault.secrets)
}

/// What all tenants want. One that is being deleted wants nothing from that moment.
pub fn wish(context: &Context) -> Wish {
    let mut wish = Wish::default();
    for tenant in context.stores.tenants.state() {
        let tenant = context.own_writes.fresher(tenant);
        if is_leaving(tenant.as_ref()) {
            continue;
        }
        let (Ok(name), Ok(uid)) = (
            TenantName::new(&tenant.name_any()),
            Uid::new(&tenant.uid().unwrap_or_default()),
        ) else {
            continue;
        };
        match context.stores.perimeters.get(&key(None, &tenant.spec.perimeter)) {
            // It says so itself: no secrets in this perimeter.
            Some(perimeter) if !perimeter_asks(&perimeter) => continue,
            Some(_) => {}
            // Somebody's mistake must not seal anything off.
            None => {
                wish.left_alone.push((name, uid));
                continue;
            }
        }
        match standing::validate(context, &tenant) {
            Ok(valid) if has_its_home(context, &valid) => wish.wanted.push(wanted(context, &valid, uid)),
            Ok(_) | Err(Refused { .. }) => wish.left_alone.push((name, uid)),
        }
    }
    wish.wanted.sort_by(|one, other| one.uid.cmp(&other.uid));
    wish
}

fn has_its_home(context: &Context, tenant: &ValidTenant) -> bool {
    namespace::stands(context, &tenant.home(), &tenant.uid)
}

fn wanted(context: &Context, tenant: &ValidTenant, uid: Uid) -> Wanted {
    // Namespaces that were made for it: one that only bears such a name is not among them.
    let workspaces = quota::of_tenant(context, tenant.name.as_str());
    let of_workspaces = workspaces.iter().filter_map(|workspace| {
        let name = WorkspaceName::new(&workspace.name_any()).ok()?;
        let namespace = NamespaceName::workspace(&tenant.name, &name);
        namespace::stands(context, &namespace, &workspace.uid()?).then_some(namespace)
    });
    Wanted {
        tenant: tenant.name.clone(),
        uid,
        namespaces: of_workspaces.chain([tenant.home()]).collect(),
        accounts: tenant
            .members
            .iter()
            .filter(|member| member.role.runs_batch_jobs())
            .filter_map(|member| match &member.subject {
                MemberSubject::User { posix_account, .. } => {
                    PosixAccount::new(posix_account.as_deref()?).ok()
                }
                MemberSubject::Group { .. } | MemberSubject::ServiceAccount(_) => None,
            })
            .collect(),
        kept_days: i64::from(tenant.perimeter.rules.suspension.retention_days).max(0),
    }
}
