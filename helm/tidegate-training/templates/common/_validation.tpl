{{- /* Generated from helm/common; do not edit. */ -}}
{{/* Refuses the release, if there is a reason to. Takes the list of sentences. */}}
{{- define "tidegate.failOnErrors" -}}
{{- if . }}
{{- fail (printf "\n\n  - %s\n" (join "\n  - " .)) }}
{{- end }}
{{- end }}

{{/*
What of the values that the charts have in common cannot be. As every check below, it gives JSON: one sentence each.
*/}}
{{- define "tidegate.validate.common" -}}
{{- concat
      (include "tidegate.validate.image" . | fromJsonArray)
      (include "tidegate.validate.objectStore" . | fromJsonArray)
      (include "tidegate.validate.serviceAccount" . | fromJsonArray)
      (include "tidegate.validate.podSecurityContext" . | fromJsonArray)
      (include "tidegate.validate.podLabels" . | fromJsonArray) | toJson }}
{{- end }}

{{- define "tidegate.validate.image" -}}
{{- $errors := dict "image.digest" .Values.image.digest | include "tidegate.validate.digests" | fromJsonArray }}
{{- if and .Values.image.tag .Values.image.digest }}
{{- $errors = append $errors "image.tag and image.digest are both set: keep the digest, which names one image for ever, or the tag." }}
{{- end }}
{{- toJson $errors }}
{{- end }}

{{/* Takes digests by the names of their values. */}}
{{- define "tidegate.validate.digests" -}}
{{- $errors := list }}
{{- range $key, $digest := . }}
{{- if and $digest (not (regexMatch "^(sha256:)?[0-9a-f]{64}$" $digest)) }}
{{- $errors = append $errors (printf "%s is %q: expected 64 digits of 0-9 and a-f, with or without 'sha256:' before them." $key $digest) }}
{{- end }}
{{- end }}
{{- toJson $errors }}
{{- end }}

{{- define "tidegate.validate.objectStore" -}}
{{- $errors := list }}
{{- $store := .Values.objectStore }}
{{- range $key, $example := dict "endpoint" "https://s3.example.com or http://minio.storage:9000" "httpsProxy" "http://proxy.example.com:3128" }}
{{- $address := get $store $key }}
{{- if and $address (not (regexMatch "^https?://[^/\\s]" $address)) }}
{{- $errors = append $errors (printf "objectStore.%s is %q: expected an address with its scheme, for example %s." $key $address $example) }}
{{- end }}
{{- end }}
{{- if and $store.secretName $store.secretData }}
{{- $errors = append $errors "objectStore.secretName and objectStore.secretData are both set: keep the Secret that exists, or let the chart make one." }}
{{- end }}
{{- toJson $errors }}
{{- end }}

{{- define "tidegate.validate.serviceAccount" -}}
{{- $errors := list }}
{{- $name := include "tidegate.serviceAccountName" . }}
{{- if not (and (regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$" $name) (le (len $name) 253)) }}
{{- $errors = append $errors (printf "serviceAccount.name is %q: expected at most 253 characters of a-z, 0-9, '-' and '.', with a letter or digit first and last." $name) }}
{{- else if and .Values.serviceAccount.create (eq $name "default") }}
{{- $errors = append $errors "The service account would be called 'default', and every namespace has one of that name, which Helm does not take over: set serviceAccount.name to another, or serviceAccount.create to false to use that one." }}
{{- end }}
{{- toJson $errors }}
{{- end }}

{{/* What breaks the restricted Pod Security Standard: no pod would be made, and only an event would say why. */}}
{{- define "tidegate.validate.podSecurityContext" -}}
{{- $errors := list }}
{{- $context := .Values.podSecurityContext }}
{{- $never := "Pod Security's restricted standard forbids it" }}
{{- if eq (get $context "runAsUser" | toString) "0" }}
{{- $errors = append $errors (printf "podSecurityContext.runAsUser is 0, and %s: give another number, or null on OpenShift, which chooses one." $never) }}
{{- end }}
{{- if eq (get $context "runAsNonRoot" | toString) "false" }}
{{- $errors = append $errors (printf "podSecurityContext.runAsNonRoot is false, and %s: remove it, or set it to true." $never) }}
{{- end }}
{{- $seccomp := dig "seccompProfile" "type" "" $context }}
{{- if not (has $seccomp (list "" "RuntimeDefault" "Localhost")) }}
{{- $errors = append $errors (printf "podSecurityContext.seccompProfile.type is %v, and %s: set it to RuntimeDefault, or to Localhost with a localhostProfile." $seccomp $never) }}
{{- end }}
{{- range $key := list "privileged" "allowPrivilegeEscalation" "capabilities" "readOnlyRootFilesystem" "procMount" }}
{{- if hasKey $context $key }}
{{- $errors = append $errors (printf "podSecurityContext.%s is set, which belongs to containers, and theirs are not for choice: remove it." $key) }}
{{- end }}
{{- end }}
{{- toJson $errors }}
{{- end }}

{{- define "tidegate.validate.podLabels" -}}
{{- $errors := list }}
{{- range $label, $_ := .Values.podLabels }}
{{- if regexMatch "^(app\\.kubernetes\\.io|batch\\.kubernetes\\.io|serving\\.kserve\\.io|networking\\.kserve\\.io)/" $label }}
{{- $errors = append $errors (printf "podLabels sets %s, by which the chart, Kubernetes or KServe finds pods: remove it, or choose another name." $label) }}
{{- end }}
{{- end }}
{{- toJson $errors }}
{{- end }}

{{/* Takes the requests and limits of containers by the names of their values. */}}
{{- define "tidegate.validate.resources" -}}
{{- $errors := list }}
{{- range $where, $amounts := . }}
{{- range $resource, $request := $amounts.requests }}
{{- $limit := get $amounts.limits $resource }}
{{- if gt (include "tidegate.quantity" $request | float64) (include "tidegate.quantity" $limit | float64) }}
{{- $errors = append $errors (printf "%s.requests.%s is %v and above %s.limits.%s, %v: lower the request or raise the limit." $where $resource $request $where $resource $limit) }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson $errors }}
{{- end }}

{{/* A Kubernetes quantity such as 500m or 1Gi as a plain number, for comparing. */}}
{{- define "tidegate.quantity" -}}
{{- $text := toString . }}
{{- $unit := regexFind "[A-Za-z]*$" $text }}
{{- $factor := dict "" 1.0 "m" 0.001 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 }}
{{- mulf (trimSuffix $unit $text | float64) (get $factor $unit | default 1.0) }}
{{- end }}
