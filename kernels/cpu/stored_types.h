// SPDX-License-Identifier: Apache-2.0
// The types in which the CPU kernels store activations, said once. Kernels are compiled for each type of the list, and sessions
// choose among them by with_stored(). Everything is computed in f32; a type says only how a value lies in memory.
// A new type is one line here, its conversions (core/bfloat16.h is the example; vectors: detail/stored-inl.h), and a DType.
// Tests: tests/kernels/stored_types_test.cpp, tests/kernels/bf16_test.cpp
#pragma once

#include <string>

#include "core/bfloat16.h"
#include "core/error.h"
#include "elek/types.h"

namespace elek::kernels::cpu {

/// X(type, suffix of the functions that are compiled for it, DType): the types that f32 is rounded to, and all of them.
#define ELEK_NARROW_TYPES(X) X(BFloat16, bf16, kBF16)
#define ELEK_STORED_TYPES(X) X(float, f32, kF32) ELEK_NARROW_TYPES(X)

#define ELEK_CHECK_SIZE(T, suffix, dtype) static_assert(sizeof(T) <= sizeof(float));
ELEK_STORED_TYPES(ELEK_CHECK_SIZE)
#undef ELEK_CHECK_SIZE

/// f(T()), T being how `dtype` lies in memory. ContractError for a type that no kernel here is compiled for.
template <typename F>
void with_stored(DType dtype, const F& f) {
#define ELEK_CASE(T, suffix, dtype) \
  case DType::dtype:                \
    return f(T());
  switch (dtype) {
    ELEK_STORED_TYPES(ELEK_CASE)
    default:
      break;
  }
#undef ELEK_CASE
  ELEK_CHECK(false, "activations stored as " + std::string(name_of(dtype)) + ": the CPU kernels have no such type");
}

}  // namespace elek::kernels::cpu
