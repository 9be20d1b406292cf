{{/*
The deployer's policy for bundles: policy.yaml in a ConfigMap, which the init container and the server read when they start.
*/}}

{{/* The policy of the values as a map with the field names of policy.yaml; empty without signers, digests and sizes. */}}
{{- define "tidegate.policy" -}}
{{- $trust := .Values.trust }}
{{- $signers := list }}
{{- range $trust.signers }}
{{- $fields := dict "name" .name "public_key" .publicKey "certificate_authorities" .certificateAuthorities "identity" .identity "valid_at" .validAt }}
{{- $signers = include "tidegate.withoutEmpty" $fields | fromJson | append $signers }}
{{- end }}
{{- include "tidegate.withoutEmpty" (dict "signers" $signers "revoked" $trust.revoked "max_bundle_bytes" (int64 $trust.maxBundleBytes)) }}
{{- end }}

{{/* A map without its empty values, as JSON. */}}
{{- define "tidegate.withoutEmpty" -}}
{{- $map := dict }}
{{- range $field, $value := . }}
{{- with $value }}
{{- $_ := set $map $field . }}
{{- end }}
{{- end }}
{{- toJson $map }}
{{- end }}

{{/* The name of the ConfigMap with the policy; empty without a policy. */}}
{{- define "tidegate.policyConfigMap" -}}
{{- if .Values.trust.existingConfigMap -}}
{{ .Values.trust.existingConfigMap }}
{{- else if include "tidegate.policy" . | fromJson -}}
{{ include "tidegate.fullname" . }}-policy
{{- end }}
{{- end }}

{{/* The policy's file in the pod; empty without a policy. */}}
{{- define "tidegate.policyFile" -}}
{{ if include "tidegate.policyConfigMap" . }}/etc/tidegate/policy.yaml{{ end }}
{{- end }}

{{- define "tidegate.policyVolume" -}}
{{- with include "tidegate.policyConfigMap" . -}}
- name: policy
  configMap:
    name: {{ . | quote }}
{{- end }}
{{- end }}

{{- define "tidegate.policyVolumeMount" -}}
{{- if include "tidegate.policyConfigMap" . -}}
- name: policy
  mountPath: /etc/tidegate
  readOnly: true
{{- end }}
{{- end }}

{{/* Signers of which a field is missing or has no place, and a second policy. */}}
{{- define "tidegate.validate.trust" -}}
{{- $errors := list }}
{{- $trust := .Values.trust }}
{{- if and $trust.existingConfigMap (include "tidegate.policy" . | fromJson) }}
{{- $errors = append $errors (printf "trust.existingConfigMap is %q, and trust has other values as well: a release has one policy. Move the values into policy.yaml of the ConfigMap, or remove existingConfigMap." $trust.existingConfigMap) }}
{{- end }}
{{- range $index, $signer := $trust.signers }}
{{- $value := printf "trust.signers[%d]" $index }}
{{- if eq (empty .publicKey) (empty .certificateAuthorities) }}
{{- $errors = append $errors (printf "%s (%s) needs either publicKey, or certificateAuthorities with identity: set one of both." $value .name) }}
{{- else if and .certificateAuthorities (not .identity) }}
{{- $errors = append $errors (printf "%s (%s) has certificateAuthorities without identity, so every certificate of the authority could sign: set identity to the email address, URI or DNS name in the signer's certificate." $value .name) }}
{{- else if and .publicKey (or .identity .validAt) }}
{{- $errors = append $errors (printf "%s (%s) has a publicKey, which has neither identity nor validAt: remove them." $value .name) }}
{{- end }}
{{- range $field, $label := dict "publicKey" "PUBLIC KEY" "certificateAuthorities" "CERTIFICATE" }}
{{- $pem := get $signer $field }}
{{- if and $pem (not (contains (printf "-----BEGIN %s-----" $label) $pem)) }}
{{- $errors = append $errors (printf "%s.%s does not begin with '-----BEGIN %s-----': expected PEM, for example from a file, --set-file %s.%s=FILE." $value $field $label $value $field) }}
{{- end }}
{{- end }}
{{- end }}
{{- $digests := dict }}
{{- range $index, $digest := $trust.revoked }}
{{- $_ := set $digests (printf "trust.revoked[%d]" $index) $digest }}
{{- end }}
{{- include "tidegate.validate.digests" $digests | fromJsonArray | concat $errors | toJson }}
{{- end }}
