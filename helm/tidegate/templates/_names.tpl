{{/* The names of things. Tracks are "stable" and "canary"; each is an InferenceService of its own. */}}

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

{{/* What selects one track. Takes (dict "root" $ "track" "stable"). */}}
{{- define "tidegate.trackSelector" -}}
{{ include "tidegate.selector" .root }}
app.kubernetes.io/component: {{ .track | quote }}
{{- end }}
