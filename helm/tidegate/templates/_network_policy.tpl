{{/* Where the init container has to get: the object store, the proxy, and whoever gives the pod its identity. */}}

{{/* The port of an address such as https://s3.example.com:9000; without one, its scheme's. */}}
{{- define "tidegate.urlPort" -}}
{{- $address := urlParse . -}}
{{ regexFind ":[0-9]+$" $address.host | trimPrefix ":" | default (ternary "80" "443" (eq $address.scheme "http")) }}
{{- end }}

{{/* A policy is about the pods behind a Service and so about their port: who sets objectStorePort knows it. */}}
{{- define "tidegate.objectStorePort" -}}
{{- $given := .Values.networkPolicy.objectStorePort -}}
{{- if kindIs "invalid" $given -}}
{{ include "tidegate.urlPort" (.Values.objectStore.endpoint | default "https://") }}
{{- else -}}
{{ int64 $given }}
{{- end }}
{{- end }}

{{/* Who gives the pods their identity: what is said, or what the account's annotations ask for. */}}
{{- define "tidegate.cloudIdentity" -}}
{{- $asked := .Values.serviceAccount.annotations -}}
{{- if .Values.networkPolicy.cloudIdentity -}}
{{ .Values.networkPolicy.cloudIdentity }}
{{- else if hasKey $asked "eks.amazonaws.com/role-arn" -}}
aws-irsa
{{- else if hasKey $asked "iam.gke.io/gcp-service-account" -}}
gcp
{{- else if hasKey $asked "azure.workload.identity/client-id" -}}
azure
{{- end }}
{{- end }}

{{/* AWS STS takes the role's token, from an address that only its name tells. */}}
{{- define "tidegate.cloudIdentity.aws-irsa" -}}
- ports:
    - {protocol: TCP, port: 443}
{{- end }}

{{/* The agent on the node, by its two fixed addresses. */}}
{{- define "tidegate.cloudIdentity.aws-pod-identity" -}}
- to:
    - ipBlock: {cidr: 169.254.170.23/32}
    - ipBlock: {cidr: "fd00:ec2::23/128"}
  ports:
    - {protocol: TCP, port: 80}
{{- end }}

{{/* The metadata server: its own address with Dataplane V2, and the one behind it that other policies see. */}}
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

{{/* Workload identity asks Entra ID; a managed identity of the node asks its metadata service. */}}
{{- define "tidegate.cloudIdentity.azure" -}}
- ports:
    - {protocol: TCP, port: 443}
- to:
    - ipBlock: {cidr: 169.254.169.254/32}
  ports:
    - {protocol: TCP, port: 80}
{{- end }}
