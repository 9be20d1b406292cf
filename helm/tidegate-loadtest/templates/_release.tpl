{{/*
What a release of each chart of Tidegate has: names and labels, the image, how its pods run and reach the object store,
and what of these values cannot be. The three charts have this file alike, and no library chart: 'helm install' of a
folder would then need a dependency fetched first.
*/}}

{{- define "tidegate.name" -}}
{{ .Values.fullnameOverride | default .Release.Name }}
{{- end }}

{{- define "tidegate.serviceAccount" -}}
{{- if .Values.serviceAccount.name -}}
{{ .Values.serviceAccount.name }}
{{- else if .Values.serviceAccount.create -}}
{{ include "tidegate.name" . }}
{{- else -}}
default
{{- end }}
{{- end }}

{{/* The Secret with the object store's credentials; the chart that serves never makes one. */}}
{{- define "tidegate.secret" -}}
{{- if .Values.objectStore.secretData -}}
{{ include "tidegate.name" . }}-store
{{- else -}}
{{ .Values.objectStore.secretName }}
{{- end }}
{{- end }}

{{- define "tidegate.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@sha256:{{ trimPrefix "sha256:" $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{/* What selects the objects of this release. Selectors are immutable: never add to it. */}}
{{- define "tidegate.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{/*
Not for pods, nor for an InferenceService, whose labels KServe copies to its pods. These change with the chart: every
model would restart with it, and a Job's template cannot change at all.
*/}}
{{- define "tidegate.labels" -}}
{{ include "tidegate.selector" . }}
app.kubernetes.io/part-of: tidegate
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
{{- end }}

{{/* Scheduling, identity and pull secrets of a pod. Takes (dict "root" $). */}}
{{- define "tidegate.podSettings" -}}
{{- $values := .root.Values -}}
serviceAccountName: {{ include "tidegate.serviceAccount" .root | quote }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext: {{- toYaml $values.podSecurityContext | nindent 2 }}
{{- with $values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Pod Security "restricted", and a root file system that cannot be written to. */}}
{{- define "tidegate.containerSecurity" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* The environment of a container that reaches the object store: nothing, where nothing is set. */}}
{{- define "tidegate.storeEnvironment" -}}
{{- $store := .Values.objectStore }}
{{- with include "tidegate.secret" . }}
envFrom:
  - secretRef:
      name: {{ . | quote }}
{{- end }}
{{- $env := dict "AWS_ENDPOINT_URL" $store.endpoint "AWS_REGION" $store.region
      "SSL_CERT_FILE" (and $store.caConfigMap (printf "/etc/store-ca/%s" $store.caKey))
      "HTTPS_PROXY" $store.httpsProxy "NO_PROXY" $store.noProxy }}
{{- if compact (values $env) }}
env:
  {{- range $name, $value := $env }}
  {{- if $value }}
  - name: {{ $name }}
    value: {{ $value | quote }}
  {{- end }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Where that container finds the certificate authorities, and the volume that they are in. */}}
{{- define "tidegate.storeMount" -}}
{{- if .Values.objectStore.caConfigMap -}}
- name: store-ca
  mountPath: /etc/store-ca
  readOnly: true
{{- end }}
{{- end }}

{{- define "tidegate.storeVolume" -}}
{{- with .Values.objectStore.caConfigMap -}}
- name: store-ca
  configMap:
    name: {{ . | quote }}
{{- end }}
{{- end }}

{{/* Refuses the release, if there is a reason to. Takes the list of sentences. */}}
{{- define "tidegate.refuse" -}}
{{- if . }}
{{- fail (printf "\n\n  - %s\n" (join "\n  - " .)) }}
{{- end }}
{{- end }}

{{/*
What of the values that the charts have in common cannot be. As every check below, it gives JSON: one sentence each.
*/}}
{{- define "tidegate.check.release" -}}
{{- concat
      (include "tidegate.check.image" . | fromJsonArray)
      (include "tidegate.check.store" . | fromJsonArray)
      (include "tidegate.check.account" . | fromJsonArray)
      (include "tidegate.check.security" . | fromJsonArray)
      (include "tidegate.check.podLabels" . | fromJsonArray) | toJson }}
{{- end }}

{{- define "tidegate.check.image" -}}
{{- $wrong := dict "image.digest" .Values.image.digest | include "tidegate.check.digests" | fromJsonArray }}
{{- if and .Values.image.tag .Values.image.digest }}
{{- $wrong = append $wrong "image.tag and image.digest are both set: keep the digest, which names one image for ever, or the tag." }}
{{- end }}
{{- toJson $wrong }}
{{- end }}

{{/* Takes digests by the names of their values. */}}
{{- define "tidegate.check.digests" -}}
{{- $wrong := list }}
{{- range $key, $digest := . }}
{{- if and $digest (not (regexMatch "^(sha256:)?[0-9a-f]{64}$" $digest)) }}
{{- $wrong = append $wrong (printf "%s is %q: expected 64 digits of 0-9 and a-f, with or without 'sha256:' before them." $key $digest) }}
{{- end }}
{{- end }}
{{- toJson $wrong }}
{{- end }}

{{- define "tidegate.check.store" -}}
{{- $wrong := list }}
{{- $store := .Values.objectStore }}
{{- range $key, $example := dict "endpoint" "https://s3.example.com or http://minio.storage:9000" "httpsProxy" "http://proxy.example.com:3128" }}
{{- $address := get $store $key }}
{{- if and $address (not (regexMatch "^https?://[^/\\s]" $address)) }}
{{- $wrong = append $wrong (printf "objectStore.%s is %q: expected an address with its scheme, for example %s." $key $address $example) }}
{{- end }}
{{- end }}
{{- if and $store.secretName $store.secretData }}
{{- $wrong = append $wrong "objectStore.secretName and objectStore.secretData are both set: keep the Secret that exists, or let the chart make one." }}
{{- end }}
{{- toJson $wrong }}
{{- end }}

{{- define "tidegate.check.account" -}}
{{- $wrong := list }}
{{- $name := include "tidegate.serviceAccount" . }}
{{- if not (and (regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$" $name) (le (len $name) 253)) }}
{{- $wrong = append $wrong (printf "serviceAccount.name is %q: expected at most 253 characters of a-z, 0-9, '-' and '.', with a letter or digit first and last." $name) }}
{{- else if and .Values.serviceAccount.create (eq $name "default") }}
{{- $wrong = append $wrong "The service account would be called 'default', and every namespace has one of that name, which Helm does not take over: set serviceAccount.name to another, or serviceAccount.create to false to use that one." }}
{{- end }}
{{- toJson $wrong }}
{{- end }}

{{/* What breaks the restricted Pod Security Standard: no pod would be made, and only an event would say why. */}}
{{- define "tidegate.check.security" -}}
{{- $wrong := list }}
{{- $context := .Values.podSecurityContext }}
{{- $never := "Pod Security's restricted standard forbids it" }}
{{- if eq (get $context "runAsUser" | toString) "0" }}
{{- $wrong = append $wrong (printf "podSecurityContext.runAsUser is 0, and %s: give another number, or null on OpenShift, which chooses one." $never) }}
{{- end }}
{{- if eq (get $context "runAsNonRoot" | toString) "false" }}
{{- $wrong = append $wrong (printf "podSecurityContext.runAsNonRoot is false, and %s: remove it, or set it to true." $never) }}
{{- end }}
{{- $seccomp := dig "seccompProfile" "type" "" $context }}
{{- if not (has $seccomp (list "" "RuntimeDefault" "Localhost")) }}
{{- $wrong = append $wrong (printf "podSecurityContext.seccompProfile.type is %v, and %s: set it to RuntimeDefault, or to Localhost with a localhostProfile." $seccomp $never) }}
{{- end }}
{{- range $key := list "privileged" "allowPrivilegeEscalation" "capabilities" "readOnlyRootFilesystem" "procMount" }}
{{- if hasKey $context $key }}
{{- $wrong = append $wrong (printf "podSecurityContext.%s is set, which belongs to containers, and theirs are not for choice: remove it." $key) }}
{{- end }}
{{- end }}
{{- toJson $wrong }}
{{- end }}

{{- define "tidegate.check.podLabels" -}}
{{- $wrong := list }}
{{- range $label, $_ := .Values.podLabels }}
{{- if regexMatch "^(app\\.kubernetes\\.io|batch\\.kubernetes\\.io|serving\\.kserve\\.io|networking\\.kserve\\.io)/" $label }}
{{- $wrong = append $wrong (printf "podLabels sets %s, by which the chart, Kubernetes or KServe finds pods: remove it, or choose another name." $label) }}
{{- end }}
{{- end }}
{{- toJson $wrong }}
{{- end }}

{{/* Takes the requests and limits of containers by the names of their values. */}}
{{- define "tidegate.check.resources" -}}
{{- $wrong := list }}
{{- range $where, $amounts := . }}
{{- range $resource, $request := $amounts.requests }}
{{- $limit := get $amounts.limits $resource }}
{{- if gt (include "tidegate.quantity" $request | float64) (include "tidegate.quantity" $limit | float64) }}
{{- $wrong = append $wrong (printf "%s.requests.%s is %v and above %s.limits.%s, %v: lower the request or raise the limit." $where $resource $request $where $resource $limit) }}
{{- end }}
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
