{{- /* Generated from helm/common; do not edit. */ -}}
{{/* Egress to the object store: DNS, the store, the proxy, and the service that gives the cloud identity. */}}

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

{{/* DNS: in kube-system, in a cache on the node, and in OpenShift, whose DNS pods listen on 5353. */}}
{{- define "tidegate.dnsEgress" -}}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: kube-system
    - ipBlock: {cidr: 169.254.20.10/32}
  ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: openshift-dns
  ports:
    - {protocol: UDP, port: 5353}
    - {protocol: TCP, port: 5353}
{{- end }}

{{- define "tidegate.storeEgress" -}}
{{ include "tidegate.dnsEgress" . }}
- ports:
    - {protocol: TCP, port: {{ include "tidegate.objectStorePort" . }}}
  {{- with .Values.networkPolicy.objectStoreNamespace }}
  to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ . | quote }}
  {{- end }}
{{- with .Values.objectStore.httpsProxy }}
- ports:
    - {protocol: TCP, port: {{ include "tidegate.urlPort" . }}}
{{- end }}
{{- with include "tidegate.cloudIdentity" . }}
{{ include (printf "tidegate.cloudIdentity.%s" .) $ }}
{{- end }}
{{- end }}

{{/*
The types and rules of a NetworkPolicy. The values networkPolicy.ingress and networkPolicy.egress are added to the chart's.
Argument: (dict "root" $ "ingress" <text of rules> "egress" <text of rules>); both can be empty, and then allow nothing.
*/}}
{{- define "tidegate.policyRules" -}}
{{- $policy := .root.Values.networkPolicy -}}
policyTypes: [Ingress, Egress]
ingress: {{- concat (fromYamlArray .ingress) $policy.ingress | default list | toYaml | nindent 2 }}
egress: {{- concat (fromYamlArray .egress) $policy.egress | default list | toYaml | nindent 2 }}
{{- end }}
