{{/* Clients of the pods: who may send requests, and who may read the metrics. */}}

{{/* The port of /metrics: its own, or that of REST. */}}
{{- define "tidegate.metricsPort" -}}
{{ .Values.server.metricsPort | default 8080 | int64 }}
{{- end }}

{{- define "tidegate.goldenSelector" -}}
matchLabels: {{- include "tidegate.selectorLabels" . | nindent 2 }}
matchExpressions:
  - {key: app.kubernetes.io/component, operator: In, values: [golden-stable, golden-canary]}
{{- end }}

{{- define "tidegate.goldenEgress" -}}
- to:
    - podSelector: {{- include "tidegate.tracksSelector" . | nindent 8 }}
  ports:
    - {protocol: TCP, port: 8080}
{{- end }}

{{/* The peers that may send requests. The pods of 'helm test' are always among them. */}}
{{- define "tidegate.clients" -}}
{{- $policy := .Values.networkPolicy -}}
- podSelector: {{- ternary (dict | toJson | printf " %s") (include "tidegate.goldenSelector" . | nindent 4) $policy.allowSameNamespace }}
{{- range $policy.allowNamespaces }}
- namespaceSelector:
    matchLabels:
      kubernetes.io/metadata.name: {{ . | quote }}
{{- end }}
{{- with $policy.allowFrom }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "tidegate.serverIngress" -}}
{{- $policy := .Values.networkPolicy -}}
- from: {{- include "tidegate.clients" . | nindent 4 }}
  ports:
    - {protocol: TCP, port: 8080}
    - {protocol: TCP, port: 8081}
    {{- if and .Values.canary.digest .Values.route.enabled }}
    # The ports of mirrored requests.
    - {protocol: TCP, port: {{ include "tidegate.shadowHTTPPort" . }}}
    - {protocol: TCP, port: {{ include "tidegate.shadowGRPCPort" . }}}
    {{- end }}
{{- if .Values.server.metricsPort }}
- from: {{- $policy.metricsFrom | empty | ternary (include "tidegate.clients" .) (toYaml $policy.metricsFrom) | nindent 4 }}
  ports:
    - {protocol: TCP, port: {{ include "tidegate.metricsPort" . }}}
{{- end }}
{{- if and (eq .Values.autoscaling.type "keda") (eq .Values.autoscaling.keda.source "metrics-api") }}
# KEDA's operator reads the metrics of the pods.
- from:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ .Values.autoscaling.keda.namespace | quote }}
  ports:
    - {protocol: TCP, port: {{ include "tidegate.metricsPort" . }}}
{{- end }}
{{- end }}
