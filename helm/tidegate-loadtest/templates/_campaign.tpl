{{/*
The campaign's name, which all its objects have: a hash of the release and of all that the Jobs are made of. A Job's
template cannot be changed, so a changed one is another campaign; an unchanged upgrade finds the one that was run.
*/}}
{{- define "loadtest.campaign" -}}
{{- $specs := list (include "loadtest.masterSpec" (dict "root" . "campaign" "")) (include "loadtest.workerSpec" (dict "root" . "campaign" "")) -}}
{{- $content := list .Release.Namespace .Release.Name $specs (include "loadtest.plan" .) -}}
{{ include "tidegate.name" . }}-{{ $content | toJson | sha256sum | trunc 10 }}
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
