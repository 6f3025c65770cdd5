// SPDX-License-Identifier: Apache-2.0
// Which results may overwrite the values that they are computed from: the rule itself, on small hand-made programs.
#include "backends/storages.h"

#include <gtest/gtest.h>

#include "plan/program.h"

namespace elek::backends {
namespace {

/// x -> a (step 0 makes x, step 1 a from x, …); every tensor 64 bytes unless said otherwise.
class StoragesTest : public ::testing::Test {
 protected:
  int32_t add(int32_t input, int32_t residual, Overwrites can, size_t bytes = 64) {
    ProgramTensor t;
    t.name = "t" + std::to_string(program_.tensors.size());
    t.shape = {static_cast<int64_t>(bytes), 1, 1};
    t.bytes = bytes;
    program_.tensors.push_back(t);
    ProgramStep step;
    step.input = input;
    step.residual = residual;
    step.output = static_cast<int32_t>(program_.tensors.size()) - 1;
    program_.steps.push_back(step);
    can_.push_back(can);
    return step.output;
  }
  std::vector<Place> share(int32_t answer, Reuse reuse = Reuse::kInPlace, bool keep = false) {
    return share_storages(program_, answer, can_, reuse, keep);
  }
  [[nodiscard]] const Storage& storage_of(int32_t tensor) const {
    return program_.storages[static_cast<size_t>(program_.tensors[static_cast<size_t>(tensor)].storage)];
  }

  static constexpr Overwrites kNothing{};
  static constexpr Overwrites kElementwise{false, true, true};
  static constexpr Overwrites kAdds{false, false, true};
  Program program_;
  std::vector<Overwrites> can_;
};

TEST_F(StoragesTest, AResidualIsOverwrittenByItsLastReader) {
  const int32_t x = add(-1, -1, kNothing);
  const int32_t a = add(x, -1, kNothing);
  const int32_t y = add(a, x, kAdds);
  const int32_t z = add(y, -1, kNothing);
  EXPECT_EQ(share(z), (std::vector{Place::kNew, Place::kNew, Place::kResidual, Place::kNew}));
  EXPECT_EQ(storage_of(y).name, "t0");
  EXPECT_EQ(storage_of(x).last_step, 3) << "alive until what was written over it has been read";
  EXPECT_EQ(storage_of(a).first_step, 1);
  EXPECT_EQ(storage_of(a).last_step, 2);
  EXPECT_EQ(program_.storages.size(), 3U);
}

TEST_F(StoragesTest, WhatIsStillReadIsNotOverwritten) {
  const int32_t x = add(-1, -1, kNothing);
  const int32_t a = add(x, -1, kNothing);
  const int32_t y = add(a, x, kAdds);
  const int32_t z = add(y, x, kAdds);  // reads x again: y must not lie over it, z may
  const auto places = share(add(z, -1, kNothing));
  EXPECT_EQ(places[static_cast<size_t>(y)], Place::kNew);
  EXPECT_EQ(places[static_cast<size_t>(z)], Place::kResidual);
}

TEST_F(StoragesTest, AnOperandThatIsBothInputAndResidualIsNotOverwritten) {
  const int32_t x = add(-1, -1, kNothing);
  const int32_t y = add(x, x, kElementwise);
  EXPECT_EQ(share(add(y, -1, kNothing))[1], Place::kNew);
}

TEST_F(StoragesTest, TheAnswerAndOtherSizesAreNotOverwritten) {
  const int32_t x = add(-1, -1, kNothing);
  const int32_t answer = add(x, -1, kNothing);
  (void)add(answer, -1, kElementwise);
  const int32_t narrow = add(x, -1, kNothing, 32);
  const int32_t wide = add(narrow, -1, kElementwise);
  const auto places = share(answer);
  EXPECT_EQ(places[2], Place::kNew) << "the answer is read after the last step";
  EXPECT_EQ(places[static_cast<size_t>(wide)], Place::kNew) << "64 bytes over 32";
  EXPECT_EQ(storage_of(answer).last_step, 4);
}

TEST_F(StoragesTest, OtherTypesAreNotOverwritten) {
  const int32_t x = add(-1, -1, kNothing);
  const int32_t y = add(x, -1, kElementwise);
  program_.tensors[static_cast<size_t>(y)].dtype = DType::kF16;
  EXPECT_EQ(share(add(y, -1, kNothing))[1], Place::kNew);
}

TEST_F(StoragesTest, NothingIsReusedWhereEverythingIsKept) {
  const int32_t x = add(-1, -1, kNothing);
  const int32_t a = add(x, -1, {true, false, false});  // an alias stays an alias
  const int32_t y = add(a, -1, kElementwise);
  const auto places = share(y, Reuse::kNever, true);
  EXPECT_EQ(places, (std::vector{Place::kNew, Place::kInput, Place::kNew}));
  EXPECT_EQ(storage_of(a).last_step, 2);
}

}  // namespace
}  // namespace elek::backends
