{{/*
Rules that the schema cannot express, or whose violation needs an explanation. A message names the value, what it is, what
is expected, and the fix.
*/}}
{{- define "training.validate" -}}
{{- $errors := list }}
{{- $name := include "tidegate.fullname" . }}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" $name) }}
{{- $errors = append $errors (printf "The release's name is %q: expected only a-z, 0-9 and '-', as in a Job's name. Use another release name, or set fullnameOverride." $name) }}
{{- else if gt (len $name) 48 }}
{{- $errors = append $errors (printf "The release's name %q has %d characters: expected at most 48, because the chart appends a suffix. Shorten it, or set fullnameOverride." $name (len $name)) }}
{{- end }}
{{- if not .Values.config }}
{{- $errors = append $errors "config is not set: set the training run, for example --set-file config=train.yaml." }}
{{- end }}
{{- if and .Values.sweep (kindIs "string" .Values.config) }}
{{- $errors = append $errors "sweep is set and config is text: expected a map, because a sweep merges maps over it; write config as a map in a values file." }}
{{- end }}
{{- if not .Values.store }}
{{- $errors = append $errors "store is not set: the bundle would be deleted with the pod. Set a store, for example --set store=s3://models." }}
{{- else if hasPrefix "file://" .Values.store }}
{{- $errors = append $errors (printf "store is %q, a folder that is deleted with the pod: set a store in object storage, s3://, gs:// or az://." .Values.store) }}
{{- else if not (regexMatch "^(s3|gs|az)://[^/\\s@]+(/[^/\\s@]+)*/?$" .Values.store) }}
{{- $errors = append $errors (printf "store is %q: expected s3://, gs:// or az:// and a bucket, without the model's name, for example s3://models." .Values.store) }}
{{- end }}
{{- if and .Values.channel (not (regexMatch "^[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?$" .Values.channel)) }}
{{- $errors = append $errors (printf "channel is %q: expected at most 52 characters of a-z, 0-9 and '-', for example candidate." .Values.channel) }}
{{- end }}
{{- if and .Values.sweep .Values.channel }}
{{- $errors = append $errors "channel and sweep are both set: every run would move the channel, and it would point to the last one. Remove channel, and move the channel to the run that you select." }}
{{- end }}
{{- if and (gt (include "training.searchShards" . | int) 1) (lt (int .Values.parallelism) 2) }}
{{- $errors = append $errors "parallelism is 1 and config has search.shards: the run that waits for the shards would take the place of one that is tried again. Set parallelism to 2 or more, or remove search.shards." }}
{{- end }}
{{- if and .Values.objectStore.endpoint (regexMatch "^(gs|az)://" .Values.store) (not (list .Values.config .Values.sweep | toJson | contains "s3://")) }}
{{- $errors = append $errors (printf "objectStore.endpoint is set, but store is %q, config reads no s3:// URL, and an endpoint belongs to s3://: remove the endpoint." .Values.store) }}
{{- end }}
{{- if and (not .Values.schedule) (not (kindIs "invalid" .Values.ttlSecondsAfterFinished)) }}
{{- $errors = append $errors "ttlSecondsAfterFinished is set without schedule: every upgrade and the self-healing of Argo CD and Flux would create the deleted Job again, which trains again. Remove it; 'helm uninstall' deletes the Job." }}
{{- end }}
{{- if and (not .Values.schedule) (or .Values.cronJob.timeZone .Values.cronJob.suspend .Values.cronJob.startingDeadlineSeconds) }}
{{- $errors = append $errors "cronJob is set, but there is no CronJob: set schedule, or remove cronJob's values." }}
{{- end }}
{{- $macro := "@(yearly|annually|monthly|weekly|daily|midnight|hourly|every [0-9hms.]+)" }}
{{- $fields := "([0-9*/,?-]+ +){3}[0-9A-Za-z*/,?-]+ +[0-9A-Za-z*/,?-]+" }}
{{- if and .Values.schedule (not (regexMatch (printf "^(%s|%s)$" $macro $fields) .Values.schedule)) }}
{{- $errors = append $errors (printf "schedule is %q: expected minute, hour, day of the month, month and day of the week, for example '0 3 * * 1', or @hourly, @daily, @weekly, @monthly or @yearly. The time zone is cronJob.timeZone." .Values.schedule) }}
{{- end }}
{{- $errors = concat $errors
      (dict "resources" .Values.resources | include "tidegate.validate.resources" | fromJsonArray)
      (include "tidegate.validate.common" . | fromJsonArray) }}
{{- include "tidegate.failOnErrors" $errors }}
{{- end }}
