{{- define "flowtop.selector" -}}
app.kubernetes.io/name: flowtop
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "flowtop.labels" -}}
{{ include "flowtop.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}
