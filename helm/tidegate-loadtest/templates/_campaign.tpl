{{/*
The campaign's name, which all its objects have: a hash of the release and of what decides the load and the verdict. A
change of these creates another campaign. The nodes on which the Jobs run are not among them, and neither is the chart's
version: the Jobs that exist then stay as they are.
*/}}
{{- define "loadtest.campaignName" -}}
{{- $inputs := pick .Values "url" "headerSecretName" "model" "workers" "push" "resources" "objectStore" "extraEnv" "extraEnvFrom" "extraVolumes" "extraVolumeMounts"
      "extraInitContainers" "extraContainers" "extraPodSpec" -}}
{{ include "tidegate.hashedName" (dict "root" . "inputs" $inputs "content" (include "loadtest.campaignText" .)) }}
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
