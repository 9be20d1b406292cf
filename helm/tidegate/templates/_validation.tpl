{{/*
Every combination of values that cannot work, found before anything is applied: one sentence each, naming the value,
what is wrong with it and what to write instead. Types, ranges and unknown keys are the schema's part.
*/}}
{{- define "tidegate.validate" -}}
{{- $errors := concat
      (include "tidegate.validate.names" . | fromJsonArray)
      (include "tidegate.validate.model" . | fromJsonArray)
      (include "tidegate.validate.canary" . | fromJsonArray)
      (include "tidegate.validate.autoscaling" . | fromJsonArray)
      (include "tidegate.validate.route" . | fromJsonArray)
      (include "tidegate.validate.server" . | fromJsonArray)
      (include "tidegate.validate.common" . | fromJsonArray) }}
{{- include "tidegate.failOnErrors" $errors }}
{{- end }}

{{- define "tidegate.validate.names" -}}
{{- $errors := list }}
{{- $name := include "tidegate.fullname" . }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) }}
{{- $errors = append $errors (printf "The release is named %q, and KServe wants a letter first and then only a-z, 0-9 and '-': name the release otherwise, or set fullnameOverride." $name) }}
{{- else if hasSuffix "-canary" $name }}
{{- $errors = append $errors (printf "The release is named %q, which is what the canary of another release would be called: name it without '-canary' at the end, or set fullnameOverride." $name) }}
{{- end }}
{{- range include "tidegate.tracks" . | splitList " " }}
{{- $isvc := include "tidegate.inferenceServiceName" (dict "root" $ "track" .) }}
{{- $length := add (len $isvc) (len $.Release.Namespace) }}
{{- if gt $length 52 }}
{{- $errors = append $errors (printf "The InferenceService %q in the namespace %q is named too long: KServe makes the host name <name>-predictor-<namespace> of at most 63 characters, so both together may have 52, and have %d; shorten the release's name or set fullnameOverride." $isvc $.Release.Namespace $length) }}
{{- end }}
{{- end }}
{{- toJson $errors }}
{{- end }}

{{- define "tidegate.validate.model" -}}
{{- $errors := list }}
{{- $model := .Values.model }}
{{- $scheme := include "tidegate.bundleScheme" . }}
{{- if not $model.uri }}
{{- $errors = append $errors "model.uri is not set: give the bundle's store and name, for example --set model.uri=s3://models/breast-cancer." }}
{{- else if contains "@" $model.uri }}
{{- $errors = append $errors (printf "model.uri is %q: give the store and the name alone, and what follows '@sha256:' as model.digest." $model.uri) }}
{{- else if eq $scheme "file" }}
{{- $errors = append $errors (printf "model.uri is %q, a folder of one machine that pods do not share: push the bundle to s3://, gs:// or az://, or name a claim that holds the store as pvc://<claim>/<folder>/<name>." $model.uri) }}
{{- else if not (has $scheme (list "s3" "gs" "az" "pvc" "oci")) }}
{{- $errors = append $errors (printf "model.uri is %q: expected s3://, gs:// or az:// and <bucket>/<name>, or pvc://<claim>/<folder>/<name>, or oci://<registry>/<repository>/<name>." $model.uri) }}
{{- else if regexMatch ":[^/]+$" (include "tidegate.bundlePath" .) }}
{{- $errors = append $errors (printf "model.uri is %q: a channel or tag moves, and a release is pinned; run 'tidegate inspect' on it, and give the URI without ':…' and the digest as model.digest." $model.uri) }}
{{- else if not (regexMatch "^[^/\\s]+(/[^/\\s]+)*/[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?$" (include "tidegate.bundlePath" .)) }}
{{- $errors = append $errors (printf "model.uri is %q: after %s:// it has to name a place and, as its last part, the bundle in a-z, 0-9 and '-', for example %s://models/breast-cancer." $model.uri $scheme $scheme) }}
{{- end }}
{{- if not $model.digest }}
{{- $errors = append $errors "model.digest is not set: a release serves exactly one bundle; 'tidegate inspect <uri>:<channel>' prints the digest, to be given as --set model.digest=<64 hex digits>." }}
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
{{- $errors = append $errors (printf "model.name is %q: expected at most 52 characters of a-z, 0-9 and '-', neither first nor last a '-'; leave it empty for the last part of model.uri." $model.name) }}
{{- end }}
{{- $store := .Values.objectStore }}
{{- if and $store.endpoint (has $scheme (list "gs" "az")) }}
{{- $errors = append $errors (printf "objectStore.endpoint is set and model.uri begins with %s://: an endpoint belongs to s3://; remove it." $scheme) }}
{{- end }}
{{- if and (has $scheme (list "pvc" "oci")) (or $store.secretName $store.endpoint $store.caConfigMap $store.httpsProxy) }}
{{- $errors = append $errors (printf "objectStore is set and model.uri begins with %s://, which pulls nothing from object storage: remove objectStore's values." $scheme) }}
{{- end }}
{{- toJson $errors }}
{{- end }}

{{- define "tidegate.validate.canary" -}}
{{- $errors := list }}
{{- $canary := .Values.canary }}
{{- if and (gt (int $canary.weight) 0) (not $canary.digest) }}
{{- $errors = append $errors (printf "canary.weight is %d and there is no canary: set canary.digest, at weight 0 first, and the weight when 'tidegate status --wait' says that the canary serves." (int $canary.weight)) }}
{{- end }}
{{- if and (gt (int $canary.weight) 0) (not .Values.route.enabled) }}
{{- $errors = append $errors (printf "canary.weight is %d and there is no route: only a Gateway divides requests, so set route.enabled, route.parentRefs and route.hostnames." (int $canary.weight)) }}
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
{{- $errors = append $errors (printf "The %s track may have at least %d and at most %d replicas: raise its maxReplicas or lower its minReplicas." . $min $max) }}
{{- end }}
{{- end }}
{{- if ne $scaling.type "none" }}
{{- $grace := include "tidegate.terminationGracePeriodSeconds" . | int }}
{{- $down := $scaling.behavior.scaleDown | default dict }}
{{- if eq (get $down "selectPolicy" | toString) "Disabled" }}
{{- else if gt $grace 1800 }}
{{- $errors = append $errors (printf "A pod takes up to %d s to go (server.drainSeconds + server.shutdownTimeoutSeconds + 5), and an autoscaler that waits for it has at most 1800 s: lower one of them, or set autoscaling.type to none." $grace) }}
{{- else if not $down.policies }}
{{- $errors = append $errors "autoscaling.behavior.scaleDown has no policies, and Kubernetes' own would take all replicas above the minimum away every 15 s: give one, for example [{type: Pods, value: 1, periodSeconds: 60}], or selectPolicy Disabled." }}
{{- else }}
{{- range $down.policies }}
{{- if lt (int .periodSeconds) $grace }}
{{- $errors = append $errors (printf "autoscaling.behavior.scaleDown removes replicas every %d s, and one takes up to %d s to go (server.drainSeconds + server.shutdownTimeoutSeconds + 5): set periodSeconds to %d or more." (int .periodSeconds) $grace $grace) }}
{{- end }}
{{- if and (eq .type "Percent") (ge (int .value) 100) }}
{{- $errors = append $errors (printf "autoscaling.behavior.scaleDown has a policy of %d percent, which takes all replicas above the minimum away at once: set its value below 100, or its type to Pods." (int .value)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- if and (eq $scaling.type "keda") (not $scaling.keda.prometheusAddress) }}
{{- $errors = append $errors "autoscaling.type is keda and autoscaling.keda.prometheusAddress is not set: give Prometheus' address, for example http://prometheus-operated.monitoring:9090." }}
{{- end }}
{{- if and (eq $scaling.type "keda") (not $scaling.keda.query) (not .Values.serviceMonitor.enabled) }}
{{- $errors = append $errors "autoscaling.type is keda, its query is the chart's own, and nothing lets Prometheus read what it asks for: set serviceMonitor.enabled, or autoscaling.keda.query if Prometheus reads the pods in another way." }}
{{- end }}
{{- if and (eq $scaling.type "keda") $scaling.keda.query .Values.canary.digest (not (contains "@SERVICE@" $scaling.keda.query)) }}
{{- $errors = append $errors (printf "autoscaling.keda.query is %q and there is a canary, which would have as many replicas as the stable track's load needs: ask for one track's load, with @SERVICE@ in place of its Service, for example sum(tidegate_requests_in_flight{namespace=%q,service=\"@SERVICE@\"})." $scaling.keda.query $.Release.Namespace) }}
{{- end }}
{{- if and $scaling.metrics (ne $scaling.type "hpa") }}
{{- $errors = append $errors (printf "autoscaling.metrics is set and autoscaling.type is %s: metrics belong to hpa; remove them or set the type to hpa." $scaling.type) }}
{{- end }}
{{- toJson $errors }}
{{- end }}

{{- define "tidegate.validate.route" -}}
{{- $errors := list }}
{{- if .Values.route.enabled }}
{{- $request := int .Values.route.requestTimeoutSeconds }}
{{- $shutdown := int .Values.server.shutdownTimeoutSeconds }}
{{- if gt $request $shutdown }}
{{- $errors = append $errors (printf "route.requestTimeoutSeconds is %d and exceeds server.shutdownTimeoutSeconds, %d: a stopping server would end requests that the route still allows; lower the first or raise the second." $request $shutdown) }}
{{- end }}
{{- if not .Values.route.parentRefs }}
{{- $errors = append $errors "route.enabled is true and route.parentRefs is empty: name the Gateway, for example [{name: public, namespace: gateways}]." }}
{{- end }}
{{- if not .Values.route.hostnames }}
{{- $errors = append $errors "route.enabled is true and route.hostnames is empty: a route for every host would take the requests of other models; name one, for example [breast-cancer.models.example.com]." }}
{{- end }}
{{- range .Values.route.hostnames }}
{{- if not (and (regexMatch "^(\\*\\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$" .) (le (len .) 253)) }}
{{- $errors = append $errors (printf "route.hostnames has %q: expected a host name in small letters alone, without scheme, port or path (those are the Gateway's listener's), for example breast-cancer.models.example.com." .) }}
{{- else if regexMatch "^[0-9.]+$" . }}
{{- $errors = append $errors (printf "route.hostnames has %q, an address, which no route can match: give the name that resolves to it." .) }}
{{- end }}
{{- end }}
{{- else if .Values.backendTrafficPolicy.enabled }}
{{- $errors = append $errors "backendTrafficPolicy.enabled is true and there is no route for it to apply to: set route.enabled, or turn it off." }}
{{- end }}
{{- toJson $errors }}
{{- end }}

{{- define "tidegate.validate.server" -}}
{{- $errors := dict "resources" .Values.resources | include "tidegate.validate.resources" | fromJsonArray }}
{{- $ours := dict
      "TIDEGATE_DRAIN_SECONDS" "drainSeconds" "TIDEGATE_SHUTDOWN_TIMEOUT" "shutdownTimeoutSeconds"
      "TIDEGATE_MAX_ROWS" "maxRows" "TIDEGATE_MAX_BODY_BYTES" "maxBodyBytes" "TIDEGATE_ENGINE" "engine"
      "TIDEGATE_TRUSTED_TYPE" "trustedTypes" "TIDEGATE_ALLOW_JOBLIB_DIGEST" "allowedJoblibDigests" "TIDEGATE_ACCESS_LOG" "accessLog" }}
{{- range .Values.server.env }}
{{- if eq .name "PYTHONPATH" }}
{{- $errors = append $errors "server.env sets PYTHONPATH, which KServe refuses because it brings code into the server: remove it, and build an image instead." }}
{{- else if has .name (list "TIDEGATE_HTTP_PORT" "TIDEGATE_GRPC_PORT" "TIDEGATE_HOST") }}
{{- $errors = append $errors (printf "server.env sets %s, and KServe's Service and the probes reach the server only where the chart lets it listen: remove it." .name) }}
{{- else if hasKey $ours .name }}
{{- $errors = append $errors (printf "server.env sets %s, which the chart sets itself: use server.%s." .name (get $ours .name)) }}
{{- end }}
{{- end }}
{{- toJson $errors }}
{{- end }}
