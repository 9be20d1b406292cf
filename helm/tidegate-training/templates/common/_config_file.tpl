{{- /* Generated from helm/common; do not edit. */ -}}
{{/*
A map as the text of a configuration. As JSON, because Helm's YAML would write 1000000 as 1e+06, which is no whole
number any more; less the escapes that JSON for web pages has.
*/}}
{{- define "tidegate.configText" -}}
{{ toPrettyJson . | replace "\\u003c" "<" | replace "\\u003e" ">" | replace "\\u0026" "&" }}
{{- end }}
