{{/* The tracks that exist, apart by a space. */}}
{{- define "tidegate.tracks" -}}
stable{{ if .Values.canary.digest }} canary{{ end }}
{{- end }}

{{/* Replica limits of a track: the canary's own, where they are given. Takes (dict "root" $ "track" "stable"). */}}
{{- define "tidegate.minReplicas" -}}
{{- $own := ternary .root.Values.canary.minReplicas nil (eq .track "canary") -}}
{{ kindIs "invalid" $own | ternary .root.Values.autoscaling.minReplicas $own | int64 }}
{{- end }}

{{- define "tidegate.maxReplicas" -}}
{{- $own := ternary .root.Values.canary.maxReplicas nil (eq .track "canary") -}}
{{ kindIs "invalid" $own | ternary .root.Values.autoscaling.maxReplicas $own | int64 }}
{{- end }}
