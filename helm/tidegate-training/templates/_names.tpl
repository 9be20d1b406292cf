{{- define "training.name" -}}
{{ .Values.fullnameOverride | default .Release.Name }}
{{- end }}

{{/*
The Job's name and its configuration's: a hash of the release and of all that the Job is made of. A Job's template
cannot be changed, so a changed one is another Job; an unchanged upgrade finds the Job that is already there.
*/}}
{{- define "training.jobName" -}}
{{- $content := list .Release.Namespace .Release.Name (include "training.jobSpec" (dict "root" . "config" "")) (include "training.files" .) -}}
{{ include "training.name" . }}-{{ $content | toJson | sha256sum | trunc 10 }}
{{- end }}

{{- define "training.serviceAccount" -}}
{{- if .Values.serviceAccount.name -}}
{{ .Values.serviceAccount.name }}
{{- else if .Values.serviceAccount.create -}}
{{ include "training.name" . }}
{{- else -}}
default
{{- end }}
{{- end }}

{{- define "training.secret" -}}
{{- if .Values.objectStore.secretData -}}
{{ include "training.name" . }}-store
{{- else -}}
{{ .Values.objectStore.secretName }}
{{- end }}
{{- end }}

{{- define "training.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@sha256:{{ trimPrefix "sha256:" $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{- define "training.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{/* Not for pods: a Job's template cannot follow the chart's version. */}}
{{- define "training.labels" -}}
{{ include "training.selector" . }}
app.kubernetes.io/part-of: tidegate
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
{{- end }}
