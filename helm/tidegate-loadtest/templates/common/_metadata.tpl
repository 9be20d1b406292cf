{{- /* Generated from helm/common; do not edit. */ -}}
{{/* Names, labels and annotations of objects and of pods, with those of the user. */}}

{{/*
The metadata of an object, or of a Job in a CronJob, which has no name. The values commonLabels, commonAnnotations and objectMetadata are merged last;
"tidegate.validate.objectMetadata" rejects those that would replace the chart's own.
Argument: (dict "root" $ "kind" <kind>), and optional:
  "name"
  "namespace"    if it is not the release's
  "base"         a map of labels instead of "tidegate.labels"
  "labels"       a map of further labels
  "annotations"  a map of annotations
*/}}
{{- define "tidegate.metadata" -}}
{{- $values := .root.Values -}}
{{- $own := get $values.objectMetadata .kind | default dict -}}
{{- $base := .base | default (include "tidegate.labels" .root | fromYaml) -}}
{{- $annotations := merge dict ($own.annotations | default dict) $values.commonAnnotations (.annotations | default dict) -}}
{{- with .name }}
name: {{ . | quote }}
namespace: {{ $.namespace | default $.root.Release.Namespace | quote }}
{{- end }}
labels: {{- merge dict ($own.labels | default dict) $values.commonLabels (.labels | default dict) $base | toYaml | nindent 2 }}
{{- with $annotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/*
The metadata of a Job's pods. These labels do not change with the chart's version.
Argument: (dict "root" $), and optional "labels", a map of further labels.
*/}}
{{- define "tidegate.podMetadata" -}}
{{- $values := .root.Values -}}
{{- $base := include "tidegate.selectorLabels" .root | fromYaml -}}
labels: {{- merge dict $values.podLabels $values.commonLabels (.labels | default dict) $base | toYaml | nindent 2 }}
{{- with merge dict $values.podAnnotations $values.commonAnnotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/*
Keys that the chart, Helm, Kubernetes or KServe needs in its objects. Argument: the root.
*/}}
{{- define "tidegate.validate.objectMetadata" -}}
{{- $labels := dict "podLabels" .Values.podLabels "commonLabels" .Values.commonLabels }}
{{- $annotations := dict "podAnnotations" .Values.podAnnotations "commonAnnotations" .Values.commonAnnotations }}
{{- range $kind, $metadata := .Values.objectMetadata }}
{{- $_ := set $labels (printf "objectMetadata.%s.labels" $kind) ($metadata.labels | default dict) }}
{{- $_ := set $annotations (printf "objectMetadata.%s.annotations" $kind) ($metadata.annotations | default dict) }}
{{- end }}
{{- $errors := concat
      (include "tidegate.validate.labels" $labels | fromJsonArray)
      (include "tidegate.validate.annotations" $annotations | fromJsonArray) }}
{{- range $value, $map := $labels }}
{{- range $label, $_ := $map }}
{{- if regexMatch "^(app\\.kubernetes\\.io|batch\\.kubernetes\\.io|serving\\.kserve\\.io|networking\\.kserve\\.io)/" $label }}
{{- $errors = append $errors (printf "%s sets %s, by which the chart, Kubernetes or KServe selects objects: remove it, or use another name." $value $label) }}
{{- end }}
{{- end }}
{{- end }}
{{- range $value, $map := $annotations }}
{{- range $key, $_ := $map }}
{{- if or (regexMatch "^(helm\\.sh/hook|meta\\.helm\\.sh/|checksum/)" $key) (has $key (list "serving.kserve.io/deploymentMode" "serving.kserve.io/autoscalerClass" "validations.keda.sh/hpa-ownership")) }}
{{- $errors = append $errors (printf "%s sets %s, by which the chart, Helm or KServe manages its objects: remove it." $value $key) }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson $errors }}
{{- end }}
