{{/*
The tracks of a release, "stable" and "canary": names, labels, replicas and grace period. Each track is an
InferenceService of its own. A template about one track takes (dict "root" $ "track" "stable").
*/}}

{{/* The names of the existing tracks, separated by a space. */}}
{{- define "tidegate.tracks" -}}
stable{{ if .Values.canary.digest }} canary{{ end }}
{{- end }}

{{- define "tidegate.inferenceServiceName" -}}
{{ include "tidegate.fullname" .root }}{{ if eq .track "canary" }}-canary{{ end }}
{{- end }}

{{/* The name of the Deployment and the Service that KServe creates for a track. */}}
{{- define "tidegate.predictorName" -}}
{{ include "tidegate.inferenceServiceName" . }}-predictor
{{- end }}

{{/*
The name of a track's HorizontalPodAutoscaler, which Helm or KEDA creates. The two have different names, because Helm creates
the objects of the new type before it deletes those of the old one. KServe treats <InferenceService>-predictor as its own.
*/}}
{{- define "tidegate.autoscalerName" -}}
{{ include "tidegate.inferenceServiceName" . }}-{{ .root.Values.autoscaling.type }}
{{- end }}

{{/* How KServe treats the replicas: external leaves them to the autoscaler, none sets minReplicas. */}}
{{- define "tidegate.autoscalerClass" -}}
{{ ternary "none" "external" (eq .Values.autoscaling.type "none") }}
{{- end }}

{{/* Labels of a track's InferenceService, which KServe copies to its Service and its pods. */}}
{{- define "tidegate.trackLabels" -}}
{{ include "tidegate.selectorLabels" .root }}
app.kubernetes.io/component: {{ .track | quote }}
{{- end }}

{{/*
The label by which KServe itself selects a track's pods. Other tools set app.kubernetes.io/instance: Argo CD overwrites it
with the name of its application.
*/}}
{{- define "tidegate.trackSelectorLabels" -}}
serving.kserve.io/inferenceservice: {{ include "tidegate.inferenceServiceName" . | quote }}
{{- end }}

{{/* A label of both tracks' pods, by which a Service selects them. No other tool sets it. */}}
{{- define "tidegate.releaseLabel" -}}
tidegate/release: {{ include "tidegate.fullname" . | quote }}
{{- end }}

{{/* The name of the Service of service.enabled. */}}
{{- define "tidegate.tracksName" -}}
{{ include "tidegate.fullname" . }}-tracks
{{- end }}

{{/* The name of the Service that receives mirrored requests. */}}
{{- define "tidegate.shadowName" -}}
{{ include "tidegate.inferenceServiceName" (dict "root" . "track" "canary") }}-shadow
{{- end }}

{{/*
The canary's ports for mirrored requests. KServe would add named container ports to its Service, so the pods do not name them.
*/}}
{{- define "tidegate.shadowHTTPPort" -}}
8083
{{- end }}

{{- define "tidegate.shadowGRPCPort" -}}
8084
{{- end }}

{{/* A selector of both tracks' pods or Services, also while the canary is added or removed. */}}
{{- define "tidegate.tracksSelector" -}}
matchExpressions:
  - key: serving.kserve.io/inferenceservice
    operator: In
    values:
      {{- range list "stable" "canary" }}
      - {{ include "tidegate.inferenceServiceName" (dict "root" $ "track" .) | quote }}
      {{- end }}
{{- end }}

{{/* Replica limits of a track. The canary's own limits override those of autoscaling. */}}
{{- define "tidegate.minReplicas" -}}
{{- $own := ternary .root.Values.canary.minReplicas nil (eq .track "canary") -}}
{{ kindIs "invalid" $own | ternary .root.Values.autoscaling.minReplicas $own | int64 }}
{{- end }}

{{- define "tidegate.maxReplicas" -}}
{{- $own := ternary .root.Values.canary.maxReplicas nil (eq .track "canary") -}}
{{ kindIs "invalid" $own | ternary .root.Values.autoscaling.maxReplicas $own | int64 }}
{{- end }}

{{/*
The longest time that a pod takes to stop, computed only here. The server accepts requests for drainSeconds, finishes
requests in flight within shutdownTimeoutSeconds, and needs up to 5 s to exit.
*/}}
{{- define "tidegate.terminationGracePeriodSeconds" -}}
{{ add .Values.server.drainSeconds .Values.server.shutdownTimeoutSeconds 5 }}
{{- end }}
