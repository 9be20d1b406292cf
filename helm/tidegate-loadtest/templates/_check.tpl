{{/* Every combination of values that cannot work: one sentence each, with what to write instead. */}}
{{- define "loadtest.check" -}}
{{- $wrong := list }}
{{- $name := include "loadtest.name" . }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) }}
{{- $wrong = append $wrong (printf "The release is named %q, and a Service's name has only a-z, 0-9 and '-' and begins with a letter: name the release otherwise, or set fullnameOverride." $name) }}
{{- else if gt (len $name) 40 }}
{{- $wrong = append $wrong (printf "The release's name %q has %d characters: with what is added to it, it may have 40; shorten it or set fullnameOverride." $name (len $name)) }}
{{- end }}
{{- if not .Values.plan }}
{{- $wrong = append $wrong "plan is not set: give the load and its objective, for example --set-file plan=loadtest.yaml." }}
{{- end }}
{{- if not .Values.url }}
{{- $wrong = append $wrong "url is not set: give the server's root, for example --set url=http://breast-cancer-predictor.models." }}
{{- else if not (regexMatch "^https?://[^/\\s]" .Values.url) }}
{{- $wrong = append $wrong (printf "url is %q: expected an address with its scheme, for example http://breast-cancer-predictor.models." .Values.url) }}
{{- end }}
{{- if not .Values.model.uri }}
{{- $wrong = append $wrong "model.uri is not set: requests are made from the bundle's contract; give its place, for example --set model.uri=s3://models/breast-cancer." }}
{{- else if not (regexMatch "^(s3|gs|az)://[^/\\s@]+(/[^/\\s@:]+)+$" .Values.model.uri) }}
{{- $wrong = append $wrong (printf "model.uri is %q: expected s3://, gs:// or az://, a bucket and the model's name, without a digest, for example s3://models/breast-cancer." .Values.model.uri) }}
{{- end }}
{{- if not .Values.model.digest }}
{{- $wrong = append $wrong "model.digest is not set: give the digest that is served; 'tidegate inspect' prints it." }}
{{- else if not (regexMatch "^(sha256:)?[0-9a-f]{64}$" .Values.model.digest) }}
{{- $wrong = append $wrong (printf "model.digest is %q: expected 64 digits of 0-9 and a-f, with or without 'sha256:' before them." .Values.model.digest) }}
{{- end }}
{{- if and .Values.push (not (regexMatch "^(s3|gs|az)://[^/\\s@]+(/[^/\\s@]+)*/?$" .Values.push)) }}
{{- $wrong = append $wrong (printf "push is %q: expected s3://, gs:// or az:// and a bucket, for example s3://models/loadtests." .Values.push) }}
{{- end }}
{{- if and .Values.objectStore.secretName .Values.objectStore.secretData }}
{{- $wrong = append $wrong "objectStore.secretName and objectStore.secretData are both set: keep the Secret that exists, or let the chart make one." }}
{{- end }}
{{- with .Values.objectStore.endpoint }}
{{- if not (regexMatch "^https?://[^/\\s]" .) }}
{{- $wrong = append $wrong (printf "objectStore.endpoint is %q: expected an address with its scheme, for example https://s3.example.com or http://minio.storage:9000." .) }}
{{- end }}
{{- end }}
{{- with .Values.image.digest }}
{{- if not (regexMatch "^(sha256:)?[0-9a-f]{64}$" .) }}
{{- $wrong = append $wrong (printf "image.digest is %q: expected 64 digits of 0-9 and a-f, with or without 'sha256:' before them." .) }}
{{- end }}
{{- end }}
{{- if and .Values.image.tag .Values.image.digest }}
{{- $wrong = append $wrong "image.tag and image.digest are both set: keep the digest, which names one image for ever, or the tag." }}
{{- end }}
{{- $wrong = concat $wrong
      (include "security.check" . | fromJsonArray)
      (dict "root" . "name" (include "loadtest.serviceAccount" .) | include "security.account" | fromJsonArray) }}
{{- if $wrong }}
{{- fail (printf "\n\n  - %s\n" (join "\n  - " $wrong)) }}
{{- end }}
{{- end }}
