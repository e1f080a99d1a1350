{{- define "dyte-archiver.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- default $full .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "dyte-archiver.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "dyte-archiver.labels" -}}
{{ include "dyte-archiver.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "dyte-archiver.serviceAccount" -}}
{{- default (.Values.serviceAccount.create | ternary (include "dyte-archiver.fullname" .) "default") .Values.serviceAccount.name -}}
{{- end -}}

{{- define "dyte-archiver.image" -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}

{{- define "dyte-archiver.port" -}}
{{- int (default 8080 .Values.settings.port) -}}
{{- end -}}

{{- define "dyte-archiver.adminPort" -}}
{{- int (default 9090 .Values.settings.admin_port) -}}
{{- end -}}

{{- /* A setting as its variable takes it. Helm reads whole numbers as floats, which would become 1.048576e+06. */ -}}
{{- define "dyte-archiver.value" -}}
{{- if kindIs "slice" . -}}{{- join "," . -}}
{{- else if kindIs "map" . -}}{{- toJson . -}}
{{- else if and (kindIs "float64" .) (eq (floor .) .) -}}{{- int64 . -}}
{{- else -}}{{- . -}}{{- end -}}
{{- end -}}

{{- define "dyte-archiver.variables" -}}
{{- range $name, $value := . }}
{{- if not (kindIs "invalid" $value) }}
ARCHIVER_{{ upper $name }}: {{ include "dyte-archiver.value" $value | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{- /* Which of Prometheus' series are this release's; job is what a ServiceMonitor makes of the Service. */ -}}
{{- define "dyte-archiver.series" -}}
namespace="{{ .Release.Namespace }}",job="{{ include "dyte-archiver.fullname" . }}-admin"
{{- end -}}
