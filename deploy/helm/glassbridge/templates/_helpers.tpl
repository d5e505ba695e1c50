{{- define "glassbridge.labels" -}}
app.kubernetes.io/name: glassbridge
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "glassbridge.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* Both programs run as this user, on a root file system that they cannot write to. */}}
{{- define "glassbridge.pod-security" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "glassbridge.container-security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Settings that both programs share. */}}
{{- define "glassbridge.shared-env" -}}
- {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
- {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
- {name: LIVEKIT_URL, value: {{ required "livekit.url: the ws:// or wss:// URL of your LiveKit" .Values.livekit.url | quote }}}
- {name: GLASSBRIDGE_CLUSTER_FILE, value: /etc/glassbridge/cluster-url}
- {name: GLASSBRIDGE_BRIDGE_SECRET_FILE, value: /etc/glassbridge/bridge}
- {name: GLASSBRIDGE_ADMIN_TOKEN_FILE, value: /etc/glassbridge/admin}
- {name: GLASSBRIDGE_METRICS_HOST, value: 0.0.0.0}
{{- end }}

{{- define "glassbridge.spread" -}}
- maxSkew: 1
  topologyKey: kubernetes.io/hostname
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels: {app.kubernetes.io/instance: {{ .release }}, app.kubernetes.io/component: {{ .component }}}
{{- end }}
