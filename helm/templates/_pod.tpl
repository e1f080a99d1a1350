{{- /* The template of a pod. Takes root, component, role ("" is the default one) and resources. */ -}}
{{- define "dyte-archiver.pod" -}}
{{- $ := .root -}}
{{- $drains := int (ceil (default 25.0 $.Values.settings.drain_seconds)) -}}
metadata:
  labels:
    {{- include "dyte-archiver.labels" $ | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
    {{- with $.Values.podLabels }}{{ toYaml . | nindent 4 }}{{ end }}
  annotations:
    checksum/settings: {{ include (print $.Template.BasePath "/settings.yaml") $ | sha256sum }}
    {{- with $.Values.podAnnotations }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  {{- include "dyte-archiver.around" $ | nindent 2 }}
  # Above ARCHIVER_DRAIN_SECONDS: the endpoint's way out, what is answered last, the ledger's goodbye.
  terminationGracePeriodSeconds: {{ add $drains 20 }}
  {{- if ne .component "single" }}
  topologySpreadConstraints:
    {{- $selector := include "dyte-archiver.selector" $ }}
    {{- $component := .component }}
    {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- $selector | nindent 10 }}
          app.kubernetes.io/component: {{ $component }}
    {{- end }}
  {{- end }}
  {{- with $.Values.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: dyte-archiver
      args: [serve]
      {{- include "dyte-archiver.container" . | nindent 6 }}
      ports:
        {{- if ne .role "worker" }}
        - {name: http, containerPort: {{ include "dyte-archiver.port" $ }}}
        {{- end }}
        - {name: admin, containerPort: {{ include "dyte-archiver.adminPort" $ }}}
      # The loop turns. Both ports are open before the ledger is: a database that is away restarts nobody.
      startupProbe:
        httpGet: {path: /healthz, port: admin}
        periodSeconds: 2
        timeoutSeconds: 2
        failureThreshold: 30
      livenessProbe:
        httpGet: {path: /healthz, port: admin}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 3
      # The ledger answers, and the pod is not stopping.
      readinessProbe:
        httpGet: {path: /readyz, port: admin}
        periodSeconds: 5
        timeoutSeconds: 2
        failureThreshold: 2
      {{- if ne .role "worker" }}
      # Deliveries come until every proxy knows that this pod goes.
      lifecycle:
        preStop:
          sleep: {seconds: 5}
      {{- end }}
      resources: {{- toYaml .resources | nindent 8 }}
  volumes: {{- include "dyte-archiver.volumes" $ | nindent 4 }}
    {{- if eq .component "single" }}
    {{- with $.Values.single.persistence.existingClaim }}
    - name: data
      persistentVolumeClaim: {claimName: {{ . }}}
    {{- end }}
    {{- end }}
{{- end -}}

{{- /* Of a pod's spec, what the service and its check have in common. */ -}}
{{- define "dyte-archiver.around" -}}
serviceAccountName: {{ include "dyte-archiver.serviceAccount" . }}
automountServiceAccountToken: false
# A Service called archiver would else set ARCHIVER_PORT=tcp://...
enableServiceLinks: false
securityContext: {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* Of a container: image, environment and mounts. Takes root and role. */ -}}
{{- define "dyte-archiver.container" -}}
{{- $ := .root -}}
{{- $name := include "dyte-archiver.fullname" $ -}}
image: {{ include "dyte-archiver.image" $ | quote }}
imagePullPolicy: {{ $.Values.image.pullPolicy }}
securityContext: {{- toYaml $.Values.securityContext | nindent 2 }}
envFrom:
  - configMapRef: {name: {{ $name }}}
  {{- if include "dyte-archiver.variables" $.Values.secrets }}
  - secretRef: {name: {{ $name }}-env}
  {{- end }}
  {{- with $.Values.existingSecret }}
  - secretRef: {name: {{ . }}}
  {{- end }}
{{- with include "dyte-archiver.env" . }}
env: {{- . | nindent 2 }}
{{- end }}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  {{- if eq $.Values.mode "single" }}
  - {name: data, mountPath: /data}
  {{- end }}
  {{- if $.Values.files }}
  - {name: files, mountPath: /etc/dyte-archiver, readOnly: true}
  {{- end }}
  {{- with $.Values.extraVolumeMounts }}{{ toYaml . | nindent 2 }}{{ end }}
{{- end -}}

{{- define "dyte-archiver.env" -}}
{{- if .role }}
- name: ARCHIVER_ROLE
  value: {{ .role }}
{{- end }}
{{- if eq .root.Values.mode "scaled" }}
# By its key, so that no pod starts without it, and takes deliveries into a file of its own.
- name: ARCHIVER_DATABASE_URL
  valueFrom:
    secretKeyRef: {{- include "dyte-archiver.database" .root | nindent 6 }}
{{- end }}
{{- range $file, $_ := .root.Values.files }}
- name: ARCHIVER_{{ upper $file }}
  value: /etc/dyte-archiver/{{ $file }}
{{- end }}
{{- with .root.Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "dyte-archiver.database" -}}
{{- if .Values.database.existingSecret -}}
name: {{ .Values.database.existingSecret }}
key: {{ .Values.database.key }}
{{- else if .Values.secrets.database_url -}}
{{- if not (regexMatch "^postgres(ql)?://" .Values.secrets.database_url) -}}
{{- fail "secrets.database_url: is not postgresql://..., which mode: scaled needs" -}}
{{- end -}}
name: {{ include "dyte-archiver.fullname" . }}-env
key: ARCHIVER_DATABASE_URL
{{- else if .Values.existingSecret -}}
name: {{ .Values.existingSecret }}
key: ARCHIVER_DATABASE_URL
{{- else -}}
{{- fail "mode: scaled needs a PostgreSQL: set database.existingSecret, secrets.database_url, or existingSecret with ARCHIVER_DATABASE_URL in it" -}}
{{- end -}}
{{- end -}}

{{- define "dyte-archiver.volumes" -}}
- name: tmp
  emptyDir: {}
{{- if .Values.files }}
- name: files
  projected:
    sources:
      {{- $name := include "dyte-archiver.fullname" . }}
      {{- range $file, $given := .Values.files }}
      - secret:
          name: {{ default (printf "%s-files" $name) $given.existingSecret }}
          items: [{key: {{ default $file $given.key | quote }}, path: {{ $file }}}]
      {{- end }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
