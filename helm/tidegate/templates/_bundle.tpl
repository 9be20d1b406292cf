{{/*
Where a bundle is and how a pod gets it. A URI and a digest say it all:

  s3://, gs://, az://<store>/<name>    an init container pulls and verifies <store>/<name>@sha256:<digest>
  pvc://<claim>/<folder>/<name>        the claim holds a store: the bundle is its folder <folder>/<name>/<digest>
  oci://<registry>/<repository>/<name> an image volume: the bundle is the root of the image tagged with its digest

The server checks the digest again before it parses a byte, whichever way the bundle came.
*/}}

{{- define "tidegate.bundleScheme" -}}
{{ regexFind "^[a-z0-9]+://" .Values.model.uri | trimSuffix "://" }}
{{- end }}

{{/* The URI without its scheme. */}}
{{- define "tidegate.bundlePath" -}}
{{ regexReplaceAll "^[a-z0-9]+://" .Values.model.uri "" }}
{{- end }}

{{- define "tidegate.pullsBundle" -}}
{{ if has (include "tidegate.bundleScheme" .) (list "s3" "gs" "az") }}true{{ end }}
{{- end }}

{{/* The name under which both tracks serve the model: clients never see the track. */}}
{{- define "tidegate.modelName" -}}
{{ .Values.model.name | default (base .Values.model.uri) }}
{{- end }}

{{/* The digest of a track, 64 hexadecimal digits. Takes (dict "root" $ "track" "stable"). */}}
{{- define "tidegate.bundleDigest" -}}
{{ ternary .root.Values.canary.digest .root.Values.model.digest (eq .track "canary") | trimPrefix "sha256:" }}
{{- end }}

{{/* The bundle's directory in the pod. */}}
{{- define "tidegate.bundleDirectory" -}}
{{- if eq (include "tidegate.bundleScheme" .root) "pvc" -}}
{{ printf "/mnt/models/%s/%s" (include "tidegate.bundlePath" .root | regexFind "/.*" | trimPrefix "/") (include "tidegate.bundleDigest" .) }}
{{- else -}}
/mnt/models/bundle
{{- end }}
{{- end }}

{{/* Where the volume "model" is mounted, read-only but for the init container that fills it. */}}
{{- define "tidegate.bundleVolumeMount" -}}
name: model
mountPath: {{ ternary "/mnt/models/bundle" "/mnt/models" (eq (include "tidegate.bundleScheme" .root) "oci") }}
readOnly: true
{{- end }}

{{- define "tidegate.volumes" -}}
- name: tmp
  emptyDir: {}
- name: model
  {{- if eq (include "tidegate.bundleScheme" .root) "pvc" }}
  persistentVolumeClaim:
    claimName: {{ include "tidegate.bundlePath" .root | splitList "/" | first | quote }}
    readOnly: true
  {{- else if eq (include "tidegate.bundleScheme" .root) "oci" }}
  image:
    reference: {{ printf "%s:%s" (include "tidegate.bundlePath" .root) (include "tidegate.bundleDigest" .) | quote }}
    pullPolicy: IfNotPresent
  {{- else }}
  emptyDir: {}
  {{- end }}
{{- with include "tidegate.caVolume" .root }}
{{- nindent 0 . }}
{{- end }}
{{- end }}

{{/*
The init container that pulls and verifies. KServe reports the end of one named "storage-initializer", and of no
other, in the InferenceService's status; with FallbackToLogsOnError the reason for a refusal stands there.
It alone has the store's credentials. Takes (dict "root" $ "track" "stable" "resources" …).
*/}}
{{- define "tidegate.storageInitializer" -}}
- name: storage-initializer
  image: {{ include "tidegate.image" .root | quote }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  args:
    - pull
    - {{ printf "%s@sha256:%s" .root.Values.model.uri (include "tidegate.bundleDigest" .) | quote }}
    - {{ include "tidegate.bundleDirectory" . | quote }}
  {{- with include "tidegate.objectStoreEnv" .root }}
  {{- trim . | nindent 2 }}
  {{- end }}
  resources: {{- toYaml .resources | nindent 4 }}
  securityContext: {{- include "tidegate.containerSecurityContext" .root | nindent 4 }}
  terminationMessagePolicy: FallbackToLogsOnError
  volumeMounts:
    - name: tmp
      mountPath: /tmp
    - name: model
      mountPath: /mnt/models
    {{- with include "tidegate.caVolumeMount" .root }}
    {{- nindent 4 . }}
    {{- end }}
{{- end }}
