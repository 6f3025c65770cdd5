// SPDX-License-Identifier: Apache-2.0
// The type in memory for each DType of the CPU kernels. A DType that they do not support is refused, never read as another one.
#include "kernels/cpu/stored_types.h"

#include <gtest/gtest.h>

#include <type_traits>

namespace elek::kernels::cpu {
namespace {

TEST(StoredTypes, AreTheOnesOfTheList) {
  size_t types = 0;
#define ELEK_EXPECT(T, suffix, dtype)                                                             \
  with_stored(DType::dtype, [](auto type) { EXPECT_TRUE((std::is_same_v<decltype(type), T>)); }); \
  EXPECT_EQ(sizeof(T), size_of(DType::dtype));                                                    \
  ++types;
  ELEK_STORED_TYPES(ELEK_EXPECT)
#undef ELEK_EXPECT
  EXPECT_EQ(types, 2U);
}

TEST(StoredTypes, OthersAreRefused) {
  for (const DType dtype : {DType::kF16, DType::kF64, DType::kI64, DType::kI32, DType::kU8}) {
    EXPECT_THROW(with_stored(dtype, [](auto) {}), ContractError) << name_of(dtype);
  }
}

}  // namespace
}  // namespace elek::kernels::cpu
