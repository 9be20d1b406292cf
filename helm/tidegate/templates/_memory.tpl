{{/*
The largest models that the memory limit fits. The limit of a bundle is a base plus a factor times the size of its files:
tidegate/memory.py has the same numbers, and docs/columns.md measures them.
*/}}
{{- define "tidegate.memoryNote" -}}
{{- $limit := divf (include "tidegate.quantity" .Values.resources.limits.memory | float64) 1048576 | floor | int64 }}
{{- $onnx := printf "a model.onnx of %d MiB" (max 0 (div (sub $limit 256) 16)) }}
{{- $skops := printf "a model.skops of %d MiB" (max 0 (div (sub $limit 448) 6)) }}
{{- $largest := dict "onnx" $onnx "sklearn" $skops "auto" (printf "%s or, without one, %s" $onnx $skops) -}}
Note: The memory limit of {{ $limit }} MiB fits at most {{ get $largest .Values.server.engine }}.
'tidegate inspect' prints the limit that a bundle needs; set resources.limits.memory to it.
{{- end }}
