// SPDX-License-Identifier: Apache-2.0
// Guarded buffers: writes outside and elements left out are found.
#include "tests/support/guarded.h"

#include <gtest/gtest.h>

#include <cmath>

namespace elek::test {
namespace {

template <typename T>
class GuardedOf : public ::testing::Test {};
using Elements = ::testing::Types<float, double, int64_t, int32_t, uint8_t, uint16_t>;
TYPED_TEST_SUITE(GuardedOf, Elements);

TYPED_TEST(GuardedOf, StartsPoisonedAndAligned) {
  for (const size_t shift : {size_t{0}, size_t{1}, size_t{3}}) {
    const Guarded<TypeParam> buffer(37, shift);
    EXPECT_EQ(buffer.size(), 37U);
    EXPECT_EQ(buffer.untouched(), 37U);
    EXPECT_TRUE(buffer.guards_intact());
    EXPECT_EQ((reinterpret_cast<uintptr_t>(buffer.data()) - shift * sizeof(TypeParam)) % 256, 0U);
  }
}

TYPED_TEST(GuardedOf, SeesAnElementLeftOut) {
  Guarded<TypeParam> buffer(10);
  for (size_t i = 0; i < 9; ++i) {
    buffer[i] = static_cast<TypeParam>(1);
  }
  EXPECT_EQ(buffer.untouched(), 1U);
  buffer.poison();
  EXPECT_EQ(buffer.untouched(), 10U);
}

TYPED_TEST(GuardedOf, SeesAWriteRightBeforeAndRightAfter) {
  Guarded<TypeParam> before(10);
  TypeParam* data = before.data();
  data[-1] = static_cast<TypeParam>(0);
  EXPECT_FALSE(before.guards_intact());
  Guarded<TypeParam> after(10, 1);
  data = after.data();
  data[10] = static_cast<TypeParam>(0);
  EXPECT_FALSE(after.guards_intact());
}

TEST(Guarded, PoisonOfFloatsIsNan) { EXPECT_TRUE(std::isnan(Guarded<float>(1)[0])); }

}  // namespace
}  // namespace elek::test
