// SPDX-License-Identifier: Apache-2.0
// Statistics files: every sum comes back bit for bit, sets that were not asked for stay absent, changed files are refused.
#include <gmock/gmock.h>

#include <cstring>
#include <limits>

#include "elek/model.h"
#include "models/safetensors.h"
#include "tests/models/files.h"

namespace elek {
namespace {

using test::Folder;
using test::message_of;
using test::read_all;
using ::testing::AllOf;
using ::testing::HasSubstr;

Statistics sample() {
  Statistics s;
  s.model_hash = 0x00ff00000000abcdULL;
  s.tap = Tap::kConv;
  s.threshold = 0.1F;
  s.precision = "f32";
  s.kernels = "winograd; onednn \"2.6\"";
  s.samples = 1234567890123;
  ValueSums& activity = s.values["layer1.0"];
  activity.channels = 3;
  activity.samples = 10;
  activity.count = int64_t{1} << 40;
  activity.nonfinite = 2;
  activity.sum = {0.1, 1e300, -0.0};
  activity.sum_sq = {1.0 / 3.0, 5e-324, std::numeric_limits<double>::infinity()};
  activity.active = {0, 1, int64_t{1} << 53};
  ValueSums& all = s.values["relu"];
  all.channels = 1;
  double next = 0.5;  // another value in every sum, so that two swapped ones show
  for (auto* sums : {&all.sum, &all.sum_sq, &all.z_sum, &all.z_sum_sq, &all.abs_sum, &all.max, &all.mean_peak, &all.mean_sum,
                     &all.mean_sum_sq}) {
    *sums = {next};
    next += 1;
  }
  all.active = {4};
  all.fired = {5};
  s.tap_norms["conv1"] = {2, 3, 10, std::vector<double>(18, 0.7)};
  s.tap_norms["conv1"].norm_sq[17] = 2.5;
  return s;
}

TEST(StatisticsFile, ComesBackBitForBit) {
  const Folder folder;
  const Statistics want = sample();
  save_statistics(want, folder / "a");
  const Statistics got = load_statistics(folder / "a");
  EXPECT_EQ(got.model_hash, want.model_hash);
  EXPECT_EQ(got.tap, want.tap);
  EXPECT_EQ(got.threshold, want.threshold);
  EXPECT_EQ(got.precision, want.precision);
  EXPECT_EQ(got.kernels, want.kernels);
  EXPECT_EQ(got.samples, want.samples);
  ASSERT_EQ(got.values.size(), 2U);
  const ValueSums& a = got.values.at("layer1.0");
  EXPECT_EQ(a.count, int64_t{1} << 40);
  EXPECT_EQ(a.nonfinite, 2);
  EXPECT_EQ(a.samples, 10);
  EXPECT_EQ(std::memcmp(a.sum.data(), want.values.at("layer1.0").sum.data(), 24), 0);
  EXPECT_EQ(a.sum_sq, want.values.at("layer1.0").sum_sq);
  EXPECT_EQ(a.active, want.values.at("layer1.0").active);
  EXPECT_TRUE(a.z_sum.empty() && a.abs_sum.empty() && a.max.empty() && a.fired.empty() && a.mean_sum.empty());
  const ValueSums& b = got.values.at("relu");
  const ValueSums& wb = want.values.at("relu");
  EXPECT_EQ(b.sum, wb.sum);
  EXPECT_EQ(b.sum_sq, wb.sum_sq);
  EXPECT_EQ(b.z_sum, wb.z_sum);
  EXPECT_EQ(b.z_sum_sq, wb.z_sum_sq);
  EXPECT_EQ(b.abs_sum, wb.abs_sum);
  EXPECT_EQ(b.max, wb.max);
  EXPECT_EQ(b.fired, wb.fired);
  EXPECT_EQ(b.mean_peak, wb.mean_peak);
  EXPECT_EQ(b.mean_sum, wb.mean_sum);
  EXPECT_EQ(b.mean_sum_sq, wb.mean_sum_sq);
  EXPECT_EQ(got.tap_norms.at("conv1").norm_sq, want.tap_norms.at("conv1").norm_sq);
  EXPECT_EQ(got.tap_norms.at("conv1").kernel, 3);
  save_statistics(got, folder / "b");
  EXPECT_EQ(read_all(folder / "a"), read_all(folder / "b"));
}

TEST(StatisticsFile, TensorsAreNamedAsTheDesignSays) {
  const Folder folder;
  save_statistics(sample(), folder / "a");
  const SafetensorsFile file = SafetensorsFile::open(folder / "a");
  EXPECT_EQ(file.at("layer1.0/sum").dtype, "F64");
  EXPECT_EQ(file.at("layer1.0/active").dtype, "I64");
  EXPECT_EQ(file.at("conv1/norm_sq").shape, (std::vector<int64_t>{2, 3, 3}));
}

/// The sample's file with tensors and metadata changed by `change`, then loaded.
template <typename Change>
std::string refused(const Change& change) {
  const Folder folder;
  save_statistics(sample(), folder / "a");
  const SafetensorsFile file = SafetensorsFile::open(folder / "a");
  std::map<std::string, SafetensorsEntry> entries;
  for (const auto& [name, entry] : file.entries()) {
    entries[name] = {name, entry.dtype == "F64" ? DType::kF64 : DType::kI64, entry.shape, entry.bytes};
  }
  std::map<std::string, std::string> metadata = file.metadata();
  change(entries, metadata);
  std::vector<SafetensorsEntry> list;
  for (const auto& [name, entry] : entries) list.push_back(entry);
  write_safetensors(folder / "b", list, metadata);
  return message_of<InputError>([&] { (void)load_statistics(folder / "b"); });
}

TEST(StatisticsFile, ChangedFilesAreRefused) {
  using Entries = std::map<std::string, SafetensorsEntry>;
  using Metadata = std::map<std::string, std::string>;
  EXPECT_THAT(refused([](Entries& /*e*/, Metadata& m) { m.clear(); }), HasSubstr("expected a statistics file"));
  EXPECT_THAT(refused([](Entries& e, Metadata& /*m*/) { e.erase("layer1.0/sum_sq"); }),
              AllOf(HasSubstr("layer1.0/sum_sq"), HasSubstr("missing")));
  EXPECT_THAT(refused([](Entries& e, Metadata& /*m*/) { e.erase("conv1/norm_sq"); }), HasSubstr("conv1/norm_sq"));
  EXPECT_THAT(refused([](Entries& e, Metadata& /*m*/) {
                e["extra/sum"] = e["relu/sum"];
                e["extra/sum"].name = "extra/sum";
              }),
              HasSubstr("tensors by its metadata"));
  EXPECT_THAT(refused([](Entries& e, Metadata& /*m*/) { e["layer1.0/active"].dtype = DType::kF64; }),
              AllOf(HasSubstr("layer1.0/active"), HasSubstr("expected I64 [3]"), HasSubstr("found F64")));
  EXPECT_THAT(refused([](Entries& e, Metadata& /*m*/) { e["layer1.0/sum"].shape = {1, 3}; }), HasSubstr("found F64 [1, 3]"));
  EXPECT_THAT(refused([](Entries& e, Metadata& /*m*/) { e["layer1.0/active"].bytes = e["layer1.0/sum"].bytes; }),
              HasSubstr("negative"));  // the bits of -0.0
  EXPECT_THAT(refused([](Entries& /*e*/, Metadata& m) {
                std::string& json = m["elek.statistics"];
                json.replace(json.find("\"conv\""), 6, "\"vonc\"");
              }),
              AllOf(HasSubstr("field tap"), HasSubstr("vonc")));
  EXPECT_THAT(refused([](Entries& /*e*/, Metadata& m) {
                std::string& json = m["elek.statistics"];
                json.replace(json.find("00ff00000000abcd"), 4, "00fg");
              }),
              HasSubstr("model_hash"));
}

}  // namespace
}  // namespace elek
