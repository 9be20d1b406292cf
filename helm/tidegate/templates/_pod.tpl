{{/* What the pods of a track and the golden test share. */}}

{{- define "tidegate.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@sha256:{{ trimPrefix "sha256:" $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default .Chart.AppVersion }}
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

{{/*
How long a pod may take to stop, and so how long before a replica is really gone: it answers for drainSeconds more,
then finishes what is in flight. The only place where this is computed.
*/}}
{{- define "tidegate.grace" -}}
{{ add .Values.server.drainSeconds .Values.server.requestTimeoutSeconds 5 }}
{{- end }}

{{/* Scheduling, identity and pull secrets. Takes (dict "root" $ "track" "stable"). */}}
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
