#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Does scripts/gpu-session run from end to end, and keep what was finished when it is ended? All its steps run on the stand-in
# device: first whole, as one pack with both calls; then it is ended by TERM and by KILL at random moments. Whatever it had said to
# be finished must be in the archive, with its file. What the stand-in measures means nothing.
#   rehearsal_check.sh SOURCE_FOLDER ELEK GPU_QUESTIONS TEST_KERNELS TEST_ENGINE
set -uo pipefail
session=$1/scripts/gpu-session
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/pack/bin" "$work/pack/lib"
ln -s "$2" "$work/pack/bin/elek"
ln -s "$3" "$work/pack/bin/gpu_questions"
ln -s "$4" "$work/pack/bin/test_gpu_kernels"
ln -s "$5" "$work/pack/bin/test_gpu_engine"
echo rehearsal >"$work/pack/commit"
tar -czf "$work/pack.tar.gz" -C "$work/pack" bin lib commit
export TMPDIR=$work ELEK_CACHE_DIR=$work/cache
failed() {
  echo "$1"
  cat "$work/said"
  exit 1
}
# in_archive ARCHIVE: every step that was said to be finished is in it, with a file that is not cut off
check_archive() {
  local unpacked=$work/unpacked step log
  rm -rf "$unpacked" && mkdir "$unpacked"
  if [[ -s $1 ]]; then tar -xzf "$1" -C "$unpacked" || failed "the archive cannot be read"; fi
  sed -n 's/^== \([^ :]*\): passed after .* (\(.*\))$/\1 \2/p' "$work/said" >"$work/finished"
  while read -r step log; do
    grep -q "\"step\": \"$step\", \"status\": \"passed\"" "$unpacked/results.json" || failed "$step was finished and is not in the archive"
    [[ -f $unpacked/$(basename "$log") ]] || failed "$(basename "$log") of the finished step $step is not in the archive"
  done <"$work/finished"
}

for call in 1 2; do
  "$session" --packed "$work/pack.tar.gz" --rehearse --call "$call" --archive "$work/to/$call.tar.gz" >"$work/said" 2>&1
  status=$?
  check_archive "$work/to/$call.tar.gz"
  grep -q '"status": "failed' "$work/said" && failed "call $call has a step that failed"
  ((status == 0)) || failed "call $call ended with status $status"
  expected=4
  ((call == 1)) && expected=6
  (($(wc -l <"$work/finished") >= expected)) || failed "call $call finished too few steps"
done
[[ -d $work/unpacked/cache/plans ]] || failed "the plan cache is not in the archive"

ended=0
for signal in KILL TERM KILL TERM KILL TERM; do
  rm -rf "$work/cache" "$work/to"
  setsid "$session" --packed "$work/pack.tar.gz" --rehearse --call 1 --archive "$work/to/1.tar.gz" >"$work/said" 2>&1 &
  pid=$!
  sleep "0.$((RANDOM % 10))$((RANDOM % 10))"
  sleep "$((RANDOM % 3))"
  kill -0 "$pid" 2>/dev/null && ended=$((ended + 1))
  # setsid makes the session the leader of a group of its own: KILL takes the whole machine away, TERM asks the script.
  if [[ $signal == KILL ]]; then kill -KILL "-$pid" 2>/dev/null; else kill -TERM "$pid" 2>/dev/null; fi
  wait "$pid" 2>/dev/null
  check_archive "$work/to/1.tar.gz"
  if [[ $signal == TERM && -s $work/to/1.tar.gz ]] && grep -q 'facts: passed' "$work/said" && ! grep -q 'archived in' "$work/said"; then
    grep -q 'ended by a signal' "$work/unpacked/results.json" || failed "the archive does not say that the call was ended"
  fi
done
((ended > 0)) || failed "no call was ended before it had finished: the moments are too late"
echo "$ended of 6 calls were ended early, and nothing that was finished was lost"
