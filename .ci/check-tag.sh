#!/usr/bin/env bash
# Check that a tag such as stargazer-assets-v0.1.0 names the version of its distribution and that the changelog has an
# entry for it; print `distribution=...` and `layer=...` for the workflow.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tag=$1
distribution=${tag%-v*}
version=${tag##*-v}
folder=packages/$distribution
if [ ! -f "$folder/pyproject.toml" ]; then
  echo "tag $tag: there is no $folder; expected stargazer-LAYER-vVERSION" >&2
  exit 1
fi
declared=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$folder/pyproject.toml")
if [ "$declared" != "$version" ]; then
  echo "tag $tag: $folder/pyproject.toml says version $declared" >&2
  exit 1
fi
if ! grep -qE "^## ${version//./\\.}( \([0-9-]+\))?$" "$folder/CHANGELOG.md"; then
  echo "tag $tag: $folder/CHANGELOG.md has no entry '## $version (DATE)'" >&2
  exit 1
fi
echo "distribution=$distribution"
echo "layer=${distribution#stargazer-}"
