// SPDX-License-Identifier: Apache-2.0
// What a session needs of its memory, foretold: the least limit is exact to the byte, and the pool holds what was said.
#include "engine/footprint.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "elek/memory.h"
#include "tests/golden/session_support.h"

namespace elek {
namespace {

PoolOptions pool_options(size_t limit_bytes) {
  return {.segment_bytes = std::min(size_t{256} << 10, limit_bytes / 64),
          .keep_bytes = std::min(size_t{512} << 10, limit_bytes / 32)};
}

SessionOptions options_of(int64_t batch) {
  SessionOptions options;
  options.threads = 1;
  options.batch = batch;
  return options;
}

/// The model as a loader leaves it: every parameter a block of the pool.
Model loaded(const Model& model, MemoryResource& memory) {
  Model copy = model;
  copy.parameters.clear();
  for (const ParameterSpec& spec : required_parameters(model.graph)) {
    copy.parameters[spec.name] = std::make_shared<Tensor>(model.parameter(spec.name).clone(memory, {spec.name, Use::kModel}));
  }
  return copy;
}

/// The pool's segments while a session of the model runs under the limit; nothing if it does not fit.
std::optional<size_t> reserved_under(const Model& model, SessionOptions options, size_t limit_bytes) {
  Limit limit(host_resource(), limit_bytes);
  Pool pool(limit, pool_options(limit_bytes));
  options.memory = &pool;
  try {
    const Session session(loaded(model, pool), options);
    return pool.figures().reserved_bytes;
  } catch (const OutOfMemory&) {
    return std::nullopt;
  }
}

TEST(Footprint, TheLeastLimitIsExact) {
  const Model model = test::tiny_resnet({});
  const std::vector<Tracker::Event> events = loading_events(model.graph);
  const TensorPool pool{events, pool_options};
  for (const int64_t batch : {int64_t{1}, int64_t{7}, int64_t{40}}) {
    const Footprint found = footprint(model, options_of(batch), pool);
    EXPECT_TRUE(found.fits);
    EXPECT_TRUE(reserved_under(model, options_of(batch), found.least_limit_bytes)) << batch;
    EXPECT_FALSE(reserved_under(model, options_of(batch), found.least_limit_bytes - 1)) << batch;
    const SessionMemory& m = found.session.memory;
    EXPECT_GE(found.running_bytes, m.weights_bytes + m.arena_bytes + m.statistics_bytes + m.staging_bytes) << batch;
    EXPECT_LE(found.running_bytes, *reserved_under(model, options_of(batch), kNoLimit)) << batch;
    EXPECT_GE(found.binding_bytes, found.session.memory.weights_bytes);
    EXPECT_EQ(found.model_bytes, parameter_bytes(model));
  }
}

TEST(Footprint, UnderALimitItTakesTheMicroBatchesOfASession) {
  const Model model = test::tiny_resnet({});
  const std::vector<Tracker::Event> events = loading_events(model.graph);
  const TensorPool pool{events, pool_options};
  SessionOptions options = options_of(64);
  const Footprint roomy = footprint(model, options, pool);
  ASSERT_GT(roomy.session.program.micro_batch, 1);
  ASSERT_LT(roomy.least_limit_bytes, roomy.model_bytes + roomy.running_bytes) << "smaller micro-batches need less";
  const Footprint tight = footprint(model, options, pool, roomy.least_limit_bytes);
  EXPECT_TRUE(tight.fits);
  Limit limit(host_resource(), roomy.least_limit_bytes);
  Pool memory(limit, pool_options(roomy.least_limit_bytes));
  options.memory = &memory;
  const Session session(loaded(model, memory), options);
  EXPECT_EQ(session.program().micro_batch, tight.session.program.micro_batch);
  EXPECT_LT(session.program().micro_batch, roomy.session.program.micro_batch);
  const Footprint refused = footprint(model, options_of(64), pool, roomy.least_limit_bytes - 1);
  EXPECT_FALSE(refused.fits);
  EXPECT_EQ(refused.least_limit_bytes, roomy.least_limit_bytes);
}

/// A fixed micro-batch is kept: then the least limit is that of just these.
TEST(Footprint, AFixedMicroBatchIsKept) {
  const Model model = test::tiny_resnet({});
  const std::vector<Tracker::Event> events = loading_events(model.graph);
  SessionOptions options = options_of(64);
  options.micro_batch = 16;
  const Footprint found = footprint(model, options, {events, pool_options});
  EXPECT_EQ(found.session.program.micro_batch, 16);
  EXPECT_TRUE(reserved_under(model, options, found.least_limit_bytes));
  EXPECT_FALSE(reserved_under(model, options, found.least_limit_bytes - 1));
}

}  // namespace
}  // namespace elek
