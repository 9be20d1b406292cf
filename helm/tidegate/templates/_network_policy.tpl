{{/* Egress that the init container needs: the object store, the proxy, and the service that gives the cloud identity. */}}

{{/* The port of a URL such as https://s3.example.com:9000; by default its scheme's port. */}}
{{- define "tidegate.urlPort" -}}
{{- $url := urlParse . -}}
{{ regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (ternary "80" "443" (eq $url.scheme "http")) }}
{{- end }}

{{/* A NetworkPolicy applies to the pods behind a Service, so networkPolicy.objectStorePort overrides the endpoint's port. */}}
{{- define "tidegate.objectStorePort" -}}
{{- $port := .Values.networkPolicy.objectStorePort -}}
{{- if kindIs "invalid" $port -}}
{{ include "tidegate.urlPort" (.Values.objectStore.endpoint | default "https://") }}
{{- else -}}
{{ int64 $port }}
{{- end }}
{{- end }}

{{/* The value of networkPolicy.cloudIdentity; if it is empty, the identity that the service account's annotations name. */}}
{{- define "tidegate.cloudIdentity" -}}
{{- $annotations := .Values.serviceAccount.annotations -}}
{{- if .Values.networkPolicy.cloudIdentity -}}
{{ .Values.networkPolicy.cloudIdentity }}
{{- else if hasKey $annotations "eks.amazonaws.com/role-arn" -}}
aws-irsa
{{- else if hasKey $annotations "iam.gke.io/gcp-service-account" -}}
gcp
{{- else if hasKey $annotations "azure.workload.identity/client-id" -}}
azure
{{- end }}
{{- end }}

{{/* AWS STS exchanges the role's token. Its addresses are not fixed. */}}
{{- define "tidegate.cloudIdentity.aws-irsa" -}}
- ports:
    - {protocol: TCP, port: 443}
{{- end }}

{{/* The EKS Pod Identity agent on the node, at its two fixed addresses. */}}
{{- define "tidegate.cloudIdentity.aws-pod-identity" -}}
- to:
    - ipBlock: {cidr: 169.254.170.23/32}
    - ipBlock: {cidr: "fd00:ec2::23/128"}
  ports:
    - {protocol: TCP, port: 80}
{{- end }}

{{/* GKE's metadata server. Dataplane V2 matches its own address, other policy engines match the redirected address. */}}
{{- define "tidegate.cloudIdentity.gcp" -}}
- to:
    - ipBlock: {cidr: 169.254.169.254/32}
  ports:
    - {protocol: TCP, port: 80}
- to:
    - ipBlock: {cidr: 169.254.169.252/32}
  ports:
    - {protocol: TCP, port: 988}
{{- end }}

{{/* Entra ID for workload identity; the node's metadata service for a managed identity. */}}
{{- define "tidegate.cloudIdentity.azure" -}}
- ports:
    - {protocol: TCP, port: 443}
- to:
    - ipBlock: {cidr: 169.254.169.254/32}
  ports:
    - {protocol: TCP, port: 80}
{{- end }}
