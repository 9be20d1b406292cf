{{/*
The object whose timeline the campaign records, as JSON with `namespace` and `deployment`; empty if it records none.
The Deployment of an InferenceService is the one that KServe creates for its predictor.
*/}}
{{- define "loadtest.watch" -}}
{{- $campaign := include "loadtest.campaignText" . | fromYaml -}}
{{- with dig "target" "watch" dict $campaign -}}
{{- $predictor := printf "%s-predictor" (toString .inference_service) -}}
{{- dict "namespace" (.namespace | default "default") "deployment" (.deployment | default $predictor) | toJson -}}
{{- end }}
{{- end }}

{{/* The master's token for the API server, at the place where clients look for it. The workers have none. */}}
{{- define "loadtest.tokenVolumeMount" -}}
- name: api-token
  mountPath: /var/run/secrets/kubernetes.io/serviceaccount
  readOnly: true
{{- end }}

{{- define "loadtest.tokenVolume" -}}
- name: api-token
  projected:
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: 3607
      - configMap:
          name: kube-root-ca.crt
          items:
            - key: ca.crt
              path: ca.crt
      - downwardAPI:
          items:
            - path: namespace
              fieldRef:
                apiVersion: v1
                fieldPath: metadata.namespace
{{- end }}
