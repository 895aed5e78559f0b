#!/usr/bin/env bash
# `make cluster`: the example on the whole real stack, live. Runs inside `stack run`, which gives KUBECONFIG and PATH.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

say "Installing Tidegate with Helm"
helm install tidegate charts/tidegate --namespace tidegate-system --create-namespace --wait --timeout 2m

say "Deploying the task API of the example"
kubectl apply -f examples/task-api.yaml
kubectl wait --for=condition=Available deployment/task-api --timeout=60s

gateway_pod() {
  kubectl get pods -A -l app.kubernetes.io/component=proxy,gateway.envoyproxy.io/owning-gateway-name=web \
    --field-selector=status.phase=Running -o jsonpath='{.items[0].status.podIP}' 2>/dev/null
}
until [ -n "$(gateway_pod)" ]; do sleep 0.5; done
until curl -fs -o /dev/null -m 1 "http://$(gateway_pod):8080/"; do sleep 0.5; done

say "Driving load through Envoy at $(gateway_pod): 50, then 800, then 50 requests/s"
stack load http "http://$(gateway_pod):8080/tasks" --profile 0s:50,30s:50,31s:800,150s:800,151s:50,86400s:50 >/dev/null &
load=$!
trap 'kill $load 2>/dev/null || true' EXIT

cat <<TEXT

  In another terminal:
    $TIDEGATE_ENTER   # a shell inside the stack, with KUBECONFIG, kubectl and tidegate
    tidegate explain deployment/task-api
  Ctrl-C here stops everything.
TEXT

while true; do
  printf '\n\033[2m%s\033[0m\n' "$(date +%T)"
  kubectl get scaledobjects,hpa,deploy || true
  sleep 5
done
