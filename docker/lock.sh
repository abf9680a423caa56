#!/bin/sh
# Usage: docker/lock.sh cpu|gpu BIN TORCH_CPU_INDEX
# Writes docker/requirements-$1.txt: every package of the image with the digests of its files.
# For the CPU engine without PyTorch itself, whose CPU build comes from an index of its own.
set -eu
accelerator=$1 bin=$2 index=$3
file=docker/requirements-$accelerator.txt
set --
if [ "$accelerator" = cpu ]; then
  folder=$("$bin/python" -m pip config get :env:.find-links 2>/dev/null \
    || "$bin/python" -m pip config get global.find-links 2>/dev/null || true)
  if [ -n "$folder" ]; then
    set -- --find-links "$folder"
  else
    set -- --extra-index-url "$index" --index-strategy unsafe-best-match
  fi
  set -- "$@" --no-emit-package torch
fi
{
  echo "# Written by \`make lock\` from pyproject.toml, extra $accelerator; do not edit."
  "$bin/uv" pip compile pyproject.toml --quiet --extra "$accelerator" --python-version 3.11 \
    --python-platform x86_64-manylinux_2_28 --generate-hashes --no-header --no-annotate "$@"
} > "$file.new"
mv "$file.new" "$file"
echo "$file: $(grep -c == "$file") packages"
