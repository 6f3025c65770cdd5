// SPDX-License-Identifier: Apache-2.0
// See bench/suite.h. ELEK_BUILD_FLAGS comes from CMake; ELEK_COMMIT from a header that every build makes anew.
#include "bench/suite.h"

#include "core/processor.h"
#include "elek_commit.h"

namespace elek::bench {
namespace {

bool failed = false;

}  // namespace

void fail(benchmark::State& state, const std::string& why) {
  failed = true;
  state.SkipWithError(why.c_str());
}

int run(int argc, char** argv) {
  benchmark::AddCustomContext("processor", processor_name());
  benchmark::AddCustomContext("compiler", ELEK_BUILD_FLAGS);
  benchmark::AddCustomContext("elek_commit", ELEK_COMMIT);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  const size_t ran = benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return failed ? 1 : ran == 0 ? 2 : 0;
}

}  // namespace elek::bench
