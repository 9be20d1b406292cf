{{- /* Generated from helm/common; do not edit. */ -}}
{{/* Names and labels of a release's objects. */}}

{{- define "tidegate.fullname" -}}
{{ .Values.fullnameOverride | default .Release.Name }}
{{- end }}

{{/* Labels that select the objects of this release. Selectors are immutable: never add a label. */}}
{{- define "tidegate.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{/*
Labels of every object except pods and InferenceServices, whose labels KServe copies to pods. These labels change with
the chart's version, so they would restart every model, and a Job's template is immutable.
*/}}
{{- define "tidegate.labels" -}}
{{ include "tidegate.selectorLabels" . }}
app.kubernetes.io/part-of: tidegate
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
{{- end }}
