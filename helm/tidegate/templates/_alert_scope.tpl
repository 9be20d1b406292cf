{{/*
The scope of the alerts of one track. The rules have the labels of the track themselves, because an alert on a metric that is
absent, or that is not the server's, has no labels to take them from. It takes (dict "root" $ "track" "stable").
*/}}
{{- define "tidegate.alerts.scope" -}}
{{- $namespace := .root.Release.Namespace }}
{{- $service := include "tidegate.predictorName" . }}
{{- $stable := include "tidegate.predictorName" (dict "root" .root "track" "stable") }}
{{- $series := printf "namespace=%q,service=%q" $namespace $service }}
{{- $name := include "tidegate.fullname" .root }}
{{- dict
      "values" .root.Values.alerts
      "by" "namespace, service"
      "byRelease" "namespace"
      "series" $series
      "stable" (printf "namespace=%q,service=%q" $namespace $stable)
      "canary" (eq .track "canary" | ternary $series "")
      "deployments" (printf "namespace=%q,deployment=%q" $namespace $service)
      "pods" (printf "namespace=%q,pod=~\"%s-[a-z0-9]*-?[a-z0-9]{5}\"" $namespace $service)
      "autoscalers" (eq .root.Values.autoscaling.type "none" | ternary "" (printf "namespace=%q,horizontalpodautoscaler=%q" $namespace (include "tidegate.autoscalerName" .)))
      "leases" (printf "namespace=%q,lease=\"%s-rollout\"" $namespace $name)
      "track" .track
      "release" (printf "%s/%s" $namespace $name)
      "labels" (dict "namespace" $namespace "release" $name "track" .track "service" $service)
    | toYaml }}
{{- end }}
