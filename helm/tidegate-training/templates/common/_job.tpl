{{- /* Generated from helm/common; do not edit. */ -}}
{{/*
Jobs that run once. A Job's template is immutable, so a change of the values or of the chart must either create another Job
or leave the existing one as it is. The name decides: it is a hash of the inputs that decide the result.
*/}}

{{/*
A name with the hash of a release and its inputs. Empty inputs do not count, so a value that a later version of the chart
adds changes no name by its empty default. Secrets are not inputs.
Argument: (dict "root" $ "inputs" <map of values> "content" <text of the configuration>).
*/}}
{{- define "tidegate.hashedName" -}}
{{- $inputs := include "tidegate.hashedInputs" .inputs -}}
{{- $hashed := list .root.Release.Namespace .root.Release.Name (include "tidegate.image" .root) $inputs .content -}}
{{ include "tidegate.fullname" .root }}-{{ $hashed | toJson | sha256sum | trunc 10 }}
{{- end }}

{{/* A map as JSON, at every level without empty values and Secrets. */}}
{{- define "tidegate.hashedInputs" -}}
{{- $inputs := dict -}}
{{- range $key, $value := omit . "secretData" -}}
{{- if kindIs "map" $value -}}
{{- $value = include "tidegate.hashedInputs" $value | fromJson -}}
{{- end -}}
{{- if $value -}}
{{- $_ := set $inputs $key $value -}}
{{- end -}}
{{- end -}}
{{- toJson $inputs -}}
{{- end }}

{{/* What selects the pods of one Job among those of the chart, for topology spread constraints. Argument: the root. */}}
{{- define "tidegate.jobPodsSelector" -}}
labelSelector:
  matchLabels:
    app.kubernetes.io/name: {{ .Chart.Name | quote }}
matchLabelKeys: [batch.kubernetes.io/controller-uid]
{{- end }}

{{/*
The Job of this name in the cluster as JSON; {} if there is none, and without a cluster, as in 'helm template'.
Argument: (dict "root" $ "name" <the Job's name>).
*/}}
{{- define "tidegate.liveJob" -}}
{{- lookup "batch/v1" "Job" .root.Release.Namespace .name | default dict | toJson -}}
{{- end }}

{{/*
A Job's specification: its pods with the values that extend them, and of the existing Job the immutable fields that do not
follow from the Job's name, except what the Job controller added. Argument: (dict "root" $ "live" <the existing Job> "spec" <the specification's text>).
*/}}
{{- define "tidegate.jobSpec" -}}
{{- $spec := fromYaml .spec -}}
{{- $_ := set $spec.template "spec" (include "tidegate.extendedPod" (dict "root" .root "pod" $spec.template.spec) | fromYaml) -}}
{{- if .live -}}
{{- range $field := list "template" "podFailurePolicy" -}}
{{- $_ := unset $spec $field -}}
{{- if hasKey $.live.spec $field -}}
{{- $_ := set $spec $field (get $.live.spec $field) -}}
{{- end -}}
{{- end -}}
{{- $labels := omit $spec.template.metadata.labels "controller-uid" "job-name" "batch.kubernetes.io/controller-uid" "batch.kubernetes.io/job-name" -}}
{{- $_ := set $spec.template.metadata "labels" $labels -}}
{{- end -}}
{{ toYaml $spec }}
{{- end }}
