{{/*
The campaign's name, which all its objects have: a hash of the release and of all that the Jobs are made of. A Job's
template cannot be changed, so a changed one is another campaign; an unchanged upgrade finds the one that was run.
*/}}
{{- define "loadtest.campaignName" -}}
{{- $specs := list (include "loadtest.masterJobSpec" (dict "root" . "campaign" "")) (include "loadtest.workerJobSpec" (dict "root" . "campaign" "")) -}}
{{- $content := list .Release.Namespace .Release.Name $specs (include "loadtest.planText" .) -}}
{{ include "tidegate.fullname" . }}-{{ $content | toJson | sha256sum | trunc 10 }}
{{- end }}

{{/* The plan's text. */}}
{{- define "loadtest.planText" -}}
{{- if kindIs "string" .Values.plan -}}
{{ .Values.plan }}
{{- else -}}
{{ include "tidegate.configText" .Values.plan }}
{{- end }}
{{- end }}

{{/* The bundle's reference. */}}
{{- define "loadtest.bundleReference" -}}
{{ .Values.model.uri }}@sha256:{{ trimPrefix "sha256:" .Values.model.digest }}
{{- end }}
