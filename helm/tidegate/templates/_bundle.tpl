{{/*
The bundle's place, and how a pod gets the bundle. The URI and the digest determine both:

  s3://, gs://, az://<store>/<name>    an init container pulls and verifies <store>/<name>@sha256:<digest>
  pvc://<claim>/<folder>/<name>        the claim holds a store; the bundle is its directory <folder>/<name>/<digest>
  oci://<registry>/<repository>/<name> an image volume; the bundle is the root of the image whose tag is the digest

In every form, the server verifies the digest again before it parses the bundle. With a policy (_trust.tpl), the init container
and the server both check the bundle against it.
*/}}

{{- define "tidegate.bundleScheme" -}}
{{ regexFind "^[a-z0-9]+://" .Values.model.uri | trimSuffix "://" }}
{{- end }}

{{/* The URI without its scheme. */}}
{{- define "tidegate.bundlePath" -}}
{{ regexReplaceAll "^[a-z0-9]+://" .Values.model.uri "" }}
{{- end }}

{{/* "true" if an init container pulls the bundle, otherwise empty. */}}
{{- define "tidegate.pullsBundle" -}}
{{ if has (include "tidegate.bundleScheme" .) (list "s3" "gs" "az") }}true{{ end }}
{{- end }}

{{/* The model's name in requests. Both tracks have the same name, so clients do not depend on the track. */}}
{{- define "tidegate.modelName" -}}
{{ .Values.model.name | default (base .Values.model.uri) }}
{{- end }}

{{/* The digest of a track, 64 hexadecimal digits. Argument: (dict "root" $ "track" "stable"). */}}
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

{{/* The mount of the volume "model". It is read-only except in the init container, which writes the bundle. */}}
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
{{- with include "tidegate.policyVolume" .root }}
{{- nindent 0 . }}
{{- end }}
{{- end }}

{{/*
The init container that pulls and verifies the bundle. KServe copies the termination message of an init container to the
InferenceService's status only if its name is "storage-initializer". FallbackToLogsOnError makes the error that message.
Only this container has the store's credentials.
Argument: (dict "root" $ "track" "stable" "resources" <the container's resources>).
*/}}
{{- define "tidegate.storageInitializer" -}}
- name: storage-initializer
  image: {{ include "tidegate.image" .root | quote }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  args:
    - pull
    - {{ printf "%s@sha256:%s" .root.Values.model.uri (include "tidegate.bundleDigest" .) | quote }}
    - {{ include "tidegate.bundleDirectory" . | quote }}
    {{- with include "tidegate.policyFile" .root }}
    - --policy
    - {{ . | quote }}
    {{- range $.root.Values.server.allowedJoblibDigests }}
    - --allow-joblib-digest
    - {{ . | quote }}
    {{- end }}
    {{- end }}
  {{- with include "tidegate.objectStoreEnv" .root }}
  {{- trim . | nindent 2 }}
  {{- end }}
  resources: {{- include "tidegate.resources" .resources | nindent 4 }}
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
    {{- with include "tidegate.policyVolumeMount" .root }}
    {{- nindent 4 . }}
    {{- end }}
{{- end }}
