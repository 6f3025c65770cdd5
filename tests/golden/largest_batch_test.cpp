// SPDX-License-Identifier: Apache-2.0
// The largest batch under a limit: a session of it is built in such a pool, and one image more is refused.
#include "engine/largest_batch.h"

#include <gmock/gmock.h>

#include "core/error.h"
#include "elek/memory.h"
#include "tests/golden/session_support.h"

namespace elek {
namespace {

SessionOptions one_thread() {
  SessionOptions options;
  options.threads = 1;
  return options;
}

PoolOptions keep_nothing() { return {.segment_bytes = size_t{64} << 10, .keep_bytes = 0}; }

/// Whether a session of this batch can be built in a pool under the limit, beside a block of `other_bytes`.
bool fits(const Model& model, int64_t batch, int64_t micro_batch, size_t limit_bytes, size_t other_bytes) {
  Limit limit(host_resource(), limit_bytes);
  Pool pool(limit, keep_nothing());
  void* const other = other_bytes > 0 ? pool.allocate(other_bytes, "other") : nullptr;
  SessionOptions options = one_thread();
  options.batch = batch;
  options.micro_batch = micro_batch;
  options.memory = &pool;
  bool made = true;
  try {
    const Session session(model, options);
  } catch (const OutOfMemory&) {
    made = false;
  }
  if (other != nullptr) pool.deallocate(other, other_bytes);
  return made;
}

TEST(LargestBatch, FitsAndOneImageMoreDoesNot) {
  const Model model = test::tiny_resnet({});
  for (const int64_t micro_batch : {int64_t{0}, int64_t{3}}) {
    for (const size_t limit : {size_t{600'000}, size_t{1'000'000}, size_t{3'000'000}}) {
      for (const size_t other : {size_t{0}, size_t{200'000}}) {
        std::vector<Tracker::Event> loaded;
        if (other > 0) {  // a block that stays, and one that was given back
          loaded = {{true, other, 1, "model"}, {true, 100'000, 2, "file"}, {false, 100'000, 2, "file"}};
        }
        SessionOptions options = one_thread();
        options.micro_batch = micro_batch;
        const LargestBatch found = largest_batch(model, options, loaded, limit, keep_nothing());
        EXPECT_GT(found.batch, 0);
        EXPECT_EQ(found.session.program.batch, found.batch);
        EXPECT_EQ(found.session.program.micro_batch, found.micro_batch);
        EXPECT_TRUE(fits(model, found.batch, micro_batch, limit, other)) << found.batch << " under " << limit;
        EXPECT_FALSE(fits(model, found.batch + 1, micro_batch, limit, other)) << found.batch + 1 << " under " << limit;
      }
    }
  }
}

TEST(LargestBatch, ALimitBelowOneImageIsRefusedWithThePlan) {
  try {
    (void)largest_batch(test::tiny_resnet({}), one_thread(), {}, 20'000, keep_nothing());
    ADD_FAILURE() << "no error";
  } catch (const OutOfMemory& error) {
    EXPECT_THAT(std::string(error.what()), ::testing::HasSubstr("not even one sample fits (plan: weights "));
  }
}

}  // namespace
}  // namespace elek
