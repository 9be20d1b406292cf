{{/* What both Jobs say of themselves. A second try would be another campaign, with other neighbours: there is none. */}}
{{- define "loadtest.jobSettings" -}}
backoffLimit: 0
{{- if not (kindIs "invalid" .Values.ttlSeconds) }}
ttlSecondsAfterFinished: {{ int64 .Values.ttlSeconds }}
{{- end }}
{{- end }}

{{/* What the pods of both Jobs share. */}}
{{- define "loadtest.podSettings" -}}
restartPolicy: Never
# What is told to end has nothing to save.
terminationGracePeriodSeconds: 5
serviceAccountName: {{ include "loadtest.serviceAccount" . | quote }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext: {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What the containers of both share. */}}
{{- define "loadtest.containerSettings" -}}
image: {{ include "loadtest.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  privileged: false
  readOnlyRootFilesystem: true
  runAsNonRoot: true
  capabilities:
    drop: [ALL]
  seccompProfile:
    type: RuntimeDefault
# The sentence that says why it failed stands in the pod's status as well.
terminationMessagePolicy: FallbackToLogsOnError
{{- end }}

{{/*
The master: reads the bundle, tells the workers what to ask, collects their samples, judges, and ends with the verdict's
exit code. Takes (dict "root" $ "campaign" <the campaign's name>).
*/}}
{{- define "loadtest.masterSpec" -}}
{{- $values := .root.Values -}}
{{- $store := $values.objectStore -}}
{{ include "loadtest.jobSettings" .root }}
template:
  metadata:
    labels:
      {{- include "loadtest.selector" .root | nindent 6 }}
      app.kubernetes.io/component: master
      {{- with $values.podLabels }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
  spec:
    {{- include "loadtest.podSettings" .root | nindent 4 }}
    containers:
      - name: master
        {{- include "loadtest.containerSettings" .root | nindent 8 }}
        args:
          - loadtest
          - run
          - /etc/tidegate/loadtest.yaml
          - --url
          - {{ $values.url | quote }}
          - --contract
          - {{ include "loadtest.bundle" .root | quote }}
          {{- with $values.model.name }}
          - --name
          - {{ . | quote }}
          {{- end }}
          - --workers
          - {{ int64 $values.workers | quote }}
          - --out
          - /tmp/report
          {{- with $values.push }}
          - --push
          - {{ . | quote }}
          {{- end }}
        {{- with include "loadtest.secret" .root }}
        envFrom:
          - secretRef:
              name: {{ . | quote }}
        {{- end }}
        {{- $env := dict "AWS_ENDPOINT_URL" $store.endpoint "AWS_REGION" $store.region
              "SSL_CERT_FILE" (ternary (printf "/etc/store-ca/%s" $store.caKey) "" (ne $store.caConfigMap ""))
              "HTTPS_PROXY" $store.httpsProxy "NO_PROXY" $store.noProxy }}
        {{- if compact (values $env) }}
        env:
          {{- range $name, $value := $env }}
          {{- if $value }}
          - name: {{ $name }}
            value: {{ $value | quote }}
          {{- end }}
          {{- end }}
        {{- end }}
        ports:
          - name: locust
            containerPort: 5557
        resources: {{- toYaml $values.resources.master | nindent 10 }}
        volumeMounts:
          - name: plan
            mountPath: /etc/tidegate
            readOnly: true
          - name: tmp
            mountPath: /tmp
          {{- if $store.caConfigMap }}
          - name: store-ca
            mountPath: /etc/store-ca
            readOnly: true
          {{- end }}
    volumes:
      - name: plan
        configMap:
          name: {{ .campaign | quote }}
      - name: tmp
        emptyDir: {}
      {{- with $store.caConfigMap }}
      - name: store-ca
        configMap:
          name: {{ . | quote }}
      {{- end }}
{{- end }}

{{/*
The workers: they get plan and questions from the master, and so need neither the store nor its credentials.
Takes (dict "root" $ "campaign" <the campaign's name>).
*/}}
{{- define "loadtest.workerSpec" -}}
{{- $values := .root.Values -}}
completionMode: Indexed
completions: {{ int64 $values.workers }}
parallelism: {{ int64 $values.workers }}
{{ include "loadtest.jobSettings" .root }}
template:
  metadata:
    labels:
      {{- include "loadtest.selector" .root | nindent 6 }}
      app.kubernetes.io/component: worker
      {{- with $values.podLabels }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
  spec:
    {{- include "loadtest.podSettings" .root | nindent 4 }}
    containers:
      - name: worker
        {{- include "loadtest.containerSettings" .root | nindent 8 }}
        args:
          - loadtest
          - work
          - --master
          - {{ printf "%s.%s:5557" .campaign .root.Release.Namespace | quote }}
        resources: {{- toYaml $values.resources.worker | nindent 10 }}
        volumeMounts:
          - name: tmp
            mountPath: /tmp
    volumes:
      - name: tmp
        emptyDir: {}
{{- end }}
