// SPDX-License-Identifier: Apache-2.0
// Sessions through the C interface compute what the C++ sessions compute: pixels, values, batches, several threads.
#include "elek/session.h"

#include <cstring>
#include <thread>

#include "core/file.h"
#include "tests/api/c_api.h"

namespace elek::test {
namespace {

constexpr int64_t kSamples = 7;

std::vector<uint8_t> pixels() { return tiny_pixels({3, 12, 10}, kSamples, 3); }

/// The logits of a C++ session for the same pixels, in batches of `batch`.
std::vector<float> expected(const Model& model, int64_t batch) {
  SessionOptions options;
  options.batch = batch;
  Session session(model, options);
  const auto all = pixels();
  std::vector<float> logits;
  for (int64_t first = 0; first < kSamples; first += batch) {
    Slot& slot = session.slots()[0];
    slot.count = std::min(batch, kSamples - first);
    std::memcpy(slot.pixels, all.data() + first * 360, static_cast<size_t>(slot.count) * 360);
    const auto made = session.run(slot);
    logits.insert(logits.end(), made.begin(), made.end());
  }
  return logits;
}

TEST(CApiSession, RunsPixelsInBatches) {
  const ModelFile file;
  for (const int64_t batch : {1, 3, 7, 20}) {
    elek_options options = elek_default_options();
    options.batch = batch;
    elek_session* opened = nullptr;
    ASSERT_EQ(elek_session_open_file(file.path(), &options, &opened), ELEK_OK) << elek_last_error(nullptr);
    const SessionHandle session(opened);
    std::vector<float> logits(kSamples * 10);
    ASSERT_EQ(elek_session_run_pixels(session.get(), pixels().data(), kSamples, logits.data()), ELEK_OK);
    EXPECT_EQ(logits, expected(file.model(), batch)) << "batch " << batch;
    EXPECT_EQ(elek_session_run_pixels(session.get(), pixels().data(), 0, logits.data()), ELEK_OK);
  }
}

/// Also from an address at which floats may not be read: their values are then copied. The bytes are not needed afterwards.
TEST(CApiSession, OpensFromBytesInMemory) {
  const ModelFile file;
  const std::vector<uint8_t> bytes = read_whole_file(file.path());
  for (const size_t shift : {0, 1}) {
    std::vector<uint8_t> moved(bytes.size() + shift);
    std::copy(bytes.begin(), bytes.end(), moved.begin() + static_cast<std::ptrdiff_t>(shift));
    elek_options options = elek_default_options();
    options.batch = 3;
    elek_session* opened = nullptr;
    ASSERT_EQ(elek_session_open_memory(moved.data() + shift, bytes.size(), &options, &opened), ELEK_OK)
        << elek_last_error(nullptr);
    EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), moved.begin() + static_cast<std::ptrdiff_t>(shift)));
    std::fill(moved.begin(), moved.end(), uint8_t{0xFF});
    const SessionHandle session(opened);
    std::vector<float> logits(kSamples * 10);
    ASSERT_EQ(elek_session_run_pixels(session.get(), pixels().data(), kSamples, logits.data()), ELEK_OK);
    EXPECT_EQ(logits, expected(file.model(), 3)) << "shift " << shift;
  }
}

TEST(CApiSession, SaysWhatIsWrongWithBytesInMemory) {
  const ModelFile file;
  const std::vector<uint8_t> bytes = read_whole_file(file.path());
  elek_session* session = nullptr;
  EXPECT_EQ(elek_session_open_memory(nullptr, 1, nullptr, &session), ELEK_ERROR_USAGE);
  EXPECT_EQ(elek_session_open_memory(bytes.data(), bytes.size(), nullptr, nullptr), ELEK_ERROR_USAGE);
  EXPECT_EQ(elek_session_open_memory(bytes.data(), bytes.size() / 2, nullptr, &session), ELEK_ERROR_INPUT);
  EXPECT_THAT(elek_last_error(nullptr), ::testing::HasSubstr("model in memory: truncated"));
  EXPECT_EQ(session, nullptr);
}

TEST(CApiSession, RunsValuesInPlaceOfPreprocessedPixels) {
  const ModelFile file;
  const ModelHandle model = load(file.path());
  elek_options options = elek_default_options();
  options.batch = 3;
  const SessionHandle session = open(model.get(), options);
  const auto all = pixels();
  const Preprocessing& p = file.model().preprocessing;
  std::vector<float> values(all.size());
  for (size_t n = 0; n < kSamples; ++n)
    for (size_t i = 0; i < 120; ++i)
      for (size_t c = 0; c < 3; ++c)
        values[n * 360 + c * 120 + i] = (static_cast<float>(all[n * 360 + i * 3 + c]) / 255 - p.mean[c]) / p.stddev[c];
  std::vector<float> logits(kSamples * 10);
  ASSERT_EQ(elek_session_run_values(session.get(), values.data(), kSamples, logits.data()), ELEK_OK)
      << elek_last_error(session.get());
  EXPECT_THAT(logits, ::testing::Pointwise(::testing::FloatNear(1e-4F), expected(file.model(), 3)));
}

TEST(CApiSession, TheModelOfASessionAnswersButOpensNone) {
  const ModelFile file;
  elek_session* opened = nullptr;
  ASSERT_EQ(elek_session_open_file(file.path(), nullptr, &opened), ELEK_OK);
  const SessionHandle session(opened);
  const elek_model* model = elek_session_model(session.get());
  elek_shape shape = {};
  EXPECT_EQ(elek_model_shape(model, &shape), ELEK_OK);
  EXPECT_EQ(shape.classes, 10);
  EXPECT_STREQ(elek_model_label(model, 0), "class-0");
  elek_session* second = nullptr;
  EXPECT_EQ(elek_session_open(model, nullptr, &second), ELEK_ERROR_USAGE);
  EXPECT_THAT(elek_last_error(nullptr), ::testing::HasSubstr("has no weights"));
}

TEST(CApiSession, OutlivesItsModel) {
  const ModelFile file;
  ModelHandle model = load(file.path());
  const SessionHandle session = open(model.get(), elek_default_options());
  model.reset();
  std::vector<float> logits(kSamples * 10);
  ASSERT_EQ(elek_session_run_pixels(session.get(), pixels().data(), kSamples, logits.data()), ELEK_OK);
  EXPECT_EQ(logits, expected(file.model(), 1));
}

TEST(CApiSession, SessionsOfOneModelRunOnSeveralThreads) {
  const ModelFile file;
  const ModelHandle model = load(file.path());
  const std::vector<float> want = expected(file.model(), 1);
  std::vector<std::vector<float>> got(3, std::vector<float>(kSamples * 10));
  std::vector<std::thread> threads;
  for (std::vector<float>& logits : got) {
    threads.emplace_back([&model, &logits] {
      elek_options options = elek_default_options();
      options.threads = 1;
      const SessionHandle session = open(model.get(), options);
      EXPECT_EQ(elek_session_run_pixels(session.get(), pixels().data(), kSamples, logits.data()), ELEK_OK);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::vector<float>& logits : got) {
    EXPECT_THAT(logits, ::testing::Pointwise(::testing::FloatNear(1e-5F), want));
  }
}

}  // namespace
}  // namespace elek::test
