{{/*
A track's pod specification. The InferenceService annotates the pods with its checksum, and a change restarts them.
Replicas and the update strategy are therefore not part of it: they change with every promotion.
Argument: (dict "root" $ "track" "stable" "resources" <the server's resources>).
*/}}
{{- define "tidegate.podTemplate" -}}
terminationGracePeriodSeconds: {{ include "tidegate.terminationGracePeriodSeconds" $.root }}
{{ include "tidegate.podSettings" $ }}
{{- $selector := dict "labelSelector" (dict "matchLabels" (include "tidegate.trackSelectorLabels" $ | fromYaml)) }}
{{ include "tidegate.topologySpread" (dict "constraints" $.root.Values.topologySpreadConstraints "selector" $selector) }}
{{- if include "tidegate.pullsBundle" $.root }}
initContainers:
  {{- include "tidegate.storageInitializer" $ | nindent 2 }}
{{- end }}
containers:
  - name: kserve-container
    image: {{ include "tidegate.image" $.root | quote }}
    imagePullPolicy: {{ $.root.Values.image.pullPolicy }}
    args:
      - serve
      - {{ include "tidegate.bundleDirectory" $ | quote }}
      - --digest
      - {{ include "tidegate.bundleDigest" $ | quote }}
      - --name
      - {{ include "tidegate.modelName" $.root | quote }}
    {{- with $.root.Values.server.requestSample }}
    {{- if and .url .secretName }}
    envFrom:
      - secretRef:
          name: {{ .secretName | quote }}
    {{- end }}
    {{- end }}
    env:
      {{- range $name, $value := dict
            "TIDEGATE_DRAIN_SECONDS" $.root.Values.server.drainSeconds
            "TIDEGATE_SHUTDOWN_TIMEOUT" $.root.Values.server.shutdownTimeoutSeconds
            "TIDEGATE_MAX_ROWS" $.root.Values.server.maxRows
            "TIDEGATE_MAX_BODY_BYTES" $.root.Values.server.maxBodyBytes }}
      - name: {{ $name }}
        value: {{ $value | int64 | quote }}
      {{- end }}
      {{- with $.root.Values.server.metricsPort }}
      - name: TIDEGATE_METRICS_PORT
        value: {{ int64 . | quote }}
      {{- end }}
      {{- if $.root.Values.server.tls.secretName }}
      - name: KSERVE_TLS_CERT_FILE
        value: /etc/tidegate-tls/tls.crt
      - name: KSERVE_TLS_KEY_FILE
        value: /etc/tidegate-tls/tls.key
      {{- end }}
      - name: TIDEGATE_MAX_QUEUE_DELAY
        value: {{ $.root.Values.server.maxQueueDelaySeconds | quote }}
      - name: TIDEGATE_GRPC_TRANSPORT
        value: {{ $.root.Values.server.grpcTransport | quote }}
      - name: TIDEGATE_ACCESS_LOG
        value: {{ $.root.Values.server.accessLog | quote }}
      {{- with $.root.Values.server.pairsSampleRate }}
      - name: TIDEGATE_PAIRS_SAMPLE_RATE
        value: {{ . | quote }}
      {{- end }}
      {{- with $.root.Values.server.requestSample }}
      {{- if .url }}
      - name: TIDEGATE_REQUEST_SAMPLE_URL
        value: {{ .url | quote }}
      - name: TIDEGATE_REQUEST_SAMPLE_RATE
        value: {{ .rate | quote }}
      - name: TIDEGATE_REQUEST_SAMPLE_SENSITIVITY
        value: {{ .sensitivity | quote }}
      - name: TIDEGATE_REQUEST_SAMPLE_HOURLY_BYTES
        value: {{ .hourlyBytes | int64 | quote }}
      {{- with include "tidegate.objectStoreVariables" $.root }}
      {{- nindent 6 (trim .) }}
      {{- end }}
      {{- end }}
      {{- end }}
      {{- if eq $.track "canary" }}
      # Always, so that a change of canary.mirrorPercent restarts no pod.
      - name: TIDEGATE_SHADOW_HTTP_PORT
        value: {{ include "tidegate.shadowHTTPPort" $.root | quote }}
      - name: TIDEGATE_SHADOW_GRPC_PORT
        value: {{ include "tidegate.shadowGRPCPort" $.root | quote }}
      {{- end }}
      {{- include "tidegate.loadingEnv" $.root | nindent 6 }}
      {{- with $.root.Values.server.env }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    # KServe's Service maps port 80 to the first port. The second port's name makes it h2c.
    ports:
      - name: http
        containerPort: 8080
        protocol: TCP
      - name: grpc
        containerPort: 8081
        protocol: TCP
      {{- with $.root.Values.server.metricsPort }}
      - name: metrics
        containerPort: {{ int64 . }}
        protocol: TCP
      {{- end }}
    startupProbe:
      httpGet: {{- include "tidegate.httpGet" (dict "root" $.root "path" "/v2/health/ready") | nindent 8 }}
      periodSeconds: 2
      timeoutSeconds: 2
      failureThreshold: {{ div (add $.root.Values.server.startupTimeoutSeconds 1) 2 }}
    # The probe succeeds during the drain as well. Deletion already removes the endpoint, and a failing probe would
    # also remove the terminating endpoint that kube-proxy falls back to. The server drains without a preStop hook.
    readinessProbe:
      httpGet: {{- include "tidegate.httpGet" (dict "root" $.root "path" "/v2/health/ready") | nindent 8 }}
      periodSeconds: 5
      timeoutSeconds: 2
      failureThreshold: 3
    livenessProbe:
      httpGet: {{- include "tidegate.httpGet" (dict "root" $.root "path" "/v2/health/live") | nindent 8 }}
      periodSeconds: 10
      timeoutSeconds: 5
      failureThreshold: 3
    # KServe sets a missing amount to its own default, and a request above its default limit is invalid.
    resources: {{- include "tidegate.resources" $.root.Values.resources | nindent 6 }}
    securityContext: {{- include "tidegate.containerSecurityContext" $.root | nindent 6 }}
    terminationMessagePolicy: FallbackToLogsOnError
    volumeMounts:
      - {{- include "tidegate.bundleVolumeMount" $ | nindent 8 }}
      - name: tmp
        mountPath: /tmp
      {{- with include "tidegate.policyVolumeMount" $.root }}
      {{- nindent 6 . }}
      {{- end }}
      {{- if $.root.Values.server.requestSample.url }}
      {{- with include "tidegate.caVolumeMount" $.root }}
      {{- nindent 6 . }}
      {{- end }}
      {{- end }}
      {{- if $.root.Values.server.tls.secretName }}
      - name: tls
        mountPath: /etc/tidegate-tls
        readOnly: true
      {{- end }}
volumes:
  {{- include "tidegate.volumes" $ | nindent 2 }}
  {{- with $.root.Values.server.tls.secretName }}
  - name: tls
    secret:
      secretName: {{ . | quote }}
  {{- end }}
{{- end }}

{{/*
Variables that decide how a bundle is loaded, for the server and for the test that loads the bundle as the server does.
*/}}
{{- define "tidegate.loadingEnv" -}}
- name: TIDEGATE_ENGINE
  value: {{ .Values.server.engine | quote }}
{{- with .Values.server.predictor }}
- name: TIDEGATE_PREDICTOR
  value: {{ . | quote }}
{{- end }}
{{- with include "tidegate.policyFile" . }}
- name: TIDEGATE_POLICY
  value: {{ . | quote }}
{{- end }}
{{- with .Values.server.trustedTypes }}
- name: TIDEGATE_TRUSTED_TYPE
  value: {{ join " " . | quote }}
{{- end }}
{{- with .Values.server.allowedJoblibDigests }}
- name: TIDEGATE_ALLOW_JOBLIB_DIGEST
  value: {{ join " " . | replace "sha256:" "" | quote }}
{{- end }}
{{- end }}
