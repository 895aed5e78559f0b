#!/usr/bin/env bash
# Writes hpa.json anew: what Kubernetes' own HPA controller decides over random HPAs and metrics. Needs Go and the module
# proxy; compiles the controller (minutes when cold). Usage: run.sh [k8s version]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
version=${1:-v1.37.2}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mod=$(go mod download -json "k8s.io/kubernetes@$version" | sed -n 's/.*"GoMod": "\(.*\)",/\1/p')
source=$(go mod download -json "k8s.io/kubernetes@$version" | sed -n 's/.*"Dir": "\(.*\)",/\1/p')
{
  printf 'module oracle.local\n\ngo 1.26.0\n\nrequire k8s.io/kubernetes %s\n\nreplace (\n' "$version"
  # The staging modules are published one by one, and a dependency's own replace lines do not count.
  awk -v v="v0.${version#v1.}" '/=> \.\/staging\//{print "\t"$1" => "$1" "v}' "$mod"
  printf ')\n'
} > go.mod
printf 'package oracle\n\nimport _ "k8s.io/kubernetes/pkg/controller/podautoscaler"\n' > oracle.go
# Go lays no file over a module of its cache, so the tests are put into a copy.
cp -r "$source" kubernetes && chmod -R u+w kubernetes
printf 'replace k8s.io/kubernetes => ./kubernetes\n' >> go.mod
rm kubernetes/pkg/controller/podautoscaler/*_test.go
cp "$here/oracle_test.go" kubernetes/pkg/controller/podautoscaler/
GOFLAGS=-mod=mod ORACLE_OUT=$here/hpa.json go test -run TestOracle k8s.io/kubernetes/pkg/controller/podautoscaler
