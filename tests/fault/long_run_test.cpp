// SPDX-License-Identifier: Apache-2.0
// Ten thousand runs, and hundreds of sessions, cuts and files, in one process: memory does not grow. A leak of one small block
// a run would be seen. Labelled slow.
#include <gtest/gtest.h>

#include <filesystem>

#include "elek/prune.h"
#include "elek/session.h"
#include "models/model_file.h"
#include "tests/prune/array_source.h"
#include "tests/support/growth.h"
#include "tests/support/models.h"

namespace elek {
namespace {

constexpr int64_t kSamples = 4;

Model small_model() {
  test::TinyOptions tiny;
  tiny.widths = {6, 8};
  tiny.blocks = 1;
  tiny.input = {3, 8, 8};
  tiny.classes = 4;
  return test::tiny_resnet(tiny);
}

/// 16 bytes a run, the smallest block of the heap, would be 160,000 bytes in ten thousand runs.
TEST(LongRun, TenThousandRunsOfASession) {
  const Model model = small_model();
  SessionOptions options;
  options.batch = kSamples;
  Session session(model, options);
  const std::vector<uint8_t> pixels = test::tiny_pixels(model.graph.input_shape(), kSamples, 3);
  Slot& slot = session.slots()[0];
  std::copy(pixels.begin(), pixels.end(), slot.pixels);
  slot.count = kSamples;
  EXPECT_LT(test::growth(1000, 10'000, [&] { (void)session.run(slot); }), 100'000);
}

/// Sessions and files take and give back many blocks, so the heap may move by a few pages; a session of this network holds
/// about 100 kB, so one that stays in a hundred would show.
TEST(LongRun, AThousandSessionsAndFiles) {
  const std::string path = std::filesystem::temp_directory_path() / "elek-long-run.safetensors";
  save_model(small_model(), path);
  const auto load_and_run = [&] {
    const Model model = load_model(path, host_resource());
    SessionOptions options;
    options.batch = kSamples;
    Session session(model, options);
    session.slots()[0].count = 1;
    (void)session.run(session.slots()[0]);
    save_model(model, path);
  };
  EXPECT_LT(test::growth(100, 1000, load_and_run), 1'000'000);
  std::filesystem::remove(path);
}

TEST(LongRun, TwoHundredCuts) {
  const Model model = small_model();
  const std::vector<uint8_t> pixels = test::tiny_pixels(model.graph.input_shape(), kSamples, 3);
  const auto cut_once = [&] {
    test::ArraySource images(pixels, kSamples);
    CutOptions options;
    options.channels.share = 0.5;
    options.session.batch = kSamples;
    CutObserver observer;
    (void)cut(model, images, nullptr, options, observer);
  };
  EXPECT_LT(test::growth(20, 200, cut_once), 1'000'000);
}

}  // namespace
}  // namespace elek
