#!/usr/bin/env bash
# Tests of the chart that need no cluster: lint, templates, refusals. `make test` runs them.
#
# HELM is the helm to use (default: the one on the PATH); TIDEGATE, where given, is the binary whose flags the chart must
# match; PROMTOOL, where given, checks the alerts and runs their tests. The last line counts what passed and failed.
set -euo pipefail
cd "$(dirname "$0")/tidegate"
helm=${HELM:-helm}
passed=0 failed=0

# it SENTENCE COMMAND…: passes when the command succeeds; otherwise shows what it printed.
it() {
    local sentence=$1 output
    shift
    if output=$("$@" 2>&1); then
        passed=$((passed + 1)); printf 'ok      %s\n' "$sentence"
    else
        failed=$((failed + 1)); printf 'FAILED  %s\n%s\n' "$sentence" "$output"
    fi
}
# bare ARGUMENTS…: the chart's manifests, as for a cluster that has nothing but Kubernetes.
bare() { "$helm" template tidegate . --namespace tidegate-system "$@"; }
# render ARGUMENTS…: as `helm install tidegate -n tidegate-system` would make them where KEDA is installed.
render() { bare --api-versions keda.sh/v1alpha1 "$@"; }
# needs_keda TEXT: without KEDA helm must fail, and say this.
needs_keda() {
    local output
    if output=$(bare 2>&1); then echo "was accepted"; return 1; fi
    grep -F -- "$1" <<<"$output" >/dev/null || { echo "wanted \"$1\", got: $output"; return 1; }
}
# has TEXT ARGUMENTS… and lacks TEXT ARGUMENTS…: what the manifests must and must not hold.
has() {
    local text=$1 manifests
    shift
    manifests=$(render "$@") || { echo "$manifests"; return 1; }
    grep -F -- "$text" <<<"$manifests" >/dev/null || { echo "\"$text\" is missing"; return 1; }
}
lacks() {
    local text=$1 manifests
    shift
    manifests=$(render "$@") || { echo "$manifests"; return 1; }
    if grep -F -- "$text" <<<"$manifests"; then echo "\"$text\" should not be there"; return 1; fi
}
# refuses TEXT ARGUMENTS…: helm must fail, and say this.
refuses() {
    local text=$1 output
    shift
    if output=$(render "$@" 2>&1); then echo "was accepted: $*"; return 1; fi
    grep -F -- "$text" <<<"$output" >/dev/null || { echo "wanted \"$text\", got: $output"; return 1; }
}
# counts NUMBER KIND ARGUMENTS…: how many objects of a kind come out.
counts() {
    local wanted=$1 kind=$2 manifests got
    shift 2
    manifests=$(render "$@") || { echo "$manifests"; return 1; }
    got=$(grep -c "^kind: $kind\$" <<<"$manifests" || true)
    [ "$got" = "$wanted" ] || { echo "$got objects of kind $kind, not $wanted"; return 1; }
}
flags_of_chart() { render -f ci/everything-values.yaml --set 'namespaces={shop}' | sed -n 's/^ *- "\{0,1\}\(--[a-z-]*\)=.*/\1/p' | sort -u; }
flags_are_known() {
    local flag known
    known=$("$TIDEGATE" run --help)
    for flag in $(flags_of_chart); do
        grep -qE -- "(^|[ ,])$flag([ =]|\$)" <<<"$known" || { echo "tidegate run has no flag $flag"; return 1; }
    done
}
alerts_are_tested() {
    local alert
    for alert in $(sed -n 's/^ *- alert: //p' alerts/rules.yaml); do
        grep -q "alertname: $alert\$" alerts/tests.yaml || { echo "$alert has no test"; return 1; }
    done
}

it "the default values pass a strict lint" "$helm" lint --strict . --set requireKeda=false
for values in ci/*-values.yaml; do
    it "$values passes a strict lint" "$helm" lint --strict . --set requireKeda=false -f "$values"
    it "$values renders" render -f "$values"
done
it "without KEDA nothing is installed, and the first command that installs it is said" \
    needs_keda "helm repo add kedacore https://kedacore.github.io/charts"
it "without KEDA the second command is said, too" needs_keda "helm install keda kedacore/keda --namespace keda --create-namespace"
it "without KEDA it is said how to go on all the same" needs_keda "--set requireKeda=false"
it "requireKeda=false needs no KEDA" bare --set requireKeda=false
it "a requireKeda that is no yes or no is refused" refuses "requireKeda" --set-string requireKeda=maybe
it "commands in a pod ask the pod itself" has "value: http://127.0.0.1:8888" --set ports.admin=8888
it "KEDA is told the headless Service's name" has --scaler-address=tidegate.tidegate-system.svc:9090
it "another port moves the address, the container and the Service" \
    has --scaler-address=tidegate.tidegate-system.svc:7000 --set ports.grpc=7000
it "the Service is headless, so that KEDA reaches every pod" has "clusterIP: None"
it "two pods get a disruption budget" counts 1 PodDisruptionBudget
it "one pod gets none, since it could never be drained" counts 0 PodDisruptionBudget --set replicas=1
it "the root file system is read-only" has "readOnlyRootFilesystem: true"
it "all namespaces need one ClusterRole, and Roles for the Lease and Envoy Gateway's configuration" counts 2 Role
it "each named namespace gets a Role, besides those for the Lease, the configuration and events of Namespaces" \
    counts 6 Role -f ci/namespaced-values.yaml
it "the namespace default needs no second Role for events" counts 3 Role --set 'namespaces={default}'
it "every named namespace becomes a flag" has --namespace=billing -f ci/namespaced-values.yaml
it "proxies are looked for where Envoy Gateway runs them by default" has --envoy-gateway-namespace=envoy-gateway-system
it "every namespace of Envoy Gateway becomes a flag" has --envoy-gateway-namespace=edge-proxies -f ci/everything-values.yaml
it "Envoy Gateway's configuration is where its chart puts it" \
    has --envoy-gateway-config=envoy-gateway-system/envoy-gateway-config
it "another ConfigMap becomes a flag" has --envoy-gateway-config=edge/eg-config -f ci/everything-values.yaml
it "just that ConfigMap may be read" has "resourceNames: [eg-config]" -f ci/everything-values.yaml
it "without a ConfigMap's name there is no permission to read one" counts 1 Role --set envoyGateway.configMap.name=
it "without a ConfigMap's name none is asked for" lacks --envoy-gateway-config=envoy --set envoyGateway.configMap.name=
it "further controllers become flags" has --controller-name=example.com/tenant-b -f ci/everything-values.yaml
it "a controller name without a domain is refused" refuses "controllerNames" --set 'envoyGateway.controllerNames={tenant}'
it "no namespace of Envoy Gateway at all is refused" refuses "envoyGatewayNamespaces" --set 'envoyGatewayNamespaces=[]'
it "rbac.create=false makes no Role" counts 0 Role --set rbac.create=false
it "rbac.create=false makes no ClusterRole" counts 0 ClusterRole --set rbac.create=false
it "objects of namespaces may be watched" has "httproutes" --show-only templates/rbac.yaml
it "objects of the cluster may be watched" has "gatewayclasses" --show-only templates/rbac.yaml
it "Secrets cannot be read" lacks "secrets" --show-only templates/rbac.yaml
it "the number of replicas of workloads can be written, for bursts" has "deployments/scale" --show-only templates/rbac.yaml
it "without bursts, workloads cannot be written" lacks "deployments/scale" --show-only templates/rbac.yaml --set burst.enabled=false
it "EndpointSlices can be written, for the activator" has "verbs: [create, patch, delete]" --show-only templates/rbac.yaml --set burst.enabled=false
it "requests are held on the ports of the values" has "--activator-ports=30000-30099" --set activator.ports.first=30000,activator.ports.last=30099
it "without the activator, nothing is held" lacks "--activator" --set activator.enabled=false
it "in namespaces without its own, nothing is held" lacks "--activator" --set 'namespaces={shop}'
it "in namespaces with its own, requests are held" has "--activator-service=" --set 'namespaces={shop,tidegate-system}'
it "a network policy lets held requests in" has "endPort: 20999" --set networkPolicy.enabled=true
it "a header keeps its equals sign" has '"--prometheus-header=X-Other=a=b"' -f ci/everything-values.yaml
it "a bearer token is read from a file" \
    has --prometheus-bearer-token-file=/etc/tidegate/prometheus/token -f ci/bearer-token-values.yaml
it "a network policy lets KEDA in" has "kubernetes.io/metadata.name: keda" --set networkPolicy.enabled=true
it "a misspelled value is refused" refuses "replicaCount" --set replicaCount=3
it "a misspelled nested value is refused" refuses "adress" --set prometheus.adress=x
it "a number where a text belongs is refused" refuses "staleAfter" --set staleAfter=300
it "zero pods are refused" refuses "replicas" --set replicas=0
it "an unknown source is refused" refuses "source" --set source=statsd
it "an address with a scheme is refused" refuses "scalerAddress" --set scalerAddress=http://tidegate:9090
it "a comma in a header is refused" refuses "headers" --set 'prometheus.headers.A=x\,y'
it "a label that the chart selects by is refused" refuses "podLabels" --set 'podLabels.app\.kubernetes\.io/name=x'
it "source prometheus asks for its URL" refuses "set prometheus.url" --set source=prometheus
it "token source prometheus asks for its URL" refuses "set prometheus.url" --set tokenSource=prometheus
it "nothing listens for OTLP unless something pushes" lacks "4317"
it "tokens that are pushed come through the Service" has "port: 4317" --set tokenSource=otlp
it "pods that are pushed to know each other" has "--otlp-peers=tidegate.tidegate-system.svc:4317" --set source=otlp
it "a pod that starts asks the others for the history" has "history-peers=tidegate.tidegate-system.svc:8080"
it "a network policy lets proxies push" has "port: otlp" --set tokenSource=otlp,networkPolicy.enabled=true
it "a key without a Secret asks for its name" \
    refuses "prometheus.secret.name is empty" --set prometheus.url=http://p --set prometheus.secret.caKey=ca.crt
it "a Secret without a key asks for one" \
    refuses "set at least one of" --set prometheus.url=http://p --set prometheus.secret.name=p
it "a user name asks for a password" refuses "need each other" --set prometheus.url=http://p,prometheus.username=me
it "two kinds of credentials are refused" refuses "keep one" --set prometheus.url=http://p,prometheus.username=me \
    --set prometheus.secret.name=p,prometheus.secret.passwordKey=p,prometheus.secret.bearerTokenKey=t
it "half a client certificate asks for the other half" \
    refuses "need each other" --set prometheus.url=http://p,prometheus.secret.name=p,prometheus.secret.clientCertKey=c
it "with TLS on, ScaledObjects tell KEDA so" has --scaler-tls --set tls.secretName=t
it "KEDA's side of TLS is named" \
    has --scaler-authentication=keda-side --set tls.secretName=t,tls.clusterTriggerAuthentication=keda-side
it "KEDA's side of TLS without a certificate is refused" \
    refuses "tls.clusterTriggerAuthentication needs" --set tls.clusterTriggerAuthentication=t
it "a client CA without a certificate is refused" refuses "tls.clientCaKey needs" --set tls.clientCaKey=ca.crt
it "credentials without a URL ask for it" refuses "set prometheus.url" --set prometheus.username=me
it "a Kafka cluster becomes a file of its own" has "brokers:" --set 'kafka.clusters.default.brokers={kafka:9092}'
it "a Kafka user without a password is refused" refuses "passwordFile" \
  --set 'kafka.clusters.default.brokers={kafka:9092},kafka.clusters.default.sasl.mechanism=PLAIN,kafka.clusters.default.sasl.username=a'
it "a Kafka client with tokens becomes a file" has "tokenEndpoint: https://sso" --set 'kafka.clusters.default.brokers={kafka:9092}' \
  --set 'kafka.clusters.default.sasl.mechanism=OAUTHBEARER,kafka.clusters.default.sasl.tokenEndpoint=https://sso/token' \
  --set 'kafka.clusters.default.sasl.clientId=tidegate,kafka.clusters.default.sasl.clientSecretFile=/etc/tidegate/kafka-secret/s'
it "a Kafka broker without a port is refused" refuses "brokers" --set 'kafka.clusters.default.brokers={kafka}'
it "no account at all is refused" refuses "set serviceAccount.name" --set serviceAccount.create=false
it "CronJobs are none of its business unless the values say so" lacks "cronjobs"
it "CronJobs are patched where the values say so" has "resources: [cronjobs]" --set manage.cronJobs=true
it "kinds that may be managed are passed on" has "--manage=cronjobs,daemonsets" --set manage.cronJobs=true,manage.daemonSets=true
it "Rollouts are none of its business unless the values say so" lacks "argoproj.io"
it "a kind to scale may be read where the values name it" has "resources: [rollouts]" --set 'scaleKinds={rollouts.argoproj.io}'
it "a custom kind is read by its plural and group" has "apiGroups: [example.com]" --set 'scaleKinds={widgets.example.com/v1/Widget}'
it "kinds to scale are passed on" has "--scale-kind=widgets.example.com/v1/Widget" --set 'scaleKinds={widgets.example.com/v1/Widget}'
it "a kind without its group is refused" refuses "scaleKinds" --set 'scaleKinds={rollouts}'
it "no alert and no dashboard is made unless the values say so" lacks "troubleshooting.md"
it "the alerts are a PrometheusRule, with Prometheus' own templates left as they are" \
    has '#{{ $labels.reason | toLower }}' --set prometheusRule.enabled=true
it "the Prometheus operator finds the alerts by the labels of the values" \
    has "release: prometheus" --set prometheusRule.enabled=true,prometheusRule.labels.release=prometheus
it "the dashboards are in a ConfigMap that Grafana's side-car finds" has 'grafana_dashboard: "1"' --set grafanaDashboards.enabled=true
it "every dashboard is in it" has "tidegate-workload.json: |" --set grafanaDashboards.enabled=true
it "what is scraped keeps the workload's namespace" has "honorLabels: true" --set serviceMonitor.enabled=true
if [ -n "${PROMTOOL:-}" ]; then
    it "Prometheus reads the alerts" "$PROMTOOL" check rules alerts/rules.yaml
    it "each alert fires when it should, and none in a quiet hour" "$PROMTOOL" test rules alerts/tests.yaml
    it "each alert has a test" alerts_are_tested
fi
if [ -n "${TIDEGATE:-}" ]; then
    it "every flag that the chart sets is one of tidegate run" flags_are_known
fi

# As cargo ends, so that `make test` adds it up.
if [ "$failed" = 0 ]; then result=ok; else result=FAILED; fi
printf '\ntest result: %s. %d passed; %d failed\n' "$result" "$passed" "$failed"
[ "$failed" = 0 ]
