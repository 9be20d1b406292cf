{{- /* Generated from helm/common; do not edit. */ -}}
{{/* Access of a container to the object store: credentials, endpoint, proxy and certificate authorities. */}}

{{/* The name of the Secret with the credentials. The serving chart has no secretData and creates no Secret. */}}
{{- define "tidegate.objectStoreSecretName" -}}
{{- if .Values.objectStore.secretData -}}
{{ include "tidegate.fullname" . }}-store
{{- else -}}
{{ .Values.objectStore.secretName }}
{{- end }}
{{- end }}

{{/* envFrom and env of the container; empty if objectStore is empty. */}}
{{- define "tidegate.objectStoreEnv" -}}
{{- with include "tidegate.objectStoreSecretName" . }}
envFrom:
  - secretRef:
      name: {{ . | quote }}
{{- end }}
{{- with include "tidegate.objectStoreVariables" . }}
env:
  {{- nindent 2 (trim .) }}
{{- end }}
{{- end }}

{{/* The variables that are not secret: endpoint, region, certificate authorities and proxy. */}}
{{- define "tidegate.objectStoreVariables" -}}
{{- $store := .Values.objectStore }}
{{- $env := dict "AWS_ENDPOINT_URL" $store.endpoint "AWS_REGION" $store.region
      "SSL_CERT_FILE" (and $store.caConfigMap (printf "/etc/store-ca/%s" $store.caKey))
      "HTTPS_PROXY" $store.httpsProxy "NO_PROXY" $store.noProxy }}
{{- range $name, $value := $env }}
{{- if $value }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- define "tidegate.caVolumeMount" -}}
{{- if .Values.objectStore.caConfigMap -}}
- name: store-ca
  mountPath: /etc/store-ca
  readOnly: true
{{- end }}
{{- end }}

{{- define "tidegate.caVolume" -}}
{{- with .Values.objectStore.caConfigMap -}}
- name: store-ca
  configMap:
    name: {{ . | quote }}
{{- end }}
{{- end }}
