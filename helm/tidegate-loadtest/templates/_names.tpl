{{- define "loadtest.name" -}}
{{ .Values.fullnameOverride | default .Release.Name }}
{{- end }}

{{/*
The campaign's name, which all its objects have: a hash of the release and of all that the Jobs are made of. A Job's
template cannot be changed, so a changed one is another campaign; an unchanged upgrade finds the one that was run.
*/}}
{{- define "loadtest.campaign" -}}
{{- $specs := list (include "loadtest.masterSpec" (dict "root" . "campaign" "")) (include "loadtest.workerSpec" (dict "root" . "campaign" "")) -}}
{{- $content := list .Release.Namespace .Release.Name $specs (include "loadtest.plan" .) -}}
{{ include "loadtest.name" . }}-{{ $content | toJson | sha256sum | trunc 10 }}
{{- end }}

{{/*
The plan's text. A map is written as JSON, because Helm's YAML would write 1000000 as 1e+06, which is no whole number
any more; less the escapes that JSON for web pages has.
*/}}
{{- define "loadtest.plan" -}}
{{- if kindIs "string" .Values.plan -}}
{{ .Values.plan }}
{{- else -}}
{{ toPrettyJson .Values.plan | replace "\\u003c" "<" | replace "\\u003e" ">" | replace "\\u0026" "&" }}
{{- end }}
{{- end }}

{{/* The bundle's reference. */}}
{{- define "loadtest.bundle" -}}
{{ .Values.model.uri }}@sha256:{{ trimPrefix "sha256:" .Values.model.digest }}
{{- end }}

{{- define "loadtest.serviceAccount" -}}
{{- if .Values.serviceAccount.name -}}
{{ .Values.serviceAccount.name }}
{{- else if .Values.serviceAccount.create -}}
{{ include "loadtest.name" . }}
{{- else -}}
default
{{- end }}
{{- end }}

{{- define "loadtest.secret" -}}
{{- if .Values.objectStore.secretData -}}
{{ include "loadtest.name" . }}-store
{{- else -}}
{{ .Values.objectStore.secretName }}
{{- end }}
{{- end }}

{{- define "loadtest.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@sha256:{{ trimPrefix "sha256:" $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{- define "loadtest.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{/* Not for pods: a Job's template cannot follow the chart's version. */}}
{{- define "loadtest.labels" -}}
{{ include "loadtest.selector" . }}
app.kubernetes.io/part-of: tidegate
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
{{- end }}
