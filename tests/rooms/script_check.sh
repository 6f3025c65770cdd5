#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# script_check.sh ROOMS: scripts/rooms passes a small clean house and fails one with an include upwards, a folder too many, a
# folder too few, a room that is too large, a type defined twice, and a page whose arrows are not today's.
set -euo pipefail
rooms=$1
house=$(mktemp -d)
trap 'rm -rf "$house"' EXIT

build_house() {
  rm -rf "${house:?}"/*
  local room
  for room in core kernels graph plan backends engine models data prune lab api cli; do
    mkdir -p "$house/$room"
    printf '#include "core/a.h"\nint %s;\n' "$room" >"$house/$room/a.cpp"
  done
  mkdir -p "$house/bench" "$house/tests"
  touch "$house/CMakeLists.txt" "$house/README.md" "$house/core/a.h"
}
expect() {  # expect STATUS TEXT [options]
  local want=$1 text=$2 status=0 output
  shift 2
  output=$("$rooms" --root "$house" "$@" 2>&1) || status=$?
  if [[ $status != "$want" || $output != *"$text"* ]]; then
    printf 'expected status %s and "%s", got %s and:\n%s\n' "$want" "$text" "$status" "$output" >&2
    exit 1
  fi
}

build_house
expect 0 '| prune |'
printf '#include "prune/a.h"\n' >>"$house/engine/a.cpp"
expect 1 'engine/a.cpp:3: engine/ includes prune/'
build_house
printf 'namespace elek {\nnamespace inner {\nstruct Twin {};\n}\nstruct Twin::Impl : Base {};\n' >"$house/lab/a.h"
printf 'namespace elek {\nstruct ELEK_API Twin final : Base {};\n}\n' >"$house/prune/a.h"
expect 0 '| prune |'
printf 'struct Twin {};\n' >>"$house/lab/a.h"
expect 1 'elek::Twin is defined in lab/a.h and in prune/a.h'
build_house
mkdir -p "$house/include/elek"
echo "int engine_face;" >"$house/include/elek/engine.h"
expect 1 'include/elek/engine.h: no room names it'
echo 'elek_layer(elek_engine engine FACE engine.h DEPENDS elek_core)' >"$house/engine/CMakeLists.txt"
expect 0 '| prune |'
printf '#include "elek/engine.h"\n' >>"$house/graph/a.cpp"
expect 1 'graph/ includes engine/, which lies above it: elek/engine.h'
rm -r "$house/include"
build_house
mkdir "$house/attic" && touch "$house/attic/a.cpp"
expect 1 'attic/ holds code'
build_house
rm -r "$house/models"
expect 1 'models/ is missing'
build_house
for ((i = 0; i < 40; ++i)); do echo "int a$i;"; done >>"$house/prune/a.cpp"
expect 1 'prune/ holds'
build_house
printf '<!-- includes table -->\n<!-- includes table -->\n' >"$house/page.md"
expect 1 "today's arrows" --check "$house/page.md"
expect 0 '' --write "$house/page.md"
expect 0 '' --check "$house/page.md"
printf '#include "graph/a.h"\n' >>"$house/prune/a.cpp"
expect 1 "today's arrows" --check "$house/page.md"
