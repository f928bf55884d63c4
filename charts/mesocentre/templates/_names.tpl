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

{{/* CEL: the request comes from Kubernetes' own parts, whose accounts no tenant can have. (system:apiserver counts quotas.) */}}
{{- define "mesocentre.isControlPlane" -}}
(request.userInfo.username in ['system:kube-controller-manager', 'system:kube-scheduler', 'system:apiserver'] || request.userInfo.username.startsWith('system:serviceaccount:kube-system:'))
{{- end }}
