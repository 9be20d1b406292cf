{{/*
Rules that the schema cannot express, or whose violation needs an explanation. A message names the value, what it is, what
is expected, and the fix.
*/}}
{{- define "loadtest.validate" -}}
{{- $errors := list }}
{{- $name := include "tidegate.fullname" . }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) }}
{{- $errors = append $errors (printf "The release's name is %q: expected a letter first, and then only a-z, 0-9 and '-', as in a Service's name. Use another release name, or set fullnameOverride." $name) }}
{{- else if gt (len $name) 40 }}
{{- $errors = append $errors (printf "The release's name %q has %d characters: expected at most 40, because the chart appends a suffix. Shorten it, or set fullnameOverride." $name (len $name)) }}
{{- end }}
{{- if not .Values.campaign }}
{{- $errors = append $errors "campaign is not set: set the phases with their load and thresholds, for example --set-file campaign=loadtest.yaml." }}
{{- end }}
{{- if and (include "loadtest.watch" .) (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) }}
{{- $errors = append $errors "serviceAccount has no account of its own, but the campaign has target.watch, whose Role would belong to every pod with the namespace's default account: set serviceAccount.create=true, or serviceAccount.name." }}
{{- end }}
{{- if not .Values.url }}
{{- $errors = append $errors "url is not set: set the server's base URL, for example --set url=http://breast-cancer-predictor.models." }}
{{- else if not (regexMatch "^https?://[^/\\s]" .Values.url) }}
{{- $errors = append $errors (printf "url is %q: expected a URL with its scheme, for example http://breast-cancer-predictor.models." .Values.url) }}
{{- end }}
{{- if not .Values.model.uri }}
{{- $errors = append $errors "model.uri is not set: the requests are built from the bundle's contract. Set the bundle's place, for example --set model.uri=s3://models/breast-cancer." }}
{{- else if not (regexMatch "^(s3|gs|az)://[^/\\s@]+(/[^/\\s@:]+)+$" .Values.model.uri) }}
{{- $errors = append $errors (printf "model.uri is %q: expected s3://, gs:// or az://, a bucket and the model's name, without a digest, for example s3://models/breast-cancer." .Values.model.uri) }}
{{- end }}
{{- if not .Values.model.digest }}
{{- $errors = append $errors "model.digest is not set: set the digest of the bundle that the server serves. 'tidegate inspect' prints it." }}
{{- end }}
{{- if and .Values.push (not (regexMatch "^(s3|gs|az)://[^/\\s@]+(/[^/\\s@]+)*/?$" .Values.push)) }}
{{- $errors = append $errors (printf "push is %q: expected s3://, gs:// or az:// and a bucket, for example s3://models/loadtests." .Values.push) }}
{{- end }}
{{- if and .Values.objectStore.endpoint (regexMatch "^(gs|az)://" .Values.model.uri) (not (hasPrefix "s3://" .Values.push)) }}
{{- $errors = append $errors (printf "objectStore.endpoint is set, but model.uri is %q, push is not an s3:// URL, and an endpoint belongs to s3://: remove the endpoint." .Values.model.uri) }}
{{- end }}
{{- $errors = concat $errors
      (dict "model.digest" .Values.model.digest | include "tidegate.validate.digests" | fromJsonArray)
      (dict "resources.master" .Values.resources.master "resources.worker" .Values.resources.worker | include "tidegate.validate.resources" | fromJsonArray)
      (include "tidegate.validate.common" . | fromJsonArray) }}
{{- include "tidegate.failOnErrors" $errors }}
{{- end }}
