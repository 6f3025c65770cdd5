// SPDX-License-Identifier: Apache-2.0
// What every Google Benchmark suite here shares: a case that is wrong gives no number and fails the program, and the JSON
// (--benchmark_out=FILE; with --benchmark_repetitions=N every sample) says on which processor, with which compiler and of which
// commit it was made. Checks that time and need no benchmark belong to tests/.
#pragma once

#include <benchmark/benchmark.h>

#include <string>

namespace elek::bench {

/// Of a case whose answer is wrong: no number, and the program will end with exit code 1.
void fail(benchmark::State& state, const std::string& why);

/// main() of a suite whose cases are registered: 0, 1 where a case failed, 2 where the options do not say what to run.
[[nodiscard]] int run(int argc, char** argv);

}  // namespace elek::bench
