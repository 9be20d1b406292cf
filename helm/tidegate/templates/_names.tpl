{{/* The names of things. Tracks are "stable" and "canary"; each is an InferenceService of its own. */}}

{{- define "tidegate.name" -}}
{{ .Values.fullnameOverride | default .Release.Name }}
{{- end }}

{{/* The InferenceService of a track. Takes (dict "root" $ "track" "stable"). */}}
{{- define "tidegate.isvc" -}}
{{ include "tidegate.name" .root }}{{ if eq .track "canary" }}-canary{{ end }}
{{- end }}

{{/* The Deployment and the Service that KServe makes for a track. */}}
{{- define "tidegate.predictor" -}}
{{ include "tidegate.isvc" . }}-predictor
{{- end }}

{{/* The autoscaler of a track. Not "<isvc>-predictor": KServe takes an HPA of that name for its own. */}}
{{- define "tidegate.autoscaler" -}}
{{ include "tidegate.isvc" . }}-hpa
{{- end }}

{{- define "tidegate.serviceAccount" -}}
{{- if .Values.serviceAccount.name -}}
{{ .Values.serviceAccount.name }}
{{- else if .Values.serviceAccount.create -}}
{{ include "tidegate.name" . }}
{{- else -}}
default
{{- end }}
{{- end }}

{{/* What selects the objects of this release, of all tracks. Selectors are immutable: never add to it. */}}
{{- define "tidegate.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{/* What selects one track. Takes (dict "root" $ "track" "stable"). */}}
{{- define "tidegate.trackSelector" -}}
{{ include "tidegate.selector" .root }}
app.kubernetes.io/component: {{ .track | quote }}
{{- end }}

{{/*
Labels of everything but the InferenceServices. KServe copies an InferenceService's labels to its pods, so one
that changes with the chart, as these do, would restart every model whenever the chart is upgraded.
*/}}
{{- define "tidegate.labels" -}}
{{ include "tidegate.selector" . }}
app.kubernetes.io/part-of: tidegate
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
{{- end }}
