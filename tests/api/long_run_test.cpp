// SPDX-License-Identifier: Apache-2.0
// Ten thousand runs, and a thousand models and sessions, through the C interface in one process: memory does not grow. Labelled
// slow.
#include <vector>

#include "tests/api/c_api.h"
#include "tests/support/growth.h"

namespace elek::test {
namespace {

/// 16 bytes a run, the smallest block of the heap, would be 160,000 bytes in ten thousand runs.
TEST(CApiLongRun, TenThousandRuns) {
  const ModelFile file;
  elek_options options = elek_default_options();
  options.batch = 3;
  elek_session* opened = nullptr;
  ASSERT_EQ(elek_session_open_file(file.path(), &options, &opened), ELEK_OK) << elek_last_error(nullptr);
  const SessionHandle session(opened);
  const std::vector<uint8_t> pixels = tiny_pixels({3, 12, 10}, 3, 3);
  std::vector<float> logits(30);
  const auto run = [&] { ASSERT_EQ(elek_session_run_pixels(session.get(), pixels.data(), 3, logits.data()), ELEK_OK); };
  EXPECT_LT(growth(1000, 10'000, run), 100'000);
}

/// A session of this network holds about 100 kB, so one that stays in a hundred would show. Each round has a call that fails.
TEST(CApiLongRun, AThousandModelsSessionsAndErrors) {
  const ModelFile file;
  const auto open_and_fail = [&] {
    const ModelHandle model = load(file.path());
    elek_session* opened = nullptr;
    const elek_options options = elek_default_options();
    ASSERT_EQ(elek_session_open(model.get(), &options, &opened), ELEK_OK);
    const SessionHandle session(opened);
    elek_model* none = nullptr;
    ASSERT_NE(elek_model_load("no such file", &none), ELEK_OK);
  };
  EXPECT_LT(growth(100, 1000, open_and_fail), 1'000'000);
}

}  // namespace
}  // namespace elek::test
