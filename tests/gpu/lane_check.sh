#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Does scripts/gpu-session, the GPU lane, judge what it runs? With programs and an nvidia-smi that only pretend: a lane in which
# every test passed ends with 0; one skipped test, one failed test or one that hangs ends it with 1, in time and in plain words.
#   lane_check.sh SOURCE_FOLDER
set -uo pipefail
session=$1/scripts/gpu-session
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/bin"
pretend() {
  printf '#!/bin/sh\n%s\n' "$2" >"$work/bin/$1"
  chmod +x "$work/bin/$1"
}
pretend nvidia-smi 'echo "GPU 0: a pretended one"'
pretend gpu_questions 'echo {}'
passes='echo "[       OK ] Kernels.One (1 ms)"'

# expect STATUS TEXT STEPS LIMIT: how the lane ends, and a line of its results
expect() {
  local status=0
  PATH=$work/bin:$PATH "$session" --no-build --build "$work" --steps "$3" --limit "$4" >"$work/said" 2>&1 || status=$?
  if [[ $status != "$1" ]] || ! grep -q "$2" "$work/said"; then
    echo "expected status $1 and \"$2\"; status $status, and it said:"
    cat "$work/said"
    exit 1
  fi
}

pretend test_gpu_kernels "$passes"
expect 0 'kernels: 2 passed, 0 skipped' "facts kernels" 60
pretend test_gpu_kernels "$passes; echo '[  SKIPPED ] Kernels.Two (0 ms)'"
expect 1 'kernels: 2 passed, 2 skipped' "facts kernels" 60
pretend test_gpu_kernels "$passes; echo '[  FAILED  ] Kernels.Two (0 ms)'; exit 1"
expect 1 '"kernels-0", "status": "failed (1)"' "facts kernels" 60
pretend test_gpu_kernels "$passes; exec sleep 60"
expect 1 '"kernels-0", "status": "stopped after [5-7] s"' "kernels" 22
expect 1 '"kernels-0", "status": "skipped: no time left"' "kernels" 16
pretend gpu_questions 'echo "gpu_questions: no NVIDIA driver" >&2; exit 5'
expect 1 'the programs do not run here' "facts kernels" 60
echo "the lane judges what it runs"
