// SPDX-License-Identifier: Apache-2.0
// Statistics of channels through the C interface equal those of the C++ session's sums.
#include <cmath>

#include "elek/session.h"
#include "tests/api/c_api.h"

namespace elek::test {
namespace {

TEST(CApiStatistics, EveryReluIsWatchedAndTheSumsAreTheEngines) {
  const ModelFile file;
  const ModelHandle model = load(file.path());
  elek_options options = elek_default_options();
  options.watch = 1;
  options.batch = 2;
  const SessionHandle session = open(model.get(), options);
  SessionOptions same;
  same.batch = 2;
  std::vector<std::string> names;
  for (size_t i = 0; elek_session_watched(session.get(), i) != nullptr; ++i) {
    names.emplace_back(elek_session_watched(session.get(), i));
    same.probes.values[names.back()] = kActivity;
  }
  size_t relus = 0;
  for (const Node& node : file.model().graph.nodes()) relus += op_name(node) == "relu" ? 1 : 0;
  EXPECT_EQ(names.size(), relus);

  const auto pixels = tiny_pixels({3, 12, 10}, 2, 9);
  std::vector<float> logits(20);
  ASSERT_EQ(elek_session_run_pixels(session.get(), pixels.data(), 2, logits.data()), ELEK_OK);
  Session reference(file.model(), same);
  Slot& slot = reference.slots()[0];
  std::copy(pixels.begin(), pixels.end(), slot.pixels);
  slot.count = 2;
  (void)reference.run(slot);
  for (const auto& [name, sums] : reference.statistics().values) {
    size_t count = 0;
    ASSERT_EQ(elek_session_statistics(session.get(), name.c_str(), nullptr, 0, &count), ELEK_OK);
    ASSERT_EQ(count, static_cast<size_t>(sums.channels));
    std::vector<elek_channel> channels(count);
    ASSERT_EQ(elek_session_statistics(session.get(), name.c_str(), channels.data(), count, &count), ELEK_OK);
    const auto all = static_cast<double>(sums.count);
    for (size_t c = 0; c < count; ++c) {
      EXPECT_EQ(channels[c].active, static_cast<double>(sums.active[c]) / all) << name << " " << c;
      EXPECT_EQ(channels[c].mean, sums.sum[c] / all) << name << " " << c;
      EXPECT_EQ(channels[c].rms, std::sqrt(sums.sum_sq[c] / all)) << name << " " << c;
    }
  }
}

TEST(CApiStatistics, ResetStartsAgainAndErrorsAreNamed) {
  const ModelFile file;
  const ModelHandle model = load(file.path());
  elek_options options = elek_default_options();
  options.watch = 1;
  const SessionHandle session = open(model.get(), options);
  const char* value = elek_session_watched(session.get(), 0);
  ASSERT_NE(value, nullptr);
  const auto pixels = tiny_pixels({3, 12, 10}, 1, 9);
  std::vector<float> logits(10);
  ASSERT_EQ(elek_session_run_pixels(session.get(), pixels.data(), 1, logits.data()), ELEK_OK);
  std::vector<elek_channel> channels(64);
  size_t count = 0;
  const auto any_active = [&] {
    EXPECT_EQ(elek_session_statistics(session.get(), value, channels.data(), channels.size(), &count), ELEK_OK);
    bool any = false;
    for (size_t c = 0; c < count; ++c) any = any || channels[c].active > 0;
    return any;
  };
  EXPECT_TRUE(any_active());
  ASSERT_EQ(elek_session_reset_statistics(session.get()), ELEK_OK);
  EXPECT_FALSE(any_active());
  EXPECT_EQ(elek_session_statistics(session.get(), "nobody", channels.data(), 64, &count), ELEK_ERROR_USAGE);
  EXPECT_THAT(elek_last_error(session.get()), ::testing::HasSubstr("'nobody'"));
  EXPECT_EQ(elek_session_statistics(session.get(), value, channels.data(), 1, &count), ELEK_ERROR_USAGE);
  EXPECT_THAT(elek_last_error(session.get()), ::testing::HasSubstr("capacity"));
}

}  // namespace
}  // namespace elek::test
