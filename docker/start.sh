#!/bin/sh
# First thing in the container: says what it found, then becomes the program itself, so that
# signals reach it.
set -eu

# A line of the log like the program's own: JSON, unless a terminal is looking on.
format=$(printf %s "${DEEPMEDIX_LOG_FORMAT:-auto}" | tr '[:upper:]' '[:lower:]')
say() {
  if [ "$format" = console ] || { [ "$format" = auto ] && [ -t 2 ]; }; then
    echo "start: $*" >&2
  else
    printf '{"event": "start: %s", "level": "info", "logger": "deepmedix.start", "timestamp": "%s"}\n' \
      "$(printf %s "$*" | tr -d '[:cntrl:]' | sed 's/[\\"]/\\&/g')" "$(date -u +%FT%TZ)" >&2
  fi
}

# Where there is a GPU, Triton's driver module was compiled with the image: copy what a folder lacks.
driver() {
  [ -d /opt/deepmedix/share/triton ] || return 0
  mkdir -p "$1"
  cp -rn /opt/deepmedix/share/triton/. "$1/"
}

if [ -w /cache ]; then
  driver /cache/triton # at every start: the volume may be older than the image
else
  say "/cache is not writable: what the engine compiles is lost when the container stops"
  export HOME=/tmp XDG_CACHE_HOME=/tmp VLLM_CACHE_ROOT=/tmp/vllm
  export TRITON_CACHE_DIR=/tmp/triton TORCHINDUCTOR_CACHE_DIR=/tmp/inductor
  driver /tmp/triton
fi
say "deepmedix $* as user $(id -u), model ${DEEPMEDIX_MODEL:-not named}"
if [ "${HF_HUB_OFFLINE:-0}" = 1 ]; then
  say "offline: weights come from a mounted folder or from the cache in ${HF_HOME:-/cache}"
fi
exec deepmedix "$@"
