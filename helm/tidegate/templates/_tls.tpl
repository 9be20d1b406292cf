{{/* TLS of the server's own listeners. */}}

{{/* The URL of a track's Service. Its port for REST is 80 in any case. Argument: (dict "root" $ "track" "stable"). */}}
{{- define "tidegate.serviceUrl" -}}
{{- $host := printf "%s.%s" (include "tidegate.predictorName" .) .root.Release.Namespace -}}
{{ .root.Values.server.tls.secretName | empty | ternary (printf "http://%s" $host) (printf "https://%s:80" $host) }}
{{- end }}

{{/* A probe of an endpoint of REST. Argument: (dict "root" $ "path" "/v2/health/ready"). */}}
{{- define "tidegate.httpGet" -}}
path: {{ .path }}
port: 8080
{{- if .root.Values.server.tls.secretName }}
scheme: HTTPS
{{- end }}
{{- end }}

{{- define "tidegate.validate.tls" -}}
{{- $errors := list }}
{{- $tls := .Values.server.tls }}
{{- if and $tls.secretName (not $tls.caConfigMap) }}
{{- $errors = append $errors "server.tls.secretName is set, but server.tls.caConfigMap is not: 'helm test' and the Gateway could not verify the certificate. Set the ConfigMap whose ca.crt has its authority." }}
{{- else if and $tls.caConfigMap (not $tls.secretName) }}
{{- $errors = append $errors "server.tls.caConfigMap is set, but server.tls.secretName is not: set the Secret with the certificate, or remove the ConfigMap." }}
{{- end }}
{{- if and $tls.secretName (not .Values.server.metricsPort) }}
{{- $errors = append $errors "server.tls.secretName is set, but /metrics is on the port with TLS, which Prometheus, KEDA and 'tidegate rollout' do not use: set server.metricsPort, for example 8082, which has none." }}
{{- end }}
{{- toJson $errors }}
{{- end }}
