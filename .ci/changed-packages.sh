#!/usr/bin/env bash
# Print, as a JSON list, the layers that a change since commit $1 can affect: the lowest one touched and all above it.
# Without a commit, or when something shared changed, that is all of them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

layers=(assets storage tasks workflows mcp)
base=${1:-}
lowest=${#layers[@]}
if [ -z "$base" ]; then
  lowest=0
else
  while IFS= read -r path; do
    case $path in
      packages/stargazer-*)
        for i in "${!layers[@]}"; do
          case $path in packages/stargazer-"${layers[$i]}"/*) ((i < lowest)) && lowest=$i ;; esac
        done
        ;;
      docs/* | images/* | notebooks/* | benchmarks/* | *.md | LICENSE) ;;
      *) lowest=0 ;;
    esac
  done < <(git diff --name-only "$base"...HEAD)
fi

list=$(printf '"%s",' "${layers[@]:lowest}")
if ((lowest == ${#layers[@]})); then list=; fi
printf '[%s]\n' "${list%,}"
