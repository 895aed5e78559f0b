{{- define "tidegate.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "tidegate.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "tidegate.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "tidegate.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- /* Objects without a namespace carry it in their name, so that two releases of one name do not collide. */}}
{{- define "tidegate.clusterName" -}}
{{- printf "%s-%s" (include "tidegate.fullname" .) .Release.Namespace }}
{{- end }}

{{- define "tidegate.selectorLabels" -}}
app.kubernetes.io/name: {{ include "tidegate.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tidegate.labels" -}}
{{ include "tidegate.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "tidegate.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "tidegate.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.create is false: set serviceAccount.name to one that exists" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "tidegate.image" -}}
{{- $tag := default .Chart.AppVersion .Values.image.tag }}
{{- if .Values.image.digest }}
{{- printf "%s:%s@%s" .Values.image.repository $tag .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository $tag }}
{{- end }}
{{- end }}

{{- define "tidegate.scalerAddress" -}}
{{- default (printf "%s.%s.svc:%v" (include "tidegate.fullname" .) .Release.Namespace .Values.ports.grpc) .Values.scalerAddress }}
{{- end }}

{{- /* Values that are right by themselves but not together. A schema could refuse them, but not say why. */}}
{{- /* Not empty when something pushes. */}}
{{- define "tidegate.otlp" -}}
{{- if or (eq .Values.source "otlp") (eq .Values.tokenSource "otlp") }}true{{ end }}
{{- end }}
{{- /* The kinds that tidegate.dev/manage may name, as --manage takes them */ -}}
{{- define "tidegate.manage" -}}
{{- $kinds := list }}
{{- if .Values.manage.cronJobs }}{{ $kinds = append $kinds "cronjobs" }}{{ end }}
{{- if .Values.manage.daemonSets }}{{ $kinds = append $kinds "daemonsets" }}{{ end }}
{{- join "," $kinds }}
{{- end }}

{{- /*
The commands that install KEDA, as in the log of an operator that waits for it.
*/}}
{{- define "tidegate.installKeda" }}  helm repo add kedacore https://kedacore.github.io/charts
  helm install keda kedacore/keda --namespace keda --create-namespace
{{- end }}
{{- define "tidegate.check" -}}
{{- if and .Values.requireKeda (not (.Capabilities.APIVersions.Has "keda.sh/v1alpha1")) }}
{{- fail (printf "KEDA is not installed, and Tidegate does nothing without it. Install it first:\n\n%s\n\nTo install Tidegate before KEDA: --set requireKeda=false. Where there is no cluster to ask, as in `helm template`: --api-versions keda.sh/v1alpha1" (include "tidegate.installKeda" .)) }}
{{- end }}
{{- $secret := .Values.prometheus.secret }}
{{- if and (eq .Values.tokenSource "prometheus") (not .Values.prometheus.url) }}
{{- fail "tokenSource is prometheus: set prometheus.url, such as http://prometheus.monitoring:9090" }}
{{- end }}
{{- if and (eq .Values.source "prometheus") (not .Values.prometheus.url) }}
{{- fail "source is prometheus: set prometheus.url, such as http://prometheus.monitoring:9090" }}
{{- end }}
{{- $keys := compact (list $secret.bearerTokenKey $secret.passwordKey $secret.caKey $secret.clientCertKey $secret.clientKeyKey) }}
{{- if and $keys (not $secret.name) }}
{{- fail (printf "prometheus.secret.name is empty: set it to the Secret that has the key %q" (first $keys)) }}
{{- end }}
{{- if and $secret.name (not $keys) }}
{{- fail "prometheus.secret.name is set, but none of its keys: set at least one of bearerTokenKey, passwordKey, caKey, clientCertKey" }}
{{- end }}
{{- if and (or $keys .Values.prometheus.username .Values.prometheus.headers) (not .Values.prometheus.url) }}
{{- fail "prometheus has credentials or headers but no url: set prometheus.url" }}
{{- end }}
{{- if ne (empty .Values.prometheus.username) (empty $secret.passwordKey) }}
{{- fail "prometheus.username and prometheus.secret.passwordKey need each other: set both or none" }}
{{- end }}
{{- if and $secret.bearerTokenKey .Values.prometheus.username }}
{{- fail "prometheus has a bearer token and a user name: keep one" }}
{{- end }}
{{- if ne (empty $secret.clientCertKey) (empty $secret.clientKeyKey) }}
{{- fail "prometheus.secret.clientCertKey and clientKeyKey need each other: set both or none" }}
{{- end }}
{{- if and .Values.tls.clientCaKey (not .Values.tls.secretName) }}
{{- fail "tls.clientCaKey needs tls.secretName: set the Secret that has the certificate" }}
{{- end }}
{{- if and .Values.tls.clusterTriggerAuthentication (not .Values.tls.secretName) }}
{{- fail "tls.clusterTriggerAuthentication needs tls.secretName: set the Secret that has the certificate" }}
{{- end }}
{{- end }}

{{/* Whether requests to workloads without replicas are held. Tidegate has to see the addresses of its own pods for that. */}}
{{- define "tidegate.activates" -}}
{{- if and .Values.activator.enabled (or (not .Values.namespaces) (has .Release.Namespace .Values.namespaces)) }}true{{ end }}
{{- end }}
