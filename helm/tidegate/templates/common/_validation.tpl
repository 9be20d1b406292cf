{{- /* Generated from helm/common; do not edit. */ -}}
{{/*
Rules about values that the charts share. The schema validates types, ranges and names; a template validates what depends
on several values, or what needs an explanation. Each "tidegate.validate.*" returns a JSON list of messages. A message
names the value, what it is, what is expected, and the fix.
*/}}

{{/* Fail the rendering with all messages at once. Argument: the list of messages. */}}
{{- define "tidegate.failOnErrors" -}}
{{- if . }}
{{- fail (printf "\n\n  - %s\n" (join "\n  - " .)) }}
{{- end }}
{{- end }}

{{- define "tidegate.validate.common" -}}
{{- concat
      (include "tidegate.validate.image" . | fromJsonArray)
      (include "tidegate.validate.objectStore" . | fromJsonArray)
      (include "tidegate.validate.serviceAccount" . | fromJsonArray)
      (include "tidegate.validate.podSecurityContext" . | fromJsonArray)
      (include "tidegate.validate.objectMetadata" . | fromJsonArray)
      (dict "nodeSelector" .Values.nodeSelector | include "tidegate.validate.labels" | fromJsonArray)
      (dict "serviceAccount.annotations" .Values.serviceAccount.annotations | include "tidegate.validate.annotations" | fromJsonArray) | toJson }}
{{- end }}

{{- define "tidegate.validate.image" -}}
{{- $errors := dict "image.digest" .Values.image.digest | include "tidegate.validate.digests" | fromJsonArray }}
{{- if and .Values.image.tag .Values.image.digest }}
{{- $errors = append $errors "image.tag and image.digest are both set: expected one of them; keep the digest, which always names the same image, or the tag." }}
{{- end }}
{{- if not .Values.image.repository }}
{{- $target := regexReplaceAll "^tidegate-?" .Chart.Name "" | default "serving" }}
{{- $errors = append $errors (printf "image.repository is not set: no public registry holds Tidegate's images. Build the target %q of images/Dockerfile, push it to a registry of your cluster, and set its name, for example --set image.repository=registry.example.com/tidegate/%s." $target $target) }}
{{- end }}
{{- toJson $errors }}
{{- end }}

{{/* Argument: digests by the names of their values. */}}
{{- define "tidegate.validate.digests" -}}
{{- $errors := list }}
{{- range $name, $digest := . }}
{{- if and $digest (not (regexMatch "^(sha256:)?[0-9a-f]{64}$" $digest)) }}
{{- $errors = append $errors (printf "%s is %q: expected 64 digits of 0-9 and a-f, with or without the prefix 'sha256:'." $name $digest) }}
{{- end }}
{{- end }}
{{- toJson $errors }}
{{- end }}

{{- define "tidegate.validate.objectStore" -}}
{{- $errors := list }}
{{- $store := .Values.objectStore }}
{{- range $name, $example := dict "endpoint" "https://s3.example.com or http://minio.storage:9000" "httpsProxy" "http://proxy.example.com:3128" }}
{{- $url := get $store $name }}
{{- if and $url (not (regexMatch "^https?://[^/\\s]" $url)) }}
{{- $errors = append $errors (printf "objectStore.%s is %q: expected a URL with its scheme, for example %s." $name $url $example) }}
{{- end }}
{{- end }}
{{- if and $store.secretName $store.secretData }}
{{- $errors = append $errors "objectStore.secretName and objectStore.secretData are both set: expected one of them; keep secretName to use an existing Secret, or secretData to create one." }}
{{- end }}
{{- toJson $errors }}
{{- end }}

{{- define "tidegate.validate.serviceAccount" -}}
{{- $errors := list }}
{{- $name := include "tidegate.serviceAccountName" . }}
{{- if not (and (regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$" $name) (le (len $name) 253)) }}
{{- $errors = append $errors (printf "serviceAccount.name is %q: expected at most 253 characters of a-z, 0-9, '-' and '.', with a letter or digit first and last." $name) }}
{{- else if and .Values.serviceAccount.create (eq $name "default") }}
{{- $errors = append $errors "The service account's name is 'default', and serviceAccount.create is true: Kubernetes already creates this account in every namespace, and Helm cannot take it over. Set serviceAccount.name to another name, or set serviceAccount.create to false to use this account." }}
{{- end }}
{{- toJson $errors }}
{{- end }}

{{/* Settings that violate the restricted Pod Security Standard. Kubernetes would create no pod, and report it only in an event. */}}
{{- define "tidegate.validate.podSecurityContext" -}}
{{- $errors := list }}
{{- $context := .Values.podSecurityContext }}
{{- $standard := "the restricted Pod Security Standard forbids it" }}
{{- if eq (get $context "runAsUser" | toString) "0" }}
{{- $errors = append $errors (printf "podSecurityContext.runAsUser is 0, and %s: set another number, or remove it to keep the image's user." $standard) }}
{{- end }}
{{- if eq (get $context "runAsNonRoot" | toString) "false" }}
{{- $errors = append $errors (printf "podSecurityContext.runAsNonRoot is false, and %s: remove it, or set it to true." $standard) }}
{{- end }}
{{- $seccomp := dig "seccompProfile" "type" "" $context }}
{{- if not (has $seccomp (list "" "RuntimeDefault" "Localhost")) }}
{{- $errors = append $errors (printf "podSecurityContext.seccompProfile.type is %v, and %s: set it to RuntimeDefault, or to Localhost with a localhostProfile." $seccomp $standard) }}
{{- end }}
{{- range $key := list "privileged" "allowPrivilegeEscalation" "capabilities" "readOnlyRootFilesystem" "procMount" }}
{{- if hasKey $context $key }}
{{- $errors = append $errors (printf "podSecurityContext.%s is set, but it is a field of containers, whose security context is fixed: remove it." $key) }}
{{- end }}
{{- end }}
{{- toJson $errors }}
{{- end }}

{{/*
Kubernetes rejects a wrong label only where it is used. In KServe's or a Job controller's objects, that is after the
installation, in a condition or in an event. Argument: maps of labels by the names of their values.
*/}}
{{- define "tidegate.validate.labels" -}}
{{- $errors := include "tidegate.validate.annotations" . | fromJsonArray }}
{{- range $value, $labels := . }}
{{- range $key, $text := $labels }}
{{- if not (regexMatch "^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$" $text) }}
{{- $errors = append $errors (printf "%s.%s is %q: expected at most 63 characters of A-Z, a-z, 0-9, '-', '_' and '.', with a letter or digit first and last." $value $key $text) }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson $errors }}
{{- end }}

{{/* The values of annotations are any text. Argument: maps of annotations by the names of their values. */}}
{{- define "tidegate.validate.annotations" -}}
{{- $errors := list }}
{{- range $value, $annotations := . }}
{{- range $key, $_ := $annotations }}
{{- $prefix := contains "/" $key | ternary (splitList "/" $key | first) "" }}
{{- if not (and (regexMatch "^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$" $key) (le (len $prefix) 253)) }}
{{- $errors = append $errors (printf "%s has the key %q: expected a name of at most 63 characters of A-Z, a-z, 0-9, '-', '_' and '.', with a letter or digit first and last. A prefix is a DNS name in lower case that ends at the only '/', for example example.com/team." $value $key) }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson $errors }}
{{- end }}

{{/* Argument: maps with the requests and limits of containers, by the names of their values. */}}
{{- define "tidegate.validate.resources" -}}
{{- $errors := list }}
{{- range $name, $resources := . }}
{{- range $resource, $request := $resources.requests }}
{{- $limit := get $resources.limits $resource }}
{{- if or (has $request (list nil "")) (has $limit (list nil "")) }}
{{- else if gt (include "tidegate.quantity" $request | float64) (include "tidegate.quantity" $limit | float64) }}
{{- $errors = append $errors (printf "%s.requests.%s is %v and exceeds %s.limits.%s, %v: lower the request or raise the limit." $name $resource $request $name $resource $limit) }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson $errors }}
{{- end }}

{{/* A Kubernetes quantity such as 500m or 1Gi as a plain number. */}}
{{- define "tidegate.quantity" -}}
{{- $text := toString . }}
{{- $unit := regexFind "[A-Za-z]*$" $text }}
{{- $factor := dict "" 1.0 "m" 0.001 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 }}
{{- mulf (trimSuffix $unit $text | float64) (get $factor $unit | default 1.0) }}
{{- end }}
