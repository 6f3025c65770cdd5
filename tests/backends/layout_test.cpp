// SPDX-License-Identifier: Apache-2.0
// The layout decides which of oneDNN's kernels a convolution can use. In bf16 on processors with tiles (AMX) the wrong layout
// costs nine tenths of the speed, and no other test would notice.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "backends/cpu/onednn.h"
#include "backends/cpu/preferred_layout.h"

namespace elek::backends::cpu {
namespace {

bool the_processor_has_tiles() {
  std::ifstream file("/proc/cpuinfo");
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  return text.find(" amx_bf16") != std::string::npos;
}

TEST(Layout, InBf16EveryConvolutionUsesTheTilesThatThereAre) {
  if (!the_processor_has_tiles()) GTEST_SKIP() << "no AMX here";
  if (!library_is_built_in()) GTEST_SKIP() << "bf16 is oneDNN's, and this build has none";
  for (const char* limit : {"DNNL_MAX_CPU_ISA", "ONEDNN_MAX_CPU_ISA"}) {
    if (std::getenv(limit) != nullptr) GTEST_SKIP() << limit << " is set";
  }
  const Layout layout = preferred_layout(DType::kBF16);
  for (const int64_t channels : {64, 23}) {  // as built, and after a cut
    for (const int64_t kernel : {1, 3}) {
      for (const int64_t stride : {1, 2}) {
        ConvProblem p;
        p.samples = 2;
        p.src = {channels, 15, 15};
        p.dst = {2 * channels, 14 / stride + 1, 14 / stride + 1};
        p.kernel = kernel;
        p.stride = stride;
        p.padding = kernel / 2;
        p.src_layout = p.dst_layout = layout;
        p.src_type = p.dst_type = DType::kBF16;
        const std::string name = Primitive::make(p, 1)->kernel();
        EXPECT_NE(name.find("amx"), std::string::npos) << name << " for " << channels << " channels, " << kernel << "x"
                                                       << kernel << " by " << stride << ", " << name_of(layout);
      }
    }
  }
}

/// Our kernels need blocks, on every processor.
TEST(Layout, InF32ValuesHaveBlocks) { EXPECT_GE(channel_block(preferred_layout(DType::kF32)), 8); }

}  // namespace
}  // namespace elek::backends::cpu
