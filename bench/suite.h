// SPDX-License-Identifier: Apache-2.0
// Shared by all Google Benchmark suites here. A wrong case gives no number and fails the program. The JSON
// (--benchmark_out=FILE; every sample with --benchmark_repetitions=N) names the processor, the compiler and the commit. Checks
// that time something and need no benchmark belong to tests/.
#pragma once

#include <benchmark/benchmark.h>

#include <string>

namespace elek::bench {

/// For a case with a wrong result: no number, and the program will end with exit code 1.
void fail(benchmark::State& state, const std::string& why);

/// main() of a suite whose cases are registered. Returns 0; 1 if a case failed; 2 if the options do not say what to run.
[[nodiscard]] int run(int argc, char** argv);

}  // namespace elek::bench
