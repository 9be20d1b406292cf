{{/* Every combination of values that cannot work: one sentence each, with what to write instead. */}}
{{- define "loadtest.validate" -}}
{{- $errors := list }}
{{- $name := include "tidegate.fullname" . }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) }}
{{- $errors = append $errors (printf "The release is named %q, and a Service's name has only a-z, 0-9 and '-' and begins with a letter: name the release otherwise, or set fullnameOverride." $name) }}
{{- else if gt (len $name) 40 }}
{{- $errors = append $errors (printf "The release's name %q has %d characters: with what is added to it, it may have 40; shorten it or set fullnameOverride." $name (len $name)) }}
{{- end }}
{{- if not .Values.plan }}
{{- $errors = append $errors "plan is not set: give the load and its objective, for example --set-file plan=loadtest.yaml." }}
{{- end }}
{{- if not .Values.url }}
{{- $errors = append $errors "url is not set: give the server's root, for example --set url=http://breast-cancer-predictor.models." }}
{{- else if not (regexMatch "^https?://[^/\\s]" .Values.url) }}
{{- $errors = append $errors (printf "url is %q: expected an address with its scheme, for example http://breast-cancer-predictor.models." .Values.url) }}
{{- end }}
{{- if not .Values.model.uri }}
{{- $errors = append $errors "model.uri is not set: requests are made from the bundle's contract; give its place, for example --set model.uri=s3://models/breast-cancer." }}
{{- else if not (regexMatch "^(s3|gs|az)://[^/\\s@]+(/[^/\\s@:]+)+$" .Values.model.uri) }}
{{- $errors = append $errors (printf "model.uri is %q: expected s3://, gs:// or az://, a bucket and the model's name, without a digest, for example s3://models/breast-cancer." .Values.model.uri) }}
{{- end }}
{{- if not .Values.model.digest }}
{{- $errors = append $errors "model.digest is not set: give the digest that is served; 'tidegate inspect' prints it." }}
{{- end }}
{{- if and .Values.push (not (regexMatch "^(s3|gs|az)://[^/\\s@]+(/[^/\\s@]+)*/?$" .Values.push)) }}
{{- $errors = append $errors (printf "push is %q: expected s3://, gs:// or az:// and a bucket, for example s3://models/loadtests." .Values.push) }}
{{- end }}
{{- if and .Values.objectStore.endpoint (regexMatch "^(gs|az)://" .Values.model.uri) (not (hasPrefix "s3://" .Values.push)) }}
{{- $errors = append $errors (printf "objectStore.endpoint is set, model.uri is %q, and nothing is pushed to s3://, to which an endpoint belongs: remove it." .Values.model.uri) }}
{{- end }}
{{- $errors = concat $errors
      (dict "model.digest" .Values.model.digest | include "tidegate.validate.digests" | fromJsonArray)
      (dict "resources.master" .Values.resources.master "resources.worker" .Values.resources.worker | include "tidegate.validate.resources" | fromJsonArray)
      (include "tidegate.validate.common" . | fromJsonArray) }}
{{- include "tidegate.failOnErrors" $errors }}
{{- end }}
