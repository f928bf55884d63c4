# What the operator of Mesocentre may do in Vault, for the paths tenants (tenants' mounts), auth/mesocentre (JWT auth
# method) and mesocentre-ssh (SSH engine). Nothing here reads a tenant's secrets, uses its key or signs a certificate.

# Made; destroyed after the retention.
path "sys/mounts/tenants/+/kv" {
  capabilities = ["create", "update", "delete"]
  allowed_parameters = {
    "type" = ["kv"]
    "description" = []
    "options" = []
  }
}

# Its mark, which says until when it is kept, and no other setting.
path "sys/mounts/tenants/+/kv/tune" {
  capabilities = ["update"]
  allowed_parameters = {
    "description" = []
  }
}

# Made; destroyed after the retention.
path "sys/mounts/tenants/+/transit" {
  capabilities = ["create", "update", "delete"]
  allowed_parameters = {
    "type" = ["transit"]
    "description" = []
  }
}

# Its mark, which says until when it is kept, and no other setting.
path "sys/mounts/tenants/+/transit/tune" {
  capabilities = ["update"]
  allowed_parameters = {
    "description" = []
  }
}

# One look for all tenants: which mounts there are, and which bear our mark.
path "sys/mounts" {
  capabilities = ["read"]
}

# A tenant's key is made and looked at; who may use it is the tenant's policy's matter.
path "tenants/+/transit/keys/+" {
  capabilities = ["create", "read", "update"]
}

# Which policies there are.
path "sys/policies/acl" {
  capabilities = ["list"]
}

# Tenants' policies. Not its own, nor anybody else's.
path "sys/policies/acl/mesocentre-tenant--*" {
  capabilities = ["create", "read", "update", "delete"]
}

# Which roles there are.
path "auth/mesocentre/role" {
  capabilities = ["list"]
}

# Tenants' roles.
path "auth/mesocentre/role/+" {
  capabilities = ["create", "read", "update", "delete"]
}

# Its own role is the administrator's.
path "auth/mesocentre/role/mesocentre-operator" {
  capabilities = ["deny"]
}

# Which SSH roles there are.
path "mesocentre-ssh/roles" {
  capabilities = ["list"]
}

# Tenants' SSH roles. It signs nothing.
path "mesocentre-ssh/roles/+" {
  capabilities = ["create", "read", "update", "delete"]
}
