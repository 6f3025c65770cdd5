// SPDX-License-Identifier: Apache-2.0
// Replaces onednn.cpp in a build without oneDNN. The choice of kernels never asks for a primitive then (choose.cpp,
// conv_kernel.cpp), so make() is reached only by a fault of ours; its message still says what to do.
// Tests: tests/backends/choose_test.cpp, tests/golden/session_test.cpp
#include <string>
#include <utility>

#include "backends/cpu/onednn.h"
#include "core/error.h"

namespace elek::backends::cpu {
namespace {

[[noreturn]] void not_built_in(const std::string& what) {
  throw DeviceError(what + ": this build has no oneDNN; install it (libdnnl-dev) and configure with -DELEK_ONEDNN=ON");
}

}  // namespace

struct Primitive::Impl {};
Primitive::Primitive(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Primitive::~Primitive() = default;

std::unique_ptr<Primitive> Primitive::make(const ConvProblem& p, int /*threads*/) {
  not_built_in("convolution " + to_string(p.src) + " -> " + to_string(p.dst));
}
std::unique_ptr<Primitive> Primitive::make(const LinearProblem& p, int /*threads*/) {
  not_built_in("linear " + std::to_string(p.in_features) + " -> " + std::to_string(p.out_features));
}
size_t Primitive::packed_bytes() const noexcept { return 0; }
size_t Primitive::staged_bytes() const noexcept { return 0; }
size_t Primitive::scratch_bytes() const noexcept { return 0; }
const std::string& Primitive::kernel() const noexcept {
  static const std::string none;
  return none;
}
void Primitive::pack(const float* /*weights*/, float* /*staged*/, void* /*packed*/) const { not_built_in("packing"); }
void Primitive::run(int64_t /*samples*/, const void* /*src*/, const void* /*packed*/, const float* /*bias*/, void* /*dst*/,
                    void* /*scratch*/) const {
  not_built_in("running");
}

bool library_is_built_in() noexcept { return false; }
bool has_tiles() noexcept { return false; }
bool library_has_kernels() noexcept { return false; }
bool has_bf16() noexcept { return false; }
std::string library_name() { return "no oneDNN"; }

}  // namespace elek::backends::cpu
