{{- /* Generated from helm/common; do not edit. */ -}}
{{/*
Values that extend the pods: extraPodSpec, extraEnv, extraEnvFrom, extraVolumes, extraVolumeMounts, extraInitContainers and
extraContainers. They are merged last, and can add to a pod but not replace what the chart sets.
*/}}

{{/*
A pod's specification with the values that extend it. Argument: (dict "root" $ "pod" <the parsed specification>), and
optional "sidecars", false for a pod that must end.
*/}}
{{- define "tidegate.extendedPod" -}}
{{- $values := .root.Values -}}
{{- $pod := .pod -}}
{{- include "tidegate.validate.podExtensions" (dict "root" .root "pod" $pod) | fromJsonArray | include "tidegate.failOnErrors" -}}
{{- range $container := concat ($pod.initContainers | default list) $pod.containers -}}
{{- include "tidegate.append" (list $container "env" $values.extraEnv) -}}
{{- include "tidegate.append" (list $container "volumeMounts" $values.extraVolumeMounts) -}}
{{- /* Of two sources with the same key the last counts, and that is the chart's. */ -}}
{{- with $values.extraEnvFrom -}}
{{- $_ := set $container "envFrom" (concat . ($container.envFrom | default list)) -}}
{{- end -}}
{{- end -}}
{{- include "tidegate.append" (list $pod "volumes" $values.extraVolumes) -}}
{{- with $values.extraInitContainers -}}
{{- /* First, so that a sidecar runs before the init container that pulls the bundle. */ -}}
{{- $_ := set $pod "initContainers" (concat (include "tidegate.confined" . | fromJsonArray) ($pod.initContainers | default list)) -}}
{{- end -}}
{{- if not (eq (toString .sidecars) "false") -}}
{{- include "tidegate.append" (list $pod "containers" (include "tidegate.confined" $values.extraContainers | fromJsonArray)) -}}
{{- end -}}
{{ merge $pod (deepCopy $values.extraPodSpec) | toYaml }}
{{- end }}

{{/* Append to a list in a map. Argument: (list <map> <key> <list>). */}}
{{- define "tidegate.append" -}}
{{- $map := first . -}}
{{- with last . -}}
{{- $key := index $ 1 -}}
{{- $_ := set $map $key (concat (get $map $key | default list) .) -}}
{{- end -}}
{{- end }}

{{/* Containers as JSON, with the chart's security context where they set no other. Argument: the containers. */}}
{{- define "tidegate.confined" -}}
{{- $confined := list -}}
{{- range . -}}
{{- $security := deepCopy (.securityContext | default dict) -}}
{{- range $key, $value := include "tidegate.containerSecurityContext" $ | fromYaml -}}
{{- if not (hasKey $security $key) -}}
{{- $_ := set $security $key $value -}}
{{- end -}}
{{- end -}}
{{- if not $security.capabilities.drop -}}
{{- $_ := set $security.capabilities "drop" (list "ALL") -}}
{{- end -}}
{{- $confined = append $confined (set (deepCopy .) "securityContext" $security) -}}
{{- end -}}
{{- toJson $confined -}}
{{- end }}

{{/*
Extensions that would replace a part of the pod, or that the restricted Pod Security Standard forbids.
Argument: (dict "root" $ "pod" <the parsed specification>).
*/}}
{{- define "tidegate.validate.podExtensions" -}}
{{- $values := .root.Values -}}
{{- concat
      (include "tidegate.validate.extraPodSpec" $values.extraPodSpec | fromJsonArray)
      (include "tidegate.validate.extraEnv" . | fromJsonArray)
      (include "tidegate.validate.extraVolumes" . | fromJsonArray)
      (dict "name" "extraInitContainers" "extra" $values.extraInitContainers "pod" .pod | include "tidegate.validate.extraContainers" | fromJsonArray)
      (dict "name" "extraContainers" "extra" $values.extraContainers "pod" .pod | include "tidegate.validate.extraContainers" | fromJsonArray) | toJson -}}
{{- end }}

{{/* Argument: the value extraPodSpec. */}}
{{- define "tidegate.validate.extraPodSpec" -}}
{{- $errors := list }}
{{- $valueOfField := dict
      "containers" "extraContainers" "initContainers" "extraInitContainers" "volumes" "extraVolumes"
      "securityContext" "podSecurityContext" "serviceAccountName" "serviceAccount.name" "imagePullSecrets" "imagePullSecrets"
      "nodeSelector" "nodeSelector" "tolerations" "tolerations" "affinity" "affinity" "priorityClassName" "priorityClassName"
      "topologySpreadConstraints" "topologySpreadConstraints" }}
{{- $own := list "automountServiceAccountToken" "enableServiceLinks" "restartPolicy" "terminationGracePeriodSeconds" "ephemeralContainers" "nodeName" "serviceAccount" "activeDeadlineSeconds" }}
{{- $free := list
      "dnsConfig" "dnsPolicy" "hostAliases" "hostname" "hostUsers" "os" "overhead" "preemptionPolicy" "priority" "readinessGates"
      "resourceClaims" "resources" "runtimeClassName" "schedulerName" "schedulingGates" "setHostnameAsFQDN" "shareProcessNamespace" "subdomain" }}
{{- range $field, $_ := . }}
{{- if hasKey $valueOfField $field }}
{{- $errors = append $errors (printf "extraPodSpec sets %s, which the chart sets from a value: use %s." $field (get $valueOfField $field)) }}
{{- else if has $field $own }}
{{- $errors = append $errors (printf "extraPodSpec sets %s, which the chart itself decides: remove it." $field) }}
{{- else if has $field (list "hostNetwork" "hostPID" "hostIPC") }}
{{- $errors = append $errors (printf "extraPodSpec sets %s, and the restricted Pod Security Standard forbids it: remove it." $field) }}
{{- else if not (has $field $free) }}
{{- $errors = append $errors (printf "extraPodSpec sets %s, which is not a field of a pod's specification: expected one of %s." $field (join ", " $free)) }}
{{- end }}
{{- end }}
{{- toJson $errors }}
{{- end }}

{{/* Argument: (dict "root" $ "pod" <the parsed specification>). */}}
{{- define "tidegate.validate.extraEnv" -}}
{{- $errors := list }}
{{- $names := list }}
{{- range concat (.pod.initContainers | default list) .pod.containers }}
{{- range .env }}
{{- $names = append $names .name }}
{{- end }}
{{- end }}
{{- range .root.Values.extraEnv }}
{{- if not (regexMatch "^[-._a-zA-Z][-._a-zA-Z0-9]*$" .name) }}
{{- $errors = append $errors (printf "extraEnv has a variable %q: expected letters, digits, '_', '-' and '.', with no digit first." .name) }}
{{- end }}
{{- if has .name $names }}
{{- $errors = append $errors (printf "extraEnv sets %s, which the chart sets already: remove it, and use the chart's value for it." .name) }}
{{- end }}
{{- $names = append $names .name }}
{{- end }}
{{- toJson $errors }}
{{- end }}

{{/* Argument: (dict "root" $ "pod" <the parsed specification>). */}}
{{- define "tidegate.validate.extraVolumes" -}}
{{- $errors := list }}
{{- $values := .root.Values }}
{{- $names := list }}
{{- range .pod.volumes }}
{{- $names = append $names .name }}
{{- end }}
{{- $extra := list }}
{{- $types := list "configMap" "csi" "downwardAPI" "emptyDir" "ephemeral" "image" "persistentVolumeClaim" "projected" "secret" }}
{{- range $values.extraVolumes }}
{{- if has .name (concat $names $extra) }}
{{- $errors = append $errors (printf "extraVolumes has %q, the name of another volume of the pod: use another name." .name) }}
{{- end }}
{{- $extra = append $extra .name }}
{{- if gt (len .) 2 }}
{{- $errors = append $errors (printf "extraVolumes has %q with the types %s: keep one of them." .name (omit . "name" | keys | sortAlpha | join " and ")) }}
{{- end }}
{{- range $type, $_ := omit . "name" }}
{{- if not (has $type $types) }}
{{- $errors = append $errors (printf "extraVolumes has a volume of type %s, and the restricted Pod Security Standard forbids it: expected one of %s." $type (join ", " $types)) }}
{{- end }}
{{- end }}
{{- end }}
{{- $paths := list }}
{{- range concat (.pod.initContainers | default list) .pod.containers }}
{{- range .volumeMounts }}
{{- $paths = append $paths .mountPath }}
{{- end }}
{{- end }}
{{- range $mount := $values.extraVolumeMounts }}
{{- if not (has $mount.name $extra) }}
{{- $errors = append $errors (printf "extraVolumeMounts mounts %q: expected the name of a volume in extraVolumes." $mount.name) }}
{{- end }}
{{- $inside := printf "%s/" (clean $mount.mountPath | trimSuffix "/") }}
{{- range $path := uniq $paths }}
{{- if or (hasPrefix $inside (printf "%s/" $path)) (hasPrefix (printf "%s/" $path) $inside) }}
{{- $errors = append $errors (printf "extraVolumeMounts mounts %q at %s, which hides %s or is hidden by it: mount it elsewhere." $mount.name $mount.mountPath $path) }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson $errors }}
{{- end }}

{{/* Argument: (dict "name" <name of the value> "extra" <its containers> "pod" <the parsed specification>). */}}
{{- define "tidegate.validate.extraContainers" -}}
{{- $errors := list }}
{{- $names := list "storage-initializer" }}
{{- range concat (.pod.initContainers | default list) .pod.containers }}
{{- $names = append $names .name }}
{{- end }}
{{- range .extra }}
{{- $where := printf "%s has %q" $.name .name }}
{{- if has .name $names }}
{{- $errors = append $errors (printf "%s, the name of another container: use another name." $where) }}
{{- end }}
{{- $names = append $names .name }}
{{- $context := .securityContext | default dict }}
{{- $capabilities := $context.capabilities | default dict }}
{{- $wrong := list }}
{{- if eq (get $context "runAsUser" | toString) "0" }}{{ $wrong = append $wrong "runAsUser: 0" }}{{ end }}
{{- if eq (get $context "runAsNonRoot" | toString) "false" }}{{ $wrong = append $wrong "runAsNonRoot: false" }}{{ end }}
{{- if eq (get $context "privileged" | toString) "true" }}{{ $wrong = append $wrong "privileged: true" }}{{ end }}
{{- if eq (get $context "allowPrivilegeEscalation" | toString) "true" }}{{ $wrong = append $wrong "allowPrivilegeEscalation: true" }}{{ end }}
{{- if without ($capabilities.add | default list) "NET_BIND_SERVICE" }}{{ $wrong = append $wrong "capabilities.add" }}{{ end }}
{{- if not (has "ALL" ($capabilities.drop | default (list "ALL"))) }}{{ $wrong = append $wrong "capabilities.drop without ALL" }}{{ end }}
{{- if not (has (dig "seccompProfile" "type" "RuntimeDefault" $context) (list "RuntimeDefault" "Localhost")) }}{{ $wrong = append $wrong "seccompProfile" }}{{ end }}
{{- range $wrong }}
{{- $errors = append $errors (printf "%s with securityContext.%s, and the restricted Pod Security Standard forbids it: remove it." $where .) }}
{{- end }}
{{- range .ports }}
{{- if .hostPort }}
{{- $errors = append $errors (printf "%s with a hostPort, and the restricted Pod Security Standard forbids it: remove it." $where) }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson $errors }}
{{- end }}
