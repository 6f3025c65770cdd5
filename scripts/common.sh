# SPDX-License-Identifier: Apache-2.0
# Shared by the other scripts: find the root, install what is missing, configure, build.
# Source it with bash, after `set -euo pipefail`.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${ELEK_BUILD_DIR:-$root/build}
cores=$(nproc 2>/dev/null || echo 2)

say() { printf '== %s\n' "$*" >&2; }

# What the build needs on Debian and Ubuntu. ELEK_PACKAGES_EXTRA adds to it.
packages=(g++ cmake make libdnnl-dev ocl-icd-opencl-dev libhwy-dev libstb-dev nlohmann-json3-dev libcli11-dev zlib1g-dev
  libjpeg-dev libgtest-dev libgmock-dev libbenchmark-dev)

# What scripts/gpu-pack and scripts/gpu-session build and run.
gpu_targets=(elek test_gpu_engine test_gpu_kernels gpu_questions)

missing_packages() {
  local package
  for package in "$@"; do
    dpkg-query -W -f='${Status}\n' "$package" 2>/dev/null | grep -q '^install ok installed$' || echo "$package"
  done
}

explain_elsewhere() {
  cat >&2 <<TEXT
elek builds with these, and this machine has no apt to install them with:
  a C++20 compiler (GCC 12 or clang 14, or newer) with OpenMP, CMake 3.25 or newer
  oneDNN 2.6 or newer, Google Highway 1.0, stb, nlohmann-json 3.11, CLI11 2.1, zlib
  if it is there, libjpeg-turbo decodes JPEG
  for the tests: GoogleTest 1.12 (gtest and gmock), Google Benchmark 1.7
Install them with your package manager; CMake then finds them, or says which is missing.
TEXT
}

# Installs the named packages that are missing. Quick and silent if none is.
install_missing() {
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    [[ -n ${ELEK_QUIET_ELSEWHERE:-} ]] || explain_elsewhere
    return 0
  fi
  local missing
  mapfile -t missing < <(missing_packages "$@")
  ((${#missing[@]})) || return 0
  local sudo=()
  if ((EUID != 0)); then
    if ! command -v sudo >/dev/null; then
      say "these packages are missing, and installing them needs root: apt-get install ${missing[*]}"
      return 1
    fi
    sudo=(sudo)
  fi
  say "installing ${missing[*]}"
  "${sudo[@]}" apt-get update -qq || say "apt-get update failed: going on with the package lists that are there"
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

# configure DIRECTORY [cmake options]: uses Ninja and ccache if they are installed. A directory keeps its first generator.
configure() {
  local directory=$1
  shift
  local options=(-S "$root" -B "$directory")
  if [[ ! -f $directory/CMakeCache.txt ]] && command -v ninja >/dev/null; then options+=(-G Ninja); fi
  if command -v ccache >/dev/null; then options+=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache); fi
  say "configuring $directory"
  cmake "${options[@]}" "$@" >"$directory.log" 2>&1 || { cat "$directory.log" >&2; rm -f "$directory.log"; return 1; }
  rm -f "$directory.log"
}

# compile DIRECTORY [targets]
compile() {
  local directory=$1
  shift
  local targets=()
  (($#)) && targets=(--target "$@")
  say "building"
  cmake --build "$directory" --parallel "$cores" "${targets[@]}" >&2
}

# arm64_packages DIRECTORY packages: unpacks Debian packages for 64-bit ARM into DIRECTORY/sysroot. The system is not changed.
arm64_packages() {
  local directory=$1 package
  shift
  [[ -f $directory/sysroot/complete ]] && return 0
  command -v apt-get >/dev/null || { say "this needs Debian's or Ubuntu's apt-get"; return 2; }
  say "fetching ARM's libraries into $directory/sysroot"
  rm -rf "$directory/sysroot"
  mkdir -p "$directory/sysroot" "$directory/lists/partial" "$directory/packages"
  local apt=(apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o "Dir::State::Lists=$directory/lists" -o APT::Sandbox::User=root)
  "${apt[@]}" update
  (cd "$directory/packages" && "${apt[@]}" download "$@")
  for package in "$directory"/packages/*.deb; do dpkg -x "$package" "$directory/sysroot"; done
  touch "$directory/sysroot/complete"
}
