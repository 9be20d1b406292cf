{{/*
Every combination of values that cannot work, found before anything is applied: one sentence each, naming the value,
what is wrong with it and what to write instead. Types, ranges and unknown keys are the schema's part.
*/}}
{{- define "tidegate.check" -}}
{{- $wrong := concat
      (include "tidegate.check.names" . | fromJsonArray)
      (include "tidegate.check.model" . | fromJsonArray)
      (include "tidegate.check.canary" . | fromJsonArray)
      (include "tidegate.check.scaling" . | fromJsonArray)
      (include "tidegate.check.traffic" . | fromJsonArray)
      (include "tidegate.check.pod" . | fromJsonArray)
      (include "security.check" . | fromJsonArray)
      (dict "root" . "name" (include "tidegate.serviceAccount" .) | include "security.account" | fromJsonArray) }}
{{- if $wrong }}
{{- fail (printf "\n\n  - %s\n" (join "\n  - " $wrong)) }}
{{- end }}
{{- end }}

{{- define "tidegate.check.names" -}}
{{- $wrong := list }}
{{- $name := include "tidegate.name" . }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) }}
{{- $wrong = append $wrong (printf "The release is named %q, and KServe wants a letter first and then only a-z, 0-9 and '-': name the release otherwise, or set fullnameOverride." $name) }}
{{- else if hasSuffix "-canary" $name }}
{{- $wrong = append $wrong (printf "The release is named %q, which is what the canary of another release would be called: name it without '-canary' at the end, or set fullnameOverride." $name) }}
{{- end }}
{{- range include "tidegate.tracks" . | splitList " " }}
{{- $isvc := include "tidegate.isvc" (dict "root" $ "track" .) }}
{{- $length := add (len $isvc) (len $.Release.Namespace) }}
{{- if gt $length 52 }}
{{- $wrong = append $wrong (printf "The InferenceService %q in the namespace %q is named too long: KServe makes the host name <name>-predictor-<namespace> of at most 63 characters, so both together may have 52, and have %d; shorten the release's name or set fullnameOverride." $isvc $.Release.Namespace $length) }}
{{- end }}
{{- end }}
{{- toJson $wrong }}
{{- end }}

{{- define "tidegate.check.model" -}}
{{- $wrong := list }}
{{- $model := .Values.model }}
{{- $scheme := include "tidegate.scheme" . }}
{{- if not $model.uri }}
{{- $wrong = append $wrong "model.uri is not set: give the bundle's store and name, for example --set model.uri=s3://models/breast-cancer." }}
{{- else if contains "@" $model.uri }}
{{- $wrong = append $wrong (printf "model.uri is %q: give the store and the name alone, and what follows '@sha256:' as model.digest." $model.uri) }}
{{- else if eq $scheme "file" }}
{{- $wrong = append $wrong (printf "model.uri is %q, a folder of one machine that pods do not share: push the bundle to s3://, gs:// or az://, or name a claim that holds the store as pvc://<claim>/<folder>/<name>." $model.uri) }}
{{- else if not (has $scheme (list "s3" "gs" "az" "pvc" "oci")) }}
{{- $wrong = append $wrong (printf "model.uri is %q: expected s3://, gs:// or az:// and <bucket>/<name>, or pvc://<claim>/<folder>/<name>, or oci://<registry>/<repository>/<name>." $model.uri) }}
{{- else if regexMatch ":[^/]+$" (include "tidegate.path" .) }}
{{- $wrong = append $wrong (printf "model.uri is %q: a channel or tag moves, and a release is pinned; run 'tidegate inspect' on it, and give the URI without ':…' and the digest as model.digest." $model.uri) }}
{{- else if not (regexMatch "^[^/\\s]+(/[^/\\s]+)*/[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?$" (include "tidegate.path" .)) }}
{{- $wrong = append $wrong (printf "model.uri is %q: after %s:// it has to name a place and, as its last part, the bundle in a-z, 0-9 and '-', for example %s://models/breast-cancer." $model.uri $scheme $scheme) }}
{{- end }}
{{- if not $model.digest }}
{{- $wrong = append $wrong "model.digest is not set: a release serves exactly one bundle; 'tidegate inspect <uri>:<channel>' prints the digest, to be given as --set model.digest=<64 hex digits>." }}
{{- end }}
{{- $digests := dict "model.digest" $model.digest "canary.digest" .Values.canary.digest "image.digest" .Values.image.digest }}
{{- range $index, $digest := $model.previous }}
{{- $_ := set $digests (printf "model.previous[%d]" $index) $digest }}
{{- end }}
{{- range $index, $digest := .Values.server.allowJoblib }}
{{- $_ := set $digests (printf "server.allowJoblib[%d]" $index) $digest }}
{{- end }}
{{- range $key, $digest := $digests }}
{{- if and $digest (not (regexMatch "^(sha256:)?[0-9a-f]{64}$" $digest)) }}
{{- $wrong = append $wrong (printf "%s is %q: expected 64 digits of 0-9 and a-f, with or without 'sha256:' before them." $key $digest) }}
{{- end }}
{{- end }}
{{- if and $model.name (not (regexMatch "^[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?$" $model.name)) }}
{{- $wrong = append $wrong (printf "model.name is %q: expected at most 52 characters of a-z, 0-9 and '-', neither first nor last a '-'; leave it empty for the last part of model.uri." $model.name) }}
{{- end }}
{{- $store := .Values.objectStore }}
{{- if and $store.endpoint (not (regexMatch "^https?://[^/\\s]" $store.endpoint)) }}
{{- $wrong = append $wrong (printf "objectStore.endpoint is %q: expected an address with its scheme, for example https://s3.example.com or http://minio.storage:9000." $store.endpoint) }}
{{- end }}
{{- if and $store.endpoint (has $scheme (list "gs" "az")) }}
{{- $wrong = append $wrong (printf "objectStore.endpoint is set and model.uri begins with %s://: an endpoint belongs to s3://; remove it." $scheme) }}
{{- end }}
{{- if and (has $scheme (list "pvc" "oci")) (or $store.secretName $store.endpoint $store.caConfigMap $store.httpsProxy) }}
{{- $wrong = append $wrong (printf "objectStore is set and model.uri begins with %s://, which pulls nothing from object storage: remove objectStore's values." $scheme) }}
{{- end }}
{{- toJson $wrong }}
{{- end }}

{{- define "tidegate.check.canary" -}}
{{- $wrong := list }}
{{- $canary := .Values.canary }}
{{- if and (gt (int $canary.weight) 0) (not $canary.digest) }}
{{- $wrong = append $wrong (printf "canary.weight is %d and there is no canary: set canary.digest, at weight 0 first, and the weight when 'kubectl rollout status' says that the canary is ready." (int $canary.weight)) }}
{{- end }}
{{- if and (gt (int $canary.weight) 0) (not .Values.route.enabled) }}
{{- $wrong = append $wrong (printf "canary.weight is %d and there is no route: only a Gateway divides requests, so set route.enabled, route.parentRefs and route.hostnames." (int $canary.weight)) }}
{{- end }}
{{- toJson $wrong }}
{{- end }}

{{- define "tidegate.check.scaling" -}}
{{- $wrong := list }}
{{- $scaling := .Values.autoscaling }}
{{- range include "tidegate.tracks" . | splitList " " }}
{{- $it := dict "root" $ "track" . }}
{{- $least := include "tidegate.minReplicas" $it | int }}
{{- $most := include "tidegate.maxReplicas" $it | int }}
{{- if and (ne $scaling.type "none") (gt $least $most) }}
{{- $wrong = append $wrong (printf "The %s track may have at least %d and at most %d replicas: raise its maxReplicas or lower its minReplicas." . $least $most) }}
{{- end }}
{{- end }}
{{- if ne $scaling.type "none" }}
{{- $grace := include "tidegate.grace" . | int }}
{{- $down := $scaling.behavior.scaleDown | default dict }}
{{- if eq (get $down "selectPolicy" | toString) "Disabled" }}
{{- else if gt $grace 1800 }}
{{- $wrong = append $wrong (printf "A pod takes up to %d s to go (server.drainSeconds + server.requestTimeoutSeconds + 5), and an autoscaler that waits for it has at most 1800 s: lower one of them, or set autoscaling.type to none." $grace) }}
{{- else if not $down.policies }}
{{- $wrong = append $wrong "autoscaling.behavior.scaleDown has no policies, and Kubernetes' own would take all replicas above the minimum away every 15 s: give one, for example [{type: Pods, value: 1, periodSeconds: 60}], or selectPolicy Disabled." }}
{{- else }}
{{- range $down.policies }}
{{- if lt (int .periodSeconds) $grace }}
{{- $wrong = append $wrong (printf "autoscaling.behavior.scaleDown removes replicas every %d s, and one takes up to %d s to go (drainSeconds + requestTimeoutSeconds + 5): set periodSeconds to %d or more." (int .periodSeconds) $grace $grace) }}
{{- end }}
{{- if and (eq .type "Percent") (ge (int .value) 100) }}
{{- $wrong = append $wrong (printf "autoscaling.behavior.scaleDown has a policy of %d percent, which takes all replicas above the minimum away at once: set its value below 100, or its type to Pods." (int .value)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- if and (eq $scaling.type "keda") (not $scaling.keda.prometheusAddress) }}
{{- $wrong = append $wrong "autoscaling.type is keda and autoscaling.keda.prometheusAddress is not set: give Prometheus' address, for example http://prometheus-operated.monitoring:9090." }}
{{- end }}
{{- if and (eq $scaling.type "keda") (not $scaling.keda.query) (not .Values.serviceMonitor.enabled) }}
{{- $wrong = append $wrong "autoscaling.type is keda, its query is the chart's own, and nothing lets Prometheus read what it asks for: set serviceMonitor.enabled, or autoscaling.keda.query if Prometheus reads the pods in another way." }}
{{- end }}
{{- if and $scaling.metrics (ne $scaling.type "hpa") }}
{{- $wrong = append $wrong (printf "autoscaling.metrics is set and autoscaling.type is %s: metrics belong to hpa; remove them or set the type to hpa." $scaling.type) }}
{{- end }}
{{- toJson $wrong }}
{{- end }}

{{- define "tidegate.check.traffic" -}}
{{- $wrong := list }}
{{- if .Values.route.enabled }}
{{- if not .Values.route.parentRefs }}
{{- $wrong = append $wrong "route.enabled is true and route.parentRefs is empty: name the Gateway, for example [{name: public, namespace: gateways}]." }}
{{- end }}
{{- if not .Values.route.hostnames }}
{{- $wrong = append $wrong "route.enabled is true and route.hostnames is empty: a route for every host would take the requests of other models; name one, for example [breast-cancer.models.example.com]." }}
{{- end }}
{{- range .Values.route.hostnames }}
{{- if not (and (regexMatch "^(\\*\\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$" .) (le (len .) 253)) }}
{{- $wrong = append $wrong (printf "route.hostnames has %q: expected a host name in small letters alone, without scheme, port or path (those are the Gateway's listener's), for example breast-cancer.models.example.com." .) }}
{{- else if regexMatch "^[0-9.]+$" . }}
{{- $wrong = append $wrong (printf "route.hostnames has %q, an address, which no route can match: give the name that resolves to it." .) }}
{{- end }}
{{- end }}
{{- else if .Values.backendTrafficPolicy.enabled }}
{{- $wrong = append $wrong "backendTrafficPolicy.enabled is true and there is no route for it to apply to: set route.enabled, or turn it off." }}
{{- end }}
{{- toJson $wrong }}
{{- end }}

{{- define "tidegate.check.pod" -}}
{{- $wrong := list }}
{{- range $resource := list "cpu" "memory" }}
{{- $request := get $.Values.resources.requests $resource }}
{{- $limit := get $.Values.resources.limits $resource }}
{{- if not (and $request $limit) }}
{{- $wrong = append $wrong (printf "resources.requests.%s and resources.limits.%s have both to be set: KServe would fill in its own default for the one that is missing." $resource $resource) }}
{{- else if gt (include "tidegate.quantity" $request | float64) (include "tidegate.quantity" $limit | float64) }}
{{- $wrong = append $wrong (printf "resources.requests.%s is %v and above resources.limits.%s, %v: lower the request or raise the limit." $resource $request $resource $limit) }}
{{- end }}
{{- end }}
{{- if and .Values.image.tag .Values.image.digest }}
{{- $wrong = append $wrong "image.tag and image.digest are both set: keep the digest, which names one image for ever, or the tag." }}
{{- end }}
{{- range .Values.server.env }}
{{- if eq .name "PYTHONPATH" }}
{{- $wrong = append $wrong "server.env sets PYTHONPATH, which KServe refuses because it brings code into the server: remove it, and build an image instead." }}
{{- else if has .name (list "TIDEGATE_DRAIN_SECONDS" "TIDEGATE_REQUEST_SECONDS" "TIDEGATE_HTTP_PORT" "TIDEGATE_GRPC_PORT" "TIDEGATE_HOST" "TIDEGATE_MAX_ROWS" "TIDEGATE_MAX_BODY_BYTES" "TIDEGATE_ENGINE" "TIDEGATE_TRUST" "TIDEGATE_ALLOW_JOBLIB" "TIDEGATE_ACCESS_LOG") }}
{{- $wrong = append $wrong (printf "server.env sets %s, which the chart computes: use the value of that name under server." .name) }}
{{- end }}
{{- end }}
{{- range $label, $_ := .Values.podLabels }}
{{- if regexMatch "^(app\\.kubernetes\\.io|serving\\.kserve\\.io|networking\\.kserve\\.io)/" $label }}
{{- $wrong = append $wrong (printf "podLabels sets %s, by which the chart or KServe finds pods: remove it, or choose another name." $label) }}
{{- end }}
{{- end }}
{{- toJson $wrong }}
{{- end }}

{{/* A Kubernetes quantity such as 500m or 1Gi as a plain number, for comparing. */}}
{{- define "tidegate.quantity" -}}
{{- $text := toString . }}
{{- $unit := regexFind "[A-Za-z]*$" $text }}
{{- $factor := dict "" 1.0 "m" 0.001 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 }}
{{- mulf (trimSuffix $unit $text | float64) (get $factor $unit | default 1.0) }}
{{- end }}
