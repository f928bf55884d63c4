{{- /*
Every admission policy and binding of the chart, rendered, as a JSON list: what the operator compares those in the API
server with, and which names it may write (docs/decisions/0013). A file of templates/admission that is not named here is
neither watched nor put back; a test compares the two.
*/ -}}
{{- define "mesocentre.admission" -}}
{{- $root := . }}
{{- $helm := dict "labels" (dict "app.kubernetes.io/managed-by" "Helm") "annotations" (dict "meta.helm.sh/release-name" .Release.Name "meta.helm.sh/release-namespace" .Release.Namespace) }}
{{- $all := list }}
{{- range $file := list "auditor" "batch-jobs" "deletion" "fences" "peering" "pods" "publishing" "scheduler-jobs" "storage-and-services" "suspension" }}
{{- range $text := regexSplit "(?m)^---\\s*$" (include (printf "%s/admission/%s.yaml" $root.Template.BasePath $file) $root) -1 }}
{{- $object := fromYaml $text }}
{{- if $object.kind }}
{{- $all = append $all (mergeOverwrite $object (dict "metadata" (deepCopy $helm))) }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson $all }}
{{- end }}
