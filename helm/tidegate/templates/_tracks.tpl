{{/* The names of things. Tracks are "stable" and "canary"; each is an InferenceService of its own. */}}

{{/* The tracks that exist, apart by a space. */}}
{{- define "tidegate.tracks" -}}
stable{{ if .Values.canary.digest }} canary{{ end }}
{{- end }}

{{/* Replica limits of a track: the canary's own, where they are given. Takes (dict "root" $ "track" "stable"). */}}
{{- define "tidegate.minReplicas" -}}
{{- $own := ternary .root.Values.canary.minReplicas nil (eq .track "canary") -}}
{{ kindIs "invalid" $own | ternary .root.Values.autoscaling.minReplicas $own | int64 }}
{{- end }}

{{- define "tidegate.maxReplicas" -}}
{{- $own := ternary .root.Values.canary.maxReplicas nil (eq .track "canary") -}}
{{ kindIs "invalid" $own | ternary .root.Values.autoscaling.maxReplicas $own | int64 }}
{{- end }}

{{/*
How long a pod may take to stop, and so how long before a replica is really gone: it answers for drainSeconds more,
then finishes what is in flight. The only place where this is computed.
*/}}
{{- define "tidegate.terminationGracePeriodSeconds" -}}
{{ add .Values.server.drainSeconds .Values.server.shutdownTimeoutSeconds 5 }}
{{- end }}

{{/* The InferenceService of a track. Takes (dict "root" $ "track" "stable"). */}}
{{- define "tidegate.inferenceServiceName" -}}
{{ include "tidegate.fullname" .root }}{{ if eq .track "canary" }}-canary{{ end }}
{{- end }}

{{/* The Deployment and the Service that KServe makes for a track. */}}
{{- define "tidegate.predictorName" -}}
{{ include "tidegate.inferenceServiceName" . }}-predictor
{{- end }}

{{/* The autoscaler of a track. Not "<isvc>-predictor": KServe takes an HPA of that name for its own. */}}
{{- define "tidegate.autoscalerName" -}}
{{ include "tidegate.inferenceServiceName" . }}-hpa
{{- end }}

{{/* What selects one track. Takes (dict "root" $ "track" "stable"). */}}
{{- define "tidegate.trackSelectorLabels" -}}
{{ include "tidegate.selectorLabels" .root }}
app.kubernetes.io/component: {{ .track | quote }}
{{- end }}
