{{/* The ConfigMap's files as a JSON map: train.yaml, or <index>.yaml per run of a sweep. */}}
{{- define "training.configFiles" -}}
{{- $files := dict }}
{{- if .Values.sweep }}
{{- range $index, $change := .Values.sweep }}
{{- $_ := set $files (printf "%d.yaml" $index) (mergeOverwrite (deepCopy $.Values.config) $change | include "tidegate.configText") }}
{{- end }}
{{- else }}
{{- $_ := set $files "train.yaml" (kindIs "string" .Values.config | ternary .Values.config (include "tidegate.configText" .Values.config)) }}
{{- end }}
{{- toJson $files }}
{{- end }}

{{/* The number of shards of the configuration's search; 0 without one. */}}
{{- define "training.searchShards" -}}
{{- $config := .Values.config -}}
{{- if kindIs "string" $config -}}
{{- $config = fromYaml $config -}}
{{- end -}}
{{- $search := get ($config | default dict) "search" -}}
{{- if .Values.sweep }}0{{ else if $search }}{{ get $search "shards" | default 1 | int }}{{ else }}0{{ end -}}
{{- end }}

{{/*
The name of the Job and of its ConfigMap: a hash of the release and of what decides the bundle, or whether the run succeeds.
A change of these creates another Job. The place where the Job runs is not among them, and neither is the chart's version:
the Job that exists then stays as it is.
*/}}
{{- define "training.jobName" -}}
{{- $inputs := pick .Values
      "store" "channel" "extraFormat" "data" "resources" "backoffLimit" "activeDeadlineSeconds" "objectStore"
      "extraEnv" "extraEnvFrom" "extraVolumes" "extraVolumeMounts"
      "extraInitContainers" "extraContainers" "extraPodSpec" -}}
{{- if .Values.signing.secretName }}
{{- $_ := set $inputs "signing" .Values.signing }}
{{- end -}}
{{ include "tidegate.hashedName" (dict "root" . "inputs" $inputs "content" (include "training.configFiles" .)) }}
{{- end }}

{{/*
The label by which Kueue suspends a new Job. The chart does not set 'suspend', because an upgrade would suspend the running
Job. Argument: the name of the LocalQueue, which can be empty.
*/}}
{{- define "training.queueLabel" -}}
{{- with . }}kueue.x-k8s.io/queue-name: {{ quote . }}{{ end }}
{{- end }}

{{/*
A Job's specification. Argument: (dict "root" $ "config" <name of the ConfigMap>).

The exit code decides about a retry. 2 is wrong data or a wrong configuration, and 3 is a missed gate: a retry would fail
in the same way. 1 is any other error, which is retried. A pod that is lost with its node does not count as a try.
*/}}
{{- define "training.jobSpec" -}}
{{- $values := .root.Values -}}
{{- $sweep := len $values.sweep -}}
{{- $shards := include "training.searchShards" .root | int -}}
{{- /* The index after the shards waits for their trials, and trains. A shard that fails for good fails the Job. */ -}}
{{- $indexes := ternary (add1 $shards) $sweep (gt $shards 1) | int -}}
{{- if $indexes }}
completionMode: Indexed
completions: {{ $indexes }}
parallelism: {{ min (int64 $values.parallelism) $indexes }}
backoffLimitPerIndex: {{ int64 $values.backoffLimit }}
{{- if gt $shards 1 }}
maxFailedIndexes: 0
{{- end }}
{{- else }}
backoffLimit: {{ int64 $values.backoffLimit }}
{{- end }}
# A second pod starts only after the first has ended, because two pods would push at the same time.
podReplacementPolicy: Failed
podFailurePolicy:
  rules:
    - action: Ignore
      onPodConditions:
        - type: DisruptionTarget
          status: "True"
    - action: {{ ternary "FailIndex" "FailJob" (gt $sweep 0) }}
      onExitCodes:
        containerName: train
        operator: In
        values: [2, 3]
{{- with $values.activeDeadlineSeconds }}
activeDeadlineSeconds: {{ int64 . }}
{{- end }}
{{- if and $values.schedule (not (kindIs "invalid" $values.ttlSecondsAfterFinished)) }}
ttlSecondsAfterFinished: {{ int64 $values.ttlSecondsAfterFinished }}
{{- end }}
template:
  metadata: {{- include "tidegate.podMetadata" . | nindent 4 }}
  spec:
    restartPolicy: Never
    {{- include "tidegate.podSettings" . | nindent 4 }}
    {{- $selector := include "tidegate.jobPodsSelector" .root | fromYaml }}
    {{- include "tidegate.topologySpread" (dict "constraints" $values.topologySpreadConstraints "selector" $selector) | nindent 4 }}
    containers:
      - name: train
        image: {{ include "tidegate.image" .root | quote }}
        imagePullPolicy: {{ $values.image.pullPolicy }}
        args:
          - train
          # Kubernetes replaces the variable by the run's index.
          - /etc/tidegate/{{ ternary "$(JOB_COMPLETION_INDEX)" "train" (gt $sweep 0) }}.yaml
          - --out
          - /work/bundle
          - --push
          - {{ $values.store | quote }}
          {{- if $shards }}
          - --trials
          - {{ printf "%s/trials" (trimSuffix "/" $values.store) | quote }}
          {{- end }}
          {{- if gt $shards 1 }}
          - --shard
          - $(JOB_COMPLETION_INDEX)
          {{- end }}
          {{- with $values.channel }}
          - --channel
          - {{ . | quote }}
          {{- end }}
          {{- with $values.extraFormat }}
          - --extra-format
          - {{ . }}
          {{- end }}
          {{- if $values.signing.secretName }}
          - --sign
          - /etc/signing/{{ $values.signing.key }}
          {{- with $values.signing.certificate }}
          - --certificate
          - /etc/signing/{{ . }}
          {{- end }}
          {{- end }}
        {{- with include "tidegate.objectStoreEnv" .root }}
        {{- trim . | nindent 8 }}
        {{- end }}
        resources: {{- include "tidegate.resources" $values.resources | nindent 10 }}
        securityContext: {{- include "tidegate.containerSecurityContext" .root | nindent 10 }}
        # The error is in the pod's status as well.
        terminationMessagePolicy: FallbackToLogsOnError
        volumeMounts:
          - name: config
            mountPath: /etc/tidegate
            readOnly: true
          - name: work
            mountPath: /work
          - name: tmp
            mountPath: /tmp
          {{- if $values.signing.secretName }}
          - name: signing
            mountPath: /etc/signing
            readOnly: true
          {{- end }}
          {{- if $values.data.existingClaim }}
          - name: data
            mountPath: /data
            readOnly: true
          {{- end }}
          {{- with include "tidegate.caVolumeMount" .root }}
          {{- nindent 10 . }}
          {{- end }}
    volumes:
      - name: config
        configMap:
          name: {{ .config | quote }}
      - name: work
        emptyDir: {}
      - name: tmp
        emptyDir: {}
      {{- with $values.signing.secretName }}
      - name: signing
        secret:
          secretName: {{ . | quote }}
      {{- end }}
      {{- with $values.data.existingClaim }}
      - name: data
        persistentVolumeClaim:
          claimName: {{ . | quote }}
          readOnly: true
      {{- end }}
      {{- with include "tidegate.caVolume" .root }}
      {{- nindent 6 . }}
      {{- end }}
{{- end }}
