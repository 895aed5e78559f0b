#!/usr/bin/env bash
# `make cluster`: the example on the whole real stack, live. Runs inside `stack run`, which gives KUBECONFIG and PATH.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

say "Installing Tidegate with Helm"
helm install tidegate charts/tidegate --namespace tidegate-system --create-namespace --wait --timeout 2m

say "Deploying the task API of the example"
kubectl apply -f examples/task-api/simple.yaml
kubectl wait --for=condition=Available deployment/task-api --timeout=60s

gateway_pod() {
  kubectl get pods -A -l app.kubernetes.io/component=proxy,gateway.envoyproxy.io/owning-gateway-name=web \
    --field-selector=status.phase=Running -o jsonpath='{.items[0].status.podIP}' 2>/dev/null
}
until [ -n "$(gateway_pod)" ]; do sleep 0.5; done
until curl -fs -o /dev/null -m 1 "http://$(gateway_pod):8080/"; do sleep 0.5; done

sent=$(mktemp)
stack load http "http://$(gateway_pod):8080/tasks" --progress --profile 0s:50,30s:50,31s:800,150s:800,151s:50,86400s:50 >"$sent" &
load=$!
trap 'kill $load 2>/dev/null || true; rm -f "$sent"' EXIT

page() {
  printf 'Tidegate on the real stack  %s\n\n' "$(date +%T)"
  printf 'Load through Envoy at %s: 50 requests/s, from 0:30 to 2:30 800\n%s\n\n' "$(gateway_pod)" "$(tail -n 1 "$sent")"
  tidegate get -A -o wide || true
  printf '\n'
  kubectl get scaledobjects -o custom-columns='SCALEDOBJECT:.metadata.name,MIN:.spec.minReplicaCount,MAX:.spec.maxReplicaCount,READY:.status.conditions[?(@.type=="Ready")].status,ACTIVE:.status.conditions[?(@.type=="Active")].status' || true
  printf '\n'
  kubectl get hpa || true
  printf '\n'
  kubectl get deployments || true
  cat <<TEXT

In another terminal:
  $TIDEGATE_ENTER   # a shell inside, with KUBECONFIG, kubectl and tidegate
  tidegate explain deployment/task-api
There is no kubelet: kubectl logs, exec and port-forward do not work. Logs are in $(dirname "$TIDEGATE_STACK")/logs.
Ctrl-C here stops everything.
TEXT
}

# A screen is drawn over: no line is longer than it is wide, and each clears the rest of its own.
while true; do
  shown=$(page 2>&1)
  if [ -t 1 ]; then
    printf '\033[H%s\n\033[J' "$(cut -c "1-$(tput cols)" <<<"$shown" | sed $'s/$/\033[K/')"
  else
    printf '%s\n\n' "$shown"
  fi
  sleep 2
done
