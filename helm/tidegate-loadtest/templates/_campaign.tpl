{{/*
The campaign's name, which all its objects have: a hash of the release and of everything in the Jobs. A Job's template is
immutable, so a change creates another campaign. An upgrade without changes finds the existing one. The hash covers the
parsed specifications, so a reworded comment starts no campaign.
*/}}
{{- define "loadtest.campaignName" -}}
{{- $scope := dict "root" . "campaign" "" -}}
{{- $specs := list (include "loadtest.masterJobSpec" $scope | fromYaml) (include "loadtest.workerJobSpec" $scope | fromYaml) -}}
{{- $content := list .Release.Namespace .Release.Name $specs (include "loadtest.campaignText" .) -}}
{{ include "tidegate.fullname" . }}-{{ $content | toJson | sha256sum | trunc 10 }}
{{- end }}

{{/* The campaign's text, byte for byte if it is given as text. */}}
{{- define "loadtest.campaignText" -}}
{{- if kindIs "string" .Values.campaign -}}
{{ .Values.campaign }}
{{- else -}}
{{ include "tidegate.configText" .Values.campaign }}
{{- end }}
{{- end }}

{{- define "loadtest.bundleReference" -}}
{{ .Values.model.uri }}@sha256:{{ trimPrefix "sha256:" .Values.model.digest }}
{{- end }}
