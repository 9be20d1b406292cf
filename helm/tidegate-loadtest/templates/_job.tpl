{{/* Settings of both Jobs. They are not retried, because a retry would be another campaign under other conditions. */}}
{{- define "loadtest.jobSettings" -}}
backoffLimit: 0
{{- end }}

{{/* Settings of both Jobs' pods. Argument: (dict "root" $). */}}
{{- define "loadtest.podSettings" -}}
restartPolicy: Never
# A terminated pod has no state to save.
terminationGracePeriodSeconds: 5
{{ include "tidegate.podSettings" . }}
{{- $selector := include "tidegate.jobPodsSelector" .root | fromYaml }}
{{ include "tidegate.topologySpread" (dict "constraints" .root.Values.topologySpreadConstraints "selector" $selector) }}
{{- end }}

{{/* Settings of both Jobs' containers. */}}
{{- define "loadtest.containerSettings" -}}
image: {{ include "tidegate.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext: {{- include "tidegate.containerSecurityContext" . | nindent 2 }}
# The error is in the pod's status as well.
terminationMessagePolicy: FallbackToLogsOnError
{{- end }}

{{/* The Secret with the variables of the campaign's headers; each process that sends requests reads them itself. */}}
{{- define "loadtest.headerEnvFrom" -}}
{{- with .Values.headerSecretName -}}
- secretRef:
    name: {{ . | quote }}
{{- end }}
{{- end }}

{{/*
The master reads the bundle, sends the requests to the workers, collects their samples, and exits with the verdict's exit
code. Argument: (dict "root" $ "campaign" <the campaign's name>).
*/}}
{{- define "loadtest.masterJobSpec" -}}
{{- $values := .root.Values -}}
{{ include "loadtest.jobSettings" .root }}
template:
  metadata: {{- include "tidegate.podMetadata" (dict "root" .root "labels" (dict "app.kubernetes.io/component" "master")) | nindent 4 }}
  spec:
    {{- include "loadtest.podSettings" . | nindent 4 }}
    containers:
      - name: master
        {{- include "loadtest.containerSettings" .root | nindent 8 }}
        args:
          - loadtest
          - run
          - /etc/tidegate/campaign.yaml
          - --url
          - {{ $values.url | quote }}
          - --bundle
          - {{ include "loadtest.bundleReference" .root | quote }}
          {{- with $values.model.name }}
          - --name
          - {{ . | quote }}
          {{- end }}
          - --expect-workers
          - {{ int64 $values.workers | quote }}
          - --out
          - /tmp/report
          {{- with $values.push }}
          - --push
          - {{ . | quote }}
          {{- end }}
        {{- $env := include "tidegate.objectStoreEnv" .root | fromYaml }}
        {{- with include "loadtest.headerEnvFrom" .root | fromYamlArray }}
        {{- $env = set $env "envFrom" (concat ($env.envFrom | default list) .) }}
        {{- end }}
        {{- with $env }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
        ports:
          - name: locust
            containerPort: 5557
        resources: {{- include "tidegate.resources" $values.resources.master | nindent 10 }}
        volumeMounts:
          - name: campaign
            mountPath: /etc/tidegate
            readOnly: true
          - name: tmp
            mountPath: /tmp
          {{- if include "loadtest.watch" .root }}
          {{- include "loadtest.tokenVolumeMount" . | nindent 10 }}
          {{- end }}
          {{- with include "tidegate.caVolumeMount" .root }}
          {{- nindent 10 . }}
          {{- end }}
    volumes:
      - name: campaign
        configMap:
          name: {{ .campaign | quote }}
      - name: tmp
        emptyDir: {}
      {{- if include "loadtest.watch" .root }}
      {{- include "loadtest.tokenVolume" . | nindent 6 }}
      {{- end }}
      {{- with include "tidegate.caVolume" .root }}
      {{- nindent 6 . }}
      {{- end }}
{{- end }}

{{/*
The workers receive the load and the requests from the master, so they need neither the store nor its credentials.
Argument: (dict "root" $ "campaign" <the campaign's name>).
*/}}
{{- define "loadtest.workerJobSpec" -}}
{{- $values := .root.Values -}}
completionMode: Indexed
completions: {{ int64 $values.workers }}
parallelism: {{ int64 $values.workers }}
{{ include "loadtest.jobSettings" .root }}
template:
  metadata: {{- include "tidegate.podMetadata" (dict "root" .root "labels" (dict "app.kubernetes.io/component" "worker")) | nindent 4 }}
  spec:
    {{- include "loadtest.podSettings" . | nindent 4 }}
    containers:
      - name: worker
        {{- include "loadtest.containerSettings" .root | nindent 8 }}
        args:
          - loadtest
          - worker
          - --master-host
          - {{ printf "%s.%s" .campaign .root.Release.Namespace | quote }}
          - --master-port
          - "5557"
        {{- with include "loadtest.headerEnvFrom" .root }}
        envFrom: {{- nindent 10 . }}
        {{- end }}
        resources: {{- include "tidegate.resources" $values.resources.worker | nindent 10 }}
        volumeMounts:
          - name: tmp
            mountPath: /tmp
    volumes:
      - name: tmp
        emptyDir: {}
{{- end }}
