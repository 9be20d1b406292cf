{{- /* Generated from helm/common; do not edit. */ -}}
{{/*
A map as the text of a configuration file. The text is JSON, because Helm's YAML writes 1000000 as 1e+06, which is not
an integer. The escapes that Go adds to JSON for HTML are removed.
*/}}
{{- define "tidegate.configText" -}}
{{ toPrettyJson . | replace "\\u003c" "<" | replace "\\u003e" ">" | replace "\\u0026" "&" }}
{{- end }}
