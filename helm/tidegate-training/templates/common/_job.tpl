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
{{- $inputs := dict -}}
{{- range $name, $value := .inputs -}}
{{- if kindIs "map" $value -}}
{{- range $key, $part := omit $value "secretData" -}}
{{- if $part -}}
{{- $_ := set $inputs (printf "%s.%s" $name $key) $part -}}
{{- end -}}
{{- end -}}
{{- else if $value -}}
{{- $_ := set $inputs $name $value -}}
{{- end -}}
{{- end -}}
{{- $hashed := list .root.Release.Namespace .root.Release.Name (include "tidegate.image" .root) $inputs .content -}}
{{ include "tidegate.fullname" .root }}-{{ $hashed | toJson | sha256sum | trunc 10 }}
{{- end }}

{{/*
The Job of this name in the cluster as JSON; {} if there is none, and without a cluster, as in 'helm template'.
Argument: (dict "root" $ "name" <the Job's name>).
*/}}
{{- define "tidegate.liveJob" -}}
{{- lookup "batch/v1" "Job" .root.Release.Namespace .name | default dict | toJson -}}
{{- end }}

{{/*
A Job's specification, with the immutable fields of the existing Job, except what the Job controller added.
Argument: (dict "live" <the existing Job> "spec" <the specification's text>).
*/}}
{{- define "tidegate.jobSpec" -}}
{{- if .live -}}
{{- $immutable := list "template" "completions" "completionMode" "podFailurePolicy" "backoffLimitPerIndex" -}}
{{- $spec := fromYaml .spec -}}
{{- range $field := $immutable -}}
{{- $_ := unset $spec $field -}}
{{- if hasKey $.live.spec $field -}}
{{- $_ := set $spec $field (get $.live.spec $field) -}}
{{- end -}}
{{- end -}}
{{- $labels := omit $spec.template.metadata.labels "controller-uid" "job-name" "batch.kubernetes.io/controller-uid" "batch.kubernetes.io/job-name" -}}
{{- $_ := set $spec.template.metadata "labels" $labels -}}
{{ toYaml $spec }}
{{- else -}}
{{ trim .spec }}
{{- end }}
{{- end }}
