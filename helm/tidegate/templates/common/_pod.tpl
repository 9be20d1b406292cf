{{- /* Generated from helm/common; do not edit. */ -}}
{{/* Settings of every pod and container: image, service account, scheduling, security. */}}

{{- define "tidegate.serviceAccountName" -}}
{{- if .Values.serviceAccount.name -}}
{{ .Values.serviceAccount.name }}
{{- else if .Values.serviceAccount.create -}}
{{ include "tidegate.fullname" . }}
{{- else -}}
default
{{- end }}
{{- end }}

{{/* The image. global.imageRegistry replaces the registry in image.repository, or precedes a name without one. */}}
{{- define "tidegate.image" -}}
{{- $image := .Values.image -}}
{{- $repository := $image.repository -}}
{{- with .Values.global.imageRegistry -}}
{{- $path := regexReplaceAll "^(localhost|[^/]*[.:][^/]*)/" $repository "" -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) $path -}}
{{- end -}}
{{- if $image.digest -}}
{{ $repository }}@sha256:{{ trimPrefix "sha256:" $image.digest }}
{{- else -}}
{{ $repository }}:{{ $image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{/* A pod's service account, security context, pull secrets and scheduling. Argument: (dict "root" $). */}}
{{- define "tidegate.podSettings" -}}
{{- $values := .root.Values -}}
serviceAccountName: {{ include "tidegate.serviceAccountName" .root | quote }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- /* A null, by which older values removed a default, would be invalid. */}}
{{- $security := dict }}
{{- range $key, $value := $values.podSecurityContext }}
{{- if not (kindIs "invalid" $value) }}
{{- $_ := set $security $key $value }}
{{- end }}
{{- end }}
securityContext: {{- toYaml $security | nindent 2 }}
{{- $secrets := $values.imagePullSecrets }}
{{- range $values.global.imagePullSecrets }}
{{- $secrets = append $secrets (kindIs "string" . | ternary (dict "name" .) .) }}
{{- end }}
{{- with uniq $secrets }}
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

{{/*
Topology spread constraints; one without its own labelSelector selects the pods that belong together.
Argument: (dict "constraints" <list> "selector" <map that selects the pods>).
*/}}
{{- define "tidegate.topologySpread" -}}
{{- with .constraints -}}
topologySpreadConstraints:
  {{- range . }}
  - {{- hasKey . "labelSelector" | ternary . (merge (deepCopy .) $.selector) | toYaml | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}

{{/* The requests and limits of a container, without the empty ones. */}}
{{- define "tidegate.resources" -}}
{{- range $kind := list "requests" "limits" -}}
{{- $amounts := dict -}}
{{- range $resource, $amount := get $ $kind -}}
{{- if not (has $amount (list nil "")) -}}
{{- $_ := set $amounts $resource $amount -}}
{{- end -}}
{{- end }}
{{ $kind }}: {{- toYaml $amounts | nindent 2 }}
{{- end }}
{{- end }}

{{/* The restricted Pod Security Standard, and a read-only root file system. */}}
{{- define "tidegate.containerSecurityContext" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end }}
