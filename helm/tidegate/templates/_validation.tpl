{{/*
Rules that the schema cannot express, or whose violation needs an explanation. Every violation fails the rendering before
anything is applied. A message names the value, what it is, what is expected, and the fix. Each "tidegate.validate.*"
returns a JSON list of messages.
*/}}
{{- define "tidegate.validate" -}}
{{- $errors := concat
      (include "tidegate.validate.names" . | fromJsonArray)
      (include "tidegate.validate.model" . | fromJsonArray)
      (include "tidegate.validate.canary" . | fromJsonArray)
      (include "tidegate.validate.capacity" . | fromJsonArray)
      (include "tidegate.validate.autoscaling" . | fromJsonArray)
      (include "tidegate.validate.route" . | fromJsonArray)
      (include "tidegate.validate.server" . | fromJsonArray)
      (include "tidegate.validate.trust" . | fromJsonArray)
      (include "tidegate.validate.tls" . | fromJsonArray)
      (include "tidegate.validate.metadata" . | fromJsonArray)
      (include "tidegate.validate.availability" . | fromJsonArray)
      (include "tidegate.validate.common" . | fromJsonArray) }}
{{- include "tidegate.failOnErrors" $errors }}
{{- end }}

{{/* Budgets that let no node be drained, and an update that could not begin. */}}
{{- define "tidegate.validate.availability" -}}
{{- $errors := list }}
{{- $budget := .Values.podDisruptionBudget }}
{{- range include "tidegate.tracks" . | splitList " " }}
{{- $replicas := include "tidegate.minReplicas" (dict "root" $ "track" .) | int }}
{{- if $budget.enabled }}
{{- if and (kindIs "invalid" $budget.minAvailable) (eq 0 (include "tidegate.pods" (list $budget.maxUnavailable $replicas) | int)) }}
{{- $errors = append $errors (printf "podDisruptionBudget.maxUnavailable is %v, which lets no pod of the %s track be evicted, so no node that has one can be drained: set 1 or more." $budget.maxUnavailable .) }}
{{- else if and (not (kindIs "invalid" $budget.minAvailable)) (ge (include "tidegate.pods" (list $budget.minAvailable $replicas) | int) $replicas) }}
{{- $errors = append $errors (printf "podDisruptionBudget.minAvailable is %v, and the %s track has a minimum of %d replicas: at the minimum, no pod could be evicted, so no node that has one could be drained. Lower it, or raise autoscaling.minReplicas." $budget.minAvailable . $replicas) }}
{{- end }}
{{- end }}
{{- end }}
{{- $rolling := .Values.rollingUpdate }}
{{- if and (has (toString $rolling.maxSurge) (list "0" "0%")) (has (toString $rolling.maxUnavailable) (list "0" "0%")) }}
{{- $errors = append $errors "rollingUpdate.maxSurge and rollingUpdate.maxUnavailable are both 0, so an update could replace no pod: raise one of them." }}
{{- end }}
{{- toJson $errors }}
{{- end }}

{{/* A number of pods, of which a percentage is rounded up, as a PodDisruptionBudget does. Argument: (list <number or percentage> <replicas>). */}}
{{- define "tidegate.pods" -}}
{{- $text := first . | toString -}}
{{- if hasSuffix "%" $text -}}
{{ divf (mulf (trimSuffix "%" $text | float64) (last .)) 100 | ceil | int }}
{{- else -}}
{{ int $text }}
{{- end }}
{{- end }}

{{/* Labels and annotations that only this chart has. */}}
{{- define "tidegate.validate.metadata" -}}
{{- $labels := dict "serviceMonitor.labels" .Values.serviceMonitor.labels "alerts.labels" .Values.alerts.labels "dashboard.labels" .Values.dashboard.labels }}
{{- concat
      (include "tidegate.validate.labels" $labels | fromJsonArray)
      (dict "route.annotations" .Values.route.annotations | include "tidegate.validate.annotations" | fromJsonArray) | toJson }}
{{- end }}

{{- define "tidegate.validate.names" -}}
{{- $errors := list }}
{{- $name := include "tidegate.fullname" . }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) }}
{{- $errors = append $errors (printf "The release's name is %q: KServe expects a letter first, and then only a-z, 0-9 and '-'. Use another release name, or set fullnameOverride." $name) }}
{{- else if hasSuffix "-canary" $name }}
{{- $errors = append $errors (printf "The release's name is %q: the canary of another release could have this name. Use a name without '-canary' at the end, or set fullnameOverride." $name) }}
{{- end }}
{{- range include "tidegate.tracks" . | splitList " " }}
{{- $inferenceService := include "tidegate.inferenceServiceName" (dict "root" $ "track" .) }}
{{- $length := add (len $inferenceService) (len $.Release.Namespace) }}
{{- if gt $length 52 }}
{{- $errors = append $errors (printf "The InferenceService's name %q and the namespace %q have %d characters together: expected at most 52, because KServe builds the host name <name>-predictor-<namespace> of at most 63 characters. Shorten the release's name, or set fullnameOverride." $inferenceService $.Release.Namespace $length) }}
{{- end }}
{{- end }}
{{- toJson $errors }}
{{- end }}

{{- define "tidegate.validate.model" -}}
{{- $errors := list }}
{{- $model := .Values.model }}
{{- $scheme := include "tidegate.bundleScheme" . }}
{{- if not $model.uri }}
{{- $errors = append $errors "model.uri is not set: expected the bundle's store and name, for example --set model.uri=s3://models/breast-cancer." }}
{{- else if contains "@" $model.uri }}
{{- $errors = append $errors (printf "model.uri is %q: expected only the store and the name. Set the part after '@sha256:' as model.digest." $model.uri) }}
{{- else if eq $scheme "file" }}
{{- $errors = append $errors (printf "model.uri is %q, a folder of one machine, which pods do not share: push the bundle to s3://, gs:// or az://, or use a claim that holds the store, pvc://<claim>/<folder>/<name>." $model.uri) }}
{{- else if not (has $scheme (list "s3" "gs" "az" "pvc" "oci")) }}
{{- $errors = append $errors (printf "model.uri is %q: expected s3://, gs:// or az:// and <bucket>/<name>, or pvc://<claim>/<folder>/<name>, or oci://<registry>/<repository>/<name>." $model.uri) }}
{{- else if regexMatch ":[^/]+$" (include "tidegate.bundlePath" .) }}
{{- $errors = append $errors (printf "model.uri is %q: a channel or tag moves, but a release serves a fixed digest. Run 'tidegate inspect' on it, remove ':…' from the URI, and set the printed digest as model.digest." $model.uri) }}
{{- else if not (regexMatch "^[^/\\s]+(/[^/\\s]+)*/[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?$" (include "tidegate.bundlePath" .)) }}
{{- $errors = append $errors (printf "model.uri is %q: expected a store after %s:// and the bundle's name as the last part, in a-z, 0-9 and '-', for example %s://models/breast-cancer." $model.uri $scheme $scheme) }}
{{- end }}
{{- if not $model.digest }}
{{- $errors = append $errors "model.digest is not set: a release serves exactly one bundle. Run 'tidegate inspect <uri>:<channel>' and set the printed digest, --set model.digest=<64 hex digits>." }}
{{- end }}
{{- $digests := dict "model.digest" $model.digest "canary.digest" .Values.canary.digest }}
{{- range $index, $digest := $model.previous }}
{{- $_ := set $digests (printf "model.previous[%d]" $index) $digest }}
{{- end }}
{{- range $index, $digest := .Values.server.allowedJoblibDigests }}
{{- $_ := set $digests (printf "server.allowedJoblibDigests[%d]" $index) $digest }}
{{- end }}
{{- $errors = include "tidegate.validate.digests" $digests | fromJsonArray | concat $errors }}
{{- if and $model.name (not (regexMatch "^[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?$" $model.name)) }}
{{- $errors = append $errors (printf "model.name is %q: expected at most 52 characters of a-z, 0-9 and '-', with a letter or digit first and last. Leave it empty to use the last part of model.uri." $model.name) }}
{{- end }}
{{- $store := .Values.objectStore }}
{{- $sample := .Values.server.requestSample.url | default "" }}
{{- if and $store.endpoint (has $scheme (list "gs" "az")) (not (hasPrefix "s3://" $sample)) }}
{{- $errors = append $errors (printf "objectStore.endpoint is set, but model.uri starts with %s:// and an endpoint belongs to s3://: remove the endpoint." $scheme) }}
{{- end }}
{{- if and (has $scheme (list "pvc" "oci")) (or $store.secretName (and (empty $sample) (or $store.endpoint $store.caConfigMap $store.httpsProxy))) }}
{{- $errors = append $errors (printf "objectStore is set, but model.uri starts with %s://, which does not pull from object storage: remove %s." $scheme (ternary "objectStore's values" "objectStore.secretName" (empty $sample))) }}
{{- end }}
{{- toJson $errors }}
{{- end }}

{{- define "tidegate.validate.canary" -}}
{{- $errors := list }}
{{- $canary := .Values.canary }}
{{- if and (gt (int $canary.weight) 0) (not $canary.digest) }}
{{- $errors = append $errors (printf "canary.weight is %d, but there is no canary: set canary.digest with weight 0 first, and set the weight after 'tidegate status --wait' succeeds." (int $canary.weight)) }}
{{- end }}
{{- if and (gt (int $canary.weight) 0) (not .Values.route.enabled) }}
{{- $errors = append $errors (printf "canary.weight is %d, but there is no route, and only a Gateway divides requests by weight: set route.enabled, route.parentRefs and route.hostnames. In a cluster without a Gateway, set service.enabled and canary.splitByReplicas instead." (int $canary.weight)) }}
{{- end }}
{{- with int $canary.mirrorPercent }}
{{- if not $canary.digest }}
{{- $errors = append $errors (printf "canary.mirrorPercent is %d, but there is no canary: set canary.digest with canary.mirrorPercent 0 first, and set the percentage after 'tidegate status --wait' succeeds." .) }}
{{- end }}
{{- if not $.Values.route.enabled }}
{{- $errors = append $errors (printf "canary.mirrorPercent is %d, but there is no route, and only a Gateway mirrors requests: set route.enabled, route.parentRefs and route.hostnames, or set canary.mirrorPercent to 0 and compare the tracks by golden requests." .) }}
{{- end }}
{{- if eq (int $canary.weight) 100 }}
{{- $errors = append $errors (printf "canary.mirrorPercent is %d and canary.weight is 100, so the canary would receive its own requests twice: set canary.mirrorPercent to 0." .) }}
{{- end }}
{{- end }}
{{- if $canary.splitByReplicas }}
{{- if not $canary.digest }}
{{- $errors = append $errors "canary.splitByReplicas is true, but there is no canary: set canary.digest with canary.splitByReplicas false first, and set it to true after 'tidegate status --wait' succeeds." }}
{{- end }}
{{- if not .Values.service.enabled }}
{{- $errors = append $errors "canary.splitByReplicas is true, but there is no Service that selects both tracks: set service.enabled." }}
{{- end }}
{{- if or (int $canary.weight) (int $canary.mirrorPercent) }}
{{- $errors = append $errors (printf "canary.splitByReplicas is true, and canary.weight is %d and canary.mirrorPercent is %d: requests are divided by a Gateway or by replicas. Set canary.splitByReplicas to false, or the two others to 0." (int $canary.weight) (int $canary.mirrorPercent)) }}
{{- end }}
{{- end }}
{{- toJson $errors }}
{{- end }}

{{/*
The values of a capacity file hold for one bundle. With a canary, this is the bundle of either track: the autoscaler's
values are the same for both tracks, and the digests always differ.
*/}}
{{- define "tidegate.validate.capacity" -}}
{{- $errors := include "tidegate.validate.digests" (dict "capacity.digest" .Values.capacity.digest) | fromJsonArray }}
{{- $measured := trimPrefix "sha256:" .Values.capacity.digest }}
{{- $served := list (trimPrefix "sha256:" .Values.model.digest) (trimPrefix "sha256:" .Values.canary.digest) }}
{{- if and $measured (not .Values.capacity.allowOtherDigest) (not (has $measured $served)) }}
{{- $errors = append $errors (printf "capacity.digest is %q, but this release serves %q: the replicas and targets of a capacity file hold for its bundle only. Run 'tidegate loadtest capacity' for the served bundle, or set capacity.allowOtherDigest to true." $measured (without $served "" | join ", ")) }}
{{- end }}
{{- toJson $errors }}
{{- end }}

{{- define "tidegate.validate.autoscaling" -}}
{{- $errors := list }}
{{- $scaling := .Values.autoscaling }}
{{- range include "tidegate.tracks" . | splitList " " }}
{{- $scope := dict "root" $ "track" . }}
{{- $min := include "tidegate.minReplicas" $scope | int }}
{{- $max := include "tidegate.maxReplicas" $scope | int }}
{{- if and (ne $scaling.type "none") (gt $min $max) }}
{{- $errors = append $errors (printf "The %s track's minReplicas is %d and exceeds its maxReplicas, %d: lower the minimum or raise the maximum." . $min $max) }}
{{- end }}
{{- end }}
{{- $cpu := .Values.resources.requests.cpu }}
{{- if and (eq $scaling.type "hpa") (not $scaling.metrics) (eq 0.0 (include "tidegate.quantity" $cpu | float64)) }}
{{- $errors = append $errors (printf "resources.requests.cpu is %v, but the autoscaler's target is a percentage of it: request CPU, for example 500m, or set autoscaling.metrics to other metrics." $cpu) }}
{{- end }}
{{- if ne $scaling.type "none" }}
{{- $grace := include "tidegate.terminationGracePeriodSeconds" . | int }}
{{- $down := $scaling.behavior.scaleDown | default dict }}
{{- if eq (get $down "selectPolicy" | toString) "Disabled" }}
{{- else if gt $grace 1800 }}
{{- $errors = append $errors (printf "A pod takes up to %d s to stop (server.drainSeconds + server.shutdownTimeoutSeconds + 5), but an autoscaler can wait at most 1800 s for it: lower one of them, or set autoscaling.type to none." $grace) }}
{{- else if not $down.policies }}
{{- $errors = append $errors "autoscaling.behavior.scaleDown has no policies: Kubernetes' default policy would remove all replicas above the minimum every 15 s. Set a policy, for example [{type: Pods, value: 1, periodSeconds: 60}], or set selectPolicy to Disabled." }}
{{- else }}
{{- range $down.policies }}
{{- if lt (int .periodSeconds) $grace }}
{{- $errors = append $errors (printf "autoscaling.behavior.scaleDown removes replicas every %d s, but a pod takes up to %d s to stop (server.drainSeconds + server.shutdownTimeoutSeconds + 5): set periodSeconds to %d or more." (int .periodSeconds) $grace $grace) }}
{{- end }}
{{- if and (eq .type "Percent") (ge (int .value) 100) }}
{{- $errors = append $errors (printf "autoscaling.behavior.scaleDown has a policy of %d percent, which removes all replicas above the minimum at once: set its value below 100, or its type to Pods." (int .value)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- $prometheus := and (eq $scaling.type "keda") (eq $scaling.keda.source "prometheus") }}
{{- if and $prometheus (not $scaling.keda.prometheusAddress) }}
{{- $errors = append $errors "autoscaling.keda.source is prometheus, but autoscaling.keda.prometheusAddress is not set: set Prometheus' URL, for example http://prometheus-operated.monitoring:9090, or set the source to metrics-api, which needs no Prometheus." }}
{{- end }}
{{- $prometheusOnly := dict "prometheusAddress" $scaling.keda.prometheusAddress "query" $scaling.keda.query
      "authModes" $scaling.keda.authModes "authenticationRef" $scaling.keda.authenticationRef.name }}
{{- range $name, $value := $prometheusOnly }}
{{- if and (eq $scaling.type "keda") (not $prometheus) $value }}
{{- $errors = append $errors (printf "autoscaling.keda.%s is set, but autoscaling.keda.source is metrics-api, which reads the pods and no Prometheus: remove it, or set the source to prometheus." $name) }}
{{- end }}
{{- end }}
{{- if and (eq $scaling.type "keda") (not $prometheus) .Values.networkPolicy.enabled (not $scaling.keda.namespace) }}
{{- $errors = append $errors "autoscaling.keda.namespace is empty, but networkPolicy.enabled is true and KEDA's operator reads the metrics of the pods: set the namespace of the operator, for example keda." }}
{{- end }}
{{- if and $prometheus (not $scaling.keda.query) (not .Values.serviceMonitor.enabled) }}
{{- $errors = append $errors "autoscaling.keda.source is prometheus with the chart's own query, but Prometheus does not scrape the metric of that query: set serviceMonitor.enabled, or set autoscaling.keda.query if Prometheus scrapes the pods in another way." }}
{{- end }}
{{- if and $prometheus $scaling.keda.query .Values.canary.digest (not (contains "@SERVICE@" $scaling.keda.query)) }}
{{- $errors = append $errors (printf "autoscaling.keda.query is %q and there is a canary, but the query does not select one track's load, so both tracks would scale alike: write @SERVICE@ in place of the track's Service, for example sum(rate(tidegate_request_duration_seconds_sum{namespace=%q,service=\"@SERVICE@\"}[1m]))." $scaling.keda.query $.Release.Namespace) }}
{{- end }}
{{- $fallback := int $scaling.keda.fallbackReplicas }}
{{- if and (eq $scaling.type "keda") (gt $fallback (int $scaling.maxReplicas)) }}
{{- $errors = append $errors (printf "autoscaling.keda.fallbackReplicas is %d and exceeds autoscaling.maxReplicas, %d: lower the fallback or raise the maximum." $fallback (int $scaling.maxReplicas)) }}
{{- end }}
{{- range $index, $trigger := $scaling.keda.triggers }}
{{- if ne $scaling.type "keda" }}
{{- $errors = append $errors (printf "autoscaling.keda.triggers[%d] is set, but autoscaling.type is %s: remove it, or set the type to keda." $index $scaling.type) }}
{{- else if and $.Values.canary.digest (not (has $trigger.type (list "cron" "cpu" "memory"))) (not (contains "@SERVICE@" (toYaml $trigger))) }}
{{- $errors = append $errors (printf "autoscaling.keda.triggers[%d], of type %s, has no @SERVICE@ and there is a canary: both tracks would scale by the same value. Write @SERVICE@ in place of the track's Service." $index $trigger.type) }}
{{- end }}
{{- end }}
{{- range $index, $metric := $scaling.metrics }}
{{- if and $.Values.canary.digest (has $metric.type (list "External" "Object")) (not (contains "@SERVICE@" (toYaml $metric))) }}
{{- $errors = append $errors (printf "autoscaling.metrics[%d], of type %s, has no @SERVICE@ and there is a canary: both tracks would scale by the same value. Write @SERVICE@ in place of the track's Service, for example in the metric's selector." $index $metric.type) }}
{{- end }}
{{- end }}
{{- if and (eq $scaling.type "keda") (.Capabilities.APIVersions.Has "keda.sh/v1alpha1/ScaledObject") }}
{{- range include "tidegate.tracks" . | splitList " " }}
{{- $name := include "tidegate.inferenceServiceName" (dict "root" $ "track" .) }}
{{- $applied := lookup "keda.sh/v1alpha1" "ScaledObject" $.Release.Namespace $name | default dict }}
{{- if and (dig "spec" "fallback" dict $applied) (not (dig "spec" "fallback" "behavior" "" $applied)) }}
{{- $errors = append $errors (printf "The ScaledObject %q has lost fallback.behavior, which KEDA before 2.17 does not have: without it, the replicas fall to fallbackReplicas while the metric is missing. Upgrade KEDA with its custom resource definitions, or set autoscaling.type to hpa." $name) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and $scaling.metrics (ne $scaling.type "hpa") }}
{{- $errors = append $errors (printf "autoscaling.metrics is set, but autoscaling.type is %s and metrics belong to hpa: remove the metrics, or set the type to hpa." $scaling.type) }}
{{- end }}
{{- toJson $errors }}
{{- end }}

{{- define "tidegate.validate.route" -}}
{{- $errors := list }}
{{- $route := .Values.route }}
{{- if $route.enabled }}
{{- $request := int $route.requestTimeoutSeconds }}
{{- $shutdown := int .Values.server.shutdownTimeoutSeconds }}
{{- if gt $request $shutdown }}
{{- $errors = append $errors (printf "route.requestTimeoutSeconds is %d and exceeds server.shutdownTimeoutSeconds, %d: a stopping server would end requests that the route still allows. Lower the route's timeout, or raise the server's." $request $shutdown) }}
{{- end }}
{{- if not $route.parentRefs }}
{{- $errors = append $errors "route.enabled is true, but route.parentRefs is empty: set the Gateway, for example [{name: public, namespace: gateways}]." }}
{{- end }}
{{- if not $route.hostnames }}
{{- $errors = append $errors "route.enabled is true, but route.hostnames is empty: a route for every host would receive the requests of other models. Set a host name, for example [breast-cancer.models.example.com]." }}
{{- end }}
{{- range $route.hostnames }}
{{- if not (and (regexMatch "^(\\*\\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$" .) (le (len .) 253)) }}
{{- $errors = append $errors (printf "route.hostnames has %q: expected a host name in lower case, without scheme, port or path (the Gateway's listener has these), for example breast-cancer.models.example.com." .) }}
{{- else if regexMatch "^[0-9.]+$" . }}
{{- $errors = append $errors (printf "route.hostnames has %q, an IP address, which an HTTPRoute cannot match: set a host name that resolves to it." .) }}
{{- end }}
{{- end }}
{{- $attempt := .Values.backendTrafficPolicy.perRetryTimeoutSeconds }}
{{- if .Values.backendTrafficPolicy.enabled }}
{{- if le (float64 $attempt) (float64 .Values.server.maxQueueDelaySeconds) }}
{{- $errors = append $errors (printf "backendTrafficPolicy.perRetryTimeoutSeconds is %v and does not exceed server.maxQueueDelaySeconds, %v: the Gateway would send requests again that still wait for the engine, and so double an overload. Raise the first or lower the second." $attempt .Values.server.maxQueueDelaySeconds) }}
{{- end }}
{{- if and $request (ge (float64 $attempt) (float64 $request)) }}
{{- $errors = append $errors (printf "backendTrafficPolicy.perRetryTimeoutSeconds is %v and does not fit into route.requestTimeoutSeconds, %d: a request to a lost node would end before its retry. Lower the first or raise the second." $attempt $request) }}
{{- end }}
{{- end }}
{{- else if .Values.backendTrafficPolicy.enabled }}
{{- $errors = append $errors "backendTrafficPolicy.enabled is true, but there is no route to which the policy applies: set route.enabled, or set backendTrafficPolicy.enabled to false." }}
{{- end }}
{{- toJson $errors }}
{{- end }}

{{- define "tidegate.validate.server" -}}
{{- $errors := dict "resources" .Values.resources | include "tidegate.validate.resources" | fromJsonArray }}
{{- $valueOfVariable := dict
      "TIDEGATE_DRAIN_SECONDS" "drainSeconds" "TIDEGATE_SHUTDOWN_TIMEOUT" "shutdownTimeoutSeconds"
      "TIDEGATE_MAX_ROWS" "maxRows" "TIDEGATE_MAX_BODY_BYTES" "maxBodyBytes" "TIDEGATE_ENGINE" "engine"
      "TIDEGATE_PREDICTOR" "predictor" "TIDEGATE_METRICS_PORT" "metricsPort"
      "TIDEGATE_MAX_QUEUE_DELAY" "maxQueueDelaySeconds" "TIDEGATE_GRPC_TRANSPORT" "grpcTransport" "TIDEGATE_PAIRS_SAMPLE_RATE" "pairsSampleRate"
      "TIDEGATE_REQUEST_SAMPLE_URL" "requestSample.url" "TIDEGATE_REQUEST_SAMPLE_RATE" "requestSample.rate"
      "TIDEGATE_REQUEST_SAMPLE_SENSITIVITY" "requestSample.sensitivity" "TIDEGATE_REQUEST_SAMPLE_HOURLY_BYTES" "requestSample.hourlyBytes"
      "TIDEGATE_TRUSTED_TYPE" "trustedTypes" "TIDEGATE_ALLOW_JOBLIB_DIGEST" "allowedJoblibDigests" "TIDEGATE_ACCESS_LOG" "accessLog" }}
{{- if has (toString .Values.server.metricsPort) (list "8080" "8081" (include "tidegate.shadowHTTPPort" .) (include "tidegate.shadowGRPCPort" .) "8085") }}
{{- $errors = append $errors (printf "server.metricsPort is %v, which the server uses for requests, mirrored requests or samples: set another, for example 8082." .Values.server.metricsPort) }}
{{- end }}
{{- if and .Values.networkPolicy.metricsFrom (not .Values.server.metricsPort) }}
{{- $errors = append $errors "networkPolicy.metricsFrom is set, but /metrics is on the port of REST, which all clients reach: set server.metricsPort, for example 8082." }}
{{- end }}
{{- with .Values.server.predictor }}
{{- if not (regexMatch "^[A-Za-z_][A-Za-z0-9_]*([.][A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$" .) }}
{{- $errors = append $errors (printf "server.predictor is %q: expected a class as package.module:Class, for example loan_rules.predictor:LoanPredictor. Its package belongs into the image." .) }}
{{- end }}
{{- end }}
{{- range $value, $variables := dict "server.env" .Values.server.env "extraEnv" .Values.extraEnv }}
{{- range $variables }}
{{- if eq .name "PYTHONPATH" }}
{{- $errors = append $errors (printf "%s sets PYTHONPATH, which KServe rejects because it adds code to the server: remove it, and add the code to the image." $value) }}
{{- else if has .name (list "TIDEGATE_HTTP_PORT" "TIDEGATE_GRPC_PORT" "TIDEGATE_HOST" "TIDEGATE_SHADOW_HTTP_PORT" "TIDEGATE_SHADOW_GRPC_PORT" "TIDEGATE_PAIRS_PORT") }}
{{- $errors = append $errors (printf "%s sets %s, but the Services and the probes expect the server at the chart's address and ports: remove it." $value .name) }}
{{- else if eq .name "TIDEGATE_POLICY" }}
{{- $errors = append $errors (printf "%s sets TIDEGATE_POLICY, which the chart sets from values: use trust." $value) }}
{{- else if has .name (list "KSERVE_TLS_CERT_FILE" "KSERVE_TLS_KEY_FILE") }}
{{- $errors = append $errors (printf "%s sets %s, but the probes and the Gateway would not use TLS: set server.tls.secretName." $value .name) }}
{{- else if hasKey $valueOfVariable .name }}
{{- $errors = append $errors (printf "%s sets %s, which the chart sets from a value: use server.%s." $value .name (get $valueOfVariable .name)) }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson $errors }}
{{- end }}
