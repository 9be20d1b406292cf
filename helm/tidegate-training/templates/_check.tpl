{{/* Every combination of values that cannot work: one sentence each, with what to write instead. */}}
{{- define "training.check" -}}
{{- $wrong := list }}
{{- $name := include "training.name" . }}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" $name) }}
{{- $wrong = append $wrong (printf "The release is named %q, and a Job's name has only a-z, 0-9 and '-': name the release otherwise, or set fullnameOverride." $name) }}
{{- else if gt (len $name) 48 }}
{{- $wrong = append $wrong (printf "The release's name %q has %d characters: with what is added to it, it may have 48; shorten it or set fullnameOverride." $name (len $name)) }}
{{- end }}
{{- if not .Values.config }}
{{- $wrong = append $wrong "config is not set: give the training run, for example --set-file config=train.yaml." }}
{{- end }}
{{- if and .Values.sweep (kindIs "string" .Values.config) }}
{{- $wrong = append $wrong "sweep is set and config is a text: a sweep lays maps over it, so write config as a map in a values file." }}
{{- end }}
{{- if not .Values.store }}
{{- $wrong = append $wrong "store is not set: the bundle would vanish with the pod; give its place, for example --set store=s3://models." }}
{{- else if hasPrefix "file://" .Values.store }}
{{- $wrong = append $wrong (printf "store is %q, a folder that vanishes with the pod: give object storage, s3://, gs:// or az://." .Values.store) }}
{{- else if not (regexMatch "^(s3|gs|az)://[^/\\s@]+(/[^/\\s@]+)*/?$" .Values.store) }}
{{- $wrong = append $wrong (printf "store is %q: expected s3://, gs:// or az:// and a bucket, without the model's name, for example s3://models." .Values.store) }}
{{- end }}
{{- if and .Values.channel (not (regexMatch "^[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?$" .Values.channel)) }}
{{- $wrong = append $wrong (printf "channel is %q: expected at most 52 characters of a-z, 0-9 and '-', for example candidate." .Values.channel) }}
{{- end }}
{{- if and .Values.sweep .Values.channel }}
{{- $wrong = append $wrong "channel and sweep are both set: every run would move the channel, and the last would win; remove channel, and move it to the run that you choose." }}
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
      (dict "root" . "name" (include "training.serviceAccount" .) | include "security.account" | fromJsonArray) }}
{{- if $wrong }}
{{- fail (printf "\n\n  - %s\n" (join "\n  - " $wrong)) }}
{{- end }}
{{- end }}
