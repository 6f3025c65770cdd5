// SPDX-License-Identifier: Apache-2.0
// The figures about vectors that planning gets, on every instruction set of this processor.
#include "kernels/cpu/vectors.h"

#include "tests/kernels/kernel_case.h"

namespace elek::test {
namespace {

TEST(Vectors, DivideALayoutsBlockAndAPanelFitsTheRegisters) {
  for_each_target([&] {
    const std::string set = kernels::cpu::instruction_set();
    EXPECT_FALSE(set.empty());
    for (const int64_t block : {8, 16}) {
      const int64_t lanes = kernels::cpu::vector_lanes(block);
      EXPECT_EQ(block % lanes, 0) << set;
    }
    const int64_t rows = kernels::cpu::panel_rows(), registers = rows > 6 ? 32 : 16;
    EXPECT_LE(2 * rows + 3, registers) << set << ": accumulators, two weights and a broadcast";
  });
}

}  // namespace
}  // namespace elek::test
