{{/* The scope of the alerts of all releases: the labels of the metrics identify the track. */}}
{{- define "tidegate.alerts.scope" -}}
{{- $namespaces := "" }}
{{- with .Values.namespaces }}
{{- $namespaces = printf ",namespace=~%q" (join "|" .) }}
{{- end }}
{{- $series := printf "release!=\"\"%s" $namespaces }}
{{- dict
      "values" .Values.alerts
      "by" "namespace, release, track, service"
      "byRelease" "namespace, release"
      "series" $series
      "stable" (printf "%s,track=\"stable\"" $series)
      "canary" (printf "%s,track=\"canary\"" $series)
      "deployments" (printf "deployment=~\".+-predictor\"%s" $namespaces)
      "pods" (printf "pod=~\".+-predictor-[a-z0-9]*-?[a-z0-9]{5}\"%s" $namespaces)
      "autoscalers" (printf "horizontalpodautoscaler=~\".+-(hpa|keda)\"%s" $namespaces)
      "leases" (printf "lease=~\".+-rollout\"%s" $namespaces)
      "track" "{{ $labels.track }}"
      "release" "{{ $labels.namespace }}/{{ $labels.release }}"
      "labels" dict
    | toYaml }}
{{- end }}
