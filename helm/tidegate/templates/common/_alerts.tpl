{{- /* Generated from helm/common; do not edit. */ -}}
{{/*
The alerting rules: defined once, for the rules of a release and for those of a fleet. A scope is a dict with these keys:

  values       .Values.alerts: thresholds, and the settings of single rules
  by           labels that identify a track in the server's metrics
  byRelease    labels that identify a release in the server's metrics
  series       matchers of a track's metrics
  stable       matchers of the stable track's metrics
  canary       matchers of the canary's metrics; empty for none
  deployments  matchers of its Deployment in kube-state-metrics
  pods         matchers of its pods in kube-state-metrics
  autoscalers  matchers of its autoscaler in kube-state-metrics; empty for none
  leases       matchers of the Lease of its rollout in kube-state-metrics
  track        the track's name in a summary
  release      the release's name in a summary
  labels       labels of every alert, which identify the track; empty if the expressions have them
*/}}

{{/*
Kube-state-metrics knows Deployments, pods and autoscalers, and no tracks. The expressions of a fleet take the labels of
the track from its newest metrics within a day. Those of a release need no metrics of the server, because the rule has
the labels.
*/}}
{{- define "tidegate.alerts.identified" -}}
{{- if .scope.labels -}}
{{ .expression }}
{{- else -}}
label_replace({{ .expression }}, "service", {{ .service | quote }}, {{ .label | quote }}, {{ .pattern | quote }})
  * on (namespace, service) group_left (release, track)
  group by (namespace, release, track, service) (last_over_time(tidegate_model_info{ {{- .scope.series }}}[1d]))
{{- end -}}
{{- end }}

{{- define "tidegate.alerts.definitions" -}}
{{- $values := .values }}
{{- $errors := printf `%s,code=~"50[0-3]|INTERNAL|UNKNOWN|UNAVAILABLE"` .series }}
{{- $rejections := printf `%s,code=~"429|RESOURCE_EXHAUSTED|504|DEADLINE_EXCEEDED"` .series }}
{{- $enough := printf "%v" $values.minErrorResponses }}
# docs/monitoring.md defines the error rate: server errors only, because clients cause 4xx.
- alert: TidegateHighErrorRate
  expr: |
    sum by ({{ .by }}) (rate(tidegate_requests_total{ {{- $errors }}}[5m]))
      / sum by ({{ .by }}) (rate(tidegate_requests_total{ {{- .series }}}[5m])) > {{ $values.errorRatio }}
      and sum by ({{ .by }}) (increase(tidegate_requests_total{ {{- $errors }}}[5m])) >= {{ $enough }}
  for: 5m
  severity: critical
  summary: {{ printf `Error rate of the %s track of %s is {{ $value | humanizePercentage }}, above %v%%.` .track .release (mulf 100 $values.errorRatio) | quote }}
  description: {{ printf "Responses with a server error (HTTP 500 to 503, or INTERNAL, UNKNOWN, UNAVAILABLE) exceed the threshold, and at least %s arrived within 5 minutes. The server log has the cause." $enough | quote }}
- alert: TidegateHighLatency
  expr: |
    histogram_quantile(0.99, sum by ({{ .by }}, le) (rate(tidegate_request_duration_seconds_bucket{ {{- .series }}}[5m]))) > {{ $values.p99Seconds }}
      and sum by ({{ .by }}) (increase(tidegate_request_duration_seconds_count{ {{- .series }}}[5m])) >= {{ $values.minRequests }}
  for: 10m
  severity: warning
  summary: {{ printf `99th percentile latency of the %s track of %s is {{ $value | humanizeDuration }}, above %vs.` .track .release $values.p99Seconds | quote }}
  description: {{ printf "The 99th percentile of the request duration exceeds the threshold, with at least %v requests in 5 minutes." $values.minRequests | quote }}
- alert: TidegateOverloaded
  expr: |
    sum by ({{ .by }}) (rate(tidegate_requests_total{ {{- $rejections }}}[5m]))
      / sum by ({{ .by }}) (rate(tidegate_requests_total{ {{- .series }}}[5m])) > {{ $values.rejectedRatio }}
      and sum by ({{ .by }}) (increase(tidegate_requests_total{ {{- $rejections }}}[5m])) >= {{ $enough }}
  for: 5m
  severity: warning
  summary: {{ printf `Rate of requests to the %s track of %s rejected because of overload is {{ $value | humanizePercentage }}, above %v%%.` .track .release (mulf 100 $values.rejectedRatio) | quote }}
  description: {{ printf "Responses with 429 or 504 (RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED) exceed the threshold, and at least %s arrived within 5 minutes. The load needs more replicas." $enough | quote }}
- alert: TidegateNotReady
  expr: |
    {{- $unavailable := printf "max by (namespace, deployment) (kube_deployment_status_replicas_available{%s}) == 0" .deployments }}
    {{- include "tidegate.alerts.identified" (dict "scope" . "expression" $unavailable "service" "$1" "label" "deployment" "pattern" "(.+)") | nindent 4 }}
  for: 5m
  severity: critical
  summary: {{ printf `The %s track of %s has {{ $value }} available replicas, below 1.` .track .release | quote }}
  description: The track has no ready replica, so all its requests fail.
- alert: TidegatePodCrashLooping
  expr: |
    {{- $looping := printf `max by (namespace, pod) (max_over_time(kube_pod_container_status_waiting_reason{%s,reason="CrashLoopBackOff"}[5m]) or max_over_time(kube_pod_init_container_status_waiting_reason{%s,reason="CrashLoopBackOff"}[5m])) >= 1` .pods .pods }}
    {{- include "tidegate.alerts.identified" (dict "scope" . "expression" $looping "service" "$1" "label" "pod" "pattern" "(.+-predictor)-[a-z0-9]*-?[a-z0-9]{5}") | nindent 4 }}
  for: 10m
  severity: warning
  summary: {{ printf `Pod {{ $labels.pod }} of the %s track of %s is in CrashLoopBackOff.` .track .release | quote }}
  description: A container of the pod fails repeatedly. The log of its previous run has the cause.
- alert: TidegateTargetDown
  {{- if .labels }}
  expr: absent(up{ {{- .series }}} == 1)
  {{- else }}
  expr: |
    {{- $available := printf "max by (namespace, deployment) (kube_deployment_status_replicas_available{%s}) > 0" .deployments }}
    group by ({{ .by }}) (
    {{- include "tidegate.alerts.identified" (dict "scope" . "expression" $available "service" "$1" "label" "deployment" "pattern" "(.+)") | nindent 6 }}
    ) unless on (namespace, service) up{ {{- .series }}} == 1
  {{- end }}
  for: 10m
  severity: warning
  summary: {{ printf "The %s track of %s has 0 scraped replicas, below 1." .track .release | quote }}
  description: Prometheus scrapes no replica of the track. The alerts on request metrics cannot fire, and KEDA has no value to scale by if it queries Prometheus.
{{- with .autoscalers }}
- alert: TidegateMaxReplicasReached
  expr: |
    {{- $replicas := printf "max by (namespace, horizontalpodautoscaler) (kube_horizontalpodautoscaler_%%s{%s})" . }}
    {{- $max := printf $replicas "spec_max_replicas" }}
    {{- $reached := printf "(%s >= %s and %s > %s)" (printf $replicas "status_current_replicas") $max $max (printf $replicas "spec_min_replicas") }}
    {{- include "tidegate.alerts.identified" (dict "scope" $ "expression" $reached "service" "$1-predictor" "label" "horizontalpodautoscaler" "pattern" "(.+)-(hpa|keda)") | nindent 4 }}
  for: 15m
  severity: warning
  summary: {{ printf `The %s track of %s has {{ $value }} replicas, equal to the maximum.` $.track $.release | quote }}
  description: The autoscaler is at its maximum. It adds no replica if the load grows.
{{- end }}
{{- if .canary }}
{{- $canary := printf "sum by (%s) (rate(tidegate_requests_total{%s}[10m]))" .byRelease .canary }}
{{- $stable := printf "sum by (%s) (rate(tidegate_requests_total{%s}[10m]))" .byRelease .stable }}
# Both tracks receive random samples of the same requests, so the canary causes every difference, even in 4xx.
# Without requests the stable track's rate is 0 / 0, which ">= 0" drops, and 0 takes its place.
- alert: TidegateCanaryErrorRate
  expr: |
    sum by ({{ .byRelease }}) (rate(tidegate_requests_total{ {{- .canary }},code!~"200|OK"}[10m])) / {{ $canary }}
      - (sum by ({{ .byRelease }}) (rate(tidegate_requests_total{ {{- .stable }},code!~"200|OK"}[10m])) / {{ $stable }} >= 0 or 0 * {{ $canary }})
      > {{ $values.canaryExcessRatio }}
      and sum by ({{ .byRelease }}) (increase(tidegate_requests_total{ {{- .canary }}}[10m])) >= {{ $values.minRequests }}
      and sum by ({{ .byRelease }}) (increase(tidegate_requests_total{ {{- .canary }},code!~"200|OK"}[10m])) >= {{ $enough }}
  for: 2m
  severity: critical
  track: canary
  summary: {{ printf `Error responses of the canary of %s exceed those of the stable track by {{ $value | humanizePercentage }} of requests, above %v%%.` .release (mulf 100 $values.canaryExcessRatio) | quote }}
  description: {{ printf "The fraction of responses other than success was higher for the canary than for the stable track, over 10 minutes, at least %v requests and at least %s error responses." $values.minRequests $enough | quote }}
# The holder of the Lease renews it every 10 s. A Lease without a canary is that of a rollout that has ended.
- alert: TidegateRolloutStalled
  expr: |
    max by ({{ .byRelease }}) (label_replace(time() - kube_lease_renew_time{ {{- .leases }}}, "release", "$1", "lease", "(.+)-rollout")) > 60
      and on ({{ .byRelease }}) group by ({{ .byRelease }}) (tidegate_model_info{ {{- .canary }}})
  for: 15m
  severity: warning
  track: canary
  summary: {{ printf `No process has controlled the rollout of %s for {{ $value | humanizeDuration }}, and its canary still runs.` .release | quote }}
  description: The rollout is held, or its process was killed. The canary keeps its weight until the rollout is continued or ended.
{{- end }}
- alert: TidegateFeatureDrift
  expr: avg by ({{ .by }}, feature) (tidegate_feature_drift_psi{ {{- .series }}}) > {{ $values.driftPsi }}
  for: 15m
  severity: warning
  summary: {{ printf `PSI of the feature {{ $labels.feature }} in the %s track of %s is {{ printf "%%.2f" $value }}, above %v.` .track .release $values.driftPsi | quote }}
  description: The population stability index (PSI) compares the requests with the training data. It exceeds the threshold.
- alert: TidegatePredictionDrift
  expr: avg by ({{ .by }}) (tidegate_prediction_drift_psi{ {{- .series }}}) > {{ $values.driftPsi }}
  for: 15m
  severity: warning
  summary: {{ printf `PSI of the predictions of the %s track of %s is {{ printf "%%.2f" $value }}, above %v.` .track .release $values.driftPsi | quote }}
  description: The population stability index (PSI) compares the predictions with those for held-out rows in training. It exceeds the threshold.
- alert: TidegateInputViolations
  expr: |
    sum by ({{ .by }}) (rate(tidegate_input_violations_total{ {{- .series }}}[10m]))
      / sum by ({{ .by }}) (rate(tidegate_requests_total{ {{- .series }}}[10m])) > {{ $values.violationRatio }}
      and sum by ({{ .by }}) (increase(tidegate_input_violations_total{ {{- .series }}}[10m])) >= {{ $enough }}
  for: 10m
  severity: warning
  summary: {{ printf `Rate of input violations of the %s track of %s is {{ $value | humanizePercentage }} of requests, above %v%%.` .track .release (mulf 100 $values.violationRatio) | quote }}
  description: {{ printf "Requests with an input that the contract does not allow exceed the threshold, and at least %s arrived within 10 minutes. A client may have changed its inputs." $enough | quote }}
{{- end }}

{{/* The rules of a scope as a YAML list: the definitions with the settings of single rules and with their labels. */}}
{{- define "tidegate.alerts.rules" -}}
{{- $scope := . }}
{{- $rules := list }}
{{- range include "tidegate.alerts.definitions" . | fromYamlArray }}
{{- $anchor := lower .alert }}
{{- $settings := get $scope.values.rules .alert | default dict }}
{{- if dig "enabled" true $settings }}
{{- $identity := $scope.labels }}
{{- if .track }}
{{- $identity = merge (dict "track" .track) (omit $identity "service") }}
{{- end }}
{{- $severity := dict "severity" ($settings.severity | default .severity) }}
{{- $labels := merge (dict) $identity $severity ($settings.labels | default dict) $scope.values.ruleLabels }}
{{- $annotations := dict "summary" .summary "description" .description }}
{{- with $scope.values.runbookUrl }}
{{- $_ := set $annotations "runbook_url" (printf "%s#%s" (trimSuffix "#" .) $anchor) }}
{{- end }}
{{- $for := $settings.for | default .for }}
{{- $rules = append $rules (dict "alert" .alert "expr" (trim .expr) "for" $for "labels" $labels "annotations" $annotations) }}
{{- end }}
{{- end }}
{{- toYaml $rules }}
{{- end }}
