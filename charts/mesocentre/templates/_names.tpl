{{/* Labels of everything that the chart installs. Not the operator's managed-by: nothing here is drift. */}}
{{- define "mesocentre.labels" -}}
app.kubernetes.io/name: mesocentre
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{/* The operator's user name, as the API server says it. */}}
{{- define "mesocentre.operatorUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:mesocentre-operator
{{- end }}

{{/* CEL: the request is the operator's. */}}
{{- define "mesocentre.isOperator" -}}
request.userInfo.username == '{{ include "mesocentre.operatorUser" . }}'
{{- end }}

{{/* CEL: the request is an administrator's. */}}
{{- define "mesocentre.isAdministrator" -}}
request.userInfo.groups.exists(g, g in [{{ range $i, $group := .Values.admission.administratorGroups }}{{ if $i }}, {{ end }}'{{ $group }}'{{ end }}])
{{- end }}

{{/* CEL: the request is of what gives load balancers and ingresses their addresses. */}}
{{- define "mesocentre.isPublisher" -}}
request.userInfo.username in [{{ range $i, $user := .Values.admission.publishers }}{{ if $i }}, {{ end }}'{{ $user }}'{{ end }}]
{{- end }}

{{/* CEL: the annotation k is one that the cluster's network, or what names services outside, acts on. */}}
{{- define "mesocentre.isNetworkNote" -}}
[{{ range $i, $prefix := .Values.admission.networkAnnotations }}{{ if $i }}, {{ end }}'{{ $prefix }}'{{ end }}].exists(p, k.startsWith(p))
{{- end }}

{{/* CEL: the keys of such annotations that an update writes anew, but for the network's own parts. */}}
{{- define "mesocentre.networkNotesChanged" -}}
{{ include "mesocentre.isControlPlane" . }} || {{ include "mesocentre.isPublisher" . }} || 'system:nodes' in request.userInfo.groups ? []
: object.metadata.?annotations.orValue({}).filter(k, {{ include "mesocentre.isNetworkNote" . }} && (oldObject == null || oldObject.metadata.?annotations[?k].orValue('') != object.metadata.annotations[k]))
{{- end }}

{{/* CEL: what is told of one: the perimeter, the key. */}}
{{- define "mesocentre.noNetworkNotes" -}}
'the perimeter ' + {{ index . 0 }} + ' leaves the network to the datacentre, and the annotation ' + {{ index . 1 }} + ' might change it: leave it out'
{{- end }}

{{/* CEL: the request comes from Kubernetes' own parts, whose accounts no tenant can have. (system:apiserver counts quotas.) */}}
{{- define "mesocentre.isControlPlane" -}}
(request.userInfo.username in ['system:kube-controller-manager', 'system:kube-scheduler', 'system:apiserver'] || request.userInfo.username.startsWith('system:serviceaccount:kube-system:'))
{{- end }}

{{/* The image of the operator, and of what serves outputs. */}}
{{- define "mesocentre.image" -}}
{{- with .Values.operator.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end }}

{{/* What a container is told of Vault. */}}
{{- define "mesocentre.vaultEnvironment" -}}
{{- with .Values.vault }}
{{- if .address -}}
- {name: VAULT_ADDR, value: {{ .address | quote }}}
{{- if .authority }}
- {name: VAULT_CACERT, value: /etc/mesocentre/vault/ca.crt}
{{- end }}
- {name: MESO_VAULT_TOKEN_FILE, value: /var/run/secrets/mesocentre/vault/token}
- {name: MESO_VAULT_TENANTS, value: {{ .tenants | quote }}}
- {name: MESO_VAULT_JWT_MOUNT, value: {{ .jwtMount | quote }}}
- {name: MESO_VAULT_SSH_MOUNT, value: {{ .sshMount | quote }}}
- {name: MESO_VAULT_LOGIN_MOUNT, value: {{ .loginMount | quote }}}
- {name: MESO_VAULT_AUDIENCE, value: {{ .audience | quote }}}
{{- end }}
{{- end }}
{{- end }}

{{/* Where a container finds its token for Vault, and Vault's authority. */}}
{{- define "mesocentre.vaultMounts" -}}
{{- if .Values.vault.address -}}
- {name: vault-token, mountPath: /var/run/secrets/mesocentre/vault, readOnly: true}
{{- if .Values.vault.authority }}
- {name: vault-authority, mountPath: /etc/mesocentre/vault, readOnly: true}
{{- end }}
{{- end }}
{{- end }}

{{/* The volumes of these. */}}
{{- define "mesocentre.vaultVolumes" -}}
{{- if .Values.vault.address -}}
# For Vault and nobody else; the kubelet keeps it fresh.
- name: vault-token
  projected:
    sources:
    - serviceAccountToken: {audience: {{ .Values.vault.audience | quote }}, expirationSeconds: 600, path: token}
{{- if .Values.vault.authority }}
- name: vault-authority
  configMap: {name: {{ .Values.vault.authority | quote }}}
{{- end }}
{{- end }}
{{- end }}
