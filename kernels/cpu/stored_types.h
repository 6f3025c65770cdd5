// SPDX-License-Identifier: Apache-2.0
// The list of types in which the CPU kernels store activations. Kernels are compiled for each type of the list; with_stored()
// chooses one. All kernels compute in f32: the type is only the form in memory.
// A new type needs one line here, its conversions (as in core/bfloat16.h; for vectors in detail/stored-inl.h), and a DType.
// Tests: tests/kernels/stored_types_test.cpp, tests/kernels/bf16_test.cpp
#pragma once

#include <cstdint>
#include <string>

#include "core/bfloat16.h"
#include "core/error.h"
#include "elek/types.h"

namespace elek::kernels::cpu {

/// X(type, suffix of its functions, DType). ELEK_NARROW_TYPES: the types to which f32 is rounded. ELEK_STORED_TYPES: all types.
/// The static command has no oneDNN and refuses bf16; without kernels for it the file is 1 MB smaller (kernels/CMakeLists.txt).
#ifdef ELEK_STORES_F32_ONLY
#define ELEK_NARROW_TYPES(X)
#else
#define ELEK_NARROW_TYPES(X) X(BFloat16, bf16, kBF16)
#endif
#define ELEK_STORED_TYPES(X) X(float, f32, kF32) ELEK_NARROW_TYPES(X)
/// Integers of a grid, for kernels that only pass values on: the scale is the same before and after.
#define ELEK_INTEGER_TYPES(X) X(uint8_t, u8, kU8) X(int8_t, i8, kI8)

#define ELEK_CHECK_SIZE(T, suffix, dtype) static_assert(sizeof(T) <= sizeof(float));
ELEK_STORED_TYPES(ELEK_CHECK_SIZE)
#undef ELEK_CHECK_SIZE

/// Calls f with a value of the C++ type of `dtype`. ContractError if the kernels are not compiled for this type.
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

[[nodiscard]] constexpr bool is_integer(DType dtype) noexcept { return dtype == DType::kU8 || dtype == DType::kI8; }

/// The same for integers. ContractError if the type is not of ELEK_INTEGER_TYPES.
template <typename F>
void with_integers(DType dtype, const F& f) {
  ELEK_CHECK(is_integer(dtype), "activations stored as " + std::string(name_of(dtype)) + ", expected 8-bit integers");
  dtype == DType::kU8 ? f(uint8_t()) : f(int8_t());
}

}  // namespace elek::kernels::cpu
