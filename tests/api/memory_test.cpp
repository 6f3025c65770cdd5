// SPDX-License-Identifier: Apache-2.0
// The session's memory: predicted, given as a block, given by two functions, limited; and with each call of an allocator
// failing in turn.
#include "tests/api/c_api.h"

namespace elek::test {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

std::vector<float> run(elek_session* session) {
  const auto pixels = tiny_pixels({3, 12, 10}, 5, 3);
  std::vector<float> logits(50);
  EXPECT_EQ(elek_session_run_pixels(session, pixels.data(), 5, logits.data()), ELEK_OK) << elek_last_error(session);
  return logits;
}

elek_memory foretold(const elek_model* model, const elek_options& options) {
  elek_memory memory = elek_empty_memory();
  EXPECT_EQ(elek_model_memory(model, &options, &memory), ELEK_OK) << elek_last_error(nullptr);
  return memory;
}

TEST(CApiMemory, FiguresBeforeAreTheFiguresOfTheSession) {
  const ModelFile file;
  const ModelHandle model = load(file.path());
  elek_options options = elek_default_options();
  options.batch = 4;
  options.watch = 1;
  const elek_memory before = foretold(model.get(), options);
  EXPECT_EQ(before.held_bytes, 0U);
  const SessionHandle session = open(model.get(), options);
  elek_memory open_now = elek_empty_memory();
  ASSERT_EQ(elek_session_memory(session.get(), &open_now), ELEK_OK);
  EXPECT_EQ(open_now.weights_bytes, before.weights_bytes);
  EXPECT_EQ(open_now.arena_bytes, before.arena_bytes);
  EXPECT_EQ(open_now.statistics_bytes, before.statistics_bytes);
  EXPECT_EQ(open_now.staging_bytes, before.staging_bytes);
  EXPECT_EQ(open_now.micro_batch, before.micro_batch);
  EXPECT_EQ(open_now.held_bytes, before.weights_bytes + before.arena_bytes + before.statistics_bytes + before.staging_bytes);
  EXPECT_GE(open_now.peak_bytes, open_now.held_bytes);
  EXPECT_LE(open_now.peak_bytes, before.needed_bytes);
}

TEST(CApiMemory, ABlockOfTheNeededSizeIsEnoughWhereverItBegins) {
  for (const TinyOptions& tiny : {TinyOptions{}, tiny_bottleneck_options()}) {
    const ModelFile file(tiny);
    const ModelHandle model = load(file.path());
    elek_options options = elek_default_options();
    options.batch = 5;
    const std::vector<float> expected = run(open(model.get(), options).get());
    const elek_memory memory = foretold(model.get(), options);
    std::vector<unsigned char> room(memory.needed_bytes + 1000, 0xA5);
    for (const size_t begin : {0, 1, 17, 255, 256}) {
      options.block = room.data() + begin;
      options.block_bytes = memory.needed_bytes;
      {
        const SessionHandle session = open(model.get(), options);
        ASSERT_NE(session, nullptr);
        EXPECT_EQ(run(session.get()), expected);
        elek_memory held = elek_empty_memory();
        ASSERT_EQ(elek_session_memory(session.get(), &held), ELEK_OK);
        EXPECT_EQ(held.micro_batch, memory.micro_batch) << "not in smaller micro-batches";
      }
      for (size_t i = 0; i < begin; ++i) ASSERT_EQ(room[i], 0xA5) << "before the block";
      for (size_t i = begin + memory.needed_bytes; i < room.size(); ++i) ASSERT_EQ(room[i], 0xA5) << "behind the block";
      std::fill(room.begin(), room.end(), static_cast<unsigned char>(0xA5));
    }
  }
}

TEST(CApiMemory, ASmallBlockMeansSmallerMicroBatchesThenAMemoryError) {
  const ModelFile file;
  const ModelHandle model = load(file.path());
  elek_options options = elek_default_options();
  options.batch = 64;
  const elek_memory memory = foretold(model.get(), options);
  std::vector<unsigned char> room(memory.needed_bytes);
  options.block = room.data();
  options.block_bytes = memory.needed_bytes - memory.arena_bytes / 2;
  const SessionHandle session = open(model.get(), options);
  elek_memory held = elek_empty_memory();
  ASSERT_EQ(elek_session_memory(session.get(), &held), ELEK_OK);
  EXPECT_LT(held.micro_batch, memory.micro_batch);
  elek_session* refused = nullptr;
  options.block_bytes = 1000;
  EXPECT_EQ(elek_session_open(model.get(), &options, &refused), ELEK_ERROR_MEMORY);
  EXPECT_THAT(elek_last_error(nullptr), HasSubstr("the caller's block"));
  options.block_bytes = 100;  // not even one aligned byte
  EXPECT_EQ(elek_session_open(model.get(), &options, &refused), ELEK_ERROR_MEMORY);
}

TEST(CApiMemory, TheCallersFunctionsAreAskedOnlyWhileOpening) {
  const ModelFile file;
  const ModelHandle model = load(file.path());
  Books books;
  elek_options options = elek_default_options();
  options.batch = 2;
  books.use(options);
  {
    const SessionHandle session = open(model.get(), options);
    const int64_t asked = books.asked;
    EXPECT_GT(asked, 0);
    (void)run(session.get());
    EXPECT_EQ(books.asked, asked);
    EXPECT_THAT(books.labels, ::testing::IsSupersetOf({"weights", "arena", "staging"}));
    elek_memory held = elek_empty_memory();
    ASSERT_EQ(elek_session_memory(session.get(), &held), ELEK_OK);
    EXPECT_EQ(held.held_bytes, books.bytes());
  }
  EXPECT_EQ(books.blocks(), 0U);
  EXPECT_EQ(books.misuses, 0);
}

TEST(CApiMemory, EveryCallOfTheAllocatorMayFail) {
  const ModelFile file;
  const ModelHandle model = load(file.path());
  int64_t k = 0;
  for (;; ++k) {
    ASSERT_LT(k, 100);
    Books books;
    books.fail_at = k;
    elek_options options = elek_default_options();
    books.use(options);
    elek_session* session = nullptr;
    const elek_status status = elek_session_open(model.get(), &options, &session);
    if (status == ELEK_OK) {
      elek_session_close(session);
      EXPECT_EQ(books.blocks(), 0U);
      break;
    }
    EXPECT_EQ(status, ELEK_ERROR_MEMORY) << "call " << k << ": " << elek_last_error(nullptr);
    EXPECT_EQ(session, nullptr);
    EXPECT_THAT(elek_last_error(nullptr), HasSubstr("the caller's allocator"));
    EXPECT_EQ(books.blocks(), 0U) << "call " << k;
    EXPECT_EQ(books.misuses, 0) << "call " << k;
    books.fail_at = -1;
    (void)run(open(model.get(), options).get());  // the model is unchanged
  }
  EXPECT_GE(k, 3);  // weights, arena, staging at least
}

TEST(CApiMemory, AMisalignedBlockIsGivenBackAndRefused) {
  const ModelFile file;
  const ModelHandle model = load(file.path());
  Books books;
  books.offset = 64;
  elek_options options = elek_default_options();
  books.use(options);
  elek_session* session = nullptr;
  EXPECT_EQ(elek_session_open(model.get(), &options, &session), ELEK_ERROR_USAGE);
  EXPECT_THAT(elek_last_error(nullptr), HasSubstr("aligned to 256"));
  EXPECT_EQ(books.blocks(), 0U);
  EXPECT_EQ(books.misuses, 0);
}

TEST(CApiMemory, ALimitIsKeptOrTheSessionRefused) {
  const ModelFile file;
  const ModelHandle model = load(file.path());
  elek_options options = elek_default_options();
  options.batch = 64;
  const elek_memory memory = foretold(model.get(), options);
  options.memory_limit_bytes = memory.needed_bytes - memory.arena_bytes / 2;
  {
    const SessionHandle session = open(model.get(), options);
    elek_memory held = elek_empty_memory();
    ASSERT_EQ(elek_session_memory(session.get(), &held), ELEK_OK);
    EXPECT_LE(held.peak_bytes, options.memory_limit_bytes);
    EXPECT_LT(held.micro_batch, memory.micro_batch);
  }
  options.memory_limit_bytes = 1000;
  elek_session* session = nullptr;
  EXPECT_EQ(elek_session_open(model.get(), &options, &session), ELEK_ERROR_MEMORY);
}

TEST(CApiMemory, HalfGivenMemoryIsAUsageError) {
  const ModelFile file;
  const ModelHandle model = load(file.path());
  Books books;
  unsigned char room[16];
  std::vector<elek_options> wrong(4, elek_default_options());
  wrong[0].block = room;
  wrong[1].block_bytes = 16;
  books.use(wrong[2]);
  wrong[2].deallocate = nullptr;
  books.use(wrong[3]);
  wrong[3].block = room;
  wrong[3].block_bytes = 16;
  std::vector<elek_status> codes;
  for (const elek_options& options : wrong) {
    elek_session* session = nullptr;
    codes.push_back(elek_session_open(model.get(), &options, &session));
  }
  EXPECT_THAT(codes, Each(ELEK_ERROR_USAGE));
  EXPECT_EQ(books.asked, 0);
}

}  // namespace
}  // namespace elek::test
